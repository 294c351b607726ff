"""The whole node in one call: what the action plugin `node` runs on it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.ai_client.fleet.plugins.module_utils import absent, releases, standin, systemd, trial
from ansible_collections.ai_client.fleet.plugins.module_utils.apply import PREVIOUS, ApplyError, apply
from ansible_collections.ai_client.fleet.plugins.module_utils.files import Difference, File
from ansible_collections.ai_client.fleet.plugins.module_utils.look import look
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import Spec, read_spec

LOCK = "/run/lock/ai-client-fleet"
_RELEASE_KINDS = ("release", "release_file", "package")


def main(asked: dict[str, Any], archive: bytes) -> dict[str, object]:
    """Do what `state` says. Never raises for what can go wrong on a node: that is told as `failed` and `msg`."""
    # A controller that goes away in the middle must not leave a node in the middle.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o022)  # folders of a release are there for all to read, whatever root's umask is
    spec = read_spec(asked["spec"], asked["secrets"])
    try:
        with _alone():
            return _do(asked["state"], spec, archive, check=asked["check"])
    except (ApplyError, trial.TrialError, systemd.SystemdError, releases.ReleaseError, OSError) as error:
        return {"failed": True, "msg": str(error), **_facts(spec)}


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One at a time: a call of a controller that was killed may still be at work."""
    Path(LOCK).parent.mkdir(parents=True, exist_ok=True)
    with Path(LOCK).open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    with contextlib.suppress(OSError):
        os.unlink(LOCK)


def _do(state: str, spec: Spec, archive: bytes, *, check: bool) -> dict[str, object]:
    if state == "asked":
        return _result(spec, [], [])
    if state == "absent":
        found = absent.leftovers(spec)
        if found and not check:
            absent.remove(spec)
        return _result(spec, found, [])
    if state in ("proven", "rotated"):
        # the keys alone, with the release that runs; what is proven once need not be proven again
        spec = replace(spec, release=releases.linked(spec.root, "current"), parts=["key"])
        spec = replace(spec, gate=replace(spec.gate, trial=False)) if state == "rotated" else spec
    if state == "proven":
        if not check:
            trial.prove_alone(spec)
        return _result(spec, [], [])
    return _bring(state, _previous(spec) if state == "previous" else spec, archive, check=check)


def _bring(state: str, spec: Spec, archive: bytes, *, check: bool) -> dict[str, object]:
    """Look, and mend what differs, unless it is only to be told."""
    units = systemd.show(spec.service, spec.socket)
    found = look(spec, units, full=state == "drift")
    if state == "drift":
        return {**_result(spec, found, []), "changed": False}
    if not check:
        standin.clear()  # somebody who was killed has left it
    if check or not found:
        return _result(spec, found, [])
    if not archive and any(each.kind in _RELEASE_KINDS for each in found):
        if state == "previous":
            raise ApplyError(f"the release before, {spec.release}, is not whole any more: {found[0].what}")
        return {**_result(spec, [], []), "lacks_release": True}
    return _result(spec, found, apply(spec, found, archive, units))


def _previous(spec: Spec) -> Spec:
    """The node as it was before its current release."""
    path = Path(spec.root) / PREVIOUS
    if not path.is_file():
        raise ApplyError("there is no release before the current one: nothing to go back to")
    kept = json.loads(path.read_text(encoding="utf-8"))
    former = {each["path"]: File(**each) for each in kept["files"]}
    return replace(spec, release=kept["release"], files=[former.get(each.path, each) for each in spec.files])


def _result(spec: Spec, found: list[Difference], actions: list[str]) -> dict[str, object]:
    return {
        "changed": bool(found),
        "drift": [{"kind": each.kind, "what": each.what, "effect": each.effect} for each in found],
        "actions": actions,
        "diff": [
            {
                "before_header": each.what,
                "after_header": each.what,
                "before": _ended(each.before),
                "after": _ended(each.after),
            }
            for each in found
        ],
        **_facts(spec),
    }


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _facts(spec: Spec) -> dict[str, object]:
    names = {name: releases.linked(spec.root, name) for name in ("current", "previous")}
    return {"release": names, "key_ids": {name: _key_in_use(spec.service, name) for name in spec.credentials}}


def _key_in_use(service: str, credential: str) -> str:
    """Which key the service was started with: its own copy tells, not the file from which the next start takes it."""
    try:
        return key_id(Path(f"/run/credentials/{service}/{credential}").read_bytes())
    except OSError:
        return ""


def key_id(key: bytes) -> str:
    """What tells a key from others, and cannot be turned back into it."""
    return hashlib.sha256(key.strip()).hexdigest()[:12]
