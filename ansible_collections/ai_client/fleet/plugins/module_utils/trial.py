"""A candidate beside the running service: same unit, same user, same bounds, a socket of its own that nobody else knows.

So what is new is proven on the node with real requests before a single caller meets it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.ai_client.fleet.plugins.module_utils import files, gate, releases, systemd
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import Gate, Spec

UNIT = "ai-client-trial.service"
PLACE = "/run/ai-client-trial"
_QUIET = (
    "AI_CLIENT_MONITORING__EXPORT_PROMETHEUS=false",
    "AI_CLIENT_LOGGING__DESTINATION=stderr",
    "AI_CLIENT_COSTS__LEDGER=none",
    "AI_CLIENT_CACHING__PERSISTENT=no",
)
"""What two processes on a node must not share."""

_ROUNDS = 3


class TrialError(Exception):
    """The candidate failed; the text says how."""


def prove(spec: Spec, *, compare: bool = True) -> gate.Sample:
    """Start the candidate, ask it and the service that runs in turn, and end it; what the service made of it.

    Raises `TrialError` when the candidate must not take over.
    """
    begun = time.time()
    with _running(spec) as address:
        fault, _told = gate.ready(address, spec.gate.question.timeout)
        asked = gate.Sample(0, 0, "", ())
        if not fault:
            fault, asked = _ask([address, *([spec.address] if compare else [])], spec.gate)
        if fault:
            words = systemd.last_words(UNIT, begun)
            raise TrialError(f"{fault}{'; it said: ' + words if words else ''}")
    return asked


def prove_alone(spec: Spec) -> None:
    """Have each key of `trials` answer by itself, one after another. Raises `TrialError` for the first that does not."""
    for each in spec.trials:
        question = replace(spec.gate.question, model=each.model)
        try:
            prove(replace(spec, files=each.files, gate=replace(spec.gate, question=question)), compare=False)
        except TrialError as error:
            raise TrialError(f"the new key {each.key}: {error}") from None


def _ask(addresses: Sequence[str], how: Gate) -> tuple[str, gate.Sample]:
    """Why the first must not take over from the other, and what the last made of it. It may be slow twice: a node may be busy."""
    left = _ROUNDS
    while True:
        new, *others = gate.samples(addresses, how.question)
        old = others[0] if others else None
        fault, left = gate.judge(new, old, how.bounds), left - 1
        if not fault or new.failed or not left:
            return fault, old or new


@contextlib.contextmanager
def _running(spec: Spec) -> Iterator[str]:
    begun = time.time()
    _clear()
    try:
        command = _command(spec)
        try:
            systemd.run(*command, seconds=spec.gate.start_timeout + 10)
        except systemd.SystemdError as error:
            words = systemd.last_words(UNIT, begun)
            raise TrialError(f"it does not start: {words or error}") from None
        yield f"unix:{PLACE}/socket"
    finally:
        _clear()


def _clear() -> None:
    systemd.run("systemctl", "kill", "-s", "KILL", UNIT, check=False)
    systemd.run("systemctl", "stop", UNIT, check=False)
    systemd.run("systemctl", "reset-failed", UNIT, check=False)
    shutil.rmtree(PLACE, ignore_errors=True)


def _command(spec: Spec) -> list[str]:
    """The candidate's files, and the command that starts it."""
    files.make_folder(files.Folder(PLACE, 0o770, "root", spec.group))
    files.make_folder(files.Folder(f"{PLACE}/etc", 0o750, "root", spec.group))
    moved: dict[str, str] = {}
    for each in spec.files:
        if each.kind in ("config", "key", "ca"):
            folder = "etc" if each.kind != "key" else "key"
            moved[each.path] = f"{PLACE}/{folder}/{os.path.basename(each.path)}"
    files.make_folder(files.Folder(f"{PLACE}/key", 0o700, "root", "root"))
    for each in spec.files:
        if each.path in moved:
            content = each.content
            if each.kind == "config":
                for path, at in moved.items():
                    content = content.replace(f"= {path}\n", f"= {at}\n")
            files.write(replace(each, path=moved[each.path], content=content))
    drop_ins = Path(f"{spec.config}.d")
    if drop_ins.is_dir():
        files.link(f"{moved[spec.config]}.d", str(drop_ins))
    unit = next(each.content for each in spec.files if each.path.endswith(f"/{spec.service}"))
    for path, at in moved.items():
        unit = unit.replace(f":{path}\n", f":{at}\n").replace(f"EnvironmentFile={path}\n", f"EnvironmentFile={at}\n")
    program = releases.folder(spec.root, spec.release) / "bin" / "ai-client"
    return [
        "systemd-run",
        "--quiet",
        f"--unit={UNIT}",
        "--description=ai-client, a candidate",
        "--service-type=notify",
        *systemd.transient_properties(unit, frozenset({"TimeoutStartSec", "TimeoutStopSec"})),
        *("-p", f"TimeoutStartSec={spec.gate.start_timeout:g}", "-p", "TimeoutStopSec=5"),
        *("-p", f"ReadWritePaths={PLACE}"),
        *(f"--setenv={each}" for each in _QUIET),
        *(str(program), "serve", "--config", moved[spec.config], "--listen", f"unix:{PLACE}/socket"),
    ]
