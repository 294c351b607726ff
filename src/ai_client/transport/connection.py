"""One connection to a provider: a request out, an answer back, then the next."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

import httptools

from ai_client.errors import AIClientError, BrokenReplyError, ConnectError, UpstreamTimeoutError
from ai_client.transport.http import Header, framing
from ai_client.transport.incoming import Incoming
from ai_client.transport.outbox import Outbox
from ai_client.transport.plain_answer import read_plain
from ai_client.transport.timer import NEVER, LazyTimer, Timeouts

_DISCARD_TIME: Final = 1.0  # seconds for the end of an answer whose content is already complete
_HIGH_WATER: Final = 256 * 1024  # bytes of a streamed answer kept for a slow reader before the provider has to wait
_MAX_HEAD: Final = 256 * 1024  # bytes of an answer's head; nobody's is that long

# What the connection is waiting for.
_NOTHING: Final = 0
_HEAD: Final = 1
_BODY: Final = 2
_FINISH: Final = 3  # the answer is complete, and is given out once the parser has returned


class ClientConnection(asyncio.Protocol):
    """Owned by a pool, lent to one request at a time.

    `on_idle` is called when an answer is complete and the connection may serve again, `on_closed` when it is gone.
    """

    __slots__ = (
        "_answer_headers",
        "_came",
        "_chunked",
        "_contentless",
        "_discarding",
        "_head",
        "_head_only",
        "_headers",
        "_held",
        "_incoming",
        "_keeps",
        "_length",
        "_loop",
        "_max_body",
        "_on_closed",
        "_on_idle",
        "_outbox",
        "_parser",
        "_paused",
        "_phase",
        "_pieces",
        "_size",
        "_status",
        "_timeouts",
        "_timer",
        "_total_due",
        "_transport",
        "_unsent",
        "_where",
        "idle_since",
        "used",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        where: str,
        max_body: int,
        outbox: Outbox,
        on_idle: Callable[[ClientConnection], None],
        on_closed: Callable[[ClientConnection], None],
    ) -> None:
        self._loop = loop
        self._where = where
        self._max_body = max_body
        self._outbox = outbox
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._timeouts = Timeouts()
        self._total_due = NEVER
        self._contentless = False  # until the first content is there, which is due before the whole answer is
        self._phase = _NOTHING
        self._status = 0
        self._headers: list[Header] = []  # being read
        self._answer_headers: list[Header] = []
        self._came = 0  # bytes of the answer that the parser has had
        self._head_only = False
        self._pieces: list[bytes] = []  # of an answer that is given out whole
        self._size = 0
        self._length = -1  # content-length, where one was promised
        self._chunked = False
        self._keeps = False
        self._discarding = False
        self._paused = False
        self._held = b""  # a request that leaves at the end of the loop's turn
        self._unsent = 0  # bytes of the request that had not left when the timer last looked
        self._head: asyncio.Future[Incoming] | None = None
        self._incoming: Incoming | None = None  # the streamed answer that is arriving
        self.used = 0
        self.idle_since = 0.0

    # ---- the pool's side

    @property
    def usable(self) -> bool:
        """Nothing is known against sending on this connection."""
        transport = self._transport
        return transport is not None and not transport.is_closing()

    @property
    def silent(self) -> bool:
        """The kernel holds nothing for us: no end of the connection, above all, that the loop has not come to yet."""
        assert self._transport is not None
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return not poll.poll(0)

    def send(self, wire: bytes, timeouts: Timeouts) -> asyncio.Future[Incoming]:
        """Send a request (head and body as bytes). The future is for its answer; who stops waiting calls `give_up`.

        Raises `ConnectError` where nothing could be sent, as may the future; that also raises `UpstreamTimeoutError`
        and `BrokenReplyError`.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise self._never_sent()
        self.used += 1
        self._unsent = 0
        self._head_only = wire.startswith(b"HEAD ")
        self._timeouts = timeouts
        now = self._loop.time()
        self._contentless = timeouts.content < timeouts.total
        self._total_due = now + (timeouts.content if self._contentless else timeouts.total)
        self._phase = _HEAD
        self._set_timer(now + timeouts.first_byte)
        self._held = wire
        self._outbox.add(self)
        head: asyncio.Future[Incoming] = self._loop.create_future()
        self._head = head
        return head

    def flush(self) -> None:
        """Put the request on the wire."""
        held, self._held = self._held, b""
        transport = self._transport
        if held and transport is not None:
            transport.write(held)
            if transport.is_closing():  # the first write failed, so none of it has left
                self._fail(self._never_sent())

    def give_up(self, head: asyncio.Future[Incoming]) -> None:
        """Nobody waits for `head` any more: closes the connection, and so the request at the provider's side."""
        if self._head is head:
            self.abort()
        elif not head.cancelled() and head.exception() is None:
            head.result().close()  # it had just come; by now its connection may serve somebody else

    def now(self) -> float:
        """The loop's time, in seconds. (Asking asyncio which loop runs is a system call in Python 3.11.)"""
        return self._loop.time()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # ---- the answer's side

    def new_future(self) -> asyncio.Future[None]:
        """To wait for the next piece."""
        return self._loop.create_future()

    def read_on(self) -> None:
        """What had arrived has been read."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
            self._set_timer(self._loop.time() + self._timeouts.idle)

    def begun(self) -> None:
        """The answer's first content is there: from now on only `total` bounds all of it."""
        if self._contentless:
            self._contentless = False
            self._total_due += self._timeouts.total - self._timeouts.content
            self._set_timer(self._total_due if self._paused else self._loop.time() + self._timeouts.idle)

    def forget(self) -> None:
        """Nobody will read the answer any more."""
        self._incoming = None

    def discard(self) -> None:
        """Let the rest of a streamed answer come and go; a provider that keeps us waiting for it is left."""
        self._discarding = True
        self._total_due = min(self._total_due, self._loop.time() + _DISCARD_TIME)
        self._timer.set(self._total_due)
        self.read_on()

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        # both refer to this connection, and are let go of when it is lost: so not before it is made
        self._timer = LazyTimer(self._loop, self._timed_out)
        self._parser: httptools.HttpResponseParser = httptools.HttpResponseParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:  # a tunnel may be lost before there is TLS in it
            self._transport = None
            self._timer.close()
            del self._parser
        if self._phase == _BODY and self._length < 0 and not self._chunked and exc is None:
            self._finish(sound=False)  # a body that ends with its connection
        elif self._phase:
            self._fail(self._never_sent() if self._held else self._cut_off(exc))
        self._on_closed(self)

    def data_received(self, data: bytes) -> None:
        if not self._phase or self._held:  # an answer nobody asked for, or one that came before the question
            if data.strip(b"\r\n"):  # line ends say nothing: the parser passes over them where they come with an answer
                self.abort()
            return
        whole = None if self._came or self._head_only else read_plain(data)
        if whole is not None and len(whole[1]) <= self._max_body:
            self._resolve(Incoming(200, *whole))
            self._rest(keep=True)
            return
        self._came += len(data)
        sound = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            sound = False
            self._stopped(error)
        phase = self._phase
        if phase == _FINISH:
            self._finish(sound)
        elif phase == _BODY:
            self._set_timer(self._loop.time() + self._timeouts.idle)
        elif phase == _HEAD and self._came > _MAX_HEAD:
            self._break_off(BrokenReplyError(f"{self._where} answered with a head of more than {_MAX_HEAD} bytes"))

    def resume_writing(self) -> None:
        if self._phase == _HEAD:  # a large request has left: the provider's turn begins now
            self._set_timer(self._loop.time() + self._timeouts.first_byte)

    # ---- the parser's side

    def on_message_begin(self) -> None:
        if self._phase == _FINISH:
            raise BrokenReplyError("a second answer to one request: whoever came next would get it")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        headers = self._headers
        self._headers = []  # for trailers, which are no headers
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come
            return
        self._status = status
        self._answer_headers = headers
        self._phase = _BODY
        whole, self._length, self._chunked = framing(headers)
        if self._head_only:
            raise _NoBody
        if not whole and self._length != 0:
            incoming = self._incoming = Incoming(status, headers, b"", self)
            if not self._resolve(incoming):
                incoming.close()

    def on_body(self, body: bytes) -> None:
        incoming = self._incoming
        if incoming is not None:
            if incoming.arrived(body) > _HIGH_WATER and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        elif not self._discarding:
            self._pieces.append(body)
            self._size += len(body)
            if self._size > self._max_body:
                raise BrokenReplyError(f"{self._where} answered more than {self._max_body} bytes")

    def on_message_complete(self) -> None:
        if self._phase == _BODY:
            self._phase = _FINISH
            self._keeps = self._parser.should_keep_alive()

    # ---- ending

    def _stopped(self, error: Exception) -> None:
        """The parser could not, or need not, go on: whatever else comes, the connection serves nobody after this."""
        cause = error.__context__
        if isinstance(cause, _NoBody):
            self._phase = _FINISH
        elif self._phase != _FINISH:
            if not isinstance(cause, AIClientError):
                cause = BrokenReplyError(f"{self._where} answered something that is not HTTP/1.1: {error}")
            self._break_off(cause)

    def _finish(self, sound: bool) -> None:
        incoming = self._incoming
        if incoming is not None:
            self._incoming = None
            incoming.over(None)
        else:
            pieces = self._pieces
            self._pieces = []
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._resolve(Incoming(self._status, self._answer_headers, body))
        self._status = self._came = self._size = 0
        self._length = -1
        self._chunked = self._discarding = False
        self._rest(keep=sound and self._keeps)

    def _rest(self, *, keep: bool) -> None:
        """An answer is complete; another may be asked for on this connection, or none."""
        self._phase = _NOTHING
        self._timer.due = NEVER
        transport = self._transport
        if transport is None:
            return
        # a request whose body the provider did not wait for would run into the next one
        if keep and not transport.get_write_buffer_size():
            if self._paused:
                self._paused = False
                transport.resume_reading()
            self._on_idle(self)
        else:
            transport.abort()

    def _resolve(self, incoming: Incoming) -> bool:
        """Give the answer to whoever waits for it; False when nobody does."""
        head, self._head = self._head, None
        if head is None or head.done():
            return False
        head.set_result(incoming)
        return True

    def _break_off(self, error: AIClientError) -> None:
        self._fail(error)
        self.abort()

    def _fail(self, error: AIClientError) -> None:
        self._phase = _NOTHING
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.over(error)
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_exception(error)

    def _never_sent(self) -> ConnectError:
        return ConnectError(f"{self._where} closed the connection before anything was sent")

    def _cut_off(self, exc: Exception | None) -> BrokenReplyError:
        how = f"broke the connection ({exc})" if exc is not None else "closed the connection"
        if not self._status:
            return BrokenReplyError(f"{self._where} {how} without an answer")
        promised = f", short of the {self._length} bytes promised" if self._length >= 0 else ""
        return BrokenReplyError(f"{self._where} {how} in the middle of its answer{promised}")

    def _set_timer(self, due: float) -> None:
        self._timer.set(due if due < self._total_due else self._total_due)  # noqa: FURB136  min() costs a call

    def _timed_out(self) -> None:
        transport = self._transport
        if not self._phase or transport is None:
            return
        now = self._loop.time()
        timeouts = self._timeouts
        if now >= self._total_due - 0.001:
            phase, text = "total", f"{self._where} did not finish its answer within {timeouts.total:g} s"
            if self._contentless:
                phase, text = "first_token", f"{self._where} sent no content within {timeouts.content:g} s"
        elif self._paused:
            self._timer.set(self._total_due)  # the silence is ours
            return
        elif self._phase == _HEAD:
            unsent = transport.get_write_buffer_size()
            if unsent and (not self._unsent or unsent < self._unsent):
                self._unsent = unsent  # a large request, on its way still
                self._set_timer(now + timeouts.first_byte)
                return
            phase, text = "first_byte", f"{self._where} did not begin to answer within {timeouts.first_byte:g} s"
        else:
            phase, text = "idle", f"{self._where} fell silent for {timeouts.idle:g} s in the middle of its answer"
        self._break_off(UpstreamTimeoutError(text, phase=phase))


class _NoBody(Exception):
    """The answer to HEAD ends with its head, and llhttp cannot be told. It is too rare to keep a connection for."""
