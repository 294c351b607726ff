"""The base images, one for each Debian suite: made once, then only read, by all nodes of all labs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.machine import call

_INCLUDED: Final = "systemd,systemd-sysv,dbus,openssh-server,python3,python3-venv,sudo,iproute2,ca-certificates"
"""What a bare server has."""
_SILENT: Final = (
    "console-getty.service",
    "systemd-logind.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
)
"""Units that would only cost fifty nodes on two cores their time."""


def folder() -> Path:
    """Where the images are: $LAB_IMAGES, or in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LAB_IMAGES") or Path(cache) / "ai-client-lab")


def image(suite: str) -> Path:
    """The image of a suite; builds it if it is missing, which takes about a minute. Raises `LabError` if that fails."""
    recipe = hashlib.sha256(f"{_INCLUDED} {_SILENT}".encode()).hexdigest()[:6]
    ready = folder() / f"{suite}-{recipe}"
    if ready.is_dir():
        return ready
    sys.stderr.write(f"Building the image of {suite} in {ready} (once, about a minute) ...\n")
    part = ready.with_suffix(f".part{os.getpid()}")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        call("debootstrap", "--variant=minbase", f"--include={_INCLUDED}", suite, str(part), *mirror())
        call("chroot", str(part), "systemctl", "mask", *_SILENT)
        shutil.rmtree(part / "var/cache/apt/archives", ignore_errors=True)
        # Whoever finds no identity of its own takes the one that D-Bus kept: all nodes would then be one machine.
        (part / "var/lib/dbus/machine-id").unlink(missing_ok=True)
        if not ready.is_dir():  # another lab may have been faster
            part.rename(ready)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return ready


def packages(suite: str, names: Sequence[str], into: Path) -> None:
    """Fetch .deb files of a suite into a folder, on a system of its own that is thrown away. Raises `LabError`."""
    into.mkdir(parents=True, exist_ok=True)
    call(
        *("systemd-nspawn", "-q", "--register=no", "--keep-unit", "--volatile=overlay", "--resolv-conf=copy-host"),
        *(f"--directory={image(suite)}", f"--bind={into}:/mnt", "sh", "-ec"),
        *('apt-get update -qq; cd /mnt; exec apt-get download -qq "$@"', "sh", *names),
    )


def mirror(apt: Path = Path("/etc/apt")) -> tuple[str, ...]:
    """The mirror that this machine itself installs Debian from; none where it tells of none: debootstrap knows one."""
    for path in sorted([*apt.glob("sources.list"), *apt.glob("sources.list.d/*")]):
        found = re.search(
            r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+/debian/?)(?:\s|$)", path.read_text("utf-8"), re.MULTILINE
        )
        if found:
            return (found[1],)
    return ()
