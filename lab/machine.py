"""What the lab asks of the machine: root, a few of Debian's packages, and commands that succeed or say why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from lab.plan import LabError

_PACKAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "systemd-nspawn": "systemd-container",
        "debootstrap": "debootstrap",
        "ip": "iproute2",
        "tc": "iproute2",
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
    }
)


def require() -> None:
    """Make sure that this machine can have a lab; a missing package is installed. Raises `LabError` if it cannot."""
    if os.geteuid() != 0:
        raise LabError("a lab makes namespaces, mounts and cgroups, so it needs root: run it with sudo")
    missing = sorted({package for program, package in _PACKAGES.items() if not shutil.which(program)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise LabError(
            f"missing: {', '.join(missing)}. Install what your distribution calls these packages of Debian's"
        )
    sys.stderr.write(f"Installing {', '.join(missing)} ...\n")
    call("apt-get", "update", "-qq")
    call(
        "apt-get",
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        *missing,
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )


def call(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed. Raises `LabError` with its last words if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})
    if done.returncode:
        raise LabError(f"{' '.join(words)}: exit code {done.returncode}\n{_last(done.stderr or done.stdout)}")
    return done.stdout


def attempt(*words: str) -> bool:
    """Run a command that may fail; whether it succeeded."""
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def replace(words: Sequence[str]) -> None:
    """Become this command. Does not return. Raises `LabError` if there is no such command."""
    sys.stdout.flush()
    try:
        os.execvp(words[0], list(words))
    except OSError as error:
        raise LabError(f"{words[0]}: {error.strerror}") from None


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-10:])
