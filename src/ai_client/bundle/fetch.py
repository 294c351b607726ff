"""Fetching wheels for a Python and a machine that need not be ours: pip's work, by the hashes of our lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from ai_client.errors import AIClientError

PYTHONS: Final = ("3.11", "3.12", "3.13")
"""For each of these there is a lock in `locks/`, and Python's own name in the launcher."""
ARCHES: Final = ("x86_64", "aarch64")

_LOCKS: Final = Path(__file__).parent / "locks"
_GLIBC: Final = 28
"""Servers with glibc 2.28 or newer: Debian 10, RHEL 8, Ubuntu 20.04."""
_OLD: Final = ("manylinux2014", "manylinux2010", "manylinux1")
_FIRST: Final = 5


def lock(python: str) -> Path:
    """The lock of a release for this Python: every package by version and by hash."""
    return _LOCKS / f"py{python}.txt"


def platforms(arch: str) -> list[str]:
    """The platform tags that such a server runs (PEP 600), best first."""
    return [f"manylinux_2_{minor}_{arch}" for minor in range(_GLIBC, _FIRST - 1, -1)] + [
        f"{old}_{arch}" for old in _OLD
    ]


def fetch(python: str, arch: str, into: Path, wheels: Path | None) -> list[Path]:
    """Put the locked wheels into a folder: from `wheels`, or from the registry that pip is configured for.

    What is not in the lock, or has another hash, is refused by pip. Raises `AIClientError` with what pip said.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--implementation=cp", f"--python-version={python}"]
    command += [f"--platform={tag}" for tag in platforms(arch)]
    command += [f"--dest={into}", f"--requirement={lock(python)}"]
    if wheels is not None:
        command += ["--no-index", f"--find-links={wheels}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no word of it is a caller's
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        source = f"the folder {wheels}" if wheels else "the registry"
        raise AIClientError(
            f"no wheels for Python {python} on {arch} from {source}: " + (" ".join(said[-3:]) or "pip failed")
        )
    return sorted(into.glob("*.whl"))
