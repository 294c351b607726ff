"""The same question again: kept, shared, replayed, or asked anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.base import CacheBackend, Entry
from ai_client.cache.policy import CachePolicy
from ai_client.errors import BrokenReplyError, DeadlineExceededError, UpstreamStatusError
from ai_client.model.call import Attempt, Call
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint, Fields
from ai_client.model.usage import NO_USAGE, Usage
from ai_client.pipeline.cached import Cached, CacheSettings
from ai_client.testing import FakeClock, ScriptedStream, reply, streamed
from ai_client.testing.provider import EVENTS, JSON, Line
from tests.calls import make_call, make_record, streaming
from tests.unit.pipeline.stages import Inside, ends_of, read, stream_of
from tests.virtual import run_virtually
from tests.wire import turns

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


class Slow:
    """A cache that is never at hand: every look takes a turn of the loop."""

    instant = False

    def __init__(self, memory: MemoryCache) -> None:
        self._memory = memory

    def get_nowait(self, key: bytes) -> Entry | None:
        return None

    async def get(self, key: bytes) -> Entry | None:
        await asyncio.sleep(0)
        return await self._memory.get(key)

    def put_nowait(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        pass

    async def put(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        await asyncio.sleep(0)
        await self._memory.put(key, entry, ttl_ns)

    stats = property(lambda self: self._memory.stats)
    close = property(lambda self: self._memory.close)


class House:
    def __init__(self, clock: FakeClock, *script: Line, slow: bool = False) -> None:
        self.clock = clock
        self.inside = Inside(*script)
        memory = MemoryCache(clock, 100_000_000)
        backend: CacheBackend = Slow(memory) if slow else memory
        self.memory = memory
        self.stage = Cached(self._inner, CacheSettings(backend, CachePolicy(HOUR), "s"), clock)

    async def _inner(self, call: Call) -> Reply:
        call.record.model = "answered"
        return await self.inside.answer(call)

    async def ask(self, call: Call | None = None) -> tuple[Reply, str]:
        """The answer, and the cache's word on it. What is being stored is stored then."""
        call = call or fresh()
        answer = await self.stage(call)
        if answer.stream is None:
            await turns(4)
        return answer, call.record.cache

    @property
    def asked(self) -> int:
        return len(self.inside.attempts)


def fresh(**fields: object) -> Call:
    return make_call(record=make_record(), **fields)


def fresh_stream() -> Call:
    return streaming(record=make_record())


def in_house(*script: Line, slow: bool = False) -> Callable[[Callable[[House], Awaitable[None]]], None]:
    """Runs a scenario in a house of its own, in virtual time."""

    def runner(scenario: Callable[[House], Awaitable[None]]) -> None:
        async def main(clock: FakeClock) -> None:
            await scenario(House(clock, *script, slow=slow))

        run_virtually(main)

    return runner


@pytest.mark.parametrize("slow", [False, True])
def test_a_miss_then_a_hit(slow: bool) -> None:
    kept = Reply(200, [JSON, (b"x-ratelimit-left", b"5"), (b"content-language", b"en")], b"1", None, Usage(1, 2))

    @in_house(kept, reply(b"2"), slow=slow)
    async def _(house: House) -> None:
        first, said = await house.ask()
        assert (first, said) == (kept, "miss")
        call = fresh()
        second, said = await house.ask(call)
        assert (second.body, second.status, second.headers, said) == (
            b"1",
            200,
            [JSON, (b"content-language", b"en")],
            "hit",
        )
        assert second.usage == NO_USAGE, "nothing was spent"
        assert call.record.model == "answered"
        assert house.asked == 1


def test_it_is_good_for_its_time() -> None:
    @in_house(reply(b"1"), reply(b"2"))
    async def _(house: House) -> None:
        await house.ask()
        house.clock.advance(3600)
        answer, said = await house.ask()
        assert (answer.body, said) == (b"2", "miss")


def test_other_questions_other_apps_and_other_scopes_have_other_answers() -> None:
    @in_house()
    async def _(house: House) -> None:
        for call in (
            fresh(),
            fresh(body=b'{"model":"m","x":1}'),
            fresh(app="other"),
            fresh(headers=[(b"openai-beta", b"x")]),
        ):
            assert (await house.ask(call))[1] == "miss"
        elsewhere = Cached(house._inner, CacheSettings(house.memory, CachePolicy(HOUR), "other"), house.clock)
        call = fresh()
        await elsewhere(call)
        assert call.record.cache == "miss"
        assert house.asked == 5


