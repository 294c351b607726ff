"""What every limiter owes, tried on each backend in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ai_client.clock import Clock
from ai_client.errors import RateLimitedError
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Limiter, Settings
from ai_client.testing import FakeClock
from tests.quotas import limits, need, who
from tests.virtual import run_virtually
from tests.wire import turns

SECOND = 1_000_000_000
FOREVER = 10**18
MAKERS: dict[str, Callable[[Settings, Clock], Limiter]] = {
    "memory": lambda settings, clock: MemoryLimiter("p", settings, clock),
}

Scenario = Callable[[Limiter, FakeClock], Awaitable[None]]
Try = Callable[[Settings, Scenario], None]


@pytest.fixture(params=MAKERS)
def attempt(request: pytest.FixtureRequest) -> Try:
    """Runs a scenario on a fresh limiter with those settings."""

    def try_now(settings: Settings, scenario: Scenario) -> None:
        async def main(clock: FakeClock) -> None:
            await scenario(MAKERS[request.param](settings, clock), clock)

        run_virtually(main)

    return try_now


def test_without_limits_everything_goes(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        held = [limiter.try_reserve(need(10**9), 5) for _ in range(1000)]
        assert None not in held
        assert (limiter.running, limiter.waiting) == (1000, 0)

    attempt(limits(), scenario)


def test_requests_are_counted(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        assert [limiter.try_reserve(need(1), 5) is not None for _ in range(3)] == [True, True, False]
        clock.advance(1)
        assert limiter.try_reserve(need(1), 5) is not None
        assert limiter.try_reserve(need(1), 5) is None

    attempt(limits(requests=60, burst_seconds=2), scenario)


def test_tokens_are_counted(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        assert limiter.try_reserve(need(100), 5) is not None
        assert limiter.try_reserve(need(1), 5) is None
        clock.advance(0.5)
        assert limiter.try_reserve(need(51), 5) is None
        assert limiter.try_reserve(need(50), 5) is not None

    attempt(limits(tokens=6000), scenario)


def test_a_place_is_free_when_it_is_left(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        first = limiter.try_reserve(need(1), 5)
        assert first is not None
        assert limiter.try_reserve(need(1), 5) is None
        assert limiter.running == 1
        first.release()
        first.release()
        assert limiter.running == 0
        assert limiter.try_reserve(need(1), 5) is not None
        assert limiter.try_reserve(need(1), 5) is None, "a place left twice is one place"

    attempt(limits(places=1), scenario)


def test_what_is_short_says_for_how_long(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        assert limiter.shortage(need(1)) == 0
        held = limiter.try_reserve(need(1), 5)
        assert held is not None
        assert limiter.shortage(need(1)) > 0
        held.release((0, 0, 0, 0, 0))
        assert limiter.shortage(need(1)) == 0

    attempt(limits(places=1), scenario)
    attempt(limits(requests=60), scenario)


def test_what_was_not_used_comes_back_once(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        held = limiter.try_reserve(need(100), 5)
        assert held is not None
        held.settle(need(30))
        held.settle(need(30))
        assert limiter.try_reserve(need(71), 5) is None
        assert limiter.try_reserve(need(70), 5) is not None

    attempt(limits(tokens=6000), scenario)


def test_what_was_used_beyond_is_owed(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        held = limiter.try_reserve(need(50), 5)
        assert held is not None
        held.settle(need(250))
        held.release()
        clock.advance(1.5)
        assert limiter.try_reserve(need(1), 5) is None
        clock.advance(0.01)
        assert limiter.try_reserve(need(1), 5) is not None

    attempt(limits(tokens=6000), scenario)


def test_one_who_has_to_wait_goes_when_there_is_quota(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        assert limiter.try_reserve(need(100), 5) is not None
        begun = clock.monotonic_ns()
        await limiter.reserve(need(40), who(5), FOREVER)
        assert abs(clock.monotonic_ns() - begun - 0.4 * SECOND) < 1000
        assert (limiter.running, limiter.waiting) == (2, 0)

    attempt(limits(tokens=6000), scenario)


def test_order_is_by_priority_then_by_arrival(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        gate = limiter.try_reserve(need(1), 5)
        assert gate is not None
        went: list[str] = []

        async def one(name: str, priority: int) -> None:
            held = await limiter.reserve(need(1), who(priority), FOREVER)
            went.append(name)
            held.release()

        names = [("low 1", 1), ("mid 1", 5), ("high 1", 10), ("mid 2", 5), ("low 2", 1), ("high 2", 10), ("mid 3", 5)]
        tasks = [asyncio.create_task(one(name, priority)) for name, priority in names]
        await turns()
        assert limiter.waiting == 7
        gate.release()
        await asyncio.gather(*tasks)
        assert went == ["high 1", "high 2", "mid 1", "mid 2", "mid 3", "low 1", "low 2"]
        assert (limiter.running, limiter.waiting) == (0, 0)

    attempt(limits(places=1), scenario)


def test_nobody_slips_past_the_queue_but_one_of_higher_priority(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        assert limiter.try_reserve(need(60), 5) is not None
        waiting = asyncio.create_task(limiter.reserve(need(100), who(5), FOREVER))
        await turns()
        assert limiter.try_reserve(need(10), 5) is None, "it would fit, but another came first"
        assert limiter.try_reserve(need(10), 4) is None
        assert limiter.try_reserve(need(10), 6) is not None
        await waiting

    attempt(limits(tokens=6000), scenario)


def test_a_wait_that_cannot_end_in_time_is_refused_at_once(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        held = limiter.try_reserve(need(100), 5)
        assert held is not None
        held.settle(need(1100))
        with pytest.raises(RateLimitedError, match="the quota of p is short") as caught:
            await limiter.reserve(need(50), who(5), clock.monotonic_ns() + 9 * SECOND)
        assert clock.monotonic_ns() == 0, "it did not wait"
        assert caught.value.retry_after == 10.5
        assert limiter.waiting == 0

    attempt(limits(tokens=6000), scenario)


@pytest.mark.parametrize("ahead", [0, 1, 7])
def test_retry_after_is_the_truth(attempt: Try, ahead: int) -> None:
    """Who comes back after that time is let in; a millisecond before, it is not."""

    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        assert limiter.try_reserve(need(100), 5) is not None
        tasks = [asyncio.create_task(limiter.reserve(need(70), who(5), FOREVER)) for _ in range(ahead)]
        await turns()
        with pytest.raises(RateLimitedError) as caught:
            await limiter.reserve(need(30), who(5), clock.monotonic_ns())
        wait = caught.value.retry_after
        assert wait is not None
        assert wait == pytest.approx(0.7 * ahead + 0.3, abs=1e-6)
        await asyncio.wait_for(asyncio.gather(*tasks), wait)
        clock.advance_ns(round(wait * SECOND) - clock.monotonic_ns() - SECOND // 1000)
        assert limiter.try_reserve(need(30), 5) is None
        clock.advance(0.001)
        assert limiter.try_reserve(need(30), 5) is not None

    attempt(limits(tokens=6000), scenario)


def test_one_of_higher_priority_is_not_told_to_wait_for_those_below(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        assert limiter.try_reserve(need(100), 5) is not None
        high = asyncio.create_task(limiter.reserve(need(50), who(8), FOREVER))
        low = [asyncio.create_task(limiter.reserve(need(100), who(1), FOREVER)) for _ in range(20)]
        await turns()
        held = await limiter.reserve(need(50), who(8), clock.monotonic_ns() + 2 * SECOND)
        assert high.done()
        assert not any(task.done() for task in low)
        held.release()
        await asyncio.gather(*low)

    attempt(limits(tokens=6000), scenario)


def test_a_full_queue_refuses(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        gate = limiter.try_reserve(need(1), 5)
        assert gate is not None
        tasks = [asyncio.create_task(limiter.reserve(need(1), who(5), FOREVER)) for _ in range(2)]
        await turns()
        with pytest.raises(RateLimitedError, match="2 calls already wait"):
            await limiter.reserve(need(1), who(10), FOREVER)
        gate.release()
        for task in tasks:
            (await task).release()

    attempt(limits(places=1, max_queue=2), scenario)


@pytest.mark.parametrize(("max_wait", "deadline"), [(3.0, FOREVER), (60.0, 3 * SECOND)])
def test_a_wait_ends_at_the_deadline_or_at_max_wait(attempt: Try, max_wait: float, deadline: int) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        gate = limiter.try_reserve(need(1), 5)
        assert gate is not None
        with pytest.raises(RateLimitedError, match="outlasted"):
            await limiter.reserve(need(1), who(5), deadline)
        assert abs(clock.monotonic_ns() - 3 * SECOND) < 1000
        assert (limiter.running, limiter.waiting) == (1, 0)
        gate.release()
        assert limiter.try_reserve(need(1), 5) is not None

    attempt(limits(places=1, max_wait=max_wait), scenario)


def test_one_that_leaves_the_queue_leaves_nothing_behind(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        gate = limiter.try_reserve(need(100), 5)
        assert gate is not None
        first, second, third = (asyncio.create_task(limiter.reserve(need(60), who(5), FOREVER)) for _ in range(3))
        await turns()
        first.cancel()
        third.cancel()
        await asyncio.gather(first, third, return_exceptions=True)
        assert limiter.waiting == 1
        gate.release()
        (await second).release()
        assert (limiter.running, limiter.waiting) == (0, 0)

    attempt(limits(tokens=6000, places=1), scenario)


def test_one_that_leaves_as_it_is_let_in_gives_everything_back(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        gate = limiter.try_reserve(need(0), 5)
        assert gate is not None
        leaving = asyncio.create_task(limiter.reserve(need(100), who(5), FOREVER))
        await turns()
        gate.release()  # lets it in, and in the same turn
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (limiter.running, limiter.waiting) == (0, 0)
        assert limiter.try_reserve(need(100), 5) is not None, "neither a request nor a token was lost"

    attempt(limits(requests=120, tokens=6000, places=1), scenario)


def test_other_limits_take_effect_and_what_was_spent_stays_spent(attempt: Try) -> None:
    settings = limits(requests=600, tokens=6000, places=1)

    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        held = limiter.try_reserve(need(100), 5)
        assert held is not None
        waiting = asyncio.create_task(limiter.reserve(need(10), who(5), FOREVER))
        await turns()
        limiter.reconfigure(limits(requests=600, tokens=6000, places=2))
        assert (limiter.running, limiter.waiting) == (1, 1), "a place is free, but there are no tokens"
        begun = clock.monotonic_ns()
        await waiting
        assert abs(clock.monotonic_ns() - begun - 0.1 * SECOND) < 1000
        assert limiter.running == 2
        limiter.reconfigure(limits())
        assert limiter.try_reserve(need(10**9), 5) is not None

    attempt(settings, scenario)


def test_new_rates_begin_with_a_rested_bucket(attempt: Try) -> None:
    async def scenario(limiter: Limiter, _: FakeClock) -> None:
        assert limiter.try_reserve(need(100), 5) is not None
        assert limiter.try_reserve(need(1), 5) is None
        limiter.reconfigure(limits(requests=60, tokens=12_000))
        assert limiter.try_reserve(need(200), 5) is not None
        assert limiter.try_reserve(need(0), 5) is None
        limiter.reconfigure(limits(requests=60, tokens=12_000, burst_seconds=2.0))
        assert limiter.try_reserve(need(400), 5) is not None

    attempt(limits(requests=120, tokens=6000), scenario)


def test_what_comes_back_lets_the_next_one_go(attempt: Try) -> None:
    async def scenario(limiter: Limiter, clock: FakeClock) -> None:
        held = limiter.try_reserve(need(100), 5)
        assert held is not None
        waiting = asyncio.create_task(limiter.reserve(need(100), who(5), FOREVER))
        await turns()
        held.settle(need(0))
        await waiting
        assert clock.monotonic_ns() == 0

    attempt(limits(tokens=6000), scenario)
