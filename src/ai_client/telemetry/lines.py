"""Lines on their way to a file: gathered, and written many at a time, so that a call never waits for a disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Protocol

from ai_client.clock import Clock

FLUSH_SECONDS = 0.1
FLUSH_BYTES = 64 * 1024
RETRY_SECONDS = 1.0
MAX_BYTES = 4 * 1024 * 1024
COMPLAIN_NS = 60_000_000_000
STDERR = 2


class Cancellable(Protocol):
    """A timer that can be stopped."""

    def cancel(self) -> object:
        """Do not fire."""


class Later(Protocol):
    """The one verb that is asked of an event loop."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Cancellable:
        """Call `callback` after `delay` seconds."""


class Destination(Protocol):
    """Where lines end up."""

    name: str
    opened: int
    """How often `descriptor` gave a new file: half a line written to the former one cannot go on in the next."""

    def descriptor(self) -> int:
        """The file descriptor to write to now. Raises OSError when there is none to be had."""

    def close(self) -> None:
        """Let go of it."""


class Stderr:
    """Standard error, which systemd reads into the journal and a container's runtime into its log."""

    name = "stderr"
    opened = 1

    def descriptor(self) -> int:
        """2."""
        return STDERR

    def close(self) -> None:
        """Nothing: it is not ours."""


class LineWriter:
    """Gathers lines and writes them with one system call: 100 ms after the first, or as soon as they are 64 KiB.

    Nothing here raises or waits. What the disk refuses is kept and tried again every second, up to 4 MiB; lines
    beyond that are dropped and counted, and standard error is told at most once a minute. Whatever was gathered in
    the last 100 ms is lost when the process is killed with SIGKILL.
    """

    def __init__(self, destination: Destination, clock: Clock, loop: Later | None) -> None:
        """Without a loop, every line is written at once."""
        self.dropped = 0
        self.errors = 0
        self._destination = destination
        self._clock = clock
        self._loop = loop
        self._lines: list[bytes] = []
        self._size = 0
        self._limit = FLUSH_BYTES if loop is not None else 0
        self._max = MAX_BYTES
        self._timer: Cancellable | None = None
        self._torn = 0  # the `opened` of the file that holds the beginning of our first line
        self._quiet_until = 0

    def write(self, lines: bytes, count: int = 1) -> None:
        """Take a line, which ends in a newline, or `count` such lines."""
        size = self._size + len(lines)
        if size > self._max:
            self.dropped += count
            return
        self._lines.append(lines)
        self._size = size
        if size > self._limit:
            self.flush()
        elif self._timer is None:
            self._arm(FLUSH_SECONDS)

    def flush(self) -> None:
        """Write now whatever is gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines:
            return
        try:
            descriptor = self._destination.descriptor()
            if self._torn not in {0, self._destination.opened}:
                self._drop_torn()
            data = b"".join(self._lines)
            written = os.write(descriptor, data)
        except OSError as error:
            self._failed(error)
            return
        rest = data[written:]
        self._size = len(rest)
        self._lines = [rest] if rest else []
        self._torn = 0 if data.endswith(b"\n", 0, written) else self._destination.opened
        if rest:  # the next attempt will say why: a full disk, or a pipe that nobody empties
            self._slow_down()
        elif self._loop is not None:
            self._limit = FLUSH_BYTES

    def close(self) -> None:
        """Write what is gathered, count as dropped what cannot be written, and close. Later lines are dropped."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.dropped += b"".join(self._lines).count(b"\n")
        self._lines = []
        self._size = 0
        self._max = 0
        self._destination.close()

    def _arm(self, delay: float) -> None:
        if self._loop is not None:
            self._timer = self._loop.call_later(delay, self.flush)

    def _slow_down(self) -> None:
        """Until a write succeeds, try once a second and not at every line."""
        self._arm(RETRY_SECONDS)
        if self._timer is not None:
            self._limit = self._max

    def _failed(self, error: OSError) -> None:
        self.errors += 1
        self._slow_down()
        now = self._clock.monotonic_ns()
        if now < self._quiet_until or isinstance(self._destination, Stderr):
            return
        self._quiet_until = now + COMPLAIN_NS
        text = f"ai-client: cannot write {self._destination.name}: {error}; {self.dropped} lines lost so far.\n"
        with contextlib.suppress(OSError):  # there is nobody left to tell
            os.write(STDERR, text.encode(errors="backslashreplace"))

    def _drop_torn(self) -> None:
        """The file that holds the first half of this line is gone: the other half makes no line."""
        data = b"".join(self._lines)
        rest = data[data.index(b"\n") + 1 :]
        self._lines = [rest]
        self._size = len(rest)
        self._torn = 0
        self.dropped += 1
