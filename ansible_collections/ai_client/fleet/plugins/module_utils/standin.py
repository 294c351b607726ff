"""A restart that no caller waits for: while the service is exchanged, a stand-in serves on the same sockets.

systemd hands the sockets that it holds to both (`Sockets=`), so each caller is taken by the one that is there. The stand-in has
the unit of the service, its user and its bounds, and ends by itself should nobody end it.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ansible_collections.ai_client.fleet.plugins.module_utils import files, systemd
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import Spec

UNIT = "ai-client-standin.service"
PLACE = "/run/systemd/system"
_MOST_SECONDS = 300
"""Longer than the service needs to stop and to start twice."""
_END_SECONDS = 60.0
_LEFT_OUT = {"Restart", "RestartSec", "RestartPreventExitStatus"}
_ALONE = (
    "AI_CLIENT_MONITORING__EXPORT_PROMETHEUS=false",
    "AI_CLIENT_LOGGING__DESTINATION=stderr",
)
"""What only one process on a node can have: the port of the metrics, and the log file. Cache and ledger are shared."""


def unit_text(service: str, socket: str) -> str:
    """The stand-in's unit, made of the text of the service's."""
    section, kept = "", []
    for line in service.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "Service" and line.partition("=")[0] not in _LEFT_OUT and line:
            kept.append(line)
    return "\n".join(
        [
            *("[Unit]", "Description=ai-client, while its service is restarted", f"After={socket}", ""),
            *("[Service]", *kept, f"Sockets={socket}", "Restart=no", f"RuntimeMaxSec={_MOST_SECONDS}"),
            *(f"Environment={each}" for each in _ALONE),
            "",
        ]
    )


def begin(spec: Spec) -> bool:
    """Have a stand-in serve beside the service, made of the unit that is on disk now; whether one does."""
    if _state() == "active":
        return True
    clear()
    unit = Path(f"/etc/systemd/system/{spec.service}")
    try:
        os.makedirs(PLACE, exist_ok=True)
        known = systemd.has_read(systemd.show(UNIT))  # that of an earlier restart
        text = unit_text(unit.read_text(encoding="utf-8"), spec.socket)
        files.write(files.File(f"{PLACE}/{UNIT}", text, 0o644, "root", "root", "unit"))
        if unit.with_name(f"{unit.name}.d").is_dir():
            files.link(f"{PLACE}/{UNIT}.d", f"{unit}.d")
        if known:
            systemd.run("systemctl", "daemon-reload")
        systemd.run("systemctl", "start", UNIT)
    except (OSError, systemd.SystemdError):
        # callers wait in the sockets' queues then; whether the service is well is judged by the service itself
        clear()
        return False
    return True


def end() -> None:
    """Have it take no further caller. It finishes what it has begun; does nothing where there is none."""
    if not os.path.exists(f"{PLACE}/{UNIT}"):
        return
    systemd.run("systemctl", "stop", "--no-block", UNIT, check=False)
    until = time.monotonic() + _END_SECONDS
    while _state() == "active" and time.monotonic() < until:
        time.sleep(0.02)


def clear() -> None:
    """End it and wait until it is gone, with its unit; also one that somebody who was killed has left."""
    if not os.path.lexists(f"{PLACE}/{UNIT}"):
        return
    systemd.run("systemctl", "stop", UNIT, check=False)
    systemd.run("systemctl", "reset-failed", UNIT, check=False)
    for path in (f"{PLACE}/{UNIT}", f"{PLACE}/{UNIT}.d"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _state() -> str:
    return systemd.run("systemctl", "is-active", UNIT, check=False).strip()
