"""Memory in front of a disk: what is fetched once is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.backends.sqlite import SqliteCache
from ai_client.cache.backends.tiered import TieredCache
from tests.running import Run
from tests.unit.cache.hands import HOUR, SECOND, HandClock, entry, key


def test_what_a_restart_left_on_the_disk_comes_into_memory(tmp_path: Path, run: Run) -> None:
    clock = HandClock()

    async def scenario() -> None:
        first = TieredCache(MemoryCache(clock, 100_000), SqliteCache(clock, tmp_path, 10**6, pytest.fail))
        await first.put(key(1), entry(b"kept"), HOUR)
        assert first.get_nowait(key(1)) is not None
        await first.close()

        second = TieredCache(MemoryCache(clock, 100_000), SqliteCache(clock, tmp_path, 10**6, pytest.fail))
        assert second.get_nowait(key(1)) is None
        found = await second.get(key(1))
        assert found == entry(b"kept").until(HOUR)
        assert second.get_nowait(key(1)) == found
        clock.pass_ns(HOUR - SECOND)
        assert second.get_nowait(key(1)) == found
        clock.pass_ns(SECOND)
        assert second.get_nowait(key(1)) is None
        assert await second.get(key(1)) is None
        assert second.stats().entries == 1
        await second.close()

    run(scenario())


def test_what_is_not_written_yet_is_at_hand(tmp_path: Path, run: Run) -> None:
    clock = HandClock()

    async def scenario() -> None:
        cache = TieredCache(MemoryCache(clock, 100_000), SqliteCache(clock, tmp_path, 10**6, pytest.fail))
        cache.put_nowait(key(1), entry(b"new"), HOUR)
        assert cache.get_nowait(key(1)) == entry(b"new").until(HOUR)
        await cache.close()

    run(scenario())
