"""The limiter under random crowds: thousands of calls that come, wait, give up and go leave nothing behind."""

from __future__ import annotations

import asyncio
import random
from fractions import Fraction
from itertools import accumulate, count

from hypothesis import given, settings
from hypothesis import strategies as st

from ai_client.errors import RateLimitedError
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Kind, Settings
from ai_client.testing import FakeClock
from tests.quotas import left, limits, need, who
from tests.virtual import pass_seconds, run_virtually

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
CALLS = 120

every_limit = st.builds(
    limits,
    requests=st.sampled_from([0, 60, 600]),
    tokens=st.sampled_from([0, 600, 60_000]),
    places=st.sampled_from([0, 1, 3]),
    burst_seconds=st.sampled_from([0.5, 1.0, 5.0]),
    max_queue=st.sampled_from([5, 10_000]),
    max_wait=st.sampled_from([2.0, 60.0]),
    ageing=st.just(1e6),  # waiting never makes up for priority: the order is plain
)


class Crowd:
    """Random calls at one limiter, and what became of them."""

    def __init__(self, limiter: MemoryLimiter, rules: Settings, clock: FakeClock, rng: random.Random) -> None:
        self.limiter = limiter
        self.rules = rules
        self.clock = clock
        self.rng = rng
        self.arrivals = count()
        self.inside = 0
        self.granted: list[tuple[int, int]] = []
        self.waiting: dict[int, tuple[int, int, int]] = {}

    async def call(self, number: int) -> None:
        rng, limiter, clock = self.rng, self.limiter, self.clock
        await pass_seconds(rng.choice([0, rng.random() * 5]))
        tokens = rng.randrange(1, 11)
        priority = rng.choice([1, 5, 5, 5, 10])
        self.waiting[number] = (-priority, next(self.arrivals), clock.monotonic_ns())
        try:
            deadline_ns = clock.monotonic_ns() + rng.randrange(1, 20) * SECOND
            held = limiter.try_reserve(need(tokens), priority) or await limiter.reserve(
                need(tokens), who(priority), deadline_ns
            )
        except RateLimitedError as error:
            if not error.retry_after:
                raise
            return
        finally:
            mine = self.waiting.pop(number)
        self.inside += 1
        try:
            self.granted.append((clock.monotonic_ns(), tokens))
            assert not self.rules.max_concurrent or self.inside <= self.rules.max_concurrent
            now = clock.monotonic_ns()
            passed_over = [other for other in self.waiting.values() if other < mine and other[2] < now]
            assert not passed_over, (mine, passed_over)
            await pass_seconds(rng.choice([0, rng.random()]))
            held.settle(need(tokens if rng.random() < 0.5 else tokens + rng.randrange(10)))
        finally:
            self.inside -= 1
            held.release()

    async def cancel_some(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in self.rng.sample(tasks, len(tasks) // 2):
            await pass_seconds(self.rng.choice([0, 0, self.rng.random() / 4]))
            task.cancel()


@given(every_limit, st.integers(0, 10**9))
@settings(max_examples=60)
def test_a_crowd_leaves_nothing_behind(rules: Settings, seed: int) -> None:
    async def scenario(clock: FakeClock) -> None:
        limiter = MemoryLimiter("p", rules, clock)
        crowd = Crowd(limiter, rules, clock, random.Random(seed))
        tasks = [asyncio.create_task(crowd.call(number)) for number in range(CALLS)]
        await crowd.cancel_some(tasks)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            assert end is None or isinstance(end, asyncio.CancelledError), end
        assert (limiter.running, limiter.waiting, crowd.inside) == (0, 0, 0)
        assert not limiter._line.callers
        assert limiter._timer is None
        assert len(limiter._line) == 0
        _never_too_much(crowd.granted, rules)
        clock.advance(3600)
        assert limiter.available() == {each.name: each.burst for each in rules.rates}

    run_virtually(scenario)


def _never_too_much(granted: list[tuple[int, int]], rules: Settings) -> None:
    """Over every interval: no more requests, and no more tokens, than the rate allows and one burst."""
    for each in rules.rates:
        counts_tokens = each.kind is Kind.TOKENS
        weights = [tokens if counts_tokens else 1 for _, tokens in granted]
        # one that is larger than the bucket goes from a full one: the bound is then its own size
        burst = max(each.burst, 10 if counts_tokens else 1)
        for first, (begun, _) in enumerate(granted):
            for (moment, _), total in zip(granted[first:], accumulate(weights[first:]), strict=True):
                # a grant is noted up to one turn of the loop after it was made, so that the moment is exact here
                assert total <= Fraction(each.amount * (moment - begun), MINUTE) + burst


@given(st.integers(1, 4), st.integers(0, 10**9))
@settings(max_examples=60)
def test_while_time_stands_still_exactly_what_was_used_is_spent(places: int, seed: int) -> None:
    """Nothing grows back here, so that a single request or token lost by one who left would show."""
    rng = random.Random(seed)
    used: list[int] = []

    async def call(limiter: MemoryLimiter) -> None:
        tokens = rng.randrange(1000)
        held = await limiter.reserve(need(tokens), who(rng.randrange(1, 11)), MINUTE)
        spent = tokens
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            spent = rng.randrange(1000)
        finally:
            held.settle(need(spent))
            used.append(spent)
            held.release()

    async def leave(task: asyncio.Task[None]) -> None:
        for _ in range(rng.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()

    async def scenario(clock: FakeClock) -> None:
        rules = limits(requests=60_000, tokens=60_000_000, places=places)
        limiter = MemoryLimiter("p", rules, clock)
        tasks = [asyncio.create_task(call(limiter)) for _ in range(CALLS)]
        leavers = [asyncio.create_task(leave(task)) for task in rng.sample(tasks, CALLS * 2 // 3)]
        await asyncio.gather(*tasks, *leavers, return_exceptions=True)
        assert clock.monotonic_ns() == 0
        assert (limiter.running, limiter.waiting) == (0, 0)
        assert left(limiter) == (1000 - len(used), 1_000_000 - sum(used))

    run_virtually(scenario)
