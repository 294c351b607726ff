"""One client's connection to our server, and the answer to one of its requests."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import httptools
import msgspec

from ai_client.transport.exchange import JSON_HEADERS, Exchange, Request, error_body
from ai_client.transport.http import STATUS_LINES, Header
from ai_client.transport.timer import NEVER, LazyTimer

if TYPE_CHECKING:
    from ai_client.transport.server import Server

_PIPELINE_DEPTH = 16  # requests read ahead of the one being answered; then the socket is left to fill


class ServerLimits(msgspec.Struct, frozen=True):
    """What the server bears. Sizes in bytes, times in seconds."""

    max_body: int = 32 * 1024 * 1024
    max_header: int = 32 * 1024
    max_headers: int = 100
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    keepalive_timeout: float = 75.0
    max_connections: int = 10_000


class ServerConnection(asyncio.Protocol):
    """Parses requests, answers them in order, keeps the limits."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._timer = LazyTimer(self._loop, self._timed_out)
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._peer_uid: int | None = None
        self._refused = False
        self._owes_continue = False
        # the request being read
        self._reading = False
        self._in_head = False
        self._url = b""
        self._headers: list[Header] = []
        self._body: list[bytes] = []
        self._head_size = 0
        self._body_size = 0
        # the request being answered
        self.method = "GET"
        self.http11 = True
        self._keep_alive = True
        self.close_after = False
        self.write_paused = False

    @property
    def busy(self) -> bool:
        """A request is being answered, or being read."""
        return self._exchange is not None or self._reading

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        server = self._server
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            self._peer_uid = _peer_uid(sock)
        if len(server.connections) >= self._limits.max_connections or server.draining:
            self._refuse(503, "overloaded", "too many connections to this daemon: try again, or raise max_connections")
            return
        server.connections.add(self)
        self._timer.set(self._loop.time() + self._limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.close()
        self._server.forget(self)
        self._transport = None
        self._waiting.clear()
        self.resume_writing()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.disconnected()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        began_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "invalid_request", "this server does not upgrade connections")
        except httptools.HttpParserError as error:
            if not self._refused:
                self._refuse(400, "invalid_request", f"this is not valid HTTP/1.1: {error}")
        else:
            # a head that never ends: what came before its first byte does not count
            if self._in_head and began_in_head:
                self._head_size += len(data)
                if self._head_size > self._limits.max_header:
                    self._refuse_header()

    def eof_received(self) -> bool:
        if self._reading and not self._refused and self._exchange is None:
            self._refuse(400, "invalid_request", "the connection ended in the middle of a request")
        return False

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def drained(self) -> None:
        """Wait until writing may go on."""
        if self.write_paused and self._transport is not None:
            if self._drain_waiter is None:
                self._drain_waiter = self._loop.create_future()
            await self._drain_waiter

    # ---- the parser's side

    def on_message_begin(self) -> None:
        self._reading = self._in_head = True
        self._url = b""
        self._headers = []
        self._body = []
        self._head_size = self._body_size = 0
        if self._exchange is None:
            self._timer.set(self._loop.time() + self._limits.header_timeout)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        limits = self._limits
        if len(self._headers) > limits.max_headers or self._head_size + len(self._url) > limits.max_header:
            self._refuse_header()
            return
        for name, value in self._headers:
            if name == b"content-length" and int(value) > limits.max_body:
                self._refuse_body()
                return
            if name == b"expect" and value.lower() == b"100-continue":
                self._owes_continue = True
        if self._exchange is None:
            self._timer.set(self._loop.time() + limits.body_timeout)
            self._pay_continue()

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._limits.max_body:
            self._refuse_body()
        elif not self._refused:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._reading = False
        if self._refused:
            return
        parser = self._parser
        body = self._body
        request = Request(
            parser.get_method().decode("latin-1"),
            self._url,
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
            parser.should_keep_alive(),
        )
        self.http11 = parser.get_http_version() == "1.1"
        self._owes_continue = False
        if self._exchange is None and not self._waiting:
            self._answer(request)
        else:
            self._waiting.append(request)
            if len(self._waiting) >= _PIPELINE_DEPTH and self._transport is not None:
                self._transport.pause_reading()

    # ---- answering

    def _answer(self, request: Request) -> None:
        self._timer.due = NEVER
        self.method = request.method
        self._keep_alive = request.keep_alive
        request.peer_uid = self._peer_uid
        exchange = self._exchange = Exchange(self)
        try:
            outcome = self._server.handler(request, exchange)
        except Exception as error:  # noqa: BLE001  as in _run
            self._crashed(error, exchange)
            return
        if outcome is not None:
            self._task = self._loop.create_task(self._run(outcome, exchange))

    async def _run(self, outcome: Awaitable[None], exchange: Exchange) -> None:
        try:
            await outcome
        except asyncio.CancelledError:
            if not exchange.closed:  # cancelled by us at the end of a drain, not by the client's leaving
                exchange.abort()
            raise
        except Exception as error:  # noqa: BLE001  the edge: a defect must not take the connection's loop with it
            self._crashed(error, exchange)

    def _crashed(self, error: BaseException, exchange: Exchange) -> None:
        if self._server.on_crash is not None:
            self._server.on_crash(error)
        if exchange.started:
            exchange.abort()
        else:
            self.close_after = True
            exchange.send(500, JSON_HEADERS, error_body("internal error; the daemon's log tells more", "internal"))

    def keeps_alive(self) -> bool:
        """Will this connection serve another request after this answer?"""
        if not self._keep_alive or self._server.draining:
            self.close_after = True
        return not self.close_after

    def write(self, data: bytes) -> None:
        """Put bytes on the wire."""
        if self._transport is not None:
            self._transport.write(data)

    def finished(self, exchange: Exchange) -> None:
        """An answer is complete: close, or take the next request."""
        if exchange is not self._exchange:
            return
        exchange.closed = True
        self._exchange = None
        self._task = None
        transport = self._transport
        if transport is None:
            return
        if self.close_after:
            self._refused = True
            self._timer.set(self._loop.time() + self._limits.keepalive_timeout)  # a client that never reads its answer
            transport.close()
        elif self._waiting:
            # not from here: a client that pipelines a thousand requests would nest a thousand calls
            self._loop.call_soon(self._answer_next)
        elif self._reading:
            limit = self._limits.header_timeout if self._in_head else self._limits.body_timeout
            self._timer.set(self._loop.time() + limit)
            self._pay_continue()
        else:
            self._timer.set(self._loop.time() + self._limits.keepalive_timeout)

    def _answer_next(self) -> None:
        transport = self._transport
        if transport is not None and self._exchange is None and self._waiting:
            request = self._waiting.popleft()
            if not transport.is_reading():
                transport.resume_reading()
            self._answer(request)

    def _pay_continue(self) -> None:
        if self._owes_continue:
            self._owes_continue = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # ---- refusing and ending

    def _refuse_header(self) -> None:
        limits = self._limits
        text = f"the request's header is too large: at most {limits.max_headers} fields and {limits.max_header} bytes"
        self._refuse(431, "header_too_large", text)

    def _refuse_body(self) -> None:
        self._refuse(413, "request_too_large", f"the body is too large: at most {self._limits.max_body} bytes")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer an error of HTTP's own and close. An answer already under way is cut off instead."""
        self._refused = True
        if self._exchange is not None or self._transport is None:
            self.close_after = True
            return
        body = error_body(message, code)
        head = b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self._transport.write(head % (STATUS_LINES[status], len(body)) + body)
        self._transport.close()
        self._timer.set(self._loop.time() + self._limits.header_timeout)

    def _timed_out(self) -> None:
        if self._refused or not self._reading:
            self.abort()
        else:
            part = "header" if self._in_head else "body"
            self._refuse(408, "request_timeout", f"the request's {part} did not arrive in time")

    def drain(self) -> None:
        """Close now if idle, or after the answer that is under way."""
        self.close_after = True
        if not self.busy and self._transport is not None:
            self._refused = True
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Drop the connection so that the peer sees a reset, not an end."""
        if self._transport is None:
            return
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _peer_uid(sock: socket.socket) -> int | None:
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (OSError, AttributeError):
        return None
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)

