"""Nobody looks into the daemon's memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from ai_client.daemon.secrecy import keep_memory_private

PROGRAM = """
import ctypes, resource
from ai_client.daemon.secrecy import keep_memory_private
assert keep_memory_private()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
"""3 is PR_GET_DUMPABLE."""


def test_no_core_and_not_dumpable() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "(0, 0) 0\n"


def test_a_system_without_it_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> ctypes.CDLL:
        raise OSError("no such library")

    limits: list[object] = []
    monkeypatch.setattr("resource.setrlimit", lambda *asked: limits.append(asked))
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not keep_memory_private()
    assert limits
