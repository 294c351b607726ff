"""One client's connection to our server: requests answered in order, patience, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from ai_client.transport.exchange import JSON_HEADERS, Exchange, Request, error_body
from ai_client.transport.http import STATUS_LINES
from ai_client.transport.request_reader import HEAD, Refusal, RequestReader, ServerLimits
from ai_client.transport.timer import NEVER, LazyTimer
from ai_client.transport.worker import Worker

if TYPE_CHECKING:
    from ai_client.transport.server import Server

__all__ = ["ServerConnection", "ServerLimits"]

# What is read ahead of the request being answered; beyond, the socket is left to fill.
_AHEAD_REQUESTS: Final = 16
_AHEAD_BYTES: Final = 256 * 1024
_LINGER: Final = 2.0  # seconds for a client to read the answer to what it should not have sent
_FIRST_REQUEST: Final = 1.0  # seconds for a client that connected just before the end to say what it wants

_NO_REQUEST: Final = Request("GET", "/", "", [], b"", keep_alive=False)


class ServerConnection(asyncio.Protocol):
    """Feeds the reader, answers what it brings, one request at a time, and keeps the time.

    The client counts as gone once it has closed its side of the connection: what is being answered then is
    cancelled, as nginx and Go do it. (TCP does not tell a client that only will not send any more.)
    """

    __slots__ = (
        "_ahead",
        "_answering_ahead",
        "_awaited",
        "_deaf",
        "_drainers",
        "_ended",
        "_exchange",
        "_held",
        "_limits",
        "_loop",
        "_outbox",
        "_peer_uid",
        "_reader",
        "_refusal",
        "_server",
        "_timer",
        "_transport",
        "_unread",
        "_waiting",
        "_worker",
        "close_after",
        "request",
        "write_paused",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = server.loop
        self._outbox = server.outbox
        self._held = b""  # written, and leaving at the end of the loop's turn
        self._timer = LazyTimer(self._loop, self._timed_out)
        self._reader = RequestReader(server.limits, self._arrived, server.arriving)
        self._transport: asyncio.Transport | None = None
        self._peer_uid: int | None = None
        self._waiting: deque[Request] | None = None  # read ahead; made when first needed
        self._ahead = 0  # bytes of bodies in `_waiting`
        self._answering_ahead = False
        self._exchange: Exchange | None = None
        self._worker: Worker | None = None  # made when a handler first has to be awaited
        self._refusal: Refusal | None = None  # to be sent once everything before it is answered
        self._deaf = False  # what still arrives is thrown away
        self._ended = False  # the last byte is written
        self._awaited = 0  # the reader's mark for whose rest the timer runs
        self._unread = 0  # bytes that the client had not taken when the timer last looked
        self._drainers: list[asyncio.Future[None]] | None = None
        self.request = _NO_REQUEST  # the one being answered
        self.close_after = False
        self.write_paused = False

    @property
    def busy(self) -> bool:
        """A request is being answered, or being read."""
        return self._exchange is not None or (not self._deaf and self._reader.stage != 0)

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            self._peer_uid = _peer_uid(sock)
        turned_away = self._server.admit(self)
        if turned_away is None:
            self._timer.set(self._loop.time() + self._limits.header_timeout)
            if self._server.draining:
                self.drain()
        else:
            self._refuse(turned_away)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self._transport = None
        self._timer.close()
        self._server.forget(self)
        self._client_gone()
        self._reader.close()
        self._worker = None  # it refers to this connection: a circle would be left to the collector, which seldom comes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        reader = self._reader
        try:
            reader.feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
        else:
            if reader.stage and self._exchange is None and not self._deaf:
                self._await_rest()

    def eof_received(self) -> bool:
        self.flush()
        if self._exchange is not None:
            self._client_gone()
            self._ended = True
            self._timer.set(self._loop.time() + self._limits.write_timeout)  # for what was answered before
        elif self._reader.stage and not self._deaf:
            self._refuse(Refusal(400, "invalid_request", "the connection ended in the middle of a request"))
        return False

    def pause_writing(self) -> None:
        self.write_paused = True
        self._unread = 0
        self._timer.set(self._loop.time() + self._limits.write_timeout)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._exchange is not None:
            self._timer.due = NEVER
        self._wake_drainers()

    async def drained(self) -> None:
        """Wait until writing may go on."""
        while self.write_paused:
            waiter = self._loop.create_future()
            if self._drainers is None:
                self._drainers = []
            self._drainers.append(waiter)
            await waiter

    def _wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, None
        for waiter in drainers or ():
            if not waiter.done():
                waiter.set_result(None)

    # ---- answering

    def _arrived(self, request: Request) -> None:
        if self._deaf:
            return
        if self._exchange is None and not self._waiting:
            self._answer(request)
            return
        if self._waiting is None:
            self._waiting = deque()
        size = len(request.body)
        self._waiting.append(request)
        self._ahead += size
        self._server.arriving.size += size
        if (len(self._waiting) >= _AHEAD_REQUESTS or self._ahead > _AHEAD_BYTES) and self._transport is not None:
            self._transport.pause_reading()

    def _answer(self, request: Request) -> None:
        self._timer.due = NEVER
        self.request = request
        request.peer_uid = self._peer_uid
        exchange = self._exchange = Exchange(self)
        try:
            outcome = self._server.handler(request, exchange)
        except Exception as error:  # noqa: BLE001  as in the worker
            self._crashed(error, exchange)
            return
        if outcome is not None:
            if self._worker is None:
                self._worker = Worker(self._loop, self._crashed)
            self._worker.take(outcome, exchange)

    def _crashed(self, error: BaseException, exchange: Exchange) -> None:
        if self._server.on_crash is not None:
            self._server.on_crash(error)
        if exchange.started:
            exchange.abort()
        else:
            self.close_after = True
            exchange.send(
                500, JSON_HEADERS, error_body("internal error; the daemon's log tells more", "internal", "api_error")
            )

    def keeps_alive(self) -> bool:
        """Will this connection serve another request after this answer?"""
        if not self.request.keep_alive or self._server.draining:
            self.close_after = True
        return not self.close_after

    def write(self, data: bytes) -> None:
        """Put bytes on the wire: at the end of this turn of the loop, or at once where some wait for that already."""
        if self._held:
            self.flush()
            if self._transport is not None:
                self._transport.write(data)
        else:
            self._held = data
            self._outbox.add(self)

    def flush(self) -> None:
        """Put on the wire what waits for the end of the turn."""
        held, self._held = self._held, b""
        if held and self._transport is not None:
            self._transport.write(held)

    def finished(self, exchange: Exchange) -> None:
        """An answer is complete: close, or take the next request."""
        exchange.closed = True
        exchange.listeners = None
        self._exchange = None
        self.request = _NO_REQUEST  # an idle connection keeps no body in memory
        if self.close_after:
            # whoever has still something to send must be let finish, or the kernel answers it with a reset
            self._end(linger=self._deaf or bool(self._waiting) or self._reader.stage != 0)
        elif not self._waiting and self._refusal is None and not self._reader.stage:
            self._timer.set(self._loop.time() + self._limits.keepalive_timeout)
        elif not self._answering_ahead:
            self._go_on()

    def _go_on(self) -> None:
        """Turn to what was read ahead, one request after the other: calling from within would nest ever deeper."""
        waiting = self._waiting
        self._answering_ahead = True
        while waiting and self._exchange is None and not self._ended:
            request = waiting.popleft()
            size = len(request.body)
            self._ahead -= size
            self._server.arriving.size -= size
            if not waiting and self._transport is not None:
                self._transport.resume_reading()
            self._answer(request)
        self._answering_ahead = False
        if self._exchange is not None or self._ended:
            return
        if self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self._reader.stage:
            self._await_rest()
        else:
            self._timer.set(self._loop.time() + self._limits.keepalive_timeout)

    def _await_rest(self) -> None:
        """A request has begun to arrive: from now on its head, then its body, has so long to be whole."""
        reader = self._reader
        if reader.mark == self._awaited:
            return
        self._awaited = reader.mark
        limits = self._limits
        patience = limits.header_timeout if reader.stage == HEAD else limits.body_timeout
        self._timer.set(self._loop.time() + patience)
        if reader.owes_continue:
            reader.owes_continue = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # ---- refusing and ending

    def _refuse(self, refusal: Refusal) -> None:
        """Answer an error of HTTP's own in its turn, and close."""
        self._deaf = True
        if self._exchange is not None or self._waiting:
            self._refusal = refusal
        elif not self._ended:
            self._send_refusal(refusal)

    def _send_refusal(self, refusal: Refusal) -> None:
        busy = refusal.status == 503
        kind = "overloaded_error" if busy else "invalid_request_error"
        body = error_body(refusal.message, refusal.code, kind)
        again = b"retry-after: 1\r\n" if busy else b""
        head = b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n"
        self.write(head % (STATUS_LINES[refusal.status], len(body), again) + body)
        self._end(linger=True)

    def _end(self, *, linger: bool) -> None:
        """Close once everything written has left; `linger` lets the client finish its sending (RFC 9112, 9.6)."""
        self._deaf = self._ended = True
        self._forget_waiting()
        self.flush()
        transport = self._transport
        if transport is None:
            return
        if linger and transport.can_write_eof():
            transport.write_eof()
            transport.resume_reading()
            self._timer.set(self._loop.time() + _LINGER)
        else:
            transport.close()
            self._timer.set(self._loop.time() + self._limits.write_timeout)

    def _timed_out(self) -> None:
        transport = self._transport
        if transport is None:
            return
        unread = transport.get_write_buffer_size()
        if unread and (not self._unread or unread < self._unread):
            self._unread = unread  # slow, but reading
            self._timer.set(self._loop.time() + self._limits.write_timeout)
        elif unread or self._deaf or not self._reader.stage:
            transport.abort()
        else:
            part = "header" if self._reader.stage == HEAD else "body"
            self._refuse(Refusal(408, "request_timeout", f"the request's {part} did not arrive in time"))

    def _client_gone(self) -> None:
        """Nobody waits for an answer any more."""
        self._deaf = True
        self._forget_waiting()
        self.write_paused = False
        self._wake_drainers()
        exchange, self._exchange = self._exchange, None
        if self._worker is not None:
            self._worker.stop(exchange)
        if exchange is not None:
            exchange.disconnected()

    def _forget_waiting(self) -> None:
        self._waiting = None
        self._server.arriving.size -= self._ahead
        self._ahead = 0

    def drain(self) -> None:
        """Close now if idle, or after the answer that is under way.

        Who has just connected is about to ask, and does not expect a connection to end unused: it has a moment for it.
        """
        self.close_after = True
        if self.busy or self._ended:
            return
        if self._reader.mark or self._deaf:
            self._end(linger=False)
        else:
            self._timer.set(self._loop.time() + _FIRST_REQUEST)

    def abort(self) -> None:
        """Drop the connection at once."""
        self.flush()
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Drop the connection so that the peer sees a reset, not an end. The handler that asks for it goes on."""
        if self._worker is not None:
            self._worker.spare()
        self.flush()
        transport = self._transport
        if transport is None:
            return
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _peer_uid(sock: socket.socket) -> int | None:
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (OSError, AttributeError):  # not Linux
        return None
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)
