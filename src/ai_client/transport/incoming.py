"""An answer as its reader sees it, whole or in pieces. The connection that it comes over is in `connection.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ai_client.errors import AIClientError, BrokenReplyError
from ai_client.transport.http import Header

if TYPE_CHECKING:
    from ai_client.transport.connection import ClientConnection


class Incoming:
    """An answer: whole in `body`, or, for anything but JSON, in pieces by `read()`.

    Header names are lower case; trailers are not among them. A streamed answer holds its connection until its end has
    been read, and no longer: read it to the end, `discard` or `close` it.
    """

    __slots__ = (
        "_connection",
        "_consumer",
        "_error",
        "_pieces",
        "_reader",
        "_size",
        "body",
        "headers",
        "status",
        "streamed",
    )

    def __init__(
        self, status: int, headers: list[Header], body: bytes, connection: ClientConnection | None = None
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.streamed = connection is not None
        self._connection = connection  # until the answer has arrived whole, or never will
        if connection is not None:
            self._pieces: list[bytes] = []
            self._size = 0
            self._error: AIClientError | None = None
            self._reader: asyncio.Future[None] | None = None
            self._consumer: Callable[[bytes], bool] | None = None

    async def read(self) -> bytes:
        """What has arrived since the last call; waits for something; b"" at the end of a streamed answer.

        Raises `BrokenReplyError` where it was cut off and `UpstreamTimeoutError` where it fell silent. A cancelled
        wait closes the connection. One reader at a time.
        """
        if not self.streamed:
            return b""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._connection is None:
                return b""
            self._reader = self._connection.new_future()
            try:
                await self._reader
            except asyncio.CancelledError:
                self.close()
                raise
            finally:
                self._reader = None
        pieces, self._pieces = self._pieces, []
        self._size = 0
        if self._connection is not None:
            self._connection.read_on()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def feed(self, consumer: Callable[[bytes], bool]) -> bool:
        """Hand every piece to `consumer` as it arrives, waking nobody, for as long as it returns True.

        Returns True at the end of the answer, False where the consumer stopped; call again to go on. Raises what `read`
        raises, and what the consumer raised.
        """
        while True:
            if self._connection is None or self._pieces:
                piece = await self.read()
                if not piece or not consumer(piece):
                    return not piece
                continue
            reader = self._reader = self._connection.new_future()
            self._consumer = consumer
            try:
                await reader
            except asyncio.CancelledError:
                self.close()
                raise
            finally:
                stopped = self._consumer is None
                self._reader = self._consumer = None
            if stopped:
                return False

    async def read_all(self, limit: int) -> bytes:
        """The whole of a streamed answer, at most `limit` bytes; raises `BrokenReplyError` beyond."""
        if not self.streamed:
            return self.body
        pieces = []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                self.close()
                raise BrokenReplyError(f"the answer is larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def begun(self) -> None:
        """What was read holds the first content: the patience for that is no longer asked for."""
        if self._connection is not None:
            self._connection.begun()

    def discard(self) -> None:
        """All that matters has been read: throw the rest away, and keep the connection if it comes soon."""
        connection = self._let_go()
        if connection is not None:
            connection.discard()

    def close(self) -> None:
        """Give the rest of a streamed answer up: closes its connection. Harmless after the end."""
        connection = self._let_go()
        if connection is not None:
            connection.abort()

    def _let_go(self) -> ClientConnection | None:
        connection = self._connection
        if connection is not None:
            self.over(None)
            connection.forget()
        if self.streamed:
            self._pieces = []
        return connection

    # ---- the connection's side

    def arrived(self, piece: bytes) -> int:
        """One more piece. Returns how many bytes wait to be read."""
        consumer = self._consumer
        if consumer is not None:
            self._consume(consumer, piece)
            return 0
        self._pieces.append(piece)
        self._size += len(piece)
        self._wake()
        return self._size

    def over(self, error: AIClientError | None) -> None:
        """Nothing more will come."""
        self._connection = None
        self._error = error
        self._wake()

    def _consume(self, consumer: Callable[[bytes], bool], piece: bytes) -> None:
        reader = self._reader
        try:
            going_on = consumer(piece)
        except Exception as error:  # noqa: BLE001  raised again where the consumer was handed over
            self._consumer = None
            if reader is not None and not reader.done():
                reader.set_exception(error)
        else:
            if not going_on:
                self._consumer = None
                self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
