"""Streams: forwarded byte for byte, and the truth about how they end."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.errors import AIClientError, BrokenReplyError, UpstreamError, UpstreamStatusError, UpstreamTimeoutError
from ai_client.model.reply import StreamEnd
from ai_client.model.usage import Usage
from ai_client.providers.openai.judges import ChunkJudge
from ai_client.providers.openai.stream import EventStream, RawStream
from ai_client.transport.sse import DEFAULT_MAX_EVENT_BYTES
from tests.running import Run
from tests.unit.providers.openai.feed import COUNT, DONE, ROLE, STOP, USAGE, Fed, chunk, event

HELLO = chunk("hello")
COUNTED = Usage(9, 2)


class Trial:
    """A stream of these pieces, read to its end."""

    def __init__(self, run: Run, *pieces: bytes, error: BaseException | None = None, hide: bool = True) -> None:
        """`hide`: the caller did not ask for a usage."""
        self.fed = Fed(pieces, error)
        self.opened = False
        self.got: list[bytes] = []
        self.error: BaseException | None = None
        self.ends: list[StreamEnd] = []
        self.hide = hide
        run(self._read())

    async def _read(self) -> None:
        stream = EventStream(self.fed, ChunkJudge(hide_usage=self.hide, tell_usage=not self.hide), "p", COUNT)
        try:
            await stream.open()
            self.opened = True
            assert stream.model == "m-1"
            stream.on_end(self.ends.append)
            async for piece in stream:
                self.got.append(piece)
        except (AIClientError, asyncio.CancelledError) as error:
            self.error = error
        if self.opened:
            await self._afterwards(stream)

    async def _afterwards(self, stream: EventStream) -> None:
        """However often it is read or closed after its end, that end stays what it was."""
        with pytest.raises(type(self.error) if self.error is not None else StopAsyncIteration):
            await stream.__anext__()
        await stream.aclose()
        assert len(self.ends) == 1
        with pytest.raises(RuntimeError, match="over"):
            stream.on_end(self.ends.append)


def test_a_stream(run: Run) -> None:
    trial = Trial(run, ROLE, HELLO, STOP, USAGE, DONE)
    assert trial.got == [ROLE + HELLO, STOP, DONE], "opened with its first content; the usage was nobody's wish"
    assert trial.ends == [StreamEnd(None, COUNTED)]
    assert trial.fed.let_go == "discarded "


def test_the_usage_is_shown_to_who_asked(run: Run) -> None:
    assert Trial(run, ROLE, HELLO, STOP, USAGE, DONE, hide=False).got == [ROLE + HELLO, STOP, USAGE, DONE]


UNTOLD = event(
    {
        "id": "1",
        "model": "m-1",
        "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "estimated": True},
    }
)


@pytest.mark.parametrize("empty", [b"", event({"choices": [], "usage": {}})])
def test_who_asked_for_a_usage_that_did_not_come_is_told_ours(run: Run, empty: bytes) -> None:
    trial = Trial(run, HELLO, STOP, *([empty] if empty else []), DONE, hide=False)
    assert trial.got[-1] == UNTOLD + DONE
    assert trial.ends == [StreamEnd(None, Usage(10, 2, estimated=True))]
    assert Trial(run, HELLO + STOP + DONE + b"\n", hide=False).got == [HELLO + STOP + UNTOLD + DONE]
    assert Trial(run, HELLO, STOP, DONE).got == [HELLO, STOP, DONE], "and nobody who did not"


def test_a_usage_in_a_chunk_of_content_is_one(run: Run) -> None:
    stop = chunk(finish="stop", usage={"prompt_tokens": 9, "completion_tokens": 2})
    assert Trial(run, HELLO, stop, DONE, hide=False).got == [HELLO, stop, DONE]


def test_a_break_is_not_told_as_a_count(run: Run) -> None:
    trial = Trial(run, HELLO, DONE, hide=False)
    assert (trial.got, trial.ends[0].usage) == ([HELLO], Usage(10, 2, estimated=True))
    assert isinstance(trial.error, BrokenReplyError)


def test_all_of_it_at_once(run: Run) -> None:
    trial = Trial(run, ROLE + HELLO + STOP + USAGE + DONE)
    assert trial.got == [ROLE + HELLO + STOP + DONE]
    assert trial.ends == [StreamEnd(None, COUNTED)]


def test_comments_are_forwarded(run: Run) -> None:
    assert b"".join(Trial(run, b": busy\n\n", ROLE + b": still\n\n", HELLO, STOP + DONE).got) == (
        b": busy\n\n" + ROLE + b": still\n\n" + HELLO + STOP + DONE
    )


@pytest.mark.parametrize("after", [b"data: {\n\n", b": bye\n\n", chunk("more"), b"\n"])
def test_what_follows_the_end_is_not_of_the_answer(run: Run, after: bytes) -> None:
    together, apart = Trial(run, HELLO, STOP, DONE + after), Trial(run, HELLO, STOP, DONE, after)
    assert together.got == apart.got == [HELLO, STOP, DONE]
    assert together.error is None


def test_the_last_line_end_may_be_a_lone_cr(run: Run) -> None:
    cr = (HELLO + STOP + DONE).replace(b"\n", b"\r")
    trial = Trial(run, cr)
    assert b"".join(trial.got) == cr
    assert trial.error is None


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([], "ended its stream without saying that it was complete"),
        ([HELLO[:-5]], "in the middle of an event"),
        ([ROLE], "without saying that it was complete"),
        ([ROLE, DONE], "without a finish_reason"),
        ([b"data: {\n\n"], "not the JSON it should be"),
        ([b"data: <html>\n\n"], "not the JSON it should be"),
    ],
)
def test_broken_before_there_was_content_it_can_be_tried_elsewhere(run: Run, pieces: list[bytes], said: str) -> None:
    trial = Trial(run, *pieces)
    assert isinstance(trial.error, BrokenReplyError)
    assert said in trial.error.message
    assert (trial.opened, trial.fed.let_go) == (False, "closed ")


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([], "ended its stream without saying that it was complete"),
        ([STOP], "ended its stream without saying that it was complete"),
        ([STOP, DONE[:-1]], "in the middle of an event"),
        ([DONE], "without a finish_reason"),
        ([USAGE, DONE], "without a finish_reason"),
        ([b"data: nonsense\n\n", STOP, DONE], "not the JSON it should be"),
    ],
)
def test_broken_off_later_it_says_so(run: Run, pieces: list[bytes], said: str) -> None:
    trial = Trial(run, HELLO, *pieces)
    assert isinstance(trial.error, BrokenReplyError)
    assert said in trial.error.message
    assert trial.got[0] == HELLO
    assert trial.ends[0].error is trial.error
    assert not trial.ends[0].cancelled
    assert trial.fed.let_go == "closed "


@pytest.mark.parametrize("bad", [event({"error": {"message": "busy"}}), b"data: {\n\n", DONE])
def test_what_came_with_the_break_is_handed_on_before_it(run: Run, bad: bytes) -> None:
    more = chunk("more")
    trial = Trial(run, HELLO, b": still\n\n" + more + bad + chunk("never"))
    assert trial.got == [HELLO, b": still\n\n" + more]
    assert isinstance(trial.error, AIClientError)
    assert trial.ends[0].error is trial.error
    assert trial.ends[0].usage == Usage(10, 3, estimated=True), "5 and 4 characters came"
    assert trial.fed.let_go == "closed "


def test_what_came_in_front_of_an_event_without_end_is_handed_on_first(run: Run) -> None:
    more = chunk("more")
    trial = Trial(run, HELLO, more + b"data: " + b"a" * DEFAULT_MAX_EVENT_BYTES)
    assert trial.got == [HELLO, more]
    assert isinstance(trial.error, BrokenReplyError)
    assert "longer than" in trial.error.message
    assert trial.fed.let_go == "closed "


def test_content_that_came_with_the_break_is_not_shown_while_it_can_be_tried_elsewhere(run: Run) -> None:
    trial = Trial(run, HELLO + b"data: {\n\n")
    assert isinstance(trial.error, BrokenReplyError)
    assert (trial.opened, trial.fed.let_go) == (False, "closed ")


def test_a_stream_closed_before_its_break_was_told_was_given_up(run: Run) -> None:
    async def scene() -> None:
        stream = EventStream(Fed((HELLO, chunk("more") + b"data: {\n\n")), ChunkJudge(hide_usage=True), "p", COUNT)
        ends: list[StreamEnd] = []
        await stream.open()
        stream.on_end(ends.append)
        assert [await anext(stream), await anext(stream)] == [HELLO, chunk("more")]
        await stream.aclose()
        assert ends[0].cancelled

    run(scene())


def held(
    run: Run, *pieces: bytes, most: int = 10**6, error: BaseException | None = None
) -> tuple[bool, list[bytes], Fed]:
    """A stream that is held: whether its end came within the bound, what its reader gets, and its connection."""

    async def scene() -> tuple[bool, list[bytes], Fed]:
        fed = Fed(pieces, error)
        stream = EventStream(fed, ChunkJudge(hide_usage=True), "p", COUNT)
        await stream.open()
        whole = await stream.hold(most)
        if whole:
            assert fed.let_go == "discarded ", "its connection can serve somebody else"
        ends: list[StreamEnd] = []
        stream.on_end(ends.append)
        got = [piece async for piece in stream]
        assert ends == [StreamEnd(None, COUNTED)]
        return whole, got, fed

    return run(scene())


def test_a_held_stream_comes_all_at_once(run: Run) -> None:
    whole, got, _ = held(run, ROLE, HELLO, chunk("more"), STOP, USAGE, DONE)
    assert (whole, got) == (True, [ROLE + HELLO + chunk("more") + STOP + DONE])
    assert held(run, ROLE + HELLO + STOP + USAGE + DONE)[:2] == (True, [ROLE + HELLO + STOP + DONE])


def test_one_that_is_too_long_to_be_held_begins_at_the_bound(run: Run) -> None:
    more = chunk("more")
    pieces = (HELLO, more, more, STOP, USAGE, DONE)
    assert held(run, *pieces, most=len(HELLO))[:2] == (False, [HELLO + more, more, STOP, DONE])
    assert held(run, *pieces, most=len(HELLO + more))[:2] == (False, [HELLO + more + more, STOP, DONE])
    exact = len(HELLO + more + more + STOP + DONE) - 1
    assert held(run, *pieces, most=exact)[:2] == (True, [HELLO + more + more + STOP + DONE])


@pytest.mark.parametrize(
    "rest",
    [(), (STOP,), (DONE,), (event({"error": {"message": "busy"}}),), (b"data: {\n\n",), (chunk("e") + b"data: {\n\n",)],
)
def test_a_held_stream_that_breaks_was_seen_by_nobody_and_tells_what_it_cost(run: Run, rest: tuple[bytes, ...]) -> None:
    fed = Fed((HELLO, *rest))

    async def scene() -> None:
        stream = EventStream(fed, ChunkJudge(hide_usage=True), "p", COUNT)
        await stream.open()
        await stream.hold(10**6)

    with pytest.raises(UpstreamError) as caught:
        run(scene())
    assert caught.value.came == len("hello") + (len(rest) and rest[0].startswith(chunk("e")))
    assert fed.let_go == "closed "


def test_who_leaves_while_a_stream_is_held_closes_it(run: Run) -> None:
    gone = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        held(run, HELLO, error=gone)


@pytest.mark.parametrize("bad", [event({"error": {"message": "busy"}}), b"data: {\n\n", DONE])
def test_a_relay_hands_on_what_came_with_the_break(run: Run, bad: bytes) -> None:
    async def scene() -> None:
        stream = EventStream(Fed((HELLO, chunk("more") + bad)), ChunkJudge(hide_usage=True), "p", COUNT)
        got: list[bytes] = []

        def write(piece: bytes) -> bool:
            got.append(piece)
            return True

        async def drain() -> None:
            raise AssertionError("nobody was slow")

        await stream.open()
        with pytest.raises(AIClientError):
            await stream.relay(write, drain)
        assert got == [HELLO, chunk("more")]

    run(scene())


def test_a_broken_stream_is_counted_for_what_came(run: Run) -> None:
    assert Trial(run, HELLO).ends[0].usage == Usage(10, 2, estimated=True), "41 characters in, 5 out, 4 to a token"
    assert Trial(run, HELLO, USAGE).ends[0].usage == COUNTED


@pytest.mark.parametrize("before", [[], [HELLO]])
def test_an_error_among_the_events(run: Run, before: list[bytes]) -> None:
    trial = Trial(run, *before, event({"error": {"message": "busy", "code": "overloaded"}}))
    assert isinstance(trial.error, UpstreamStatusError)
    assert (trial.error.code, trial.error.retryable, trial.opened) == ("overloaded", True, bool(before))


@pytest.mark.parametrize("before", [[], [HELLO]])
@pytest.mark.parametrize("error", [UpstreamTimeoutError("silent", phase="idle"), asyncio.CancelledError()])
def test_a_connection_that_fails_or_a_reader_that_leaves(run: Run, before: list[bytes], error: BaseException) -> None:
    trial = Trial(run, *before, error=error)
    assert trial.error is error
    assert trial.fed.let_go == "closed "
    cancelled = isinstance(error, asyncio.CancelledError)
    assert [end.cancelled for end in trial.ends] == [cancelled] * len(before)


@pytest.mark.parametrize(
    ("pieces", "read", "cancelled"),
    [
        ([HELLO, STOP + DONE], 0, True),
        ([HELLO, STOP + DONE], 1, True),
        ([HELLO, STOP + DONE], 2, False),
        ([HELLO + STOP + DONE], 0, True),
        ([HELLO + STOP + DONE], 1, False),
    ],
)
def test_given_up_it_was_whole_only_if_its_reader_had_it_all(
    run: Run, pieces: list[bytes], read: int, cancelled: bool
) -> None:
    async def scenario() -> None:
        fed = Fed(pieces)
        stream = EventStream(fed, ChunkJudge(hide_usage=True), "p", COUNT)
        await stream.open()
        ends: list[StreamEnd] = []
        stream.on_end(ends.append)
        for _ in range(read):
            await stream.__anext__()
        await stream.aclose()
        await stream.aclose()
        assert [(end.error, end.cancelled) for end in ends] == [(None, cancelled)]
        assert fed.let_go == "closed "
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()

    run(scenario())


# ---- bodies that nobody reads


def raw(run: Run, fed: Fed) -> tuple[list[bytes], list[StreamEnd], BaseException | None]:
    async def scenario() -> tuple[list[bytes], list[StreamEnd], BaseException | None]:
        stream = RawStream(fed)
        ends: list[StreamEnd] = []
        stream.on_end(ends.append)
        got: list[bytes] = []
        failed: BaseException | None
        try:
            while True:
                got.append(await stream.__anext__())
        except StopAsyncIteration:
            failed = None
        except (AIClientError, asyncio.CancelledError) as error:
            failed = error
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        await stream.aclose()
        return got, ends, failed

    return run(scenario())


def test_a_raw_body_comes_as_it_is(run: Run) -> None:
    assert raw(run, Fed([b"\0", b"\xff" * 10])) == ([b"\0", b"\xff" * 10], [StreamEnd(None, Usage())], None)


@pytest.mark.parametrize("error", [BrokenReplyError("cut off"), asyncio.CancelledError()])
def test_a_raw_body_that_breaks_off(run: Run, error: BaseException) -> None:
    got, ends, failed = raw(run, Fed([b"a"], error))
    assert (got, failed) == ([b"a"], error)
    assert ends == [StreamEnd(error, Usage(), isinstance(error, asyncio.CancelledError))]


def test_a_raw_body_that_is_given_up(run: Run) -> None:
    async def scenario() -> None:
        fed = Fed([b"a", b"b"])
        stream = RawStream(fed)
        ends: list[StreamEnd] = []
        stream.on_end(ends.append)
        await stream.__anext__()
        await stream.aclose()
        await stream.aclose()
        assert [end.cancelled for end in ends] == [True]
        assert fed.let_go == "closed "

    run(scenario())


def test_a_raw_body_tells_its_end_once_though_its_reader_leaves_meanwhile(run: Run) -> None:
    class Leaving(Fed):
        async def read(self) -> bytes:
            await stream.aclose()
            return b""

    stream = RawStream(Leaving([]))
    ends: list[StreamEnd] = []
    stream.on_end(ends.append)

    async def scenario() -> None:
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()

    run(scenario())
    assert [end.cancelled for end in ends] == [True]


def test_an_error_behind_the_content_does_not_repeat_the_key(run: Run) -> None:
    async def scene() -> None:
        said = event({"error": {"message": "who is sk-1?", "code": "sk-1"}})
        stream = EventStream(Fed((HELLO, said)), ChunkJudge(hide_usage=True), "p", COUNT, "sk-1")
        await stream.open()
        assert await anext(stream) == HELLO
        with pytest.raises(UpstreamStatusError) as caught:
            await anext(stream)
        assert (caught.value.message, caught.value.code) == ("p broke its stream off with an error: who is ***?", "***")

    run(scene())
