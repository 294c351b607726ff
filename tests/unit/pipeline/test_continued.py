"""A stream that breaks off after its commit, and who takes it up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest

from ai_client.errors import (
    AIClientError,
    BrokenReplyError,
    ContentPolicyError,
    InvalidRequestError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.request import Endpoint
from ai_client.model.usage import Usage
from ai_client.pipeline.continued import Continued
from ai_client.pipeline.fallback import Fallback
from ai_client.providers.openai.judges import ChunkJudge
from ai_client.providers.openai.stream import EventStream
from ai_client.testing import CaptureSink, FakeClock, reply
from ai_client.testing.provider import EVENTS, Line
from tests.calls import MINUTE, make_call, streaming
from tests.running import Run
from tests.unit.pipeline.stages import Inside, ends_of, stream_of
from tests.unit.pipeline.test_seam import read as events_in
from tests.unit.providers.openai.feed import COUNT, DONE, ROLE, STOP, USAGE, Fed, chunk

A, B, C = (Target("p", name, name) for name in "abc")
BREAK = BrokenReplyError("the first one broke")
AGAIN = BrokenReplyError("the second one broke")
REST = (ROLE, chunk("swer"), STOP, USAGE, DONE)


def answers(*pieces: bytes, error: BaseException | None = None) -> Callable[[Attempt], Awaitable[Reply]]:
    """A streamed answer as the provider makes one."""

    async def line(attempt: Attempt) -> Reply:
        call = attempt.call
        call.record.target = attempt.target.name
        asked = call.fields.include_usage
        judge = ChunkJudge(hide_usage=not asked, tell_usage=asked, keep=call.keep)
        stream = EventStream(Fed(pieces, error), judge, attempt.target.name, COUNT)
        await stream.open()
        return Reply(200, [EVENTS], b"", stream)

    return line


def refuses(error: AIClientError) -> Callable[[Attempt], Awaitable[Reply]]:
    async def line(attempt: Attempt) -> Reply:
        raise error

    return line


FIRST = answers(ROLE, chunk("The an"), error=BREAK)


class Trial:
    """One stream through the stage, read to its end, one way or the other."""

    def __init__(self, run: Run, *script: Line, call: Call | None = None, relay: bool = False, **more: Any) -> None:
        self.inside = Inside(*script)
        self.sink = CaptureSink()
        self.call = call or streaming()
        self.relay = relay
        self.got: list[bytes] = []
        self.error: BaseException | None = None
        self.ends: list[StreamEnd] = []
        self.clock = FakeClock()
        self._targets = more.pop("targets", (A, B, C))
        self._styles: Mapping[str, str] = more.pop("styles", {"b": "plain", "c": "plain"})
        self._most = more.pop("max_attempts", 6)
        run(self._read())

    async def _read(self) -> None:
        plan = Fallback(self.inside, self._most, self.clock)
        stage = Continued(plan, self.inside, self._styles, self._most, self.clock, [self.sink])
        answer = await stage(self.call, self._targets)
        self.ends = ends_of(answer)
        stream = stream_of(answer)
        try:
            if self.relay:
                await stream.relay(self._write, self._drain)
            else:
                async for piece in stream:
                    self.got.append(piece)
        except (AIClientError, asyncio.CancelledError) as error:
            self.error = error
            with pytest.raises(type(error)):
                await anext(stream)
        else:
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        await stream.aclose()
        assert len(self.ends) == 1

    def _write(self, piece: bytes) -> bool:
        self.got.append(piece)
        return False

    async def _drain(self) -> None:
        await asyncio.sleep(0)

    @property
    def text(self) -> str:
        choices = [each["choices"][0] for each in self.events if each["choices"]]
        return "".join(choice["delta"].get("content", "") for choice in choices)

    @property
    def events(self) -> list[Any]:
        data = b"".join(self.got)
        assert data.count(DONE) == (self.error is None)
        return events_in(data.replace(DONE, b""))

    @property
    def asked(self) -> list[str]:
        return [attempt.target.model for attempt in self.inside.attempts]


@pytest.mark.parametrize("relay", [False, True])
def test_another_takes_it_up_and_the_caller_sees_one_stream(run: Run, relay: bool) -> None:
    trial = Trial(run, FIRST, answers(*REST), relay=relay)
    assert (trial.text, trial.error, trial.asked) == ("The answer", None, ["a", "b"])
    assert {each["id"] for each in trial.events} == {"1"}
    reasons = [each["choices"][0].get("finish_reason") for each in trial.events]
    assert [reason for reason in reasons if reason] == ["stop"]
    roles = [each["choices"][0]["delta"].get("role") for each in trial.events]
    assert roles.count("assistant") == 1
    begun = trial.inside.attempts[1].call
    assert (begun.prefill, begun.fields.input_chars) == ("The an", 40 + len("The an"))
    assert begun.body == trial.call.body
    assert trial.ends == [StreamEnd(None, Usage(10 + 9, 2 + 2, estimated=True))]
    (told,) = trial.sink.failures
    assert (told.target, told.message, told.waits_ns) == ("p/a", BREAK.message, 0)


@pytest.mark.parametrize("relay", [False, True])
def test_what_does_not_break_is_not_touched(run: Run, relay: bool) -> None:
    pieces = (ROLE, chunk("The answer"), STOP, DONE)
    trial = Trial(run, answers(*pieces), relay=relay)
    assert b"".join(trial.got) == b"".join(pieces)
    assert (trial.asked, trial.sink.failures) == (["a"], [])


@pytest.mark.parametrize(("rest", "before", "after"), [(REST, 9, 2), (REST[:3] + REST[4:], 10, 1)])
def test_a_caller_that_wants_the_count_gets_that_of_both(
    run: Run, rest: tuple[bytes, ...], before: int, after: int
) -> None:
    """Be the second part counted by its provider or by us."""
    call = streaming()
    call = msgspec.structs.replace(call, fields=msgspec.structs.replace(call.fields, include_usage=True))
    call.record.usage = Usage(30, 4, estimated=True)  # as the accounts have it once the first part is over
    trial = Trial(run, FIRST, answers(*rest), call=call)
    (usage,) = [each["usage"] for each in trial.events if "usage" in each]
    total = before + 30 + after + 4
    assert usage == {
        "prompt_tokens": before + 30,
        "completion_tokens": after + 4,
        "total_tokens": total,
        "estimated": True,
    }


@pytest.mark.parametrize("relay", [False, True])
def test_who_takes_it_up_may_break_too(run: Run, relay: bool) -> None:
    trial = Trial(
        run, FIRST, answers(ROLE, chunk("sw"), error=AGAIN), answers(ROLE, chunk("er"), *REST[2:]), relay=relay
    )
    assert (trial.text, trial.error, trial.asked) == ("The answer", None, ["a", "b", "c"])
    assert trial.inside.attempts[2].call.prefill == "The answ"
    assert [failure.target for failure in trial.sink.failures] == ["p/a", "p/b"]


@pytest.mark.parametrize("relay", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        (refuses(InvalidRequestError("no prefill")), refuses(UpstreamStatusError("busy", status=503))),
        (answers(ROLE, chunk("swer"), error=AGAIN), refuses(InvalidRequestError("no prefill"))),
        (answers(b"data: [5]\n\n"), answers(error=AGAIN)),
    ],
)
def test_when_nobody_can_it_is_the_break_that_is_told(run: Run, script: tuple[Line, ...], relay: bool) -> None:
    trial = Trial(run, FIRST, *script, relay=relay)
    assert trial.error is BREAK
    assert trial.ends[0].error is BREAK
    assert trial.asked == ["a", "b", "c"]
    assert "The answer".startswith(trial.text)


def test_one_refuses_and_the_next_takes_it_up(run: Run) -> None:
    trial = Trial(run, FIRST, refuses(InvalidRequestError("no prefill")), answers(*REST))
    assert (trial.text, trial.asked) == ("The answer", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (FIRST, {"targets": (A,), "styles": {"a": "plain"}}),  # who broke is not asked to mend it
        (FIRST, {"targets": (A, B), "styles": {"c": "plain"}}),
        (FIRST, {"max_attempts": 1}),
        (FIRST, {"call": streaming(deadline_ns=0)}),
        (FIRST, {"call": msgspec.structs.replace(streaming(), body=b'{"messages":[{"role":"user"}],"tools":[{}]}')}),
        (answers(ROLE, chunk("a"), error=ContentPolicyError("no")), {}),
        (answers(ROLE, chunk("a"), STOP, error=BREAK), {}),
        (answers(ROLE, chunk("a").replace(b"content", b"refusal"), error=BREAK), {}),
        (answers(ROLE, chunk("a").replace(b"content", b"reasoning_content"), chunk("b"), error=BREAK), {}),
    ],
)
def test_what_cannot_be_taken_up(run: Run, first: Line, more: dict[str, Any]) -> None:
    trial = Trial(run, first, answers(*REST), **more)
    assert isinstance(trial.error, BrokenReplyError | ContentPolicyError)
    assert trial.asked == ["a"]


@pytest.mark.parametrize(
    "call",
    [
        make_call(),
        streaming(endpoint=Endpoint.COMPLETIONS),
        msgspec.structs.replace(streaming(), fields=msgspec.structs.replace(streaming().fields, choices=2)),
    ],
)
def test_other_calls_are_not_watched(run: Run, call: Call) -> None:
    async def scene() -> None:
        inside = Inside(reply())
        stage = Continued(Fallback(inside, 6, FakeClock()), inside, {"a": "plain"}, 6, FakeClock(), [])
        await stage(call, (A,))
        assert inside.attempts[0].call is call

    run(scene())


def test_a_model_that_repeats_the_beginning_is_held_to_it(run: Run) -> None:
    echo = {"b": "echo"}
    first = answers(ROLE, chunk("The "), error=BREAK)
    trial = Trial(run, first, answers(ROLE, chunk("The"), chunk(" answer"), *REST[2:]), styles=echo)
    assert (trial.text, trial.inside.attempts[1].call.prefill) == ("The answer", "The")
    assert Trial(run, first, answers(ROLE, chunk("An answer"), *REST[2:]), styles=echo).error is BREAK


def test_a_silent_target_is_not_asked_to_mend_its_silence(run: Run) -> None:
    first = answers(ROLE, chunk("The an"), error=UpstreamTimeoutError("silent", phase="idle"))
    assert Trial(run, first, answers(*REST), styles={"a": "plain", "c": "plain"}).asked == ["a", "c"]


@pytest.mark.parametrize("relay", [False, True])
@pytest.mark.parametrize("before", [0, 1])
def test_a_reader_that_leaves(run: Run, relay: bool, before: int) -> None:
    gone = asyncio.CancelledError()
    script = [answers(ROLE, chunk("a"), error=gone)] if not before else [FIRST, answers(ROLE, chunk("b"), error=gone)]
    trial = Trial(run, *script, relay=relay)
    assert trial.error is gone
    assert trial.ends[0].cancelled


def test_a_reader_that_leaves_while_somebody_is_sought(run: Run) -> None:
    async def seek(_: Attempt) -> Reply:
        raise asyncio.CancelledError

    trial = Trial(run, FIRST, seek)
    assert isinstance(trial.error, asyncio.CancelledError)
    assert trial.ends[0].cancelled


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_stream_that_is_closed_before_its_end(run: Run, count: int) -> None:
    async def scene() -> None:
        inside = Inside(FIRST, answers(*REST))
        stage = Continued(Fallback(inside, 6, FakeClock()), inside, {"b": "plain"}, 6, FakeClock(), [])
        answer = await stage(streaming(deadline_ns=MINUTE), (A, B))
        ends = ends_of(answer)
        stream = stream_of(answer)
        for _ in range(count):
            await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert [end.cancelled for end in ends] == [count < 4], "after the last event there is nothing to give up"

    run(scene())
