"""The server's connection: how the bytes of requests are cut never matters, and answers keep their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any, cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server, ServerLimits
from ai_client.transport.server_connection import ServerConnection

LIMITS = ServerLimits(max_body=200, max_header=300, max_headers=8)


class Wire:
    """A transport that keeps what is written, and never resists."""

    def __init__(self) -> None:
        self.sent = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.sent += data

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.closing = True

    abort = close


def told(request: Request) -> bytes:
    """All that the handler saw."""
    fields = b"".join(b"%b=%b;" % header for header in request.headers)
    what = f"{request.method} {request.path}?{request.query} {request.keep_alive} {request.http11} ".encode()
    return what + fields + request.body


def handle(request: Request, exchange: Exchange) -> Awaitable[None] | None:
    """Answers at once, later, or in pieces, as the path asks."""
    if request.path.startswith("/later"):
        return _later(request, exchange)
    if request.path.startswith("/pieces"):
        exchange.start(200, ())
        exchange.write(told(request))
        exchange.end()
    else:
        exchange.send(200, ((b"content-type", b"text/plain"),), told(request))
    return None


async def _later(request: Request, exchange: Exchange) -> None:
    await asyncio.sleep(0)
    exchange.send(200, (), told(request))


def answered(pieces: list[bytes]) -> bytes:
    """What the server says to these pieces, until it has no more to say."""

    async def scene() -> bytes:
        wire = Wire()
        connection = ServerConnection(Server(handle, LIMITS))
        connection.connection_made(cast("Any", wire))
        for piece in pieces:
            connection.data_received(piece)
            await asyncio.sleep(0)
        while connection._exchange is not None:  # noqa: ASYNC110  there is nobody who would set an event
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the last of it leaves
        connection.connection_lost(None)
        return wire.sent

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scene())


def cut(data: bytes, at: list[int]) -> list[bytes]:
    return [data[a:b] for a, b in pairwise([0, *sorted(at), len(data)])]


GET = b"GET /a?b=c HTTP/1.1\r\nHost: test\r\nX-Empty:\r\nX-Padded:  v \r\n\r\n"
POST = b"POST /later HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /pieces HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
OFFER = b"POST /a HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc" + GET
OLD = b"POST /later HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"
LAST = b"GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
REFUSED = {
    "not HTTP": b"nonsense\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a bad chunk": b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a large body": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 201\r\n\r\n" + b"x" * 201,
    "a large chunk": b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nd0\r\n" + b"x" * 210,
    "a large head": b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 300 + b"\r\n\r\n",
    "many fields": b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: y\r\n" * 8 + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "to connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
}
SOUND = {"get": GET, "post": POST, "chunked": CHUNKED, "offer": OFFER, "1.0": OLD, "last": LAST}


@pytest.mark.parametrize("data", [*SOUND.values(), *REFUSED.values()], ids=[*SOUND, *REFUSED])
def test_every_cut_yields_the_same_answer(data: bytes) -> None:
    whole = answered([data])
    assert whole.startswith(b"HTTP/1.1 ")
    for at in range(1, len(data)):
        assert answered(cut(data, [at])) == whole, at
    assert answered([bytes([byte]) for byte in data]) == whole


@given(
    st.lists(st.sampled_from([GET, POST, CHUNKED, OFFER, OLD]), max_size=12),
    st.sampled_from([b"", LAST, *REFUSED.values()]),
    st.lists(st.integers(0, 2000), max_size=20),
)
def test_pipelined_requests_are_answered_in_order(requests: list[bytes], last: bytes, cuts: list[int]) -> None:
    one_by_one = b"".join(answered([request]) for request in [*requests, last] if request)
    data = b"".join([*requests, last])
    at = [each % (len(data) + 1) for each in cuts]
    assert answered(cut(data, at)) == one_by_one


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=5))
def test_no_bytes_break_it(data: bytes, cuts: list[int]) -> None:
    data = GET + data
    sent = answered(cut(data, [each % (len(data) + 1) for each in cuts]))
    assert sent.startswith(answered([GET]))


@given(st.lists(st.tuples(st.sampled_from(["/a", "/later"]), st.binary(max_size=40)), max_size=12))
def test_a_repeated_head_is_read_as_if_it_were_new(asked: list[tuple[str, bytes]]) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: test\r\nX-Padded:  v \r\ncontent-Length:  %d\r\n\r\n%b"
    requests = [head % (path.encode(), len(body), body) for path, body in asked]
    assert answered(requests) == b"".join(answered([request]) for request in requests)
