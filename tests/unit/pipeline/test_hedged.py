"""A second request when the first takes unusually long: when, where, who wins, and what is left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from ai_client.cost.budget import ALL, Budgets
from ai_client.cost.prices import Price
from ai_client.errors import (
    AIClientError,
    ConnectError,
    InvalidRequestError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Settings
from ai_client.limits.estimate import Habits
from ai_client.limits.pauses import Pauses
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint, Fields
from ai_client.model.usage import CANCELLED, HEDGE, Lost, Usage
from ai_client.pipeline import Parts, build_pipeline
from ai_client.pipeline.limited import Quotas
from ai_client.pipeline.pooled import Pools
from ai_client.pipeline.retried import RetrySettings
from ai_client.routing.breaker import Outcome
from ai_client.routing.health import Health
from ai_client.routing.hedging import Denied, HedgeSettings, Hedging
from ai_client.routing.keypool import KeyPool, Member, Refusals
from ai_client.testing import CaptureSink, FakeClock, ScriptedProvider, reply, streamed
from ai_client.testing.provider import Line
from tests.calls import PROMPT, make_call, make_record, streaming
from tests.quotas import limits
from tests.unit.pipeline.stages import read, stream_of
from tests.virtual import pass_seconds, run_virtually

A, B, OTHER = Target("a", "m", "m"), Target("b", "m", "m"), Target("b", "n", "n")
PRICE = Price(1_000_000_000, 1_000_000_000, 1_000_000_000)
"""1,000 nano-dollars a token; the usual prompt, of 40 characters, is estimated at 10 tokens."""
PROMPT_LOST = Usage(10, 0, estimated=True)
SECOND = 1_000_000_000
LATE = SECOND * 17 / 16


def after(seconds: float, what: Line) -> Callable[[Attempt], Awaitable[Reply]]:
    async def line(_attempt: Attempt) -> Reply:
        await pass_seconds(seconds)
        if isinstance(what, BaseException):
            raise what
        assert isinstance(what, Reply)
        return what

    return line


def said(text: bytes, tokens: int) -> Reply:
    return reply(text, Usage(tokens, 0))


class House:
    """The whole pipeline before two providers; a usual answer of the first takes a second."""

    def __init__(
        self,
        clock: FakeClock,
        a: Sequence[Line],
        b: Sequence[Line] = (),
        *,
        chain: tuple[Target, ...] = (A, B),
        retries: int = 0,
        attempts: int = 6,
        limit: Settings | None = None,
        budget: int | None = None,
        keys: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.clock = clock
        clock.advance(1)  # 0 is no time at which anything is sent
        self.sink = CaptureSink()
        self.a, self.b = ScriptedProvider(a), ScriptedProvider(b or [said(b"b", 7)])
        self.hedging = Hedging()
        self.hedging.set(HedgeSettings(**{"min_samples": 20, "share": 1.0, **settings}))
        self.health = Health(clock, random.Random(1))
        self.limiter = MemoryLimiter("b", limit or limits(places=4), clock)
        self.budgets = Budgets(lambda since, until: ())
        if budget is not None:
            self.budgets.set(budget, {}, clock.unix_ns())
        parts = Parts(
            clock,
            random.Random(1),
            [self.sink],
            {"a": self.a, "b": self.b, "a.one": self.a, "a.two": self.b},
            lambda model, text: chain,
            A,
            lambda model: PRICE,
            pytest.fail,
            refuse_unknown_price=False,
            retry=RetrySettings(max_retries=retries, max_attempts=attempts),
            quotas=Quotas({"b": self.limiter}, {}, (), Habits(), Pauses(clock), {}),
            budgets=self.budgets if budget is not None else None,
            health=self.health,
            hedging=self.hedging,
            pools=self._pools(keys) if keys else None,
        )
        self.known = self.hedging.of(A)
        for _ in range(20):
            self.hedging.learn(self.known, SECOND, stream=False)
            self.hedging.learn(self.known, SECOND, stream=True)
        self.pipeline = build_pipeline(parts)

    def _pools(self, keys: Sequence[str]) -> Pools:
        pool = KeyPool([Member(key, 1, "https://x", {"m": "m"}) for key in keys], random.Random(1))
        return Pools({"a": pool}, Refusals(self.clock, lambda key, status, seconds: None))

    async def ask(self, call: Call | None = None) -> tuple[Reply, Call]:
        call = call or self.call()
        return await self.pipeline(call), call

    def call(self, **fields: Any) -> Call:
        now = self.clock.monotonic_ns()
        record = make_record(unix_ns=self.clock.unix_ns(), started_ns=now)
        return make_call(record=record, deadline_ns=now + 60 * SECOND, **fields)

    @property
    def counts(self) -> tuple[int, int, dict[Denied, int]]:
        return self.known.launched, self.known.won, dict(self.known.denied)

    def is_clean(self) -> bool:
        """Nothing is held, nobody is under way, and nobody but this test runs."""
        return (
            (self.limiter.running, self.limiter.waiting, self.pipeline.in_flight) == (0, 0, 0)
            and all(account.reserved == 0 for account in self.budgets.accounts.values())
            and asyncio.all_tasks() == {asyncio.current_task()}
        )


def test_who_is_quick_is_asked_once() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(0.9, said(b"a", 5))])
        answer, call = await house.ask()
        assert (answer.body, call.record.hedge, call.record.attempts, house.b.attempts) == (b"a", "", 1, [])
        assert house.counts == (0, 0, {})
        assert house.known.whole.seen == 21
        assert house.is_clean()

    run_virtually(scenario)


def test_the_second_answers_first_and_the_first_is_cancelled_and_booked() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(30, said(b"a", 5))], [after(0.5, said(b"b", 7))])
        answer, call = await house.ask()
        record = call.record
        assert answer.body == b"b"
        assert SECOND < record.duration_ns - 0.5 * SECOND <= LATE
        assert (record.target, record.model, record.attempts, record.hedge) == ("b/m", "m", 2, "won")
        assert (record.usage, record.billed) == (Usage(7, 0), "b/m")
        assert record.lost == (Lost("a/m", "m", PROMPT_LOST, 10_000, HEDGE),)
        assert record.cost_nano == 17_000
        assert house.counts == (1, 1, {})
        assert house.known.whole.seen == 21, "that it took longer is known of it"
        assert [each.hedge for each in house.sink.records] == ["won"]
        assert house.is_clean()

    run_virtually(scenario)


def test_the_first_answers_first_and_the_second_is_cancelled_and_booked() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(1.2, said(b"a", 5))], [after(5, said(b"b", 7))])
        answer, call = await house.ask()
        record = call.record
        assert (answer.body, record.target, record.attempts, record.hedge) == (b"a", "a/m", 2, "lost")
        assert (record.usage, record.lost) == (Usage(5, 0), (Lost("b/m", "m", PROMPT_LOST, 10_000, HEDGE),))
        assert record.cost_nano == 15_000
        assert house.counts == (1, 0, {})
        assert house.is_clean()

    run_virtually(scenario)


def test_who_comes_in_at_the_same_moment_as_the_first_has_lost() -> None:
    async def scenario(clock: FakeClock) -> None:
        both = asyncio.Event()

        async def at_once(attempt: Attempt) -> Reply:
            await both.wait()
            return streamed(attempt.target.provider.encode(), usage=Usage(3, 4))

        house = House(clock, [at_once], [at_once])
        call = msgspec.structs.replace(house.call(), fields=msgspec.structs.replace(PROMPT, stream=True))
        asyncio.get_running_loop().call_later(2, both.set)
        answer, call = await house.ask(call)
        record = call.record
        assert await read(answer) == b"a"
        assert record.lost == (Lost("b/m", "m", PROMPT_LOST, 10_000, HEDGE),)
        assert (record.usage, record.cost_nano) == (Usage(3, 4), 17_000)
        assert house.is_clean()

    run_virtually(scenario)


def test_of_streams_the_first_content_wins() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(30, streamed(b"a"))], [after(0.5, streamed(b"b", b"c", usage=Usage(7, 2)))])
        call = msgspec.structs.replace(house.call(), fields=msgspec.structs.replace(PROMPT, stream=True))
        answer, call = await house.ask(call)
        record = call.record
        assert (record.target, record.hedge, record.cost_nano) == ("b/m", "won", 10_000)
        assert house.limiter.running == 1, "its place is held until it is over"
        assert await read(answer) == b"bc"
        assert (record.usage, record.cost_nano, record.billed) == (Usage(7, 2), 19_000, "b/m")
        assert house.is_clean()
        assert house.sink.records == [record]

    run_virtually(scenario)


def test_a_winning_stream_that_is_given_up_is_booked_for_what_came() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(30, streamed(b"a"))], [streamed(b"b", b"c", usage=Usage(7, 2))])
        call = msgspec.structs.replace(house.call(), fields=msgspec.structs.replace(PROMPT, stream=True))
        answer, call = await house.ask(call)
        await stream_of(answer).aclose()
        assert (call.record.usage, call.record.cost_nano) == (Usage(7, 2), 19_000)
        assert house.is_clean()

    run_virtually(scenario)


@pytest.mark.parametrize(
    ("denied", "changes", "fields"),
    [
        (Denied.BUDGET, {"share": 0.5}, {}),
        (Denied.BUDGET, {"share": 0.5, "budget": 10**9}, {}),
        (Denied.ATTEMPTS, {"attempts": 1}, {}),
        (Denied.EFFECTS, {}, {"body": b'{"store":true}'}),
        (Denied.EFFECTS, {}, {"headers": [(b"idempotency-key", b"1")]}),
        (Denied.MONEY, {"budget": 25_000}, {}),
    ],
)
def test_why_a_call_is_not_asked_twice(denied: Denied, changes: dict[str, Any], fields: dict[str, Any]) -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(3, said(b"a", 5))], **changes)
        answer, call = await house.ask(house.call(**fields))
        assert (answer.body, call.record.attempts, call.record.hedge, house.b.attempts) == (b"a", 1, "", [])
        assert house.counts == (0, 0, {denied: 1})
        assert house.is_clean()

    run_virtually(scenario)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"chain": (A,)}, {}),
        ({"chain": (A, OTHER)}, {}),
        ({"chain": (A, A)}, {}),
        ({"models": frozenset({"n"})}, {}),
        ({"min_samples": 21}, {}),
        ({"min_priority": 6}, {}),
        ({}, {"endpoint": Endpoint.OTHER, "fields": Fields("m"), "path": "/x"}),
    ],
)
def test_calls_that_are_never_asked_twice(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(3, said(b"a", 5))], **changes)
        answer, call = await house.ask(house.call(**fields))
        assert (answer.body, call.record.attempts, house.b.attempts, house.counts) == (b"a", 1, [], (0, 0, {}))

    run_virtually(scenario)


def test_another_model_answers_where_that_is_allowed() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(30, said(b"a", 5))], chain=(A, OTHER), other_models=True)
        answer, call = await house.ask()
        assert (answer.body, call.record.target, call.record.model) == (b"b", "b/n", "m")

    run_virtually(scenario)


def test_another_key_of_the_same_provider_is_asked_where_there_is_no_other() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(30, said(b"a", 5))], [after(0.5, said(b"b", 7))], chain=(A,), keys=("one", "two"))
        answer, call = await house.ask()
        record = call.record
        assert (answer.body, record.target, record.hedge, record.attempts) == (b"b", "a.two/m", "won", 2)
        assert [each.target for each in record.lost] == ["a.one/m"]
        assert house.counts == (1, 1, {})
        assert house.is_clean()

    run_virtually(scenario)


def test_one_key_is_not_asked_twice() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(3, said(b"a", 5))], chain=(A,), keys=("one",))
        answer, call = await house.ask()
        assert (answer.body, call.record.attempts, house.counts) == (b"a", 1, (0, 0, {Denied.CIRCUIT: 1}))

    run_virtually(scenario)


def test_a_target_whose_circuit_is_not_closed_is_not_asked() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(3, said(b"a", 5))])
        breaker = house.health.of("b/m", "b").breaker
        for _ in range(20):
            breaker.settle(breaker.admit(0), Outcome.BAD, 0)
        answer, _ = await house.ask()
        assert (answer.body, house.counts) == (b"a", (0, 0, {Denied.CIRCUIT: 1}))

    run_virtually(scenario)


def test_it_takes_only_what_is_free() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(3, said(b"a", 5))], limit=limits(places=1))
        held = house.limiter.try_reserve((1, 1, 1, 2, 0), 5)
        assert held is not None
        answer, call = await house.ask()
        assert (answer.body, call.record.attempts, call.record.hedge, call.record.queue_ns) == (b"a", 1, "", 0)
        assert house.counts == (0, 0, {Denied.QUOTA: 1})
        assert (house.b.attempts, house.sink.failures, call.record.cost_nano) == ([], [], 5000)
        held.release()
        assert house.known.budget.take(), "it was not sent, so it cost no hedge"
        assert house.is_clean()

    run_virtually(scenario)


def test_it_does_not_stand_in_line_for_a_connection() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(3, said(b"a", 5))])
        house.b.busy = True
        answer, _ = await house.ask()
        assert (answer.body, house.counts, house.b.attempts) == (b"a", (0, 0, {Denied.QUOTA: 1}), [])
        house.b.busy = False
        answer, _ = await house.ask()
        assert (answer.body, house.known.launched) == (b"b", 1)
        assert house.is_clean()

    run_virtually(scenario)


def test_a_target_that_asked_to_be_left_alone_is_not_waited_for() -> None:
    async def scenario(clock: FakeClock) -> None:
        limited = UpstreamStatusError("x", status=429, retry_after=20.0)
        house = House(clock, [after(3, said(b"a", 5)), after(3, said(b"a", 5))], [limited])
        await house.ask()
        assert house.counts == (1, 0, {})
        answer, _ = await house.ask()
        assert (answer.body, house.counts, len(house.b.attempts)) == (b"a", (1, 0, {Denied.QUOTA: 1}), 1)

    run_virtually(scenario)


def test_a_second_request_that_fails_is_told_and_nobody_waits_for_it() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(3, said(b"a", 5))], [UpstreamStatusError("x", status=500)])
        answer, call = await house.ask()
        record = call.record
        assert (answer.body, record.attempts, record.hedge, record.target) == (b"a", 2, "failed", "a/m")
        assert [(each.target, each.status, each.waits_ns) for each in house.sink.failures] == [("b/m", 500, -1)]
        assert (record.usage, record.cost_nano, record.lost) == (Usage(5, 0), 5000, ())
        assert house.is_clean()

    run_virtually(scenario)


def test_if_the_first_fails_the_second_saves_the_call() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(2, ConnectError("x"))], [after(3, said(b"b", 7))])
        answer, call = await house.ask()
        record = call.record
        assert (answer.body, record.attempts, record.hedge, record.target) == (b"b", 2, "won", "b/m")
        assert (record.cost_nano, record.lost, len(house.b.attempts)) == (7000, (), 1)
        assert house.is_clean()

    run_virtually(scenario)


def test_a_request_at_fault_comes_back_at_once() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(2, InvalidRequestError("x"))], [after(30, said(b"b", 7))])
        call = house.call()
        with pytest.raises(InvalidRequestError):
            await house.ask(call)
        assert call.record.duration_ns < 2.1 * SECOND
        assert call.record.lost == (Lost("b/m", "m", PROMPT_LOST, 10_000, HEDGE),)
        assert house.is_clean()

    run_virtually(scenario)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (UpstreamStatusError("x", status=500), 2),  # once more, as any target is that failed so
        (UpstreamTimeoutError("x", phase="first_byte"), 1),
    ],
)
@pytest.mark.parametrize("first", [1.5, 3.0])
def test_when_both_fail_the_rules_say_whether_the_second_is_asked_again(
    first: float, error: AIClientError, asked: int
) -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(first, ConnectError("first"))], [after(1.0, error)])
        call = house.call()
        with pytest.raises(ConnectError, match="first"):
            await house.ask(call)
        assert (len(house.b.attempts), call.record.hedge) == (asked, "failed")
        assert house.is_clean()

    run_virtually(scenario)


def test_a_defect_of_ours_is_not_hidden() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(30, said(b"a", 5))], [ZeroDivisionError()])
        with pytest.raises(ZeroDivisionError):
            await house.ask()
        house = House(clock, [after(2, ZeroDivisionError())], [after(30, said(b"b", 7))])
        with pytest.raises(ZeroDivisionError):
            await house.ask()
        assert house.is_clean()

    run_virtually(scenario)


def test_the_wait_before_a_retry_is_not_the_target_s_time() -> None:
    """The first try fails at 0.9 s, the next begins later and takes 0.9 s as well: neither is late."""

    async def scenario(clock: FakeClock) -> None:
        script: list[Line] = [
            after(0.9, UpstreamStatusError("x", status=429, retry_after=2.0)),
            after(0.9, said(b"a", 5)),
        ]
        house = House(clock, script, retries=2)
        answer, call = await house.ask()
        assert (answer.body, call.record.hedge, house.counts) == (b"a", "", (0, 0, {}))

    run_virtually(scenario)


@pytest.mark.parametrize("leaves", [0.5, 1.2, 2.0])
def test_a_caller_who_leaves_ends_both(leaves: float) -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [after(30, said(b"a", 5))], [after(30, said(b"b", 7))], budget=10**9)
        call = house.call()
        task = asyncio.ensure_future(house.ask(call))
        await pass_seconds(leaves)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert house.is_clean()
        hedged = leaves > 1.1
        why = [CANCELLED, HEDGE] if hedged else [CANCELLED]
        assert [each.why for each in call.record.lost] == why
        assert call.record.cost_nano == 10_000 * len(why)
        assert house.budgets.accounts[ALL].spent == call.record.cost_nano

    run_virtually(scenario)


def test_streaming_and_whole_answers_are_timed_apart() -> None:
    async def scenario(clock: FakeClock) -> None:
        house = House(clock, [streamed(b"a"), said(b"a", 1)])
        await read((await house.ask(streaming(deadline_ns=90 * SECOND)))[0])
        assert (house.known.streamed.seen, house.known.whole.seen) == (21, 20)
        await house.ask()
        assert (house.known.streamed.seen, house.known.whole.seen) == (21, 21)

    run_virtually(scenario)
