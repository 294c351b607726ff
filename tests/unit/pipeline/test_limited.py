"""Quota is reserved, settled, and given back whatever happens."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from ai_client.cost.prices import Price
from ai_client.errors import (
    AuthenticationError,
    BrokenReplyError,
    ConnectError,
    InvalidRequestError,
    RateLimitedError,
    UpstreamStatusError,
)
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import DAY_NS, Kind, Settings, rate
from ai_client.limits.estimate import Habits
from ai_client.limits.heed import Change, Heed
from ai_client.limits.pauses import Pauses
from ai_client.limits.scopes import Scope
from ai_client.model.call import Target
from ai_client.model.usage import Usage
from ai_client.pipeline.limited import Limited, Quotas
from ai_client.testing import FakeClock, reply, streamed
from ai_client.testing.provider import Line
from tests.calls import make_attempt, make_call, make_record
from tests.quotas import left, limits, need
from tests.unit.pipeline.stages import Inside, read, stream_of
from tests.virtual import run_virtually
from tests.wire import turns

SECOND = 1_000_000_000
RULES = limits(requests=6000, tokens=60_000, places=2)
FULL = (100, 1000)
RESERVED = 20  # 40 characters / 4, and 10 tokens of answer


class House:
    """The stage with a limiter for the app and one for the provider."""

    def __init__(self, clock: FakeClock, *script: Line, app: Settings = RULES, provider: Settings = RULES) -> None:
        self.inside = Inside(*script)
        self.app = MemoryLimiter("app", app, clock)
        self.provider = MemoryLimiter("p", provider, clock)
        self.pauses = Pauses(clock)
        self.scopes: list[Scope] = []
        self.changes: list[Change] = []
        self.heed = Heed(
            clock,
            {"p": self.provider},
            lambda name, settings: MemoryLimiter(name, settings, clock),
            self.changes.append,
        )
        quotas = Quotas({"p": self.provider}, {"app": self.app}, self.scopes, Habits(), self.pauses, {}, heed=self.heed)
        self.stage = Limited(self.inside, quotas, clock)

    @property
    def left(self) -> list[tuple[int | None, int | None]]:
        """What is left, the app's first. Nobody is inside."""
        assert (self.app.running, self.provider.running, self.app.waiting, self.provider.waiting) == (0, 0, 0, 0)
        return [left(self.app), left(self.provider)]


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
        (UpstreamStatusError("x", status=500), (99, 1000 - RESERVED)),
        (BrokenReplyError("x"), (99, 1000 - RESERVED)),
        (asyncio.CancelledError(), (99, 1000 - RESERVED)),
        (InvalidRequestError("x"), (99, 1000)),
        (AuthenticationError("x"), (99, 1000)),
        (ConnectError("x"), FULL),
        (RateLimitedError("of our own, further inside"), FULL),
    ],
    ids=repr,
)
def test_a_failed_attempt_gives_back_what_it_surely_did_not_spend(error: BaseException, left: tuple[int, int]) -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, error)
        with pytest.raises(type(error)):
            await house.stage(make_attempt())
        assert house.left == [left, left]

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
        house = House(clock, provider=limits(requests=60), app=limits(requests=60))
        await house.stage(make_attempt())
        call = make_call()
        await house.stage(make_attempt(call))
        assert abs(call.record.queue_ns - SECOND) < 1000
        house = House(clock, provider=limits(requests=60))
        await house.stage(make_attempt())
        await house.stage(make_attempt(call))
        assert abs(call.record.queue_ns - 2 * SECOND) < 1000

    run_virtually(scenario)


def test_refused_by_the_provider_s_limit_the_app_s_comes_back() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, provider=limits(tokens=60))
        gate = house.provider.try_reserve(need(1), 5)
        assert gate is not None
        with pytest.raises(RateLimitedError):
            await house.stage(make_attempt(make_call(deadline_ns=SECOND // 100)))
        gate.release()
        assert left(house.app) == FULL, "the request as well: it was never sent"
        assert house.app.running == 0
        assert house.inside.attempts == []

    run_virtually(scenario)


def test_given_up_in_the_queue_nothing_is_held() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, provider=limits(places=1))
        gate = house.provider.try_reserve(need(1), 5)
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


def test_one_who_waits_learns_its_place() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, *[reply()] * 3, provider=limits(requests=60))
        await house.stage(make_attempt())
        calls = [make_call(record=make_record()) for _ in range(2)]
        await asyncio.gather(*(house.stage(make_attempt(call)) for call in calls))
        assert [call.record.queue_position for call in calls] == [1, 2]
        assert [call.record.queue_expected_ns for call in calls] == [SECOND, 2 * SECOND]

    run_virtually(scenario)


def test_what_answers_cost_is_learned() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, reply(usage=Usage(80, 4)), reply(usage=Usage(80, 4)))
        await house.stage(make_attempt())
        await house.stage(make_attempt())
        assert house.left[0] == (98, 1000 - 2 * 84)

    run_virtually(scenario)


