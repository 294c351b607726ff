"""Patience in figures, and a deadline that costs an attribute, not a timer, to move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

NEVER = float("inf")


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Patience with one answer, in seconds; each may be `NEVER`.

    `first_byte` is for the answer's head; while a large request is still leaving, it is how long the provider may
    take none of it. `idle` is between two pieces of the body, and does not run while our own reader is the slow one.
    `total` runs from the sending, as does `content`: until the reader says that the answer has begun.
    """

    first_byte: float = 30.0
    idle: float = 60.0
    total: float = NEVER
    content: float = NEVER


class LazyTimer:
    """Calls `on_due` once `due` has passed.

    A connection moves its deadline several times a request, and almost never reaches it. So moving it further off
    is an assignment, and the one timer of the loop, when it fires too early, sets itself anew.
    """

    __slots__ = ("_handle", "_loop", "_on_due", "_wakes", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._on_due = on_due
        self._handle: asyncio.TimerHandle | None = None
        self._wakes = NEVER
        self.due = NEVER

    def set(self, due: float) -> None:
        """Move the deadline to `due`, in seconds of the loop's clock; `NEVER` turns it off."""
        self.due = due
        if due < self._wakes:
            if self._handle is not None:
                self._handle.cancel()
            self._wakes = due
            self._handle = self._loop.call_at(due, self._wake)

    def close(self) -> None:
        """Never fire again, and let go of `on_due`."""
        self.due = NEVER
        self._on_due = _nothing
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._wakes = NEVER

    def _wake(self) -> None:
        self._handle = None
        self._wakes = NEVER
        due = self.due
        if due == NEVER:
            return
        # uvloop rounds to milliseconds and may wake a hair early: that hair is not worth another turn
        if self._loop.time() >= due - 0.001:
            self.due = NEVER
            self._on_due()
        else:
            self.set(due)


def _nothing() -> None:
    pass
