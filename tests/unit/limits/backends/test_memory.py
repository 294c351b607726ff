"""What only the limiter in memory does."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.errors import RateLimitedError
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Settings
from ai_client.testing import FakeClock
from tests.virtual import run_virtually
from tests.wire import turns

SECOND = 1_000_000_000
FOREVER = 10**18


def test_it_says_what_there_is() -> None:
    clock = FakeClock()
    assert MemoryLimiter("p", Settings(), clock).available() == (None, None)
    limiter = MemoryLimiter("p", Settings(requests_per_minute=120, tokens_per_minute=6000), clock)
    assert limiter.available() == (2, 100)
    held = limiter.try_reserve(30, 5)
    assert held is not None
    assert limiter.available() == (1, 70)
    held.settle(150)
    assert limiter.available() == (1, -50)
    clock.advance(10)
    assert limiter.available() == (2, 100)


def test_a_small_rate_still_lets_one_go() -> None:
    limiter = MemoryLimiter("p", Settings(requests_per_minute=1, burst_seconds=0.001), FakeClock())
    assert limiter.available() == (1, None)


def test_the_settling_of_requests_that_nobody_counts_changes_nothing() -> None:
    limiter = MemoryLimiter("p", Settings(requests_per_minute=60), FakeClock())
    held = limiter.try_reserve(30, 5)
    assert held is not None
    held.settle(10**6)
    held.release()
    held.settle(5)
    assert limiter.available() == (0, None)
    assert limiter.running == 0


def test_one_timer_serves_the_queue_and_none_is_left_behind() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", Settings(requests_per_minute=60), clock)
        assert limiter.try_reserve(1, 5) is not None
        tasks = [asyncio.create_task(limiter.reserve(1, 5, FOREVER)) for _ in range(5)]
        await turns()
        timer = limiter._timer
        assert timer is not None
        await asyncio.gather(*tasks)
        assert abs(clock.monotonic_ns() - 5 * SECOND) < 1000
        assert timer.cancelled() or timer.when() <= asyncio.get_running_loop().time()
        assert limiter._queue == []
        assert set(limiter._queued.values()) == {(0, 0)}

    run_virtually(scenario)


def test_given_up_at_the_same_moment_by_its_deadline_and_by_its_caller() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", Settings(max_concurrent=1), clock)
        assert limiter.try_reserve(1, 5) is not None
        leaving = asyncio.create_task(limiter.reserve(1, 5, SECOND))
        await turns()
        asyncio.get_running_loop().call_at(1.0, leaving.cancel)
        with pytest.raises((asyncio.CancelledError, RateLimitedError)):
            await leaving
        assert (limiter.running, limiter.waiting) == (1, 0)

    run_virtually(scenario)


@pytest.mark.parametrize(("earlier", "admitted"), [(5e-10, True), (-5e-10, False)])
def test_let_in_and_out_of_time_in_the_same_turn_the_first_counts(earlier: float, admitted: bool) -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", Settings(max_concurrent=1), clock)
        gate = limiter.try_reserve(1, 5)
        assert gate is not None
        waiting = asyncio.create_task(limiter.reserve(1, 5, SECOND))
        await turns()
        asyncio.get_running_loop().call_at(1.0 - earlier, gate.release)
        (end,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(end, RateLimitedError) is not admitted
        assert (limiter.running, limiter.waiting) == (int(admitted), 0)

    run_virtually(scenario)


def test_who_need_not_wait_does_not() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", Settings(max_concurrent=1), clock)
        held = await limiter.reserve(1, 5, 0)
        assert limiter.running == 1
        held.release()
        assert clock.monotonic_ns() == 0

    run_virtually(scenario)


def test_one_that_leaves_as_it_is_let_in_where_only_places_are_counted() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", Settings(max_concurrent=1), clock)
        gate = limiter.try_reserve(0, 5)
        assert gate is not None
        leaving = asyncio.create_task(limiter.reserve(100, 5, FOREVER))
        await turns()
        gate.release()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert (limiter.running, limiter.waiting) == (0, 0)

    run_virtually(scenario)
