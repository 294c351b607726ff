"""What is written in one turn leaves at its end; nothing that was held back is lost, or taken for sent."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from ai_client.errors import ConnectError
from ai_client.transport.connection import ClientConnection
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.outbox import Outbox
from ai_client.transport.server import Server
from ai_client.transport.server_connection import ServerConnection
from ai_client.transport.timer import Timeouts
from tests.running import Run
from tests.wire import turns

ASK = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class Wire:
    """A transport that keeps what is written, each write for itself; `broken` fails at the first."""

    def __init__(self, *, broken: bool = False) -> None:
        self.writes: list[bytes] = []
        self.closed = False
        self._broken = broken

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.closed = self.closed or self._broken

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    abort = close


def caller(wire: Wire) -> ClientConnection:
    loop = asyncio.get_running_loop()
    connection = ClientConnection(loop, "there", 1000, Outbox(loop), lambda _: None, lambda _: None)
    connection.connection_made(cast("asyncio.Transport", wire))
    return connection


def callee(wire: Wire, *pieces: bytes) -> ServerConnection:
    def handler(_: Request, exchange: Exchange) -> None:
        exchange.start(200, ())
        for piece in pieces:
            exchange.write(piece)

    connection = ServerConnection(Server(handler))
    connection.connection_made(cast("asyncio.Transport", wire))
    return connection


class Pen:
    """Tells who was flushed; `then` is flushed in the next turn."""

    def __init__(self, name: str, told: list[str], outbox: Outbox, then: Pen | None = None) -> None:
        self._name = name
        self._told = told
        self._outbox = outbox
        self._then = then

    def flush(self) -> None:
        self._told.append(self._name)
        if self._then is not None:
            self._outbox.add(self._then)


def test_those_who_write_in_one_turn_are_flushed_in_order_at_its_end(run: Run) -> None:
    async def scene() -> None:
        outbox = Outbox(asyncio.get_running_loop())
        told: list[str] = []
        outbox.add(Pen("a", told, outbox, Pen("c", told, outbox)))
        outbox.add(Pen("b", told, outbox))
        assert told == []
        await asyncio.sleep(0)
        assert told == ["a", "b"]
        await asyncio.sleep(0)
        assert told == ["a", "b", "c"]

    run(scene())


def test_what_follows_in_the_same_turn_keeps_its_order(run: Run) -> None:
    async def scene() -> None:
        wire = Wire()
        connection = callee(wire, b"first", b"second")
        connection.data_received(ASK)
        assert [b"first" in write for write in wire.writes] == [False, True]
        await turns()
        assert [b"second" in write for write in wire.writes] == [False, False, True]
        connection.connection_lost(None)

    run(scene())


@pytest.mark.parametrize("ending", ["abort", "reset", "drain"])
def test_an_end_loses_nothing_that_was_held_back(run: Run, ending: str) -> None:
    async def scene() -> None:
        wire = Wire()
        connection = callee(wire)
        connection.data_received(b"nonsense\r\n\r\n" if ending == "drain" else ASK)
        getattr(connection, ending)()
        assert len(wire.writes) == 1
        await turns()
        assert len(wire.writes) == 1
        connection.connection_lost(None)

    run(scene())


def test_what_is_held_back_when_the_client_goes_goes_with_it(run: Run) -> None:
    async def scene() -> None:
        wire = Wire()
        connection = callee(wire, b"first")
        connection.data_received(ASK)
        wire.writes.clear()
        connection.connection_lost(None)
        connection.write(b"more")
        connection.write(b"and more")
        await turns()
        assert wire.writes == []

    run(scene())


def test_a_request_that_was_held_back_when_its_connection_went_was_never_sent(run: Run) -> None:
    async def scene() -> None:
        wire = Wire()
        connection = caller(wire)
        head = connection.send(ASK, Timeouts())
        connection.connection_lost(None)
        with pytest.raises(ConnectError, match="before anything was sent"):
            await head
        assert wire.writes == []

    run(scene())


def test_a_request_whose_write_fails_was_never_sent(run: Run) -> None:
    async def scene() -> None:
        connection = caller(Wire(broken=True))
        head = connection.send(ASK, Timeouts())
        with pytest.raises(ConnectError, match="before anything was sent"):
            await head
        connection.connection_lost(None)

    run(scene())


def test_an_answer_that_comes_before_its_question_left_is_nobodys(run: Run) -> None:
    """A provider that tires of an idle connection says so, and closes: that is not what our request is answered."""

    async def scene() -> None:
        wire = Wire()
        connection = caller(wire)
        head = connection.send(ASK, Timeouts())
        connection.data_received(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert wire.closed
        connection.connection_lost(None)
        with pytest.raises(ConnectError, match="before anything was sent"):
            await head

    run(scene())
