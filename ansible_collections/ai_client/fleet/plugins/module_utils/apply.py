"""Brings a node to its state, or leaves it as it was: what fails half-way is taken back."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.ai_client.fleet.plugins.module_utils import files, gate, releases, standin, systemd, trial
from ansible_collections.ai_client.fleet.plugins.module_utils.files import Difference
from ansible_collections.ai_client.fleet.plugins.module_utils.look import APPLIED
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import Spec

PREVIOUS = "previous.json"
_RELOADS = re.compile(r"^ai_client_config_reloads_total\{[^}]*\} (\S+)", re.MULTILINE)
_REQUESTS = re.compile(r'^ai_client_requests_total\{[^}]*status="(\d+)"[^}]*\} (\S+)', re.MULTILINE)
_RELOAD_SECONDS = 10.0
_ENOUGH = 20
_WORSE = 0.05


class ApplyError(Exception):
    """It did not work, and was taken back; the text says what and why."""


def apply(spec: Spec, found: Sequence[Difference], archive: bytes, units: dict[str, dict[str, str]]) -> list[str]:
    """Mend every difference; tells what was done to the service. Raises `ApplyError` after taking everything back.

    `units` is what `systemd.show` told of the service and the socket.
    """
    effects = {each.effect for each in found}
    was_active = units[spec.service].get("ActiveState") == "active"
    known = systemd.has_read(units)
    was_current = releases.linked(spec.root, "current")
    _accounts(spec, found)
    had_release = releases.is_complete(spec.root, spec.release)
    if archive and any(each.kind in ("release", "release_file", "package") for each in found):
        releases.unpack(spec.root, spec.release, archive, spec.sha256)
    undo: list[files.Saved] = []
    try:
        old = None
        if was_active and effects & {"restart", "socket"}:
            old = trial.prove(spec) if spec.gate.trial else gate.sample(spec.address, spec.gate.question)
        counted = _requests(spec.address) if was_active and spec.gate.watch else (0, 0)
        former = _former(spec, was_current) if was_current not in ("", spec.release) else None
        undo = _write(spec, found)
        done = _act(spec, found, effects, active=was_active, known=known)
        _check(spec, done, old, counted)
    except (trial.TrialError, systemd.SystemdError, releases.ReleaseError, OSError, ApplyError) as error:
        taken_back = _take_back(spec, undo, effects, active=was_active, current=was_current)
        if not had_release and was_current != spec.release:
            releases.prune(spec.root, 0)
        raise ApplyError(f"{error}. {taken_back}") from None
    finally:
        standin.clear()
    _mark()
    if former is not None:
        files.write(former)
        files.link(f"{spec.root}/previous", f"releases/{was_current}")
    releases.prune(spec.root, spec.keep)
    return done


def _accounts(spec: Spec, found: Sequence[Difference]) -> None:
    for each in found:
        if each.kind != "user":
            continue
        if each.what.startswith("group "):
            systemd.run("groupadd", "--system", spec.group)
        elif each.what.startswith("user "):
            systemd.run(
                *("useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent"),
                *("--shell", "/usr/sbin/nologin", "--gid", spec.group, spec.user),
            )
        else:
            systemd.run("usermod", "-aG", spec.group, each.what.partition(" ")[0])


def _former(spec: Spec, current: str) -> files.File:
    """What the release that goes was run with, for `previous`. There is no secret in it."""
    kept = []
    for each in spec.files:
        if each.kind in ("config", "unit") and not each.secret and Path(each.path).is_file():
            kept.append({**vars(each), "content": Path(each.path).read_text(encoding="utf-8")})
    content = json.dumps({"release": current, "files": kept})
    return files.File(f"{spec.root}/{PREVIOUS}", content, 0o600, "root", "root", "config")


def _write(spec: Spec, found: Sequence[Difference]) -> list[files.Saved]:
    """Bring folders, files and links to their state; what stood there before, in the order in which to put it back."""
    undo: list[files.Saved] = []
    wanted = {each.path: each for each in spec.files}
    links = {each["path"]: each["target"] for each in spec.links}
    folders = {each.path: each for each in spec.folders}
    for each in found:
        if each.what in folders:
            files.make_folder(folders[each.what])
        elif each.what in wanted:
            undo.append(files.save(each.what))
            files.write(wanted[each.what])
        elif each.what in links:
            undo.append(files.save(each.what))
            files.link(each.what, links[each.what])
        elif each.kind in ("extra", "dropin"):
            undo.append(files.save(each.what))
            os.unlink(each.what)
    if any(each.kind == "current" for each in found):
        undo.append(files.save(f"{spec.root}/current"))
        files.link(f"{spec.root}/current", f"releases/{spec.release}")
    return undo[::-1]


def _act(spec: Spec, found: Sequence[Difference], effects: set[str], *, active: bool, known: bool) -> list[str]:
    """Have systemd do what the differences ask for. What starts the service starts its socket: it requires it."""
    done = []
    if any(each.kind in ("disabled", "unit") for each in found):
        # would reload systemd by itself, whose cost on a node is that of unpacking a release
        systemd.run("systemctl", "enable", "--no-reload", "--quiet", spec.socket, spec.service)
    if known and any(each.kind in ("unit", "dropin", "disabled") for each in found):
        systemd.run("systemctl", "daemon-reload")  # a unit that systemd has never met is read when it starts
    if "socket" in effects and active:
        systemd.run("systemctl", "stop", spec.service, spec.socket)
        done.append("sockets opened anew")
    if active:
        systemd.run("systemctl", "start", spec.socket)  # whoever stands in takes what it listens on
    if effects & {"restart", "socket", "start"} or not active:
        stood_in = active and "socket" not in effects and standin.begin(spec)
        if known:
            systemd.run("systemctl", "reset-failed", spec.service, check=False)
        systemd.run("systemctl", "restart", spec.service)
        standin.end()
        done.append("restarted behind a stand-in" if stood_in else "restarted" if active else "started")
    elif "reload" in effects:
        before = _reloads(spec.address)
        systemd.run("systemctl", "reload", spec.service)
        _await_reload(spec, before)
        done.append("reloaded")
    return done


def _check(spec: Spec, done: Sequence[str], old: gate.Sample | None, counted: tuple[int, int]) -> None:
    """Is what runs now ready, does it answer, and does it serve its callers as well as before?"""
    fault, _told = gate.ready(spec.address, spec.gate.question.timeout)
    if fault:
        raise ApplyError(fault)
    if done:
        asked = gate.sample(spec.address, replace(spec.gate.question, count=min(1, spec.gate.question.count)))
        # the first answer of a process that has just begun says nothing of its speed
        fault = gate.judge(asked, replace(old, seconds=()) if old and spec.gate.trial else None, spec.gate.bounds)
        if fault:
            raise ApplyError(fault)
    if old is not None and spec.gate.watch:
        time.sleep(spec.gate.watch)
        fault = worse(counted, _requests(spec.address))
        if fault:
            raise ApplyError(fault)


def worse(before: tuple[int, int], after: tuple[int, int]) -> str:
    """Why callers are served worse than before, from requests and failed ones; empty when they are not, or too few."""
    if after[0] < _ENOUGH:
        return ""
    was, now = before[1] / before[0] if before[0] else 0.0, after[1] / after[0]
    return f"{now:.0%} of {after[0]} requests of callers fail; {was:.0%} did before" if now > was + _WORSE else ""


def _take_back(spec: Spec, undo: Sequence[files.Saved], effects: set[str], *, active: bool, current: str) -> str:
    if not undo:
        return "Nothing that runs was touched"
    for each in undo:
        files.restore(each)
    systemd.run("systemctl", "daemon-reload")
    if not active and not current:
        systemd.run("systemctl", "stop", spec.service, spec.socket, check=False)
        return "There was none before: nothing runs"
    if "socket" in effects:
        systemd.run("systemctl", "stop", spec.service, spec.socket, check=False)
    systemd.run("systemctl", "reset-failed", spec.service, check=False)
    systemd.run("systemctl", "start", spec.socket, check=False)
    standin.begin(spec)
    systemd.run("systemctl", "restart", spec.service, check=False)
    standin.end()
    fault, _told = gate.ready(spec.address, spec.gate.question.timeout)
    _mark()
    return (
        f"It was taken back to {current}, and that is not well either: {fault}"
        if fault
        else (f"It was taken back: {current} serves again")
    )


def _mark() -> None:
    Path(APPLIED).parent.mkdir(mode=0o755, exist_ok=True)
    Path(APPLIED).write_text("", encoding="utf-8")


def _metrics(address: str) -> str:
    try:
        status, body = gate.ask(address, "GET", "/metrics")
    except OSError:
        return ""
    return body.decode("utf-8", "replace") if status == 200 else ""


def _requests(address: str) -> tuple[int, int]:
    """Requests answered since the start, and those of them that failed on our side."""
    pairs = [(status, int(float(count))) for status, count in _REQUESTS.findall(_metrics(address))]
    return sum(count for _status, count in pairs), sum(count for status, count in pairs if status >= "500")


def _reloads(address: str) -> float:
    return sum(float(each) for each in _RELOADS.findall(_metrics(address)))


def _await_reload(spec: Spec, before: float) -> None:
    until = time.monotonic() + _RELOAD_SECONDS
    while time.monotonic() < until:
        text = _metrics(spec.address)
        if not text:  # without metrics nothing tells when it is done; it takes a fraction of this
            time.sleep(2)
            return
        if sum(float(each) for each in _RELOADS.findall(text)) > before:
            return
        time.sleep(0.05)
    raise ApplyError(f"the service did not take the new configuration within {_RELOAD_SECONDS:g} s")
