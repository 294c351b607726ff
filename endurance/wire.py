"""A caller of the daemon who reads closely: was the answer whole, refused in words, broken in words, or a lie?"""

from __future__ import annotations

import asyncio
import enum
from typing import cast

import httptools
import msgspec


class End(enum.Enum):
    """What became of a call."""

    WHOLE = "whole"
    CANCELLED = "cancelled"
    """By this caller."""
    REFUSED = "refused"
    """An error status with a reason, or an error event and a closed connection: said, and not to be mistaken."""
    LOST = "lost"
    """The connection went away without a word."""
    LIE = "lie"
    """It ended as if it were whole, and is not."""


class Caller(asyncio.Protocol):
    """One connection with one request on it at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.usable = True
        self.status = 0
        self.body = b""
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[bool] | None = None  # True when the message is complete
        self._kept = True

    async def ask(self, request: bytes, *, stream: bool) -> End:
        """Send it, and say how it ended. Cancelled, it drops the connection."""
        assert self.transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self.status, self.body = 0, b""
        self.transport.write(request)
        try:
            complete = await self._answer
        except asyncio.CancelledError:
            self.drop()
            raise
        self.usable = self.usable and self._kept
        if not complete:
            return End.REFUSED if self.status == 200 and stream and b'"error"' in self.body else End.LOST
        return judge(self.status, self.body, stream=stream)

    def drop(self) -> None:
        """Leave."""
        self.usable = False
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _reason: Exception | None) -> None:
        self.usable = False
        self._end(complete=False)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.status = self._parser.get_status_code()
        self.body += data

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._kept = self._parser.should_keep_alive()
        self._end(complete=True)

    def _end(self, *, complete: bool) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(complete)


def judge(status: int, body: bytes, *, stream: bool) -> End:
    """What a soundly framed answer is worth."""
    if status != 200:
        return End.REFUSED if b'"error"' in body else End.LIE
    if stream:
        return End.WHOLE if body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"' in body else End.LIE
    try:
        whole = msgspec.json.decode(body)["choices"][0]["finish_reason"] is not None
    except (msgspec.DecodeError, KeyError, IndexError, TypeError):
        return End.LIE
    return End.WHOLE if whole else End.LIE


class Callers:
    """Connections to one daemon, kept where they may be."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self._idle: list[Caller] = []
        self.again = 0

    async def ask(self, request: bytes, *, stream: bool) -> End:
        """One call, on a connection that is free or a new one. Raises OSError when there is none to be had.

        A kept connection that was closed at rest, as it was being taken up again, is replaced by a new one, as every
        HTTP client does it; `again` counts these.
        """
        kept = self._free()
        if kept is not None:
            end = await self._on(kept, request, stream=stream)
            if end is not End.LOST or kept.status:
                return end
            self.again += 1
        made = (await asyncio.get_running_loop().create_connection(Caller, *self._where))[1]
        return await self._on(made, request, stream=stream)

    async def _on(self, caller: Caller, request: bytes, *, stream: bool) -> End:
        try:
            return await caller.ask(request, stream=stream)
        finally:
            if caller.usable:
                self._idle.append(caller)
            else:
                caller.drop()

    def close(self) -> None:
        """Leave on all of them."""
        for caller in self._idle:
            caller.drop()
        self._idle.clear()

    def _free(self) -> Caller | None:
        while self._idle:
            caller = self._idle.pop()
            if caller.usable:
                return caller
        return None
