"""Answers in a file: it survives, it is private, and whatever happens to it, no call fails for it."""

from __future__ import annotations

import sqlite3
import stat
import zlib
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from ai_client.cache.backends import sqlite
from ai_client.cache.backends.sqlite import SqliteCache
from tests.running import Run
from tests.unit.cache.hands import HOUR, SECOND, HandClock, entry, key

ROOM = 10_000_000
FILE = "answers-1.db"


class Shelf:
    """Opens caches on one directory, and remembers what they report."""

    def __init__(self, directory: Path, run: Run) -> None:
        self.directory = directory
        self.file = directory / FILE
        self.clock = HandClock()
        self.reports: list[str] = []
        self._run = run

    def open(self, room: int = ROOM) -> SqliteCache:
        return SqliteCache(self.clock, self.directory, room, self.reports.append)

    def use(self, scenario: Callable[[SqliteCache], Awaitable[None]], room: int = ROOM) -> None:
        """Run a scenario on a cache that is opened before and closed after it."""

        async def used() -> None:
            cache = self.open(room)
            try:
                await scenario(cache)
            finally:
                await cache.close()

        self._run(used())

    def change(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """What somebody else does to the file."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as db:
            return db.execute(statement, values).fetchall()


@pytest.fixture
def shelf(tmp_path: Path, run: Run) -> Shelf:
    return Shelf(tmp_path / "cache", run)


async def bodies(cache: SqliteCache, *numbers: int) -> list[bytes | None]:
    found = [await cache.get(key(number)) for number in numbers]
    return [each.body if each else None for each in found]


def test_it_survives_a_restart(shelf: Shelf) -> None:
    async def before(cache: SqliteCache) -> None:
        await cache.put(key(1), entry(b"kept"), HOUR)

    async def after(cache: SqliteCache) -> None:
        assert cache.stats().entries == 0  # not opened yet
        assert await cache.get(key(1)) == entry(b"kept").until(HOUR)
        assert cache.stats().entries == 1

    shelf.use(before)
    shelf.use(after)
    assert shelf.reports == []


def test_only_the_owner_may_read_it(shelf: Shelf) -> None:
    async def scenario(cache: SqliteCache) -> None:
        await cache.put(key(1), entry(), HOUR)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in shelf.directory.iterdir()}
        assert modes == {FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600}
        assert stat.S_IMODE(shelf.directory.stat().st_mode) == 0o700

    shelf.use(scenario)


def test_nothing_is_made_before_the_first_use(shelf: Shelf) -> None:
    async def scenario(_: SqliteCache) -> None:
        assert not shelf.directory.exists()

    shelf.use(scenario)
    assert not shelf.directory.exists()


def test_two_processes_share_it(shelf: Shelf) -> None:
    async def scenario(cache: SqliteCache) -> None:
        other = shelf.open()
        await cache.put(key(1), entry(b"one"), HOUR)
        await other.put(key(2), entry(b"two"), HOUR)
        assert await bodies(cache, 1, 2) == await bodies(other, 1, 2) == [b"one", b"two"]
        await cache.put(key(2), entry(b"new"), HOUR)
        assert await bodies(other, 2) == [b"new"]
        assert cache.stats().entries == 2
        await other.close()

    shelf.use(scenario)


def test_a_use_saves_from_eviction_though_it_is_not_written_at_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_MOST_USES", 2)

    async def fill(cache: SqliteCache) -> None:
        for number in range(1, 5):
            shelf.clock.pass_ns(1)
            await cache.put(key(number), entry(), HOUR)

    def order() -> list[int]:
        rows = shelf.change("SELECT key FROM answers ORDER BY used")
        return [int.from_bytes(each, "big") for (each,) in rows if isinstance(each, bytes)]

    async def use(cache: SqliteCache) -> None:
        shelf.clock.pass_ns(1)
        await cache.get(key(1))
        assert order() == [1, 2, 3, 4]
        shelf.clock.pass_ns(1)
        await cache.get(key(2))
        assert order() == [3, 4, 1, 2]
        shelf.clock.pass_ns(1)
        await cache.get(key(3))

    shelf.use(fill)
    shelf.use(use)
    assert order() == [4, 1, 2, 3]  # closing wrote the last one


def test_expired_answers_leave_the_disk(shelf: Shelf) -> None:
    async def scenario(cache: SqliteCache) -> None:
        for number in range(100):
            await cache.put(key(number), entry(), SECOND)
        shelf.clock.pass_ns(SECOND)
        for number in range(100, 105):
            await cache.put(key(number), entry(stored=shelf.clock.unix_ns()), HOUR)
        assert cache.stats().entries == 5
        assert cache.stats().evictions == 0
        assert shelf.change("SELECT count(*) FROM answers") == [(5,)]

    shelf.use(scenario)


def test_a_smaller_room_gives_space_back(shelf: Shelf) -> None:
    async def fill(cache: SqliteCache) -> None:
        for number in range(90):
            shelf.clock.pass_ns(1)
            await cache.put(key(number), entry(b"x" * 100_000), HOUR)

    async def shrink(cache: SqliteCache) -> None:
        for number in range(90, 110):
            shelf.clock.pass_ns(1)
            await cache.put(key(number), entry(b"y"), HOUR)
        assert cache.stats().bytes <= 500_000
        assert cache.stats().evictions >= 85
        assert await bodies(cache, 0, 109) == [None, b"y"]

    shelf.use(fill)
    assert shelf.file.stat().st_size > 9_000_000
    shelf.use(shrink, room=500_000)
    assert shelf.file.stat().st_size < 6_000_000


def test_one_write_evicts_only_so_many(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_EVICTION_ROUNDS", 2)

    async def fill(cache: SqliteCache) -> None:
        for number in range(50):
            await cache.put(key(number), entry(b"x" * 10_000), HOUR)

    async def shrink(cache: SqliteCache) -> None:
        await cache.put(key(50), entry(b"y"), HOUR)
        assert cache.stats().evictions == 2 * sqlite._EVICTED_AT_ONCE

    shelf.use(fill)
    shelf.use(shrink, room=100_000)


def test_room_for_nothing_keeps_nothing(shelf: Shelf) -> None:
    async def scenario(cache: SqliteCache) -> None:
        await cache.put(key(1), entry(b""), HOUR)
        assert await bodies(cache, 1) == [None]
        assert cache.stats().entries == 0

    shelf.use(scenario, room=1)
    assert shelf.reports == []


def test_a_file_that_is_no_database_is_set_aside(shelf: Shelf) -> None:
    shelf.directory.mkdir()
    shelf.file.write_bytes(b"a shopping list " * 1000)

    async def scenario(cache: SqliteCache) -> None:
        assert await bodies(cache, 1) == [None]
        await cache.put(key(1), entry(b"new"), HOUR)
        assert await bodies(cache, 1) == [b"new"]

    shelf.use(scenario)
    aside = shelf.directory / "answers-1.broken"
    assert aside.read_bytes().startswith(b"a shopping list")
    assert len(shelf.reports) == 1
    assert "file is not a database" in shelf.reports[0]
    assert str(aside) in shelf.reports[0]


def test_a_file_that_breaks_later_is_set_aside(shelf: Shelf) -> None:
    async def fill(cache: SqliteCache) -> None:
        for number in range(50):
            await cache.put(key(number), entry(b"x" * 10_000), HOUR)

    async def scenario(cache: SqliteCache) -> None:
        with shelf.file.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (shelf.file.stat().st_size - 4096))
        for number in range(50):
            assert await bodies(cache, number) == [None]
        await cache.put(key(1), entry(b"new"), HOUR)
        assert await bodies(cache, 1) == [b"new"]
        assert cache.stats().entries == 1

    shelf.use(fill)
    shelf.use(scenario)
    assert len(shelf.reports) == 1
    assert "malformed" in shelf.reports[0]
    assert (shelf.directory / "answers-1.broken").exists()


def test_a_flipped_bit_is_no_answer(shelf: Shelf) -> None:
    async def scenario(cache: SqliteCache) -> None:
        await cache.put(key(1), entry(b"right"), HOUR)
        shelf.change("UPDATE answers SET entry = CAST(replace(entry, ?, ?) AS BLOB)", b"right", b"wrong")
        assert await bodies(cache, 1) == [None]

    shelf.use(scenario)


def test_an_entry_that_means_nothing_is_no_answer(shelf: Shelf) -> None:
    async def scenario(cache: SqliteCache) -> None:
        await cache.put(key(1), entry(), HOUR)
        await cache.put(key(2), entry(b"fine"), HOUR)
        shelf.change("UPDATE answers SET entry = ?, checksum = ? WHERE key = ?", b"?", zlib.crc32(b"?"), key(1))
        assert await bodies(cache, 1, 2) == [None, b"fine"]

    shelf.use(scenario)
    assert len(shelf.reports) == 1


def test_what_cannot_be_opened_is_told_once(shelf: Shelf) -> None:
    shelf.directory.touch()

    async def scenario(cache: SqliteCache) -> None:
        for _ in range(3):
            await cache.put(key(1), entry(b"x"), HOUR)
            assert await bodies(cache, 1) == [None]
        assert len(shelf.reports) == 1
        shelf.directory.unlink()
        await cache.put(key(1), entry(b"x"), HOUR)
        assert await bodies(cache, 1) == [b"x"]

    shelf.use(scenario)
    assert len(shelf.reports) == 1
    assert f"the cache in {shelf.directory} failed: " in shelf.reports[0]


def test_a_failure_that_comes_back_is_told_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.0)

    async def scenario(cache: SqliteCache) -> None:
        await cache.put(key(1), entry(b"one"), HOUR)
        for told in (1, 2):
            with closing(sqlite3.connect(shelf.file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await cache.put(key(2), entry(b"two"), HOUR)
                await cache.put(key(3), entry(b"three"), HOUR)
                assert len(shelf.reports) == told
                assert "locked" in shelf.reports[-1]
            assert await bodies(cache, 1, 2) == [b"one", None]

    shelf.use(scenario)


def test_closing_writes_what_it_can(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.0)

    async def scenario(cache: SqliteCache) -> None:
        await cache.put(key(1), entry(b"one"), HOUR)
        await cache.get(key(1))
        with closing(sqlite3.connect(shelf.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await cache.close()

    shelf.use(scenario)
    assert len(shelf.reports) == 1


@pytest.mark.parametrize("begun", [True, False])
def test_a_new_file_of_another_process_is_left_alone(shelf: Shelf, *, begun: bool) -> None:
    async def fill(cache: SqliteCache) -> None:
        for number in range(50):
            await cache.put(key(number), entry(b"x" * 10_000), HOUR)

    async def scenario(cache: SqliteCache) -> None:
        assert await bodies(cache, 0) == [b"x" * 10_000]
        with shelf.file.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (shelf.file.stat().st_size - 4096))
        for path in shelf.directory.iterdir():
            path.rename(shelf.directory.parent / path.name)
        other = shelf.open()
        if begun:
            await other.put(key(7), entry(b"new"), HOUR)
        assert await bodies(cache, 40) == [None]
        assert await bodies(cache, 7) == await bodies(other, 7) == [b"new" if begun else None]
        await other.close()

    shelf.use(fill)
    shelf.use(scenario)
    assert len(shelf.reports) == 1
    assert "another process has set it aside" in shelf.reports[0]


def test_a_file_that_cannot_be_set_aside_is_told(shelf: Shelf) -> None:
    (shelf.directory / "answers-1.broken").mkdir(parents=True)
    shelf.file.write_bytes(b"a shopping list " * 1000)

    async def scenario(cache: SqliteCache) -> None:
        assert await bodies(cache, 1) == [None]

    shelf.use(scenario)
    assert "could not be set aside" in shelf.reports[0]


def test_a_disk_that_cannot_keep_up_does_not_fill_the_memory(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_MOST_UNWRITTEN", 1000)

    async def scenario(cache: SqliteCache) -> None:
        cache._unwritten = 900
        await cache.put(key(1), entry(b"x" * 101), HOUR)
        await cache.put(key(2), entry(b"x" * 100), HOUR)
        assert await bodies(cache, 1, 2) == [None, b"x" * 100]
        assert cache._unwritten == 900

    shelf.use(scenario)