def test_a_caller_may_ask_for_a_fresh_answer() -> None:
    @in_house(reply(b"1"), reply(b"2"))
    async def _(house: House) -> None:
        await house.ask()
        answer, said = await house.ask(fresh(cache=False))
        assert (answer.body, said) == (b"2", "")
        assert (await house.ask())[0].body == b"1", "and leaves what is kept"


def test_what_the_policy_leaves_out_is_passed_on() -> None:
    @in_house()
    async def _(house: House) -> None:
        for _ in range(2):
            call = fresh(endpoint=Endpoint.OTHER, fields=Fields(""), path="/files")
            assert (await house.ask(call))[1] == ""
        assert house.asked == 2


def test_what_is_no_plain_success_is_not_kept() -> None:
    @in_house(reply(b"1", status=201))
    async def _(house: House) -> None:
        await house.ask()
        assert (await house.ask())[1] == "miss"
        assert house.asked == 2


def gated(gate: asyncio.Event, line: Reply | BaseException) -> Callable[[Attempt], Awaitable[Reply]]:
    """A line of a script that waits for the gate."""

    async def wait(_: Attempt) -> Reply:
        await gate.wait()
        if isinstance(line, BaseException):
            raise line
        return line

    return wait


@pytest.mark.parametrize("slow", [False, True])
def test_equal_calls_at_once_share_one_answer(slow: bool) -> None:
    gate = asyncio.Event()

    @in_house(gated(gate, reply(b"1")), slow=slow)
    async def _(house: House) -> None:
        tasks = [asyncio.create_task(house.ask()) for _ in range(5)]
        await turns()
        gate.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.body for answer, _ in answers] == [b"1"] * 5
        assert sorted(said for _, said in answers) == ["coalesced"] * 4 + ["miss"]
        assert house.asked == 1
        assert house.stage._flights == {}


def test_they_share_an_answer_that_is_not_kept_too() -> None:
    gate = asyncio.Event()

    @in_house(gated(gate, reply(b"1", status=202)))
    async def _(house: House) -> None:
        tasks = [asyncio.create_task(house.ask()) for _ in range(2)]
        await turns()
        gate.set()
        assert [(await task)[0].status for task in tasks] == [202, 202]
        assert house.asked == 1


def test_when_the_leader_fails_all_get_its_error() -> None:
    gate = asyncio.Event()
    error = UpstreamStatusError("down", status=503)

    @in_house(gated(gate, error), reply(b"2"))
    async def _(house: House) -> None:
        tasks = [asyncio.create_task(house.ask()) for _ in range(3)]
        await turns()
        gate.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [error] * 3
        assert house.asked == 1
        assert (await house.ask())[0].body == b"2", "an error is not kept"


def test_an_error_that_nobody_else_waits_for_leaves_no_trace() -> None:
    @in_house(BrokenReplyError("x"))
    async def _(house: House) -> None:
        with pytest.raises(BrokenReplyError):
            await house.ask()
        assert house.stage._flights == {}


def test_when_the_leader_is_cancelled_one_of_the_others_takes_over() -> None:
    gate = asyncio.Event()

    @in_house(gated(gate, reply(b"1")), gated(gate, reply(b"2")), reply(b"3"))
    async def _(house: House) -> None:
        leader, *others = (asyncio.create_task(house.ask()) for _ in range(4))
        await turns()
        leader.cancel()
        await turns()
        assert house.asked == 2, "one asks again, the rest wait for it"
        gate.set()
        answers = await asyncio.gather(*others)
        assert [answer.body for answer, _ in answers] == [b"2"] * 3
        assert sorted(said for _, said in answers) == ["coalesced", "coalesced", "miss"]
        assert leader.cancelled()


def test_a_waiting_call_that_is_cancelled_does_not_stop_the_others() -> None:
    gate = asyncio.Event()

    @in_house(gated(gate, reply(b"1")))
    async def _(house: House) -> None:
        leader, leaving, staying = (asyncio.create_task(house.ask()) for _ in range(3))
        await turns()
        leaving.cancel()
        await turns()
        gate.set()
        assert (await leader)[0].body == (await staying)[0].body == b"1"
        assert leaving.cancelled()
        assert house.asked == 1


