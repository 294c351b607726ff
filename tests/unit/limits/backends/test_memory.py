"""What only the limiter in memory does."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.errors import RateLimitedError
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Queued
from ai_client.testing import FakeClock
from tests.quotas import left, limits, need, who
from tests.virtual import pass_seconds, run_virtually
from tests.wire import turns

SECOND = 1_000_000_000
FOREVER = 10**18


def test_it_says_what_there_is() -> None:
    clock = FakeClock()
    assert left(MemoryLimiter("p", limits(), clock)) == (None, None)
    limiter = MemoryLimiter("p", limits(requests=120, tokens=6000), clock)
    assert left(limiter) == (2, 100)
    held = limiter.try_reserve(need(30), 5)
    assert held is not None
    assert left(limiter) == (1, 70)
    held.settle(need(150))
    assert left(limiter) == (1, -50)
    clock.advance(10)
    assert left(limiter) == (2, 100)


def test_a_small_rate_still_lets_one_go() -> None:
    limiter = MemoryLimiter("p", limits(requests=1, burst_seconds=0.001), FakeClock())
    assert left(limiter) == (1, None)


def test_the_settling_of_requests_that_nobody_counts_changes_nothing() -> None:
    limiter = MemoryLimiter("p", limits(requests=60), FakeClock())
    held = limiter.try_reserve(need(30), 5)
    assert held is not None
    held.settle(need(10**6))
    held.release()
    held.settle(need(5))
    assert left(limiter) == (0, None)
    assert limiter.running == 0


def test_one_timer_serves_the_queue_and_none_is_left_behind() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(requests=60), clock)
        assert limiter.try_reserve(need(1), 5) is not None
        tasks = [asyncio.create_task(limiter.reserve(need(1), who(5), FOREVER)) for _ in range(5)]
        await turns()
        timer = limiter._timer
        assert timer is not None
        await asyncio.gather(*tasks)
        assert abs(clock.monotonic_ns() - 5 * SECOND) < 1000
        assert timer.cancelled() or timer.when() <= asyncio.get_running_loop().time()
        assert len(limiter._line) == 0

    run_virtually(scenario)


def test_given_up_at_the_same_moment_by_its_deadline_and_by_its_caller() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(places=1), clock)
        assert limiter.try_reserve(need(1), 5) is not None
        leaving = asyncio.create_task(limiter.reserve(need(1), who(5), SECOND))
        await turns()
        asyncio.get_running_loop().call_at(1.0, leaving.cancel)
        with pytest.raises((asyncio.CancelledError, RateLimitedError)):
            await leaving
        assert (limiter.running, limiter.waiting) == (1, 0)

    run_virtually(scenario)


@pytest.mark.parametrize(("earlier", "admitted"), [(5e-10, True), (-5e-10, False)])
def test_let_in_and_out_of_time_in_the_same_turn_the_first_counts(earlier: float, admitted: bool) -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(places=1), clock)
        gate = limiter.try_reserve(need(1), 5)
        assert gate is not None
        waiting = asyncio.create_task(limiter.reserve(need(1), who(5), SECOND))
        await turns()
        asyncio.get_running_loop().call_at(1.0 - earlier, gate.release)
        (end,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(end, RateLimitedError) is not admitted
        assert (limiter.running, limiter.waiting) == (int(admitted), 0)

    run_virtually(scenario)


def test_who_need_not_wait_does_not() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(places=1), clock)
        held = await limiter.reserve(need(1), who(5), 0)
        assert limiter.running == 1
        held.release()
        assert clock.monotonic_ns() == 0

    run_virtually(scenario)


def test_one_that_leaves_as_it_is_let_in_where_only_places_are_counted() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(places=1), clock)
        gate = limiter.try_reserve(need(0), 5)
        assert gate is not None
        leaving = asyncio.create_task(limiter.reserve(need(100), who(5), FOREVER))
        await turns()
        gate.release()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert (limiter.running, limiter.waiting) == (0, 0)

    run_virtually(scenario)


def test_who_would_wait_too_long_for_a_place_is_refused_at_once() -> None:
    """By how often a place became free while others waited."""

    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(places=1, max_wait=2.5), clock)
        running = limiter.try_reserve(need(1), 5)
        assert running is not None
        assert limiter.outlook(need(1), who(5)).expected_ns == 0  # nobody left yet: unknown
        waiting = [asyncio.create_task(limiter.reserve(need(1), who(5), FOREVER)) for _ in range(4)]
        await turns()
        for task in waiting[:2]:
            await pass_seconds(1)
            running.release()
            running = await task
        assert limiter.outlook(need(1), who(5)) == Queued(3, 3 * SECOND)
        with pytest.raises(RateLimitedError, match=r"the wait for quota would be 3\.0 s") as refused:
            await limiter.reserve(need(1), who(5), FOREVER)
        assert refused.value.retry_after == 3
        assert limiter.outlook(need(1), who(6)) == Queued(1, SECOND)
        for task in waiting[2:]:
            running.release()
            running = await task
        running.release()
        assert limiter.outlook(need(1), who(5)).expected_ns == 0  # there is a place

    run_virtually(scenario)


async def _answered(limiter: MemoryLimiter, after: float) -> None:
    """One that has to wait, and is answered so long after it was let in."""
    held = await limiter.reserve(need(1), who(5), FOREVER)
    await pass_seconds(after)
    held.release(need(1))


def test_who_has_too_little_time_for_an_answer_leaves_the_quota_to_others() -> None:
    """One call a second; answers take three. Half of what is left near a deadline is for the telling of a failure."""

    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(requests=60), clock)
        assert limiter.try_reserve(need(1), 5) is not None
        await _answered(limiter, 3)
        assert limiter.try_reserve(need(1), 5) is not None
        # nothing else waits: it is let in, whatever is known
        held = await limiter.reserve(need(1), who(5), clock.monotonic_ns() + 2 * SECOND)
        held.release()
        waiting = [asyncio.create_task(limiter.reserve(need(1), who(5), FOREVER)) for _ in range(2)]
        await turns()
        with pytest.raises(RateLimitedError, match="too little time for an answer") as refused:
            await limiter.reserve(need(1), who(5), clock.monotonic_ns() + 8 * SECOND)
        assert refused.value.retry_after == 3
        other = asyncio.create_task(limiter.reserve(need(1), who(5, "other"), clock.monotonic_ns() + 8 * SECOND))
        await turns()
        assert limiter.waiting == 3, "of others nothing is known"
        await asyncio.gather(*waiting, other)

    run_virtually(scenario)


def test_whose_time_has_run_short_while_he_waited_is_not_let_in() -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", limits(requests=60), clock)
        assert limiter.try_reserve(need(1), 5) is not None
        begun = clock.monotonic_ns()
        answered = [asyncio.create_task(_answered(limiter, 2.5)) for _ in range(3)]
        late = [asyncio.create_task(limiter.reserve(need(1), who(5), begun + 8 * SECOND)) for _ in range(2)]
        await pass_seconds(3.75)  # the first was answered after all of them had come
        await limiter.reserve(need(1), who(5), FOREVER)
        assert clock.monotonic_ns() == begun + 4 * SECOND, "the two before it were no longer in time"
        ends = await asyncio.gather(*late, return_exceptions=True)
        assert [type(end) for end in ends] == [RateLimitedError] * 2
        await asyncio.gather(*answered)
        assert limiter.waiting == 0

    run_virtually(scenario)
