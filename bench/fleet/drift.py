"""Twelve ways in which a node stops being what its inventory says, and whether the collection finds each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.fleet.fleet import ROOT
from bench.fleet.stages import DEPLOY, Run

_CONF: Final = "/etc/ai-client/ai-client.conf"
_UNIT: Final = "/etc/systemd/system/ai-client.service"
_KEY: Final = f"$(sed -n 's/^LoadCredential=[^:]*://p' {_UNIT} | head -1)"
_FOUND: Final = 3
"""The playbook's exit code when it found something."""


class Planted(NamedTuple):
    """A kind of drift: its name, how it is planted on a node, and words of which one is in what is found."""

    name: str
    command: str
    found: tuple[str, ...]


PLANTED: Final[Sequence[Planted]] = (
    Planted("file edited", f"echo '# edited' >> {_CONF}", (_CONF,)),
    Planted("mode", f"chmod 0604 {_CONF}", (_CONF,)),
    Planted("unit", f"echo '# edited' >> {_UNIT}", (_UNIT,)),
    Planted(
        "drop-in",
        f"mkdir -p {_UNIT}.d && printf '[Service]\\nNice=5\\n' > {_UNIT}.d/nice.conf && systemctl daemon-reload",
        ("nice.conf",),
    ),
    Planted("stopped", "systemctl stop ai-client.socket ai-client.service", ("stopped",)),
    Planted("disabled", "systemctl disable --quiet ai-client.service", ("disabled",)),
    Planted(
        "older process",
        "cd /opt/ai-client && now=$(readlink current) && ln -sfn $(readlink previous) current && "
        "systemctl restart ai-client && ln -sfn $now current",
        ("process",),
    ),
    Planted("key", f"echo hs_somebody_elses > {_KEY}", ("key",)),
    Planted("CA", "echo '# edited' >> /etc/ai-client/custom-ca.pem", ("custom-ca.pem",)),
    Planted("extra file", f"mkdir -p {_CONF}.d && echo '[api]' > {_CONF}.d/zz.conf", ("zz.conf",)),
    Planted("release file", "echo '# edited' >> /opt/ai-client/current/lib/ai_client/errors.py", ("errors.py",)),
    Planted("package", "rm -r /opt/ai-client/current/lib/httptools", ("httptools",)),
)


def drift(run: Run) -> None:
    """Plant one kind on a node at a time, look at the fleet, and mend it; first look at a fleet that is clean."""
    more = ["-e", f"ai_custom_ca={ROOT / 'tests' / 'certificates' / 'ca.pem'}"]
    run.fleet.play(DEPLOY, run.first, more)
    run.fleet.play(DEPLOY, run.second, more)
    false = _count(look(run, more, run.second)[1])
    found: list[str] = []
    told_codes = set()
    for start in range(0, len(PLANTED), len(run.fleet.names)):
        here = dict(zip(run.fleet.names, PLANTED[start:], strict=False))
        for node, planted in here.items():
            run.fleet.on(node, planted.command)
        code, nodes = look(run, more, run.second)
        told_codes.add(code)
        found += [planted.name for node, planted in here.items() if _names(nodes[node]["drift"], planted.found)]
        false += _count({node: told for node, told in nodes.items() if node not in here})
        mended = run.fleet.play(DEPLOY, run.second, more)
        false += _count(look(run, more, run.second)[1]) if mended.sound else len(here)
    missed = [planted.name for planted in PLANTED if planted.name not in found]
    figure = f"{len(found)} of {len(PLANTED)} found, {false} false or left" + "".join(
        f", missed {name}" for name in missed
    )
    run.say("drift", figure, "12 found, 0 false", met=not missed and not false and told_codes == {_FOUND})


def look(run: Run, more: Sequence[str], bundle: Path) -> tuple[int, Mapping[str, Any]]:
    """Compare the fleet with what it should be: the playbook's exit code, and what it found on each node."""
    report = run.fleet.folder / "drift.json"
    report.unlink(missing_ok=True)
    play = run.fleet.play("ai_client.fleet.drift", bundle, [*more, "-e", f"ai_drift_json={report}"])
    nodes: Mapping[str, Any] = json.loads(report.read_bytes())["nodes"]
    return play.code, nodes


def _count(nodes: Mapping[str, Any]) -> int:
    return sum(told["state"] != "clean" for told in nodes.values())


def _names(told: Sequence[Mapping[str, str]], words: Sequence[str]) -> bool:
    return any(word in f"{each['kind']} {each['what']}" for each in told for word in words)
