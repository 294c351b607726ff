"""One connection to a provider: a request out, an answer back, then the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools
import msgspec

from ai_client.errors import AIClientError, BrokenReplyError, ConnectError, UpstreamTimeoutError
from ai_client.transport.http import Header
from ai_client.transport.timer import NEVER, LazyTimer

_DISCARD_TIME = 1.0  # seconds for the end of an answer whose content is already complete
_HIGH_WATER = 256 * 1024  # bytes of a streamed answer kept for a slow reader before the provider has to wait


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Patience with one answer, in seconds. `total` runs from the sending; each may be `NEVER`."""

    first_byte: float = 30.0
    idle: float = 60.0
    total: float = NEVER


class Incoming:
    """An answer: whole in `body`, or, for anything but JSON, in pieces by `read()`.

    Header names are lower case.
    """

    __slots__ = ("_connection", "body", "headers", "status", "streamed")

    def __init__(self, status: int, headers: list[Header], connection: ClientConnection | None, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.streamed = connection is not None
        self._connection = connection

    async def read(self) -> bytes:
        """The next piece of a streamed answer, b"" at its end.

        Raises `BrokenReplyError` where it was cut off and `UpstreamTimeoutError` where it fell silent.
        """
        if self._connection is None:
            return b""
        piece = await self._connection.read_piece()
        if not piece:
            self._connection = None
        return piece

    async def read_all(self, limit: int) -> bytes:
        """The whole of a streamed answer, at most `limit` bytes; raises `BrokenReplyError` beyond."""
        pieces = [self.body] if self.body else []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                self.close()
                raise BrokenReplyError(f"the answer is larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def discard(self) -> None:
        """All that matters has been read: throw the rest away, and keep the connection if it comes soon."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.discard()

    def close(self) -> None:
        """Give the rest of a streamed answer up: closes its connection. Harmless after the end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


class ClientConnection(asyncio.Protocol):
    """Owned by a pool, lent to one request at a time.

    `on_idle` is called when an answer is complete and the connection may serve again, `on_closed` when it is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        where: str,
        max_body: int,
        on_idle: Callable[[ClientConnection], None],
        on_closed: Callable[[ClientConnection], None],
    ) -> None:
        self._loop = loop
        self._where = where
        self._max_body = max_body
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._timer = LazyTimer(loop, self._timed_out)
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._timeouts = Timeouts()
        self._total_due = NEVER
        self._phase = ""
        self._status = 0
        self._headers: list[Header] = []
        self._pieces: list[bytes] = []
        self._size = 0
        self._length = -1  # content-length, where one was promised
        self._chunked = False
        self._streamed = False
        self._complete = False
        self._discarding = False
        self._error: AIClientError | None = None
        self._head: asyncio.Future[Incoming] | None = None
        self._reader: asyncio.Future[None] | None = None
        self.used = 0
        self.idle_since = 0.0

    # ---- the pool's side

    @property
    def usable(self) -> bool:
        """Nothing is known against sending on this connection."""
        transport = self._transport
        return transport is not None and not transport.is_closing()

    async def request(self, wire: bytes, timeouts: Timeouts) -> Incoming:
        """Send a request (head and body as bytes); returns its answer.

        Raises `UpstreamTimeoutError`, `BrokenReplyError`. A cancelled wait closes the connection, and so the
        request at the provider's side.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectError(f"{self._where} closed the connection before anything was sent")
        if self.used:
            self._parser = httptools.HttpResponseParser(self)
        self.used += 1
        self._status = 0
        self._headers = []
        self._pieces = []
        self._size = 0
        self._length = -1
        self._chunked = self._streamed = self._complete = self._discarding = False
        self._error = None
        self._timeouts = timeouts
        now = self._loop.time()
        self._total_due = now + timeouts.total
        self._phase = "first_byte"
        self._timer.set(min(now + timeouts.first_byte, self._total_due))
        head: asyncio.Future[Incoming] = self._loop.create_future()
        self._head = head
        transport.write(wire)
        try:
            return await head
        except asyncio.CancelledError:
            self.abort()
            raise

    async def read_piece(self) -> bytes:
        """What has arrived of a streamed answer since the last call; waits for something; b"" at the end."""
        while True:
            pieces = self._pieces
            if pieces:
                self._pieces = []
                if self._size > _HIGH_WATER and self._transport is not None and not self._complete:
                    self._transport.resume_reading()
                self._size = 0
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            self._reader = self._loop.create_future()
            try:
                await self._reader
            except asyncio.CancelledError:
                self.abort()
                raise
            finally:
                self._reader = None

    def discard(self) -> None:
        """Let the rest of a streamed answer come and go; a provider that keeps us waiting for it is left."""
        if self._phase:
            self._discarding = True
            self._total_due = self._loop.time() + _DISCARD_TIME
            self._timer.set(self._total_due)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self._phase:  # an answer nobody asked for
            self.abort()
            return
        if self._phase == "idle":
            self._timer.due = min(self._loop.time() + self._timeouts.idle, self._total_due)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._phase:
                self._fail(BrokenReplyError(f"{self._where} answered something that is not HTTP/1.1: {error}"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._timer.close()
        if self._phase:
            if self._status and self._length < 0 and not self._chunked and exc is None and self._head_done:
                self._finish()  # a body that ends with its connection
            else:
                self._fail(self._cut_off(exc))
        self._on_closed(self)

    # ---- the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come
            self._headers = []
            return
        self._status = status
        self._phase = "idle"
        self._timer.set(min(self._loop.time() + self._timeouts.idle, self._total_due))
        whole = False
        for name, value in self._headers:
            if name == b"content-type":
                whole = value[:16].lower() == b"application/json"
            elif name == b"content-length":
                self._length = int(value)
                if self._length == 0:
                    whole = True
            elif name == b"transfer-encoding":
                self._chunked = True
        if not whole:
            self._streamed = True
            self._resolve(Incoming(status, self._headers, self, b""))

    def on_body(self, body: bytes) -> None:
        if self._discarding:
            return
        self._pieces.append(body)
        self._size += len(body)
        if self._streamed:
            if self._reader is not None:
                if not self._reader.done():
                    self._reader.set_result(None)
            elif self._size > _HIGH_WATER and self._transport is not None:
                self._transport.pause_reading()
                self._timer.due = self._total_due  # the silence is ours
        elif self._size > self._max_body:
            self._fail(BrokenReplyError(f"{self._where} answered more than {self._max_body} bytes"))
            self.abort()

    def on_message_complete(self) -> None:
        if self._status:
            self._finish()

    # ---- ending

    @property
    def _head_done(self) -> bool:
        return self._phase == "idle"

    def _finish(self) -> None:
        self._complete = True
        self._phase = ""
        self._timer.due = NEVER
        if self._streamed:
            if self._reader is not None and not self._reader.done():
                self._reader.set_result(None)
        else:
            pieces = self._pieces
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._pieces = []
            self._resolve(Incoming(self._status, self._headers, None, body))
        transport = self._transport
        if transport is None:
            return
        # a request whose body the provider did not wait for would run into the next one
        if self._parser.should_keep_alive() and not transport.get_write_buffer_size():
            self._on_idle(self)
        else:
            transport.close()

    def _resolve(self, incoming: Incoming) -> None:
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_result(incoming)

    def _fail(self, error: AIClientError) -> None:
        self._phase = ""
        self._error = error
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_exception(error)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _cut_off(self, exc: Exception | None) -> BrokenReplyError:
        how = f"broke the connection ({exc})" if exc is not None else "closed the connection"
        if not self._status:
            return BrokenReplyError(f"{self._where} {how} without an answer")
        promised = f" of the {self._length} promised" if self._length >= 0 else ""
        return BrokenReplyError(f"{self._where} {how} in the middle of its answer{promised and ', short' + promised}")

    def _timed_out(self) -> None:
        if not self._phase:
            return
        if self._loop.time() >= self._total_due - 0.001:
            phase, seconds = "total", self._timeouts.total
            text = f"{self._where} did not finish its answer within {seconds:g} s"
        elif self._phase == "first_byte":
            phase, text = "first_byte", f"{self._where} did not begin to answer within {self._timeouts.first_byte:g} s"
        else:
            phase, text = "idle", f"{self._where} fell silent for {self._timeouts.idle:g} s in the middle of its answer"
        self._fail(UpstreamTimeoutError(text, phase=phase))
        self.abort()
