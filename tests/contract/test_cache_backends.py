"""What every place for answers owes, tried on each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.backends.sqlite import SqliteCache
from ai_client.cache.backends.tiered import TieredCache
from ai_client.cache.base import CacheBackend, CacheStats, Entry
from ai_client.model.usage import NO_USAGE
from tests.running import Run
from tests.unit.cache.hands import HOUR, NOON, SECOND, HandClock, entry, key

ROOM = 1_000_000
Scenario = Callable[[CacheBackend, HandClock], Awaitable[None]]
Try = Callable[[Scenario], None]


def make(kind: str, clock: HandClock, directory: Path) -> CacheBackend:
    memory = MemoryCache(clock, ROOM)
    if kind == "memory":
        return memory
    sqlite = SqliteCache(clock, directory / "cache", ROOM, pytest.fail)
    return sqlite if kind == "sqlite" else TieredCache(memory, sqlite)


@pytest.fixture(params=["memory", "sqlite", "tiered"])
def attempt(request: pytest.FixtureRequest, tmp_path: Path, run: Run) -> Try:
    """Runs a scenario on a fresh backend with a clock of its own."""

    async def bounded(scenario: Scenario) -> None:
        clock = HandClock()
        backend = make(request.param, clock, tmp_path)
        try:
            await scenario(backend, clock)
        finally:
            await backend.close()

    return lambda scenario: run(bounded(scenario))


def test_at_first_there_is_nothing(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        assert cache.get_nowait(key(1)) is None
        assert await cache.get(key(1)) is None
        assert cache.stats().entries == 0
        assert cache.stats().evictions == 0

    attempt(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        entry(b'{"a": 1}'),
        entry(b"data: {}\n\ndata: [DONE]\n\n", streamed=True),
        Entry(201, [(b"x", b"1"), (b"x", b"\xff\x00"), (b"", b"")], bytes(range(256)), False, "модель", NOON, NO_USAGE),
        Entry(200, [], b"", True, "", NOON),
    ],
)
def test_what_was_put_comes_back_as_it_was(attempt: Try, answer: Entry) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        await cache.put(key(1), answer, HOUR)
        assert await cache.get(key(1)) == answer.until(HOUR)
        assert await cache.get(key(2)) is None

    attempt(scenario)


def test_what_is_put_without_waiting_is_seen_without_waiting_where_that_is_possible(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        cache.put_nowait(key(1), entry(), HOUR)
        seen = cache.get_nowait(key(1))
        assert seen == entry().until(HOUR) or (seen is None and not cache.instant)
        await cache.put(key(1), entry(), HOUR)
        assert await cache.get(key(1)) == entry().until(HOUR)

    attempt(scenario)


def test_it_is_good_until_its_time_is_up(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, clock: HandClock) -> None:
        await cache.put(key(1), entry(), 10 * SECOND)
        clock.pass_ns(10 * SECOND - 1)
        assert await cache.get(key(1)) is not None
        clock.pass_ns(1)
        assert cache.get_nowait(key(1)) is None
        assert await cache.get(key(1)) is None

    attempt(scenario)


def test_the_time_runs_from_when_the_answer_was_given(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, clock: HandClock) -> None:
        clock.pass_ns(9 * SECOND)
        await cache.put(key(1), entry(stored=NOON), 10 * SECOND)
        assert await cache.get(key(1)) is not None
        clock.pass_ns(SECOND)
        assert await cache.get(key(1)) is None

    attempt(scenario)


@pytest.mark.parametrize("ttl", [0, -1])
def test_what_is_not_good_for_any_time_is_not_kept(attempt: Try, ttl: int) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        await cache.put(key(1), entry(), ttl)
        assert await cache.get(key(1)) is None
        assert cache.stats().entries == 0

    attempt(scenario)


def test_the_last_put_counts(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, clock: HandClock) -> None:
        await cache.put(key(1), entry(b"old"), HOUR)
        clock.pass_ns(SECOND)
        await cache.put(key(1), entry(b"new", clock.unix_ns()), HOUR)
        found = await cache.get(key(1))
        assert found is not None
        assert found.body == b"new"
        assert cache.stats().entries == 1

    attempt(scenario)


def test_an_expired_answer_can_be_put_anew(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, clock: HandClock) -> None:
        await cache.put(key(1), entry(b"old"), SECOND)
        clock.pass_ns(2 * SECOND)
        await cache.put(key(1), entry(b"new", clock.unix_ns()), SECOND)
        found = await cache.get(key(1))
        assert found is not None
        assert found.body == b"new"

    attempt(scenario)


def test_the_room_is_bounded_and_the_newest_stay(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, clock: HandClock) -> None:
        for number in range(200):
            clock.pass_ns(1)
            await cache.put(key(number), entry(b"x" * 20_000), HOUR)
            assert cache.stats().bytes <= ROOM
        stats = cache.stats()
        assert 20 <= stats.entries < 50
        assert stats.evictions == 200 - stats.entries
        assert await cache.get(key(199)) is not None
        assert await cache.get(key(0)) is None

    attempt(scenario)


def test_what_is_used_stays(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, clock: HandClock) -> None:
        for number in range(200):
            clock.pass_ns(1)
            await cache.put(key(number), entry(b"x" * 20_000), HOUR)
            assert await cache.get(key(0)) is not None, number

    attempt(scenario)


def test_an_answer_larger_than_all_the_room_is_not_kept(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        await cache.put(key(1), entry(b"small"), HOUR)
        await cache.put(key(2), entry(b"x" * (ROOM + 1)), HOUR)
        assert await cache.get(key(2)) is None
        assert await cache.get(key(1)) is not None
        assert cache.stats().entries == 1

    attempt(scenario)


def test_calls_at_once(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        await asyncio.gather(*(cache.put(key(number), entry(b"%d" % number), HOUR) for number in range(50)))
        found = await asyncio.gather(*(cache.get(key(number)) for number in range(50)))
        assert [each.body for each in found if each] == [b"%d" % number for number in range(50)]

    attempt(scenario)


def test_what_is_instant_sees_everything(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        await cache.put(key(1), entry(), HOUR)
        if cache.instant:
            assert cache.get_nowait(key(1)) is not None

    attempt(scenario)


def test_after_closing_there_are_no_answers(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        await cache.put(key(1), entry(), HOUR)
        await cache.close()
        assert cache.get_nowait(key(1)) is None
        assert await cache.get(key(1)) is None
        await cache.put(key(2), entry(), HOUR)
        assert await cache.get(key(2)) is None
        await cache.close()

    attempt(scenario)


def test_statistics_count(attempt: Try) -> None:
    async def scenario(cache: CacheBackend, _: HandClock) -> None:
        await cache.put(key(1), entry(b"x" * 10_000), HOUR)
        await cache.put(key(2), entry(b"x" * 10_000), HOUR)
        stats = cache.stats()
        assert isinstance(stats, CacheStats)
        assert stats.entries == 2
        assert 20_000 < stats.bytes < 100_000
        assert stats.evictions == 0

    attempt(scenario)
