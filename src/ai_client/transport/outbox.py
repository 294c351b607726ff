"""What is written in one turn of the event loop leaves together, at the turn's end.

A write wakes whoever reads the other end. Writes spread over a turn, with the work for other requests between them,
find their readers asleep again each time, and waking one costs more than the write itself; in a row they find them
awake.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Writer(Protocol):
    """A connection that holds something back."""

    def flush(self) -> None:
        """Write it. Harmless where nothing is held, or the connection is gone."""


class Outbox:
    """The connections that hold something back."""

    __slots__ = ("_loop", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._writers: list[Writer] = []

    def add(self, writer: Writer) -> None:
        """Have `writer` flushed at the end of this turn."""
        if not self._writers:
            self._loop.call_soon(self._flush)
        self._writers.append(writer)

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.flush()
