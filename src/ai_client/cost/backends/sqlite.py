"""A ledger in a file, shared by all processes of a node."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ai_client.cost.base import Entry

_SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 10.0
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS spending (
    day TEXT NOT NULL, app TEXT NOT NULL, tag TEXT NOT NULL, model TEXT NOT NULL, target TEXT NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL,
    PRIMARY KEY (day, app, tag, model, target)
) STRICT, WITHOUT ROWID
"""
_ADD: Final = """
INSERT INTO spending VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    calls = calls + excluded.calls, errors = errors + excluded.errors,
    input_tokens = input_tokens + excluded.input_tokens,
    cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
    output_tokens = output_tokens + excluded.output_tokens, cost_nano = cost_nano + excluded.cost_nano
"""
_READ: Final = "SELECT * FROM spending WHERE day BETWEEN ? AND ? ORDER BY day, app, tag, model, target"


class SqliteLedger:
    """Keeps the rows in an SQLite file (mode 0600, write-ahead log). Any thread and any process may add to it."""

    def __init__(self, path: Path) -> None:
        """Opens or creates `path`, and its directory.

        Raises OSError when that fails, or when the file was written by a newer version of this package.
        """
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create the file readable by others, and gives its log and index the mode of the file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self._explained("opened"):
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with self._explained("opened"):
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def add(self, rows: Sequence[Entry]) -> None:
        """Add these figures to what is there, in one transaction. Raises OSError, and none was added, when it fails."""
        with self._explained("written"), self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_ADD, [(*row.key, *row.figures) for row in rows])

    def read(self, since_day: str, until_day: str) -> list[Entry]:
        """The rows of these days, both included, sorted by their keys. Raises OSError when the file cannot be read."""
        with self._explained("read"), self._lock:
            return [Entry(*row) for row in self._db.execute(_READ, (since_day, until_day))]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        # The transaction comes first: it waits for its turn, which the change to the write-ahead log does not.
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > _SCHEMA_VERSION:
                raise OSError(
                    f"the cost ledger {self._path} has format {version}; this version of ai-client knows formats up to "
                    f"{_SCHEMA_VERSION}: upgrade ai-client, or name another file"
                )
            self._db.execute(_CREATE)
            self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # it is money, and flushed seldom

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OSError(f"the cost ledger {self._path} cannot be {what}: {error}") from error
