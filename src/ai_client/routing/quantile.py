"""Percentiles of the last times, in fixed memory: a histogram whose buckets grow with what they hold.

16 buckets for each doubling, so a percentile is told at most a sixteenth too high and never too low (the idea is that
of Gil Tene's HdrHistogram). Two generations of a thousand times each: the elder one is forgotten whole when the younger
is full, and so a target that has become slower or quicker is known for it after a thousand answers.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from operator import add
from typing import Final

GENERATION: Final = 1000
LEAST_NS: Final = 1 << 20
"""A millisecond, about: what is quicker counts as that."""
MOST_NS: Final = (1 << 40) - 1
"""18 minutes: what is slower counts as that."""

_BITS: Final = 5
_HALF: Final = 1 << (_BITS - 1)
_FIRST: Final = LEAST_NS.bit_length() - _BITS
_BUCKETS: Final = (MOST_NS.bit_length() - LEAST_NS.bit_length() + 1) * _HALF
_STALE: Final = 16


class Quantile:
    """Times, and what share of them was at most how long. `seen` counts those that are remembered."""

    __slots__ = ("_elder", "_fresh", "_percent", "_value", "_young", "_younger", "seen")

    def __init__(self) -> None:
        self._younger = [0] * _BUCKETS
        self._elder = [0] * _BUCKETS
        self._young = 0
        self._fresh = 0
        self._percent = 0
        self._value = 0
        self.seen = 0

    def add(self, ns: int) -> None:
        """One more, in nanoseconds."""
        ns = min(max(ns, LEAST_NS), MOST_NS)
        shift = ns.bit_length() - _BITS
        if self._young == GENERATION:
            self._elder, self._younger = self._younger, [0] * _BUCKETS
            self.seen, self._young = GENERATION, 0
        self._younger[(shift - _FIRST) * _HALF + (ns >> shift) - _HALF] += 1
        self._young += 1
        self.seen += 1
        self._fresh -= 1

    def at(self, percent: int) -> int:
        """Nanoseconds that `percent` of 100 times did not exceed, 0 without any. Reckoned anew every 16 times."""
        if self._fresh <= 0 or percent != self._percent:
            self._percent = percent
            self._value = self._reckon(percent)
            self._fresh = min(_STALE, self.seen)
        return self._value

    def _reckon(self, percent: int) -> int:
        if not self.seen:
            return 0
        reached = list(accumulate(map(add, self._younger, self._elder)))
        doubling, rest = divmod(bisect_left(reached, -(-self.seen * percent // 100)), _HALF)
        return ((_HALF + rest + 1) << (doubling + _FIRST)) - 1
