"""The playbook that it all began with, mended, beside ours on the same nodes."""

from __future__ import annotations

import subprocess
import sys

from bench.fleet.stages import DEPLOY, MANY, Run, last

_AWAY = (
    "systemctl disable --quiet --now ai-client-before && rm -r /etc/systemd/system/ai-client-before.service"
    " /opt/ai-client-before /etc/ai-client-before /var/cache/ai-client-before /var/log/ai-client-before"
)


def articles(run: Run) -> None:
    """The playbook that it all began with, mended, twice."""
    wheels = run.fleet.folder / "wheels"
    for python in ("3.11", "3.13"):
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--dest",
            str(wheels),
            f"--python-version={python}",
        ]
        words += ["--only-binary=:all:", "--platform=manylinux2014_x86_64", "--platform=manylinux_2_17_x86_64"]
        subprocess.run([*words, "openai==1.12.0", "httpx==0.26.0", "tenacity==8.2.3"], check=True)
    served = [sys.executable, "-m", "http.server", "8000", "--bind", "198.18.0.1", "--directory", str(wheels)]
    run.fleet.start("wheels", served)
    more = ["-e", "wheels=http://198.18.0.1:8000/"]
    first = run.fleet.play("bench/fleet/seeds.yml", run.first, more)
    second = run.fleet.play("bench/fleet/seeds.yml", run.first, more)
    run.say("the articles' playbook, mended", f"{first.seconds:.0f} s{last(first)}")
    changed = sum(second.changed.values())
    run.say("its second run", f"{second.seconds:.0f} s, {changed} changed{last(second)}")
    ours = run.fleet.play(DEPLOY, run.first)
    ratio = first.seconds / ours.seconds
    sound = first.sound and ours.sound and run.all_run(run.first)
    figure = f"{ours.seconds:.1f} s, {ratio:.1f} times faster"
    enough = ratio >= 4 or len(run.fleet.names) < MANY
    run.say("first deploy against it", figure, f"≥ 4 times from {MANY} nodes on", met=sound and enough)
    again = run.fleet.play(DEPLOY, run.first)
    figure = f"{again.seconds:.1f} s, {second.seconds / again.seconds:.1f} times faster"
    run.say("second run against it", figure)
    # what comes after this meets bare nodes
    run.fleet.play("ai_client.fleet.uninstall", run.first)
    run.fleet.on_all(_AWAY)