def test_an_estimate_settles_but_teaches_nothing() -> None:
    async def scenario(clock: FakeClock) -> None:
        guess = Usage(10, 5, estimated=True)
        house = House(clock, streamed(usage=guess), reply(usage=Usage(40, 5)), streamed(usage=guess))
        await read(await house.stage(make_attempt()))
        assert left(house.app) == (99, 985)
        await house.stage(make_attempt())
        assert left(house.app) == (98, 940)
        await read(await house.stage(make_attempt()))
        assert left(house.app) == (97, 925)

    run_virtually(scenario)


def test_a_target_that_asks_to_be_left_alone_is_left_alone() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, UpstreamStatusError("x", status=429, retry_after=3.0), reply(), reply())
        with pytest.raises(UpstreamStatusError):
            await house.stage(make_attempt())
        other = make_call()
        await house.stage(make_attempt(other, Target("p", "other", "other")))
        assert other.record.queue_ns == 0, "another model of that provider is another target"
        with pytest.raises(RateLimitedError, match=r"p/m asked to be left alone for 3\.0 s more") as caught:
            await house.stage(make_attempt(make_call(deadline_ns=SECOND)))
        assert caught.value.retry_after == 3.0
        patient = make_call(record=make_record())
        await house.stage(make_attempt(patient))
        assert abs(patient.record.queue_ns - 3 * SECOND) < 1000

    run_virtually(scenario)


def test_a_429_without_a_time_pauses_nothing() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, UpstreamStatusError("x", status=429))
        with pytest.raises(UpstreamStatusError):
            await house.stage(make_attempt())
        assert house.pauses.until == {}

    run_virtually(scenario)


def test_limits_are_one_inside_the_other_and_money_is_counted() -> None:
    async def scenario(clock: FakeClock) -> None:
        def make(name: str, settings: Settings) -> MemoryLimiter:
            return MemoryLimiter(name, settings, clock)

        inside = Inside(reply(usage=Usage(100, 50)), reply())
        dollars = Settings((rate(Kind.NANO_DOLLARS, 10**9, DAY_NS, 86_400),))
        model = Scope("money", "model", ("m",), dollars, make)
        blue = Scope("blue", "tag", ("blue",), limits(requests=60), make)
        price = Price.usd(Decimal(1), Decimal(2))
        known = {"m": price}.get
        quotas = Quotas({}, {}, [blue, model], Habits(), Pauses(clock), {}, known)
        stage = Limited(inside, quotas, clock)
        await stage(make_attempt())
        gate = model.by_value["m"]
        assert isinstance(gate, MemoryLimiter)
        assert gate.available() == {"nano_dollars_day": 10**9 - 200_000}
        await stage(make_attempt(make_call(), Target("p", "unpriced", "unpriced")))
        assert gate.available() == {"nano_dollars_day": 10**9 - 200_000}

    run_virtually(scenario)


def test_what_the_provider_says_of_its_limits_holds_from_the_next_attempt_on() -> None:
    async def scenario(clock: FakeClock) -> None:
        told = [(b"x-ratelimit-limit-requests", b"60"), (b"x-ratelimit-remaining-requests", b"7")]
        says = reply()
        says.headers += told
        house = House(clock, says, says, reply())
        await house.stage(make_attempt(deadline_ns=SECOND * 1000))
        assert (left(house.heed.gates["p"]), left(house.provider)) == ((1, None), (7, 1000 - RESERVED))
        begun = clock.monotonic_ns()
        for _ in range(2):
            await house.stage(make_attempt(deadline_ns=SECOND * 1000))
        assert clock.monotonic_ns() - begun == SECOND, "one a second, as it told"

    run_virtually(scenario)
