"""A timer of microseconds on an event loop.

libuv's own timers count whole milliseconds; a generator that sends every 0.83 ms, and an upstream whose delay is to be
fixed, need better. Linux's timerfd is that, and it is only a descriptor to wait on.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections import deque
from collections.abc import Callable

_NONBLOCK, _CLOEXEC, _ABSOLUTE = 0o4000, 0o2000000, 1


class Alarm:
    """Calls `ring` once at each moment that it was last set to; moments are seconds of `time.monotonic()`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = int(self._libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._ring = ring
        loop.add_reader(self._fd, self._expired)

    def set(self, when: float) -> None:
        """Rings at `when`, at once when that has passed; replaces an earlier setting."""
        seconds, nanoseconds = divmod(max(1, int(when * 1e9)), 1_000_000_000)
        spec = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)
        if self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set again between the wake-up and this call
            return
        self._ring()


class DelayLine:
    """Runs actions when they are due. The moments handed in must not decrease: then the first in is the first due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._alarm = Alarm(loop, self._run)

    def at(self, due: float, action: Callable[[], None]) -> None:
        """Runs `action` at `due` (seconds of `time.monotonic()`)."""
        self._waiting.append((due, action))
        if len(self._waiting) == 1:
            self._alarm.set(due)

    def _run(self) -> None:
        waiting = self._waiting
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            # Out only after it ran: what the action appends must not set the alarm for itself.
            waiting[0][1]()
            waiting.popleft()
        if waiting:
            self._alarm.set(waiting[0][0])