def test_a_waiting_call_keeps_its_own_deadline() -> None:
    gate = asyncio.Event()

    @in_house(gated(gate, reply(b"1")))
    async def _(house: House) -> None:
        leader = asyncio.create_task(house.ask())
        await turns()
        with pytest.raises(DeadlineExceededError):
            await house.ask(fresh(deadline_ns=2 * SECOND))
        assert abs(house.clock.monotonic_ns() - 2 * SECOND) < 1000
        gate.set()
        assert (await leader)[0].body == b"1"


def test_a_crash_of_the_leader_is_its_own() -> None:
    gate = asyncio.Event()

    @in_house(gated(gate, ZeroDivisionError()), reply(b"2"))
    async def _(house: House) -> None:
        leader, other = (asyncio.create_task(house.ask()) for _ in range(2))
        await turns()
        gate.set()
        with pytest.raises(ZeroDivisionError):
            await leader
        assert (await other)[0].body == b"2"


def test_a_stream_is_kept_whole_and_replayed() -> None:
    @in_house(streamed(b"a", b"b", usage=Usage(1, 2)))
    async def _(house: House) -> None:
        answer, said = await house.ask(fresh_stream())
        assert (await read(answer), said) == (b"ab", "miss")
        await turns()
        again, said = await house.ask(fresh_stream())
        ends = ends_of(again)
        assert (await read(again), said, again.headers) == (b"ab", "hit", [EVENTS])
        with pytest.raises(StopAsyncIteration):
            await stream_of(again).__anext__()
        assert [(end.error, end.usage, end.cancelled) for end in ends] == [(None, NO_USAGE, False)]
        assert house.asked == 1


def test_a_replay_may_be_given_up() -> None:
    @in_house(streamed(b"a"))
    async def _(house: House) -> None:
        await read((await house.ask(fresh_stream()))[0])
        await turns()
        again, _ = await house.ask(fresh_stream())
        ends = ends_of(again)
        await stream_of(again).aclose()
        await stream_of(again).aclose()
        assert [end.cancelled for end in ends] == [True]


def test_streams_are_not_shared_while_they_run() -> None:
    @in_house(streamed(b"a"), streamed(b"b"))
    async def _(house: House) -> None:
        first, _ = await house.ask(fresh_stream())
        second, _ = await house.ask(fresh_stream())
        assert (await read(first), await read(second)) == (b"a", b"b")


@pytest.mark.parametrize("status", [200, 206])
def test_a_whole_answer_to_a_call_for_a_stream_passes(status: int) -> None:
    @in_house(reply(b"1", status=status))
    async def _(house: House) -> None:
        assert (await house.ask(fresh_stream()))[0].body == b"1"
        assert (await house.ask(fresh_stream()))[1] == "miss"


def test_a_stream_that_is_no_plain_success_is_not_kept() -> None:
    answer = streamed(b"a")
    answer.status = 202

    @in_house(answer)
    async def _(house: House) -> None:
        await read((await house.ask(fresh_stream()))[0])
        await turns()
        assert house.memory.stats().entries == 0


def test_a_broken_stream_is_not_kept() -> None:
    @in_house(streamed(b"a", error=BrokenReplyError("cut off")), streamed(b"b"))
    async def _(house: House) -> None:
        answer, _ = await house.ask(fresh_stream())
        with pytest.raises(BrokenReplyError):
            await read(answer)
        await turns()
        assert (await house.ask(fresh_stream()))[1] == "miss"


def test_a_stream_that_was_given_up_is_not_kept() -> None:
    @in_house(streamed(b"a", b"b"))
    async def _(house: House) -> None:
        answer, _ = await house.ask(fresh_stream())
        await stream_of(answer).__anext__()
        await stream_of(answer).aclose()
        await turns()
        assert house.memory.stats().entries == 0


def test_a_stream_beyond_all_bounds_passes_but_is_not_kept() -> None:
    piece = b"x" * 1_000_000

    @in_house(Reply(200, [EVENTS], b"", ScriptedStream([piece] * 6)))
    async def _(house: House) -> None:
        answer, _ = await house.ask(fresh_stream())
        assert await read(answer) == piece * 6
        await turns()
        assert house.memory.stats().entries == 0
