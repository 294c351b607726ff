"""Quota is reserved, settled, and given back whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.errors import (
    AuthenticationError,
    BrokenReplyError,
    ConnectError,
    InvalidRequestError,
    RateLimitedError,
    UpstreamStatusError,
)
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Settings
from ai_client.model.call import Target
from ai_client.model.request import Fields
from ai_client.model.usage import Usage
from ai_client.pipeline.limited import Limited, estimate_tokens
from ai_client.testing import FakeClock, reply, streamed
from ai_client.testing.provider import Line
from tests.calls import make_attempt, make_call
from tests.unit.pipeline.stages import Inside, read, stream_of
from tests.virtual import run_virtually
from tests.wire import turns

SECOND = 1_000_000_000
RULES = Settings(requests_per_minute=6000, tokens_per_minute=60_000, max_concurrent=2)
FULL = (100, 1000)
RESERVED = 20  # 40 characters / 4, and 10 tokens of answer


class House:
    """The stage with a limiter for the app and one for the provider."""

    def __init__(self, clock: FakeClock, *script: Line, app: Settings = RULES, provider: Settings = RULES) -> None:
        self.inside = Inside(*script)
        self.app = MemoryLimiter("app", app, clock)
        self.provider = MemoryLimiter("p", provider, clock)
        self.stage = Limited(self.inside, {"p": self.provider}, {"app": self.app}, clock)

    @property
    def left(self) -> list[tuple[int | None, int | None]]:
        """What is left, the app's first. Nobody is inside."""
        assert (self.app.running, self.provider.running, self.app.waiting, self.provider.waiting) == (0, 0, 0, 0)
        return [self.app.available(), self.provider.available()]


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        (Fields("m", input_chars=40, max_output=10), 20),
        (Fields("m", input_chars=43), 10 + 256),
        (Fields("m", max_output=10**15), 32_768),
        (Fields("m", input_chars=40, max_output=10, choices=3), 40),
    ],
)
def test_the_estimate(fields: Fields, tokens: int) -> None:
    assert estimate_tokens(make_call(fields=fields)) == tokens


@pytest.mark.parametrize(("spent", "left"), [(5, 995), (50, 950), (0, 1000 - RESERVED)])
def test_what_the_answer_cost_is_what_is_spent(spent: int, left: int) -> None:
    """An answer without a count keeps what was set aside for it."""

    async def scenario(clock: FakeClock) -> None:
        house = House(clock, reply(usage=Usage(spent, 0)))
        await house.stage(make_attempt())
        assert house.left == [(99, left), (99, left)]

    run_virtually(scenario)


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (UpstreamStatusError("x", status=500), 1000 - RESERVED),
        (BrokenReplyError("x"), 1000 - RESERVED),
        (asyncio.CancelledError(), 1000 - RESERVED),
        (InvalidRequestError("x"), 1000),
        (AuthenticationError("x"), 1000),
        (ConnectError("x"), 1000),
    ],
    ids=repr,
)
def test_a_failed_attempt_gives_its_place_back_and_its_tokens_if_none_were_spent(
    error: BaseException, left: int
) -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, error)
        with pytest.raises(type(error)):
            await house.stage(make_attempt())
        assert house.left == [(99, left), (99, left)]

    run_virtually(scenario)


def test_a_stream_holds_its_place_until_it_is_over() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, streamed(b"a", b"b", usage=Usage(3, 4)))
        answer = await house.stage(make_attempt())
        assert (house.app.running, house.provider.running) == (1, 1)
        await read(answer)
        assert house.left == [(99, 993), (99, 993)]

    run_virtually(scenario)


def test_a_stream_that_is_given_up_gives_its_place_back() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, streamed(b"a", b"b", usage=Usage(3, 1)))
        answer = await house.stage(make_attempt())
        await stream_of(answer).aclose()
        assert house.left == [(99, 996), (99, 996)]

    run_virtually(scenario)


def test_who_has_no_limit_is_not_limited() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock)
        await house.stage(make_attempt(make_call(app="another"), Target("q", "m", "m")))
        assert house.left == [FULL, FULL]

    run_virtually(scenario)


def test_the_time_in_the_queue_is_noted() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, provider=Settings(requests_per_minute=60), app=Settings(requests_per_minute=60))
        await house.stage(make_attempt())
        call = make_call()
        await house.stage(make_attempt(call))
        assert abs(call.record.queue_ns - SECOND) < 1000
        house = House(clock, provider=Settings(requests_per_minute=60))
        await house.stage(make_attempt())
        await house.stage(make_attempt(call))
        assert abs(call.record.queue_ns - 2 * SECOND) < 1000

    run_virtually(scenario)


def test_refused_by_the_provider_s_limit_the_app_s_comes_back() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, provider=Settings(tokens_per_minute=60))
        gate = house.provider.try_reserve(1, 5)
        assert gate is not None
        with pytest.raises(RateLimitedError):
            await house.stage(make_attempt(make_call(deadline_ns=SECOND // 100)))
        gate.release()
        assert house.app.available() == (99, 1000)
        assert house.app.running == 0
        assert house.inside.attempts == []

    run_virtually(scenario)


def test_given_up_in_the_queue_nothing_is_held() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, provider=Settings(max_concurrent=1))
        gate = house.provider.try_reserve(1, 5)
        assert gate is not None
        call = make_call()
        task = asyncio.create_task(house.stage(make_attempt(call)))
        await turns()
        clock.advance(2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.release()
        assert house.left[0] == FULL
        assert call.record.queue_ns == 2 * SECOND

    run_virtually(scenario)
