"""What on a node is not as it should be. Changes nothing."""

from __future__ import annotations

import fnmatch
import glob
import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ansible_collections.ai_client.fleet.plugins.module_utils import releases, systemd
from ansible_collections.ai_client.fleet.plugins.module_utils.files import (
    Difference,
    compare_file,
    compare_folder,
    compare_link,
)
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import PARTS, Spec, config_effect

APPLIED = "/run/ai-client-fleet/applied"
"""Its time is that of the last configuration that the running service took over without a restart."""


def look(spec: Spec, state: dict[str, dict[str, str]], *, full: bool) -> list[Difference]:
    """Every difference, in the order in which they are mended. `full` reads every file of the release.

    `state` is what `systemd.show` tells of the service and the socket.
    """
    found = [
        *_account(spec),
        *_release(spec, full=full),
        *(each for folder in spec.folders for each in compare_folder(folder)),
        *_files(spec),
        *_links(spec),
        *_extra(spec),
    ]
    found += _units(spec, state)
    if not any(each.effect in ("restart", "socket") for each in found):
        found += _process(spec, state[spec.service])
    return [each for each in found if PARTS[each.kind] in spec.parts]


def _account(spec: Spec) -> Iterator[Difference]:
    for kind, name, known in (("group", spec.group, _has_group), ("user", spec.user, _has_user)):
        if not known(name):
            yield Difference("user", f"{kind} {name}", "absent", "present")
    members = grp.getgrnam(spec.group).gr_mem if _has_group(spec.group) else []
    for name in spec.members:
        if name not in members and _has_user(name):
            yield Difference("user", f"{name} in group {spec.group}", "absent", "present")


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _release(spec: Spec, *, full: bool) -> Iterator[Difference]:
    place = releases.folder(spec.root, spec.release)
    current = releases.linked(spec.root, "current")
    if not releases.is_complete(spec.root, spec.release):
        yield Difference("release", str(place), "absent", "present", "restart")
    elif full or not releases.is_untouched(place):
        yield from releases.verify(place)
    if current != spec.release:
        yield Difference("current", f"{spec.root}/current", current or "absent", spec.release, "restart")


def _files(spec: Spec) -> Iterator[Difference]:
    for want in spec.files:
        for each in compare_file(want):
            if each.kind == "config" and each.before != "absent":
                yield replace(each, effect=config_effect(each.before, each.after))
            else:
                yield each


def _links(spec: Spec) -> Iterator[Difference]:
    for each in spec.links:
        yield from compare_link(each["path"], each["target"], "link")


def _extra(spec: Spec) -> Iterator[Difference]:
    """Files where only known ones may be."""
    known = {each.path for each in spec.files} | {each["path"] for each in spec.links}
    for pattern in spec.owned:
        for path in sorted(glob.glob(pattern)):
            kept = any(fnmatch.fnmatch(path, keep) for keep in spec.keep_files)
            if path not in known and not kept and not Path(path).is_dir():
                effect = "restart" if path.endswith(".conf") else ""
                yield Difference("extra", path, "present", "absent", effect)


def _units(spec: Spec, state: dict[str, dict[str, str]]) -> Iterator[Difference]:
    for unit, effect in ((spec.service, "restart"), (spec.socket, "socket")):
        shown = state[unit]
        for path in shown.get("DropInPaths", "").split():
            if not any(fnmatch.fnmatch(path, keep) for keep in spec.keep_files):
                yield Difference("dropin", path, "present", "absent", effect)
        if shown.get("UnitFileState") != "enabled":
            yield Difference("disabled", unit, shown.get("UnitFileState") or "absent", "enabled")
        if shown.get("ActiveState") not in ("active", "reloading"):
            yield Difference("stopped", unit, shown.get("ActiveState", "absent"), "active", "start")


def _process(spec: Spec, shown: dict[str, str]) -> Iterator[Difference]:
    """A process that began before what it should have read, or from another release."""
    if shown.get("ActiveState") not in ("active", "reloading"):
        return
    began = systemd.started_at(shown)
    applied = max(began, _changed(APPLIED))
    loaded = systemd.loaded_from(int(shown.get("MainPID") or 0), spec.root)
    other = sorted(loaded - {spec.release})
    if other:
        yield Difference("process", spec.service, f"runs release {other[0]}", f"runs {spec.release}", "restart")
        return
    for want in spec.files:
        if want.effect in ("reload", "restart") and _changed(want.path) > (began if want.kind == "key" else applied):
            yield Difference("process", spec.service, f"began before {want.path}", "has read it", "restart")
            return


def _changed(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0
