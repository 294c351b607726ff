"""What the system says of this process's memory."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ai_client.daemon.footprint import give_back, resident_bytes


def test_memory_is_told_in_bytes_and_grows_with_what_is_held(tmp_path: Path) -> None:
    before = resident_bytes()
    assert before > 1 << 20
    held = bytearray(b"x" * (64 << 20))
    assert resident_bytes() - before > 32 << 20
    del held
    (tmp_path / "statm").write_bytes(b"900 7 3 1 0 5 0\n")
    assert resident_bytes(tmp_path / "statm") == 7 * os.sysconf("SC_PAGE_SIZE")
    assert resident_bytes(tmp_path / "none") == 0


def test_what_is_free_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [bytes(900) for _ in range(200_000)]  # below what the C library maps apart
    pinned = held[::1000]
    del held
    full = resident_bytes()
    assert give_back()
    assert resident_bytes() < full - (50 << 20)
    assert len(pinned) == 200
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    assert not give_back()
