"""A provider that answers by the book, and its streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from ai_client.errors import AIClientError
from ai_client.model.call import Attempt
from ai_client.model.reply import Drain, Reply, StreamEnd, Write, relay_each
from ai_client.model.usage import NO_USAGE, Usage

JSON: Final = (b"content-type", b"application/json")
EVENTS: Final = (b"content-type", b"text/event-stream")

Line = Reply | BaseException | Callable[[Attempt], Awaitable[Reply]]
"""What a provider does with one attempt: answers it, raises, or whatever the function does."""


class ScriptedProvider:
    """A `Provider` that does with each attempt what its script says, line by line, the last line ever after.

    `attempts` holds what it was sent, in order. `closed` and `retired` count; `busy` may be set.
    """

    def __init__(self, script: Iterable[Line] = (), name: str = "scripted") -> None:
        """An empty script answers everything with `reply()`."""
        self._name = name
        self._script = list(script) or [answer_always]
        self.attempts: list[Attempt] = []
        self.busy = False
        self.closed = 0
        self.retired = 0

    @property
    def name(self) -> str:
        """As the configuration calls it."""
        return self._name

    @property
    def open_connections(self) -> int:
        """It has none."""
        return 0

    async def send(self, attempt: Attempt) -> Reply:
        """The script's next line."""
        self.attempts.append(attempt)
        line = self._script[0] if len(self._script) == 1 else self._script.pop(0)
        if isinstance(line, Reply):
            return line
        if isinstance(line, BaseException):
            raise line
        return await line(attempt)

    def close(self) -> None:
        """Count it."""
        self.closed += 1

    def retire(self) -> None:
        """Count it."""
        self.retired += 1


class ScriptedStream:
    """A `Stream` of the given pieces, which then ends, or raises `error`. Its finishers run exactly once.

    `closed` says that it was given up by `aclose` before its end.
    """

    def __init__(
        self, pieces: Iterable[bytes] = (), usage: Usage = NO_USAGE, error: BaseException | None = None
    ) -> None:
        """`usage` is what it tells at its end, whichever end that is."""
        self._pieces = list(pieces)
        self._usage = usage
        self._error = error
        self._finishers: list[Callable[[StreamEnd], None]] = []
        self._over = False
        self.closed = False

    def __aiter__(self) -> ScriptedStream:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        if self._pieces:
            return self._pieces.pop(0)
        error = self._error
        self._end(StreamEnd(error, self._usage, error is not None and not isinstance(error, AIClientError)))
        if error is not None:
            raise error
        raise StopAsyncIteration

    async def relay(self, write: Write, drain: Drain) -> None:
        """Piece by piece."""
        await relay_each(self, write, drain)

    def on_end(self, finisher: Callable[[StreamEnd], None]) -> None:
        """Have `finisher` called once, when the stream is over."""
        self._finishers.append(finisher)

    async def aclose(self) -> None:
        """Give the stream up."""
        if not self._over:
            self.closed = True
            self._end(StreamEnd(None, self._usage, cancelled=True))

    def _end(self, end: StreamEnd) -> None:
        self._over = True
        for finisher in self._finishers:
            finisher(end)


def reply(body: bytes = b"{}", usage: Usage = NO_USAGE, status: int = 200) -> Reply:
    """A whole answer in JSON."""
    return Reply(status, [JSON], body, None, usage)


def streamed(*pieces: bytes, usage: Usage = NO_USAGE, error: BaseException | None = None) -> Reply:
    """A streamed answer of these pieces; then its end, or `error`."""
    return Reply(200, [EVENTS], b"", ScriptedStream(pieces, usage, error))


async def answer_always(_attempt: Attempt) -> Reply:
    """`reply()`, a new one each time."""
    return reply()
