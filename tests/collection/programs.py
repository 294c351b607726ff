"""Ansible's own programs, as `make ansible` installs them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.collection.variables import ROLES

ROOT = ROLES.parents[3]
PROGRAMS = ROOT / ".venv-ansible" / "bin"


def need_ansible() -> None:
    """Skip where it was not installed; in CI it has to be."""
    if not (PROGRAMS / "ansible-inventory").exists():
        if os.environ.get("CI"):
            pytest.fail("there is no Ansible: `make test` installs it, so something is wrong here")
        pytest.skip("there is no Ansible: make ansible")


def ansible(folder: Path, program: str, *words: str) -> str:
    """Run one of its programs with nothing of this machine's own configuration; what it printed."""
    command = [str(PROGRAMS / program), *words]
    done = subprocess.run(command, cwd=folder, env=surroundings(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def surroundings(folder: Path) -> dict[str, str]:
    """An environment in which the programs find nothing of this machine's own configuration."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "COV_CORE"))}
    environment |= {"HOME": str(folder), "ANSIBLE_CONFIG": str(folder / "none.cfg"), "ANSIBLE_NOCOLOR": "1"}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"), "ANSIBLE_LOCALHOST_WARNING": "0"}
    (folder / "none.cfg").touch()
    return environment
