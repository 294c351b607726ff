"""Answers in a file: they survive a restart, and all processes of a node that name the same directory share them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ai_client.cache.base import CacheStats, Entry
from ai_client.clock import Clock

T = TypeVar("T")

_FILE: Final = "answers-1.db"
"""The number is the format's: another format is another file, so that old and new versions never meet in one."""

_BUSY_SECONDS: Final = 1.0
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MOST_UNWRITTEN: Final = 64 * 1024 * 1024
_MOST_USES: Final = 1_000
_WAL_BYTES: Final = 4 * 1024 * 1024

# One write does a little of the tidying up each time, so that none takes long.
_EXPIRED_AT_ONCE: Final = 32
_EVICTED_AT_ONCE: Final = 4
_EVICTION_ROUNDS: Final = 256
_SPARE_PAGES: Final = 1_024
_PAGES_GIVEN_BACK: Final = 256

_CREATE: Final = (
    """
    CREATE TABLE IF NOT EXISTS answers (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, expires INTEGER NOT NULL,
        checksum INTEGER NOT NULL, entry BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS by_use ON answers (used)",
    "CREATE INDEX IF NOT EXISTS by_expiry ON answers (expires)",
    "CREATE TABLE IF NOT EXISTS totals (id INTEGER PRIMARY KEY CHECK (id = 1), entries INTEGER NOT NULL) STRICT",
    "INSERT OR IGNORE INTO totals VALUES (1, 0)",
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class SqliteCache:
    """At most `max_bytes` of answers on disk; what was used least recently goes first. For one event loop.

    The work is done in one thread of its own. A file that turns out broken is set aside, and a new one begun. What goes
    wrong is told to `report`, in that thread, once until it goes well again or goes wrong in another way; to the caller
    it is an answer that is not there.
    """

    instant: Final = False

    def __init__(self, clock: Clock, directory: Path, max_bytes: int, report: Callable[[str], None]) -> None:
        """Does no I/O: the directory (mode 0700) and the file (0600) are made at the first use."""
        self._clock = clock
        self._directory = directory
        self._max_bytes = max_bytes
        self._report = report
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ai-client-cache")
        self._unwritten = 0
        self._closed = False
        # From here on, what only the worker touches; it replaces `_stats` whole, which anybody may read.
        self._file: _File | None = None
        self._said = ""
        self._stats = CacheStats(0, 0, 0)

    def get_nowait(self, key: bytes) -> Entry | None:
        """None: nothing here is at hand without waiting."""

    async def get(self, key: bytes) -> Entry | None:
        """The answer under `key`, if there is one and it is still good."""
        if self._closed:
            return None
        return await self._in_worker(lambda file: file.get(key, self._clock.unix_ns()))

    def put_nowait(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """Nothing: a file is written by waiting for it."""

    async def put(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """Keep `entry` for `ttl_ns` from its `stored_unix_ns`; returns when it is written.

        Not at all while 64 MiB wait to be written: a disk that cannot keep up must not fill the memory.
        """
        entry = entry.until(ttl_ns)
        size = len(entry.body)
        too_large = size > min(self._max_bytes, _MOST_UNWRITTEN - self._unwritten)
        if self._closed or too_large or entry.expires_unix_ns <= self._clock.unix_ns():
            return
        self._unwritten += size
        try:
            await self._in_worker(lambda file: self._write(file, key, entry))
        finally:
            self._unwritten -= size

    def stats(self) -> CacheStats:
        """What the file held when this process last wrote to it; `bytes` are those of the file's pages in use."""
        return self._stats

    async def close(self) -> None:
        """Finish what is under way, and close the file."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._worker, self._close)
            self._worker.shutdown()

    async def _in_worker(self, work: Callable[[_File], T]) -> T | None:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._guarded, work)

    # ---- in the worker's thread

    def _guarded(self, work: Callable[[_File], T]) -> T | None:
        try:
            if self._file is None:
                self._file = _File(self._directory / _FILE, self._max_bytes)
                self._file.prepare()
                self._stats = self._file.stats(self._stats.evictions)
            result = work(self._file)
        except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
            self._failed(error)
            return None
        self._said = ""
        return result

    def _write(self, file: _File, key: bytes, entry: Entry) -> None:
        evicted = file.put(key, entry, self._clock.unix_ns())
        self._stats = file.stats(self._stats.evictions + evicted)

    def _failed(self, error: Exception) -> None:
        """Close the file, which undoes what was half done. The next use opens it again, or a new one when broken."""
        said = f"the cache in {self._directory} failed: {error}"
        file, self._file = self._file, None
        if file is not None:
            file.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
                said += f"; {file.set_aside()}"
                self._stats = CacheStats(0, 0, self._stats.evictions)
        if said != self._said:
            self._said = said
            self._report(said)

    def _close(self) -> None:
        if self._file is not None:
            self._guarded(_File.write_uses)
        if self._file is not None:
            self._file.close()
            self._file = None


class _File:
    """The file itself, for one thread. Raises sqlite3.Error, OSError, msgspec.DecodeError: then it has to be closed."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._uses: dict[bytes, int] = {}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create the file readable by others, and gives its log and index the mode of the file.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._inode = os.fstat(descriptor).st_ino
        os.close(descriptor)
        self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)

    def prepare(self) -> None:
        """Make the tables if there are none."""
        db = self._db
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before the first table is made
        with db:
            # The transaction comes before the change to the write-ahead log, which does not wait for its turn.
            db.execute("BEGIN IMMEDIATE")
            for statement in _CREATE:
                db.execute(statement)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last answers, never the file
        db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")

    def stats(self, evictions: int) -> CacheStats:
        (entries,) = self._db.execute("SELECT entries FROM totals").fetchone()
        return CacheStats(entries, self._bytes(), evictions)

    def get(self, key: bytes, now_ns: int) -> Entry | None:
        row = self._db.execute("SELECT expires, checksum, entry FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        expires, checksum, encoded = row
        if expires <= now_ns or zlib.crc32(encoded) != checksum:  # SQLite itself does not see a flipped bit
            return None
        self._uses[key] = now_ns
        if len(self._uses) >= _MOST_USES:
            self.write_uses()
        return _decoder.decode(encoded)

    def put(self, key: bytes, entry: Entry, now_ns: int) -> int:
        """Returns how many others had to go to make room."""
        db = self._db
        encoded = _encoder.encode(entry)
        with db:
            db.execute("BEGIN IMMEDIATE")
            self._write_uses()
            gone = db.execute("DELETE FROM answers WHERE key = ?", (key,)).rowcount
            gone += db.execute(
                "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE expires <= ? LIMIT ?)",
                (now_ns, _EXPIRED_AT_ONCE),
            ).rowcount
            db.execute(
                "INSERT INTO answers (key, used, expires, checksum, entry) VALUES (?, ?, ?, ?, ?)",
                (key, now_ns, entry.expires_unix_ns, zlib.crc32(encoded), encoded),
            )
            evicted = self._evict()
            db.execute("UPDATE totals SET entries = entries + ?", (1 - gone - evicted,))
        if self._pragma("freelist_count") > _SPARE_PAGES:
            # It yields a row without columns for each page; `execute` would stop at the first one.
            db.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})")
        return evicted

    def write_uses(self) -> None:
        """Note when which answers were used. Not at each use: that would be a write for every read."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._write_uses()

    def close(self) -> None:
        self._db.close()

    def set_aside(self) -> str:
        """Make room for a new file; returns what was done, in words."""
        aside = self._path.with_suffix(".broken")
        try:
            if not self._path.exists() or self._path.stat().st_ino != self._inode:
                return "another process has set it aside"
            self._path.replace(aside)  # over an earlier one: broken files must not pile up
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            return f"the file could not be set aside: {error}"
        return f"it was set aside as {aside}, and a new file begun"

    def _write_uses(self) -> None:
        uses, self._uses = self._uses, {}
        self._db.executemany(
            "UPDATE answers SET used = max(used, ?) WHERE key = ?", ((ns, key) for key, ns in uses.items())
        )

    def _evict(self) -> int:
        evicted = 0
        for _ in range(_EVICTION_ROUNDS):
            if self._bytes() <= self._max_bytes:
                break
            gone = self._db.execute(
                "DELETE FROM answers WHERE id IN (SELECT id FROM answers ORDER BY used, id LIMIT ?)",
                (_EVICTED_AT_ONCE,),
            ).rowcount
            if not gone:
                break
            evicted += gone
        return evicted

    def _bytes(self) -> int:
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
