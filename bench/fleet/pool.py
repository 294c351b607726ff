"""Several keys on every node: brought, lost, changed while every node is asked, and taken away; told nowhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.fleet.drift import look
from bench.fleet.fleet import KEY, NEXT_KEY, NEXT_POOL, POOL, PROVIDER, Play
from bench.fleet.stages import DEPLOY, Run, failed, last
from bench.fleet.traffic import traffic

_NAMES: Final = ("holysheep.second", "other")
_SECTIONS: Final = {"key second": None, "provider other": {"base_url": PROVIDER, "models": "small=gpt-4.1"}}
_SECRETS: Final = "/etc/ai-client/credentials"
_USED: Final = "cd /run/credentials/ai-client.service && cat $(ls ai-client-api-key* | sort)"
_TOLD: Final = (
    "grep -rlsF -e {patterns} /etc/ai-client/ai-client.conf /etc/systemd/system /var/log/ai-client "
    "/opt/ai-client/previous.json; "
    "journalctl -b --no-pager | grep -cF -e {patterns} | grep -v '^0$'; true"
)
_LOUD: Final = ("--diff", "-vvvv")


def pool(run: Run) -> None:
    """From one key to three and back to one."""
    plays: list[Play] = []

    def play(name: str, *more: str) -> Play:
        plays.append(run.fleet.play(name, run.first, [*more, *_LOUD]))
        return plays[-1]

    given = _given(run, POOL)
    with traffic(run.fleet, run.rate) as met:
        brought = play(DEPLOY, *given)
    sound = brought.sound and _used(run) == {(KEY, *POOL)}
    failed(run, "two further keys, under load", brought, met, sound=sound)
    again = play(DEPLOY, *given)
    changed = sum(again.changed.values())
    run.say("the same again", f"{changed} changed{last(again)}", "0 changed", met=again.sound and not changed)
    _lost(run, given)
    play(DEPLOY, *given)
    refused = play("ai_client.fleet.rotate_key", *_given(run, POOL, (NEXT_POOL[0], "hs_that_nobody_knows")))
    kept = not refused.sound and _used(run) == {(KEY, *POOL)} and f"ai-client-api-key-{_NAMES[1]}" in refused.output
    run.say(
        "a new key that is refused", "kept out" if kept else f"let in{last(refused)}", "kept out, by name", met=kept
    )
    with traffic(run.fleet, run.rate) as met:
        rotated = play("ai_client.fleet.rotate_key", *_given(run, POOL, NEXT_POOL))
    sound = rotated.sound and _used(run) == {(NEXT_KEY, *NEXT_POOL)}
    failed(run, "rotation of all three, under load", rotated, met, sound=sound)
    back = play(DEPLOY)
    left = set(run.fleet.on_all(f"ls {_SECRETS}").values())
    gone = back.sound and _used(run) == {(KEY,)} and left == {"ai-client-api-key"}
    run.say("and one key again", f"{', '.join(sorted(left))}{last(back)}", "nothing else is left", met=gone)
    _told(run, plays)


def _given(run: Run, keys: Sequence[str], coming: Sequence[str] = ()) -> tuple[str, str]:
    """The words that hand the keys over: in a file, as nobody would on a command line."""
    said = {"ai_config": _SECTIONS, "ai_api_keys": dict(zip(_NAMES, keys, strict=True))}
    if coming:
        said["ai_api_keys_next"] = dict(zip(_NAMES, coming, strict=True))
    path: Path = run.fleet.folder / "keys.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(said), "ascii")
    return "-e", f"@{path}"


def _used(run: Run) -> set[tuple[str, ...]]:
    """The keys that each node's running service was given: its provider's own first."""
    return {tuple(printed.split()) for printed in run.fleet.on_all(_USED).values()}


def _lost(run: Run, given: Sequence[str]) -> None:
    """A key changed on one node and one removed on another are told, there and nowhere else."""
    first, second, *_ = run.fleet.names
    run.fleet.on(first, f"echo hs_somebody_elses > {_SECRETS}/ai-client-api-key-{_NAMES[0]}")
    run.fleet.on(second, f"rm {_SECRETS}/ai-client-api-key-{_NAMES[1]}")
    _, nodes = look(run, given, run.first)
    found = {node: [each["what"] for each in told["drift"] if each["kind"] == "key"] for node, told in nodes.items()}
    wanted = {
        first: [f"{_SECRETS}/ai-client-api-key-{_NAMES[0]}"],
        second: [f"{_SECRETS}/ai-client-api-key-{_NAMES[1]}"],
    }
    right = {node: what for node, what in found.items() if what} == wanted
    false = sum(told["state"] != "clean" for node, told in nodes.items() if node not in wanted)
    figure = f"{'both' if right else 'not both'} told, {false} false"
    run.say("a key changed, a key removed", figure, "both told, 0 false", met=right and not false)


def _told(run: Run, plays: Sequence[Play]) -> None:
    """No key stands in what the playbooks said at their loudest, nor in what a node wrote down."""
    keys = (KEY, NEXT_KEY, *POOL, *NEXT_POOL)
    loud = [key for key in keys for each in plays if key in each.output]
    written = {node: text for node, text in run.fleet.on_all(_TOLD.format(patterns=" -e ".join(keys))).items() if text}
    figure = f"{len(loud)} in {len(plays)} playbooks' output, {len(written)} nodes"
    figure += "".join(f", {node}: {text}" for node, text in list(written.items())[:1])
    run.say("keys told, with --diff and -vvvv", figure, "none", met=not loud and not written)
