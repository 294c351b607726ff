"""An answer on its way back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from ai_client.model.call import Headers
from ai_client.model.usage import NO_USAGE, Usage


class StreamEnd(msgspec.Struct, frozen=True):
    """How a stream ended: whole, with `error` None; or by that error; or given up by its reader.

    `said` is all the text of an answer that broke off, None where that was not kept, or where there was more than text.
    """

    error: BaseException | None
    usage: Usage
    cancelled: bool = False
    said: str | None = None


Write = Callable[[bytes], bool]
Drain = Callable[[], Awaitable[None]]


class Stream(Protocol):
    """The body of a streamed answer: whole server-sent events, as bytes.

    A stream owns what was taken for it (slot, reservation, connection). Its finishers run exactly once: at the
    end, the error or the close, whichever comes first.
    """

    def __aiter__(self) -> Stream:
        """Itself."""

    async def __anext__(self) -> bytes:
        """The next bytes, at least one whole event. Raises an `AIClientError` when the provider breaks off."""

    async def relay(self, write: Write, drain: Drain) -> None:
        """Hand everything to `write` as it comes, to the end: what `async for` does, at a fraction of its price.

        `write` says whether more may follow at once; where it does not, `drain` is awaited. Raises as `__anext__`.
        """

    def on_end(self, finisher: Callable[[StreamEnd], None]) -> None:
        """Have `finisher` called once, when the stream is over; in the order of registration."""

    async def aclose(self) -> None:
        """Give the stream up: closes the upstream request. Harmless after the end."""


async def relay_each(stream: Stream, write: Write, drain: Drain) -> None:
    """`Stream.relay` for a stream that has nothing better than being iterated."""
    async for piece in stream:
        if not write(piece):
            await drain()


class Reply(msgspec.Struct):
    """An answer: whole (`body`), or streamed (`stream`, and `body` is empty).

    The collector has to see it, and `StreamEnd`: a stream holds its error, an error the frames it went through, and
    those the reply. A circle through what it does not see is never freed.

    `headers` are the provider's that the caller may see. `status` is always 2xx or 3xx: errors are raised.
    """

    status: int
    headers: Headers
    body: bytes = b""
    stream: Stream | None = None
    usage: Usage = NO_USAGE
