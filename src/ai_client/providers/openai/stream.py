"""A streamed answer: events as they come, and the truth about how they end."""

from __future__ import annotations

from collections.abc import Callable

from ai_client.errors import AIClientError, BrokenReplyError, UpstreamError
from ai_client.model.reply import Drain, StreamEnd, Write, relay_each
from ai_client.model.usage import Usage
from ai_client.providers.openai.judges import Judge
from ai_client.providers.openai.refusals import stream_error
from ai_client.transport.incoming import Incoming
from ai_client.transport.sse import Event, EventParser


class EventStream:
    """The events of one answer, forwarded byte for byte.

    It ends cleanly only if the provider said that this was all: a stream that stops without its last event, or
    without any reason for finishing, raises `BrokenReplyError` from `__anext__`. Where the provider gave no count, ours
    goes in front of its last event, if the caller asked for one.
    """

    __slots__ = (
        "_count",
        "_ended",
        "_error",
        "_failure",
        "_finishers",
        "_incoming",
        "_judge",
        "_key",
        "_parser",
        "_ready",
        "_where",
    )

    def __init__(
        self, incoming: Incoming, judge: Judge, where: str, count: Callable[[int], Usage], key: str = ""
    ) -> None:
        """`count` estimates the prompt, and an answer of so many characters; `key` is blotted out of what the provider
        says of an error.
        """
        self._key = key
        self._incoming = incoming
        self._judge = judge
        self._where = where
        self._count = count
        self._parser = EventParser()
        self._ready = b""
        self._failure: AIClientError | None = None  # found behind events that the caller has not had yet
        self._finishers: list[Callable[[StreamEnd], None]] | None = []
        self._error: BaseException | None = None
        self._ended = False

    async def open(self) -> None:
        """Read as far as the first content, and keep it: until then the call can still be tried elsewhere."""
        ready = []
        judge = self._judge
        try:
            while not judge.content and self._more():
                ready.append(self._take(await self._incoming.read()))
            self._more()  # nobody has seen anything: what broke in the same piece can be tried elsewhere, too
        except BaseException as error:
            self._unseen(error)
            raise
        self._incoming.begun()
        self._ready = b"".join(ready)

    async def hold(self, most: int) -> bool:
        """Read on to the end and keep it all, for as long as that is not more than `most` bytes: the call can still be
        tried elsewhere. Returns whether the end has come; if not, the rest comes as it comes.
        """
        kept = [self._ready]
        size = len(self._ready)
        try:
            while size <= most and self._more():
                kept.append(self._take(await self._incoming.read()))
                size += len(kept[-1])
            whole = not self._more()
        except BaseException as error:
            self._unseen(error)
            raise
        if whole:
            self._incoming.discard()
        self._ready = b"".join(kept)
        return whole

    def _unseen(self, error: BaseException) -> None:
        """It broke off, or was given up, before anybody had seen of it."""
        self._incoming.close()
        if isinstance(error, UpstreamError):
            error.came = self._judge.chars

    @property
    def chars(self) -> int:
        """Characters of content so far."""
        return self._judge.chars

    @property
    def model(self) -> str:
        """The model that the provider says is answering."""
        return self._judge.model

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> bytes:
        ready = self._ready
        if ready:
            self._ready = b""
            return ready
        if self._ended:
            if self._error is not None:
                raise self._error
            raise StopAsyncIteration
        try:
            while self._more():
                out = self._take(await self._incoming.read())
                if out:
                    return out
        except BaseException as error:
            self._incoming.close()
            self._end(error, cancelled=not isinstance(error, AIClientError))
            raise
        self._incoming.discard()
        self._end(None)
        raise StopAsyncIteration

    async def relay(self, write: Write, drain: Drain) -> None:
        """Hand everything to `write`, straight from the connection: no coroutine wakes for a piece."""
        judge = self._judge

        def pass_on(piece: bytes) -> bool:
            out = self._take(piece)
            return (not out or write(out)) and self._failure is None and not judge.done

        ready, self._ready = self._ready, b""
        if ready and not write(ready):
            await drain()
        try:
            while self._more():
                if await self._incoming.feed(pass_on):
                    pass_on(b"")
                elif self._more():
                    await drain()
        except BaseException as error:
            self._incoming.close()
            self._end(error, cancelled=not isinstance(error, AIClientError))
            raise
        self._incoming.discard()
        self._end(None)

    def on_end(self, finisher: Callable[[StreamEnd], None]) -> None:
        """Have `finisher` called once, when the stream is over."""
        if self._finishers is None:
            raise RuntimeError("the stream is over: nothing can be added to its end")
        self._finishers.append(finisher)

    async def aclose(self) -> None:
        """Give the stream up."""
        if not self._ended:
            self._incoming.close()
            unread, self._ready = self._ready, b""
            self._end(None, cancelled=bool(unread) or self._failure is not None or not self._judge.done)

    def _more(self) -> bool:
        """Is there more to read? Raises what was found behind the last events handed on."""
        if self._failure is not None:
            raise self._failed(self._failure)
        return not self._judge.done

    def _take(self, piece: bytes) -> bytes:
        """One piece from the provider: what of it the caller gets. Raises when the stream breaks off or lies.

        Good events before the break are handed on first; the break is then told by the next `_more`.
        """
        judge = self._judge
        events = self._parser.feed(piece) if piece else self._last()
        good = 0
        hidden = over = False
        try:
            for event in events:
                if over:  # what follows the end is not of the answer, in this piece as little as in a later one
                    hidden = True
                    event.raw = b""
                elif event.kind == "event":
                    if not judge.read(event.data):
                        hidden = True
                        event.raw = b""
                    elif judge.error is not None or judge.done:
                        over = self._sound_end()
                        event.raw = self._untold() + event.raw
                good += 1
            if self._parser.failure is not None and not over:
                raise self._parser.failure
        except AIClientError as error:
            out = b"".join([event.raw for event in events[:good]])
            if not out:
                raise
            self._failure = error
            return out
        if len(events) == 1 and not hidden:
            return events[0].raw
        return b"".join([event.raw for event in events])

    def _failed(self, failure: AIClientError) -> AIClientError:
        """To be raised: it will remember frames that hold this stream, so the stream lets go of it."""
        self._failure = None
        return failure

    def _last(self) -> list[Event]:
        """The connection has ended: the event that only waited for that. Raises where there is none."""
        events = self._parser.finish()
        if not events:
            left = " in the middle of an event" if self._parser.pending else ""
            raise BrokenReplyError(f"{self._where} ended its stream{left} without saying that it was complete")
        return events

    def _sound_end(self) -> bool:
        """True when the last event ended the answer as it should; raises when it is an error, or an end too soon."""
        judge = self._judge
        if judge.error is not None:
            raise stream_error(self._where, judge.error, self._key)
        if not judge.finished:
            raise BrokenReplyError(f"{self._where} ended its stream without a finish_reason: its answer is not whole")
        return True

    def _untold(self) -> bytes:
        """Of a whole answer, the count that the provider should have told the caller; b"" for none."""
        judge = self._judge
        if judge.usage is not None:
            return b""
        judge.usage = self._count(judge.chars)
        return judge.told(judge.usage)

    def _end(self, error: BaseException | None, *, cancelled: bool = False) -> None:
        self._ended = True
        self._error = error
        finishers, self._finishers = self._finishers, None
        end = StreamEnd(error, self._usage(), cancelled, None if error is None else self._judge.said)
        for finisher in finishers or ():
            finisher(end)

    def _usage(self) -> Usage:
        judge = self._judge
        return self._count(judge.chars) if judge.usage is None else judge.usage


class RawStream:
    """The body of an answer that nobody here understands: a file, audio. Forwarded as it comes."""

    __slots__ = ("_ended", "_finishers", "_incoming")

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._finishers: list[Callable[[StreamEnd], None]] = []
        self._ended = False

    def __aiter__(self) -> RawStream:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            piece = await self._incoming.read()
        except BaseException as error:
            self._end(StreamEnd(error, Usage(), not isinstance(error, AIClientError)))
            raise
        if not piece:
            self._end(StreamEnd(None, Usage()))
            raise StopAsyncIteration
        return piece

    async def relay(self, write: Write, drain: Drain) -> None:
        """Piece by piece."""
        await relay_each(self, write, drain)

    def on_end(self, finisher: Callable[[StreamEnd], None]) -> None:
        """Have `finisher` called once, when the stream is over."""
        self._finishers.append(finisher)

    async def aclose(self) -> None:
        """Give the stream up."""
        if not self._ended:
            self._incoming.close()
            self._end(StreamEnd(None, Usage(), cancelled=True))

    def _end(self, end: StreamEnd) -> None:
        if not self._ended:
            self._ended = True
            for finisher in self._finishers:
                finisher(end)
