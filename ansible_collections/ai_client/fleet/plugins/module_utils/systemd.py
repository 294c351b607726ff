"""systemd, by its own commands: what a unit is doing, and having it do something else."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

_SHOWN = "Id,ActiveState,SubState,UnitFileState,MainPID,ExecMainStartTimestampMonotonic,DropInPaths,FragmentPath"
_TRANSIENT_LEFT_OUT = {"ExecStart", "ExecReload", "Type", "Restart", "RestartSec", "RestartPreventExitStatus"}
_TRANSIENT_FOLDERS = {"StateDirectory", "CacheDirectory", "LogsDirectory"}


class SystemdError(Exception):
    """A command failed; the text says which, and what it said."""


def run(*command: str, seconds: float = 90.0, check: bool = True) -> str:
    """Run a command; what it printed. Raises `SystemdError`, unless told not to `check`."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except subprocess.TimeoutExpired:
        raise SystemdError(f"{' '.join(command[:4])} took longer than {seconds:g} s") from None
    if check and done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise SystemdError(f"{' '.join(command[:4])} ended with {done.returncode}: {words[-600:]}")
    return done.stdout


def show(*units: str) -> dict[str, dict[str, str]]:
    """The properties of units, by their names."""
    text = run("systemctl", "show", "-p", _SHOWN, *units)
    return parse_show(text, units)


def parse_show(text: str, units: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Read what `systemctl show` prints: a paragraph for each unit, in the order in which they were asked for."""
    paragraphs = text.strip("\n").split("\n\n")
    return {
        unit: dict(line.partition("=")[::2] for line in paragraph.splitlines())
        for unit, paragraph in zip(units, paragraphs)
    }


def has_read(shown: dict[str, dict[str, str]]) -> bool:
    """Whether systemd holds the text of any of these units: it keeps that, whatever the file says later, until a reload."""
    return any(each.get("FragmentPath") for each in shown.values())


def started_at(state: dict[str, str]) -> float:
    """When a unit's process began, in seconds since 1970; 0 when none runs."""
    since = int(state.get("ExecMainStartTimestampMonotonic") or 0)
    return time.time() - (time.monotonic() - since / 1e6) if since else 0.0


def loaded_from(pid: int, root: str) -> set[str]:
    """The releases below `root` from which a process has code loaded."""
    place = f"{root}/releases/"
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {line.partition(place)[2].partition("/")[0] for line in lines if place in line}


def last_words(unit: str, since: float, lines: int = 6) -> str:
    """The last lines that a unit wrote to the journal since a moment, joined; for the reason of a failure."""
    text = run("journalctl", "-u", unit, "--since", f"@{since:.0f}", "-o", "cat", "-n", str(lines), check=False)
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())[-600:]


def transient_properties(unit_text: str, leave_out: frozenset[str] = frozenset()) -> list[str]:
    """The settings of a unit file's [Service] as arguments of systemd-run, without what a trial must not share."""
    section, found = "", []
    for line in unit_text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        key, equals, value = line.partition("=")
        if section != "Service" or not equals or key.startswith("#"):
            continue
        if key in _TRANSIENT_LEFT_OUT or key in leave_out or key.removesuffix("Mode") in _TRANSIENT_FOLDERS:
            continue
        found += ["-p", f"{key}={value}"]
    return found
