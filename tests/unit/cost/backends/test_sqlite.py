"""The ledger in a file: who may read it, what it refuses, and several processes at once."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ai_client.cost.backends.sqlite import SqliteLedger
from ai_client.cost.base import Entry

ROW = Entry("2026-01-31", "app", "tag", "gpt-4.1", "openai/gpt-4.1", 1, 0, 10, 4, 5, 700)
ALL = ("0000-00-00", "9999-99-99")

ADDS = """
import sys
from pathlib import Path
from ai_client.cost.backends.sqlite import SqliteLedger
from ai_client.cost.base import Entry
sys.stdin.readline()
ledger = SqliteLedger(Path(sys.argv[1]))
for _ in range(20):
    ledger.add([Entry("2026-01-31", "app", "tag", "gpt-4.1", "openai/gpt-4.1", 1, 0, 10, 4, 5, 700)])
ledger.close()
"""


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "ledger.db"
    ledger = SqliteLedger(path)
    ledger.add([ROW])
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {
        "ledger.db": 0o600,
        "ledger.db-wal": 0o600,
        "ledger.db-shm": 0o600,
    }
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    ledger.close()


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        ledger = SqliteLedger(tmp_path / "ledger.db")
        ledger.add([ROW])
        ledger.close()
    ledger = SqliteLedger(tmp_path / "ledger.db")
    assert ledger.read(*ALL) == [Entry(*ROW.key, 2, 0, 20, 8, 10, 1400)]
    ledger.close()


def test_processes_that_start_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    command = [sys.executable, "-c", ADDS, str(path)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert (child.returncode, errors) == (0, "")
    ledger = SqliteLedger(path)
    assert ledger.read(*ALL) == [Entry(*ROW.key, 80, 0, 800, 320, 400, 56_000)]
    ledger.close()


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(OSError, match=r"ledger\.db has format 2.*upgrade ai-client"):
        SqliteLedger(path)


def test_what_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("a shopping list " * 100)
    with pytest.raises(OSError, match=r"ledger\.db cannot be opened: file is not a database"):
        SqliteLedger(path)
    assert path.read_text().startswith("a shopping list")


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        SqliteLedger(tmp_path / "file" / "ledger.db")
    with pytest.raises(OSError, match="directory"):
        SqliteLedger(tmp_path)


def test_a_failed_write_adds_nothing(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    too_much = Entry(*ROW.key, cost_nano=2**62)
    ledger.add([too_much])
    with pytest.raises(OSError, match="cannot be written"):
        ledger.add([ROW, too_much])  # the sum does not fit into SQLite's integers
    assert ledger.read(*ALL) == [too_much]
    ledger.add([ROW])
    assert ledger.read(*ALL)[0].calls == 1
    ledger.close()


def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.close()
    ledger.close()
    with pytest.raises(OSError, match="cannot be written"):
        ledger.add([ROW])
    with pytest.raises(OSError, match="cannot be read"):
        ledger.read(*ALL)
