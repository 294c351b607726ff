"""Answers in memory: which one goes, and what the bytes are."""

from __future__ import annotations

from ai_client.cache.backends.memory import MemoryCache
from tests.running import Run
from tests.unit.cache.hands import HOUR, NOON, SECOND, HandClock, entry, key


def test_the_least_recently_used_goes_first() -> None:
    cache = MemoryCache(HandClock(), 5000)
    for number in (1, 2, 3):
        cache.put_nowait(key(number), entry(b"x" * 600), HOUR)
    assert cache.get_nowait(key(1)) is not None
    cache.put_nowait(key(4), entry(b"x" * 600), HOUR)
    assert [number for number in (1, 2, 3, 4) if cache.get_nowait(key(number))] == [1, 3, 4]
    assert cache.stats().evictions == 1


def test_the_bytes_are_those_of_what_is_held() -> None:
    clock = HandClock()
    cache = MemoryCache(clock, 100_000)
    cache.put_nowait(key(1), entry(b"x" * 1000), HOUR)
    one = cache.stats().bytes
    assert 1000 < one < 2500
    cache.put_nowait(key(1), entry(b"x" * 2000), HOUR)
    assert cache.stats().bytes == one + 1000
    cache.put_nowait(key(2), entry(b"", NOON), SECOND)
    clock.pass_ns(SECOND)
    assert cache.get_nowait(key(2)) is None
    assert cache.stats().bytes == one + 1000


def test_an_answer_that_may_not_be_kept_takes_the_old_one_with_it() -> None:
    cache = MemoryCache(HandClock(), 5000)
    cache.put_nowait(key(1), entry(b"old"), HOUR)
    cache.put_nowait(key(1), entry(b"x" * 6000), HOUR)
    assert cache.get_nowait(key(1)) is None
    assert cache.stats().bytes == 0


def test_no_room_is_no_cache(run: Run) -> None:
    cache = MemoryCache(HandClock(), 0)
    run(cache.put(key(1), entry(), HOUR))
    assert cache.get_nowait(key(1)) is None
