"""An answer written out beforehand: what goes on the wire, when, and how it ends. And the player that performs it."""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

import msgspec

from ai_client.clock import Clock
from ai_client.transport.exchange import Exchange
from ai_client.transport.http import Header

# Timers of the loop are rounded to milliseconds: what is due within half of one is due now.
_SLACK_NS: Final = 500_000
_SECOND_NS: Final = 1_000_000_000
# A reset overtakes what was written just before it; the reader gets this long to see that first.
_RESET_SECONDS: Final = 0.02

Later = Callable[[float, Callable[[], None]], object]
"""Calls back after so many seconds, as `loop.call_later` does."""


class Ending(enum.Enum):
    """What comes after the last frame."""

    CLEAN = enum.auto()
    FIN = enum.auto()  # the TCP connection ends, whatever was promised
    RESET = enum.auto()
    HANG = enum.auto()  # nothing: the client has to give up


class Script(msgspec.Struct):
    """One answer.

    `frames` are the pieces of the body, one only when the answer is not streamed, and `due_ns` says for each when it
    is sent, in nanoseconds after the request, ascending. When `raw`, the frames are the bytes on the wire, head
    included. `finish_at` is the frame that tells why the model stopped, -1 when none does.
    """

    status: int
    headers: list[Header]
    frames: list[bytes]
    due_ns: list[int]
    stream: bool = False
    raw: bool = False
    finish_at: int = -1
    ending: Ending = Ending.CLEAN

    @property
    def immediate(self) -> bool:
        """It is whole, sound and due at once."""
        return not (self.stream or self.raw) and self.ending is Ending.CLEAN and not self.due_ns[0]


class Player:
    """Performs one script. It has no task: between two frames only a timer of the loop is waiting."""

    __slots__ = ("_at", "_begin_ns", "_clock", "_done", "_exchange", "_later", "_over", "_script")

    def __init__(
        self, script: Script, exchange: Exchange, clock: Clock, later: Later, done: Callable[[], None]
    ) -> None:
        """`done` is called once: at the end, or when the client has gone away."""
        self._script = script
        self._exchange = exchange
        self._clock = clock
        self._later = later
        self._done = done
        self._over = False
        self._at = 0
        self._begin_ns = clock.monotonic_ns()

    def play(self) -> None:
        """Begin; what is due is sent before this returns."""
        self._exchange.on_disconnect(self._finished)
        self._step()

    def _step(self) -> None:
        if self._exchange.closed:
            return
        script, at = self._script, self._at
        now_ns = self._clock.monotonic_ns() - self._begin_ns
        end = bisect_right(script.due_ns, now_ns + _SLACK_NS, at)
        if end > at:
            self._put(b"".join(script.frames[at:end]), first=at == 0)
            self._at = end
        if end < len(script.due_ns):
            self._later((script.due_ns[end] - now_ns) / _SECOND_NS, self._step)
        else:
            self._end()

    def _put(self, data: bytes, *, first: bool) -> None:
        script, exchange = self._script, self._exchange
        if script.raw:
            exchange.raw(data)
        elif script.stream:
            if first:
                exchange.start(script.status, script.headers)
            exchange.write(data)
        else:
            exchange.send(script.status, script.headers, data)

    def _end(self) -> None:
        script, exchange = self._script, self._exchange
        if script.ending is Ending.HANG:
            return
        if script.ending is Ending.RESET and script.frames:
            self._later(_RESET_SECONDS, exchange.abort)
            return
        if script.ending is Ending.RESET:
            exchange.abort()
        elif script.ending is Ending.FIN or script.raw:
            exchange.close_raw()
        elif script.stream:
            exchange.end()
        self._finished()

    def _finished(self) -> None:
        if not self._over:
            self._over = True
            self._done()
