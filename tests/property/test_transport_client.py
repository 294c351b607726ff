"""The client's connection: how the bytes of an answer are cut never matters, and no bytes break it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from ai_client.errors import BrokenReplyError
from ai_client.transport.connection import ClientConnection
from ai_client.transport.outbox import Outbox
from ai_client.transport.timer import Timeouts

Outcome = tuple[object, ...]


class Wire:
    """A transport that takes everything, and closes at the next turn of the loop."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


def received(pieces: list[bytes], method: bytes) -> Outcome:
    """What a reader gets of these pieces, and whether the connection could serve again."""

    async def scene() -> Outcome:
        rested: list[ClientConnection] = []
        gone: list[ClientConnection] = []
        loop = asyncio.get_running_loop()
        connection = ClientConnection(loop, "there", 10_000, Outbox(loop), rested.append, gone.append)
        wire = Wire(connection)
        connection.connection_made(cast("Any", wire))
        head = connection.send(method + b" / HTTP/1.1\r\n\r\n", Timeouts())
        await asyncio.sleep(0)  # it leaves
        for piece in pieces:
            if not wire.is_closing():
                connection.data_received(piece)
            await asyncio.sleep(0)
        reusable = bool(rested) and not wire.is_closing()
        wire.abort()
        try:
            incoming = await head
            body = await incoming.read_all(10_000)
        except BrokenReplyError as error:
            outcome: Outcome = ("broken", str(error))
        else:
            outcome = (incoming.status, incoming.headers, incoming.streamed, body)
        while not gone:  # noqa: ASYNC110  there is nobody who would set an event
            await asyncio.sleep(0)
        assert len(rested) <= 1
        assert len(gone) == 1
        return (*outcome, reusable)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scene())


def cut(data: bytes, at: list[int]) -> list[bytes]:
    return [data[a:b] for a, b in pairwise([0, *sorted(at), len(data)])]


HEAD = b"HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Padded:  v \r\n"
JSON = b"Content-Type: application/json\r\n"
SSE = b"Content-Type: text/event-stream\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n"
ANSWERS = {
    "json with a length": HEAD + JSON + b"Content-Length: 5\r\n\r\nhello",
    "json in chunks": HEAD + JSON + CHUNKS,
    "json to the end": HEAD + JSON + b"\r\nhello",
    "a stream with a length": HEAD + SSE + b"Content-Length: 5\r\n\r\nhello",
    "a stream in chunks": HEAD + SSE + CHUNKS,
    "a stream to the end": HEAD + SSE + b"\r\nhello",
    "hints first": b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + HEAD + JSON + CHUNKS,
    "the last": HEAD + JSON + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "cut off": HEAD + SSE + b"Content-Length: 9\r\n\r\nhello",
    "a bad chunk": HEAD + SSE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "no HTTP": b"<html>hello</html>",
}


ENDING = [
    "json with a length",
    "json in chunks",
    "a stream with a length",
    "a stream in chunks",
    "hints first",
    "the last",
    "no content",
]
"""Those that say themselves where they end."""


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_every_cut_yields_the_same_answer(answer: bytes) -> None:
    whole = received([answer], b"POST")
    for at in range(1, len(answer)):
        assert received(cut(answer, [at]), b"POST") == whole, at
    assert received([bytes([byte]) for byte in answer], b"POST") == whole


@pytest.mark.parametrize("at", range(1, len(HEAD + SSE + b"Content-Length: 5\r\n\r\n")))
def test_every_cut_of_an_answer_to_head_yields_the_same(at: int) -> None:
    answer = HEAD + SSE + b"Content-Length: 5\r\n\r\n"
    outcome = received(cut(answer, [at]), b"HEAD")
    assert outcome == received([answer], b"HEAD")
    assert outcome[0] == 200
    assert outcome[-2:] == (b"", False)


@given(
    st.sampled_from(ENDING),
    st.lists(st.integers(0, 1000), max_size=20),
    st.sampled_from([b"", b"x", b"HTTP/1.1 200 OK\r\n", *ANSWERS.values()]),
)
def test_what_comes_too_much_is_never_taken_for_an_answer(name: str, cuts: list[int], more: bytes) -> None:
    """However it is cut, the reader gets its own answer, and the connection serves nobody else."""
    expected = received([ANSWERS[name]], b"POST")
    data = ANSWERS[name] + more
    outcome = received(cut(data, [each % (len(data) + 1) for each in cuts]), b"POST")
    assert outcome[:-1] == expected[:-1]
    assert not (more and outcome[-1])


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=5), st.booleans())
def test_no_bytes_break_it(data: bytes, cuts: list[int], begun: bool) -> None:
    data = (HEAD + SSE if begun else b"") + data
    received(cut(data, [each % (len(data) + 1) for each in cuts]), b"POST")
