"""What is done to a fleet, in order, and what came of each: the rows of the table."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ai_client.bundle.release import Manifest
from bench.fleet.fleet import ROOT, Fleet, Play
from bench.fleet.traffic import Traffic, traffic
from bench.processes import contained

DEPLOY = "ai_client.fleet.deploy"
MANY = 20
"""From here on a fleet is measured by the bars that are about fifty nodes."""
_CHECK = "ai-client --version && ai-client --health-check"


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, its figure, what it has to be, and whether it is (None: no matter)."""

    what: str
    figure: str
    must: str = ""
    met: bool | None = None


@dataclass
class Run:
    """What the stages share: the fleet, its bundles, the callers' rate on each node, and what was found so far."""

    fleet: Fleet
    first: Path
    second: Path
    broken: Mapping[str, Path]
    rate: float
    kills: int
    rows: list[Row] = field(default_factory=list)
    floor_s: float = 0.0
    deployed: Play | None = None
    repeated: Play | None = None

    def say(self, what: str, figure: str, must: str = "", *, met: bool | None = None) -> None:
        """Add a row, and show it at once."""
        row = Row(what, figure, must, met)
        self.rows.append(row)
        print(f"{_mark(row)} {what}: {figure}{f'  (must: {must})' if must else ''}", flush=True)

    def ids(self, bundle: Path) -> set[str]:
        """The ids of a bundle's releases."""
        return {part.id for part in manifest(bundle).releases}

    def all_run(self, bundle: Path) -> bool:
        """Whether every node runs a release of this bundle, and answers as ready."""
        running = set(self.fleet.releases().values())
        self.fleet.on_all("/usr/local/bin/ai-client --health-check")
        return running <= self.ids(bundle)


def _mark(row: Row) -> str:
    return {True: "met   ", False: "MISSED", None: "      "}[row.met]


def manifest(bundle: Path) -> Manifest:
    """What a bundle holds."""
    return msgspec.json.decode((bundle / "bundle.json").read_bytes(), type=Manifest)


def last(play: Play) -> str:
    """How a play that failed ended; empty for one that did not."""
    return "" if play.sound else f"; exit code {play.code}: {play.output.strip()[-400:]}"


