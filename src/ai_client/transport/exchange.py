"""A request that has arrived whole, and the answer to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ai_client.transport.http import BODILESS, STATUS_LINES, Header, find_header

if TYPE_CHECKING:
    from ai_client.transport.server_connection import ServerConnection

_COPY_LIMIT = 128 * 1024  # bytes; from here on copying a body behind its head costs more than writing it by itself
_colon = b": ".join


class Request(msgspec.Struct, gc=False):
    """One request, whole. Header names are lower case; `path` has no query, `query` no question mark.

    A target in absolute form (`http://host/path`, RFC 9112 section 3.2.2) is reduced to its path. `peer_uid` is the
    user at the other end of a Unix socket, None on any other. `notes` is for whoever handles requests: what was worked
    out from the head alone, under a key of its maker's, is there again when a client repeats the head.
    """

    method: str
    path: str
    query: str
    headers: list[Header]
    body: bytes
    keep_alive: bool
    http11: bool = True
    notes: dict[object, Any] = {}
    peer_uid: int | None = None

    @classmethod
    def to(cls, url: bytes, method: str, headers: list[Header], keep_alive: bool, http11: bool) -> Request:
        """A request to a target as it stands in the first line; it has no body yet."""
        if url[:1] not in (b"/", b"*"):
            url = _path_of(url)
        path, _, query = url.partition(b"?")
        return cls(method, path.decode("latin-1"), query.decode("latin-1"), headers, b"", keep_alive, http11)

    def again(self, body: bytes) -> Request:
        """A request with the same head and another body."""
        return Request(self.method, self.path, self.query, self.headers, body, self.keep_alive, self.http11, self.notes)

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header `name` (lower case), or None."""
        return find_header(self.headers, name)


def _path_of(url: bytes) -> bytes:
    """What follows scheme and authority."""
    rest = url.partition(b"://")[2]
    ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
    target = rest[min(ends) :] if ends else b""
    return target if target[:1] == b"/" else b"/" + target


class Exchange:
    """The answer to one request: whole by `send`, or streamed by `start`, `write` … and `end`.

    Nothing is written once `closed` is True (the answer is finished, or the client went away): the calls are then
    harmless. To HEAD the same calls send the head alone. Header names and values are put on the wire as they are: the
    caller answers for their holding no line end.
    """

    __slots__ = ("_bodiless", "_chunked", "_connection", "closed", "listeners", "started")

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._bodiless = False
        self._chunked = False
        self.listeners: list[Callable[[], None]] | None = None
        self.closed = False
        self.started = False

    def send(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a whole answer; its length is stated for you."""
        if self.closed:
            return
        self.started = True
        connection = self._connection
        request = connection.request
        if status in BODILESS:
            lines = [STATUS_LINES[status][:-2], *map(_colon, headers)]
            body = b""
        else:
            lines = [STATUS_LINES[status] + b"content-length: %d" % len(body), *map(_colon, headers)]
            if request.method == "HEAD":
                body = b""
        if not connection.keeps_alive():
            lines.append(b"connection: close")
        elif not request.http11:
            lines.append(b"connection: keep-alive")
        if len(body) < _COPY_LIMIT:
            lines += (b"", body)
            connection.write(b"\r\n".join(lines))
        else:
            lines += (b"", b"")
            connection.write(b"\r\n".join(lines))
            connection.write(body)
        connection.finished(self)

    def start(self, status: int, headers: Sequence[Header]) -> None:
        """Begin a streamed answer."""
        if self.closed:
            return
        self.started = True
        connection = self._connection
        request = connection.request
        self._bodiless = request.method == "HEAD" or status in BODILESS
        lines = [STATUS_LINES[status][:-2], *map(_colon, headers)]
        if status not in BODILESS:
            # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body
            if request.http11:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked")
            else:
                connection.close_after = True
        if not connection.keeps_alive():
            lines.append(b"connection: close")
        lines += (b"", b"")
        connection.write(b"\r\n".join(lines))

    def write(self, data: bytes) -> None:
        """Write a piece of a streamed answer."""
        if self.closed or not data or self._bodiless:
            return
        if not self._chunked:
            self._connection.write(data)
        elif len(data) < _COPY_LIMIT:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._connection.write(b"%x\r\n" % len(data))
            self._connection.write(data)
            self._connection.write(b"\r\n")

    @property
    def backed_up(self) -> bool:
        """The client reads slower than we write: `await drain()` before the next piece."""
        return self._connection.write_paused and not self.closed

    async def drain(self) -> None:
        """Wait until the client has read enough for more to be written, or has gone."""
        if not self.closed:
            await self._connection.drained()

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """End a streamed answer cleanly; `trailers` reach only a client that said `TE: trailers`."""
        if self.closed:
            return
        connection = self._connection
        if self._chunked and not self._bodiless:
            wanted = trailers and b"trailers" in (connection.request.header(b"te") or b"").lower()
            lines = [b"0", *map(_colon, trailers if wanted else ()), b"", b""]
            connection.write(b"\r\n".join(lines))
        connection.finished(self)

    def abort(self) -> None:
        """Break the connection off, so that the client cannot take what it has for the whole."""
        if not self.closed:
            self.closed = True
            self._connection.reset()

    def raw(self, data: bytes) -> None:
        """Put bytes on the wire as they are: for a simulator's faults. Then only `raw`, `close_raw` or `abort`."""
        if not self.closed:
            self.started = True
            self._connection.close_after = True
            self._connection.write(data)

    def close_raw(self) -> None:
        """Close the connection once what was written has left."""
        if not self.closed:
            self._connection.close_after = True
            self._connection.finished(self)

    def on_disconnect(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when the connection goes before the answer is finished, `abort` included."""
        if self.listeners is None:
            self.listeners = []
        self.listeners.append(listener)

    def disconnected(self) -> None:
        """The connection is gone."""
        self.closed = True
        listeners, self.listeners = self.listeners, None
        for listener in listeners or ():
            listener()


Handler = Callable[[Request, Exchange], Awaitable[None] | None]
"""Answers a request: at once; later, through the exchange it keeps; or as a coroutine, which a disconnect cancels and
which has answered when it returns."""


JSON_HEADERS: tuple[Header, ...] = ((b"content-type", b"application/json"),)


def error_body(message: str, code: str, kind: str = "invalid_request_error", param: str | None = None) -> bytes:
    """An error in the shape of OpenAI's API."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
