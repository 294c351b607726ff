"""A request that has arrived whole, and the answer to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ai_client.transport.http import STATUS_LINES, Header, find_header

if TYPE_CHECKING:
    from ai_client.transport.server_connection import ServerConnection


class Request:
    """One request, whole. Header names are lower case; `path` has no query, `query` no question mark."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "peer_uid", "query")

    def __init__(self, method: str, url: bytes, headers: list[Header], body: bytes, keep_alive: bool) -> None:
        path, _, query = url.partition(b"?")
        self.method = method
        self.path = path.decode("latin-1")
        self.query = query.decode("latin-1")
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.peer_uid: int | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header `name` (lower case), or None."""
        return find_header(self.headers, name)


class Exchange:
    """The answer to one request: whole by `send`, or streamed by `start`, `write` … and `end`.

    Nothing is written once `closed` is True (the client went away): the calls are then harmless.
    """

    __slots__ = ("_chunked", "_connection", "_listeners", "closed", "started")

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._chunked = False
        self._listeners: list[Callable[[], None]] | None = None
        self.closed = False
        self.started = False

    def send(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a whole answer; its length is stated for you."""
        if self.closed:
            return
        self.started = True
        connection = self._connection
        parts = [STATUS_LINES[status]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n" if connection.keeps_alive() else b"connection: close\r\n\r\n")
        if connection.method != "HEAD":
            parts.append(body)
        connection.write(b"".join(parts))
        connection.finished(self)

    def start(self, status: int, headers: Sequence[Header]) -> None:
        """Begin a streamed answer."""
        if self.closed:
            return
        self.started = True
        connection = self._connection
        parts = [STATUS_LINES[status]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body
        self._chunked = connection.http11
        keep = connection.keeps_alive() and self._chunked
        if self._chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        if not keep:
            connection.close_after = True
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        connection.write(b"".join(parts))

    def write(self, data: bytes) -> None:
        """Write a piece of a streamed answer."""
        if self.closed or not data:
            return
        if self._chunked:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._connection.write(data)

    @property
    def backed_up(self) -> bool:
        """The client reads slower than we write: `await drain()` before the next piece."""
        return self._connection.write_paused and not self.closed

    async def drain(self) -> None:
        """Wait until the client has read enough for more to be written."""
        await self._connection.drained()

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """End a streamed answer cleanly; `trailers` reach only a client that said `TE: trailers`."""
        if self.closed:
            return
        if self._chunked:
            tail = b"".join(b"%b: %b\r\n" % pair for pair in trailers)
            self._connection.write(b"0\r\n" + tail + b"\r\n")
        self._connection.finished(self)

    def abort(self) -> None:
        """Break the connection off, so that the client cannot take what it has for the whole."""
        self.closed = True
        self._connection.reset()

    def raw(self, data: bytes) -> None:
        """Put bytes on the wire as they are: for a simulator's faults. Then only `raw`, `close_raw` or `abort`."""
        self.started = True
        self._connection.close_after = True
        if not self.closed:
            self._connection.write(data)

    def close_raw(self) -> None:
        """Close the connection once what was written has left."""
        self._connection.close_after = True
        if not self.closed:
            self._connection.finished(self)

    def on_disconnect(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when the client goes away before the answer is finished."""
        if self._listeners is None:
            self._listeners = []
        self._listeners.append(listener)

    def disconnected(self) -> None:
        """The connection is gone."""
        self.closed = True
        for listener in self._listeners or ():
            listener()


Handler = Callable[[Request, Exchange], Awaitable[None] | None]
"""Answers a request: at once, later through the exchange it keeps, or as a coroutine, which a disconnect cancels."""


JSON_HEADERS: tuple[Header, ...] = ((b"content-type", b"application/json"),)


def error_body(message: str, code: str, kind: str = "invalid_request_error", param: str | None = None) -> bytes:
    """An error in the shape of OpenAI's API."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