def floor(run: Run) -> None:
    """The least that any rollout costs: the same bytes by ssh, unpacked by tar, on all nodes at once."""
    pythons = run.fleet.on_all("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
    archives = {part.python: run.first / part.file for part in manifest(run.first).releases}
    begun = time.monotonic()
    unpack = "mkdir -p /opt/floor && tar -xzf - -C /opt/floor"
    run.fleet.on_all(unpack, {node: archives[python] for node, python in pythons.items()})
    run.floor_s = time.monotonic() - begun
    # It stays. All nodes share one filesystem here, and ext4 passes over each inode that was deleted in the last
    # minutes: with fifty thousand of them, whoever makes files next spends half of his time on that.
    run.say("floor: ssh and tar of the same bytes", f"{run.floor_s:.1f} s")


def check_blank(run: Run) -> None:
    """Check mode on blank nodes says what it would do, and does nothing."""
    play = run.fleet.play(DEPLOY, run.first, ["--check"])
    left = run.fleet.on_all(
        "ls -d /opt/ai-client /etc/ai-client /etc/systemd/system/ai-client.service 2>/dev/null || true"
    )
    sound = play.sound and all(play.changed.get(node) for node in run.fleet.names) and not any(left.values())
    run.say("check mode on blank nodes", f"{play.seconds:.1f} s{last(play)}", "tells changes, makes none", met=sound)


def deploy(run: Run) -> None:
    """The first deploy, on bare nodes."""
    run.deployed = play = run.fleet.play(DEPLOY, run.first)
    # three batches, one after another, cannot be as fast as all nodes at once where there are few of them
    most = min(90.0, 3 * run.floor_s) if run.floor_s and len(run.fleet.names) >= MANY else 90.0
    sound = play.sound and run.all_run(run.first)
    run.say("first deploy", f"{play.seconds:.1f} s{last(play)}", f"≤ {most:.0f} s", met=sound and play.seconds <= most)


def again(run: Run) -> None:
    """Nothing is to do, and nothing is done."""
    run.repeated = play = run.fleet.play(DEPLOY, run.first)
    changed = sum(play.changed.values())
    sound = play.sound and changed == 0 and play.seconds <= 25
    run.say("second run", f"{play.seconds:.1f} s, {changed} changed{last(play)}", "≤ 25 s, 0 changed", met=sound)


def configure(run: Run) -> None:
    """A key of the configuration changes everywhere, and back."""
    play = run.fleet.play(DEPLOY, run.first, ["-e", "ai_timeout=31"])
    told = run.fleet.on_all("grep -c '^timeout *= *31' /etc/ai-client/ai-client.conf || true")
    sound = play.sound and set(told.values()) == {"1"} and run.all_run(run.first)
    figure = f"{play.seconds:.1f} s{last(play)}"
    run.say("configuration change", figure, "≤ 30 s", met=sound and play.seconds <= 30)
    run.fleet.play(DEPLOY, run.first)


def commands(run: Run) -> None:
    """The articles' own check, as they write it, and through a shell, which it takes for both halves to run."""
    for module in ("command", "shell"):
        done = run.fleet.ask_all(module, _CHECK)
        sound = done.count("ai-client, version") + done.count("ai-client 0.") == len(run.fleet.names)
        sound = sound and done.count("rc=0") == len(run.fleet.names)
        run.say(f"ansible all -m {module} -a '{_CHECK}'", f"rc=0 on {done.count('rc=0')} nodes", "all", met=sound)


def upgrade(run: Run) -> None:
    """Another release, while every node is asked."""
    with traffic(run.fleet, run.rate) as before:
        time.sleep(10)
    with traffic(run.fleet, run.rate) as met:
        play = run.fleet.play(DEPLOY, run.second)
    sound = play.sound and run.all_run(run.second)
    ratio = met.p99_ms / before.p99_ms if before.p99_ms else 0.0
    failed(run, "upgrade under load", play, met, sound=sound)
    figure = f"{met.p99_ms:.0f} ms, {ratio:.1f} times that before ({before.p99_ms:.0f} ms)"
    run.say("p99 during the upgrade", figure, "aim: ≤ 1.5 times")


def failed(run: Run, what: str, play: Play, met: Traffic, *, sound: bool) -> None:
    """The row of something that was done under load."""
    run.say(what, f"{play.seconds:.1f} s, {met.told}{last(play)}", "0 failed", met=sound and met.sound)


def bad_releases(run: Run) -> None:
    """Each broken release reaches one node, is gone from it, and no caller notices."""
    for name, bundle in run.broken.items():
        before = run.fleet.releases()
        with traffic(run.fleet, run.rate) as met:
            play = run.fleet.play(DEPLOY, bundle)
        touched = [node for node, failed in play.failed.items() if failed or play.changed.get(node)]
        sound = not play.sound and len(touched) == 1 and run.fleet.releases() == before and met.sound
        asked = len(met.seconds) + len(met.failed)
        figure = (
            f"{len(touched)} node touched, over in {play.seconds:.1f} s, {len(met.failed)} of {asked} requests failed"
        )
        run.say(f"a release that {name}", figure, "1 node, ≤ 30 s, 0 failed", met=sound and play.seconds <= 30)


def killed(run: Run) -> None:
    """The controller dies in the middle, at moments drawn once and for all, and is started again each time."""
    chance = random.Random(5)
    lost: list[str] = []
    converged = 0
    with traffic(run.fleet, run.rate) as met:
        for number in range(run.kills):
            bundle = (run.first, run.second)[number % 2]
            _kill_after(run, bundle, chance.uniform(0.5, max(2.0, run.deployed.seconds if run.deployed else 0.0)))
            play = run.fleet.play(DEPLOY, bundle)
            if play.sound and run.all_run(bundle):
                converged += 1
            else:
                lost.append(last(play) or "the release is not everywhere")
    asked = len(met.seconds) + len(met.failed)
    figure = f"{converged} of {run.kills} converged, {len(met.failed)} of {asked} requests failed{''.join(lost[:1])}"
    if met.failed:
        figure += f" ({met.failed[0]})"
    run.say(
        "controller killed in mid-deploy", figure, "all converge, 0 failed", met=converged == run.kills and met.sound
    )


def _kill_after(run: Run, bundle: Path, seconds: float) -> None:
    """Its workers die as well, though each has a session of its own: as when the controller's machine dies."""
    words, environment = run.fleet.playbook(DEPLOY, bundle)
    with contained(words, ROOT, environment) as playing, suppress(subprocess.TimeoutExpired):
        playing.wait(seconds)


def rollback(run: Run) -> None:
    """Back to the release before, while every node is asked."""
    run.fleet.play(DEPLOY, run.first)
    run.fleet.play(DEPLOY, run.second)
    with traffic(run.fleet, run.rate) as met:
        play = run.fleet.play("ai_client.fleet.rollback", run.second)
    failed(run, "rollback under load", play, met, sound=play.sound and run.all_run(run.first))


def uninstall(run: Run) -> None:
    """Nothing stays."""
    play = run.fleet.play("ai_client.fleet.uninstall", run.first)
    traces = "ls -d /opt/ai-client /etc/ai-client /var/lib/ai-client /var/cache/ai-client /var/log/ai-client "
    traces += "/etc/systemd/system/ai-client* /usr/local/bin/ai-client 2>/dev/null; getent passwd ai-client; true"
    left = {node: text for node, text in run.fleet.on_all(traces).items() if text}
    figure = f"{play.seconds:.1f} s, {len(left)} nodes with traces{last(play)}"
    run.say("uninstall", figure, "nothing is left", met=play.sound and not left)
