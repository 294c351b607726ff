"""One stream made of two: the events of an answer that broke off, and those of the one that takes it up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from ai_client.errors import AIClientError
from ai_client.model.reply import Drain, Stream, StreamEnd, Write
from ai_client.model.usage import NO_USAGE, Usage, plus
from ai_client.pipeline.seam import Seam


class Continuation(msgspec.Struct, frozen=True):
    """What takes a stream up. `repeated` is text that it begins with although the caller has it already: it must where
    `exact`, otherwise it may. `spent` is what the parts before it cost.
    """

    stream: Stream
    repeated: str
    spent: Usage
    exact: bool = False


GoOn = Callable[[str, AIClientError], Awaitable[Continuation | None]]
"""Find who takes up a text that broke off by that error; None where nobody does. Raises nothing but cancellation."""


class Joined:
    """The parts as one stream: one id, one text, one end; the first break is told if nobody can go on."""

    __slots__ = (
        "_break",
        "_end",
        "_ended",
        "_finishers",
        "_first",
        "_go_on",
        "_outcome",
        "_seam",
        "_stream",
        "_usage",
    )

    def __init__(self, stream: Stream, go_on: GoOn) -> None:
        self._stream = stream
        self._go_on = go_on
        self._finishers: list[Callable[[StreamEnd], None]] = []
        self._first = b""  # the first events, which say the stream's id
        self._seam: Seam | None = None  # once a second part has begun
        self._break: AIClientError | None = None  # the first one
        self._end: StreamEnd | None = None  # of the part that is being read
        self._usage = NO_USAGE
        self._ended = False
        self._outcome: BaseException | None = None  # by which all of it ended
        stream.on_end(self._part_ended)

    def __aiter__(self) -> Joined:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            if self._outcome is not None:
                raise self._outcome
            raise StopAsyncIteration
        while True:
            try:
                piece = await self._stream.__anext__()
                if self._seam is not None:
                    piece = self._seam.take(piece)
            except StopAsyncIteration:
                self._finish(None)
                raise
            except AIClientError as error:
                await self._next_part(error)
            except BaseException as error:
                self._finish(error, cancelled=True)
                raise
            else:
                if piece:
                    self._first = self._first or piece
                    return piece

    async def relay(self, write: Write, drain: Drain) -> None:
        """The first part straight from its connection; of a second, every event has to be looked at."""

        def remembering(piece: bytes) -> bool:
            self._first = self._first or piece
            return write(piece)

        try:
            await self._stream.relay(remembering, drain)
        except AIClientError as error:
            await self._next_part(error)
        except BaseException as error:
            self._finish(error, cancelled=True)
            raise
        else:
            self._finish(None)
            return
        async for piece in self:
            if not write(piece):
                await drain()

    def on_end(self, finisher: Callable[[StreamEnd], None]) -> None:
        """Have `finisher` called once, when the last part is over."""
        self._finishers.append(finisher)

    async def aclose(self) -> None:
        """Give the stream up."""
        if not self._ended:
            await self._stream.aclose()
            self._finish(None, cancelled=self._end is None or self._end.cancelled)

    async def _next_part(self, error: AIClientError) -> None:
        """Go on with the stream that takes the text up; raises the first break where there is none."""
        first = self._break = self._break or error
        try:
            await self._stream.aclose()
            said = self._said()
            part = None if said is None else await self._go_on(said, error)
        except BaseException as gone:
            self._finish(gone, cancelled=True)
            raise
        if part is None:
            self._finish(first)
            raise first
        self._end = None
        self._stream = part.stream
        part.stream.on_end(self._part_ended)
        if self._seam is None:
            self._seam = Seam(self._first, said or "")
        self._seam.begin(part.repeated, part.spent, exact=part.exact)

    def _said(self) -> str | None:
        """The text that the caller has; None where it has more than text, or all of it."""
        if self._seam is not None:
            return self._seam.said
        return None if self._end is None else self._end.said

    def _part_ended(self, end: StreamEnd) -> None:
        self._end = end
        self._usage = plus(self._usage, end.usage)

    def _finish(self, error: BaseException | None, *, cancelled: bool = False) -> None:
        self._ended = True
        self._outcome = error
        end = StreamEnd(error, self._usage, cancelled)
        for finisher in self._finishers:
            finisher(end)
