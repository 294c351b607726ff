"""A provider that follows its script."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.errors import BrokenReplyError, ConnectError
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.usage import Usage
from ai_client.testing import ScriptedProvider, reply, streamed
from tests.calls import make_attempt
from tests.running import Run


def test_an_empty_script_answers_everything(run: Run) -> None:
    async def scenario() -> None:
        provider = ScriptedProvider()
        first, second = await provider.send(make_attempt()), await provider.send(make_attempt())
        assert first == second == reply()
        assert first is not second
        assert len(provider.attempts) == 2

    run(scenario())


def test_the_script_is_followed_and_its_last_line_repeated(run: Run) -> None:
    async def by_number(attempt: Attempt) -> Reply:
        return reply(b"%d" % attempt.number)

    async def scenario() -> None:
        provider = ScriptedProvider([ConnectError("no"), reply(b"1"), by_number], name="p")
        with pytest.raises(ConnectError):
            await provider.send(make_attempt())
        bodies = [(await provider.send(make_attempt(number=number))).body for number in (7, 8, 9)]
        assert bodies == [b"1", b"8", b"9"]
        assert provider.name == "p"

    run(scenario())


def test_it_counts_how_often_it_was_closed() -> None:
    provider = ScriptedProvider()
    provider.close()
    provider.retire()
    provider.retire()
    assert (provider.closed, provider.retired, provider.open_connections) == (1, 2, 0)


@pytest.mark.parametrize("error", [None, BrokenReplyError("cut off"), asyncio.CancelledError()])
def test_a_stream_tells_its_end_once(run: Run, error: BaseException | None) -> None:
    async def scenario() -> None:
        stream = streamed(b"a", b"b", usage=Usage(1, 2), error=error).stream
        assert stream is not None
        ends: list[StreamEnd] = []
        stream.on_end(ends.append)
        assert stream.__aiter__() is stream
        got = [await stream.__anext__(), await stream.__anext__()]
        with pytest.raises(type(error) if error is not None else StopAsyncIteration):
            await stream.__anext__()
        assert got == [b"a", b"b"]
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        assert ends == [StreamEnd(error, Usage(1, 2), isinstance(error, asyncio.CancelledError))]

    run(scenario())


def test_a_stream_given_up_says_so(run: Run) -> None:
    async def scenario() -> None:
        stream = streamed(b"a", b"b").stream
        assert stream is not None
        ends: list[StreamEnd] = []
        stream.on_end(ends.append)
        assert await stream.__anext__() == b"a"
        await stream.aclose()
        await stream.aclose()
        assert [end.cancelled for end in ends] == [True]

    run(scenario())
