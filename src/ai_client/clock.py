"""The clock: the one room that asks the machine what time it is.

Everything else takes a `Clock`, so that a test can hold time in its hand.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time. Implementations must be cheap: the hot path reads them several times a request."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that only ever grow; the zero is arbitrary. For durations, deadlines and buckets."""

    def unix_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC. For records that people read; may jump."""


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    monotonic_ns = staticmethod(time.monotonic_ns)
    unix_ns = staticmethod(time.time_ns)


def iso_utc(unix_ns: int) -> str:
    """Render nanoseconds since the epoch as `2026-01-31T12:00:00.123Z` (RFC 3339, milliseconds)."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1_000_000:03d}Z"


def local_day(unix_ns: int) -> str:
    """The local calendar day of a moment, as `2026-01-31`: what daily log rotation and the cost ledger count in."""
    return time.strftime("%Y-%m-%d", time.localtime(unix_ns // 1_000_000_000))


def next_local_day_ns(unix_ns: int) -> int:
    """The moment, in nanoseconds since the epoch, at which the local calendar day after this one begins."""
    day = time.localtime(unix_ns // 1_000_000_000)
    # mktime takes the day past a month's end for the first of the next, and knows how long this one is
    return int(time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))) * 1_000_000_000
