"""The token bucket, in exact integers.

A bucket of `rate` units a `period_ns` that holds at most `burst` units. Its level is kept in units times
nanoseconds (one unit is `period_ns` of level), so that refilling is `rate × elapsed` with nothing rounded: the
generic cell rate algorithm of ITU-T I.371, counted upwards.
"""

from __future__ import annotations

MINUTE_NS = 60_000_000_000


class Bucket:
    """Units that grow back. All methods are synchronous and take the time in monotonic nanoseconds.

    Debt is allowed: what was really spent may exceed what was reserved, and one request may be larger than the
    bucket. It is then let through from a full bucket, and paid for by a level below zero.
    """

    __slots__ = ("_capacity", "_level", "_period", "_rate", "_seen")

    def __init__(self, rate: int, burst: int, now_ns: int, period_ns: int = MINUTE_NS) -> None:
        """`rate` units grow back each `period_ns`; `burst` (at least 1) is what a rested bucket holds."""
        if rate < 1 or burst < 1:
            raise ValueError(f"a bucket needs a rate and a burst of at least 1, not {rate} and {burst}")
        self._rate = rate
        self._period = period_ns
        self._capacity = burst * period_ns
        self._level = self._capacity
        self._seen = now_ns

    def wait_ns(self, units: int, now_ns: int) -> int:
        """Nanoseconds until `units` may be taken; 0 when they may be now."""
        elapsed = now_ns - self._seen
        if elapsed > 0:
            self._seen = now_ns
            level = self._level + self._rate * elapsed
            self._level = level if level < self._capacity else self._capacity  # noqa: FURB136  min() costs a call
        need = units * self._period
        if self._level >= need:
            return 0
        need = min(need, self._capacity)
        return max(0, -(-(need - self._level) // self._rate))

    def try_take(self, units: int, now_ns: int) -> bool:
        """Take `units` if they may be taken now: `wait_ns` and `take` in one, for the way of every call."""
        capacity = self._capacity
        elapsed = now_ns - self._seen
        level = self._level
        if elapsed > 0:
            self._seen = now_ns
            level += self._rate * elapsed
            if level > capacity:  # noqa: PLR1730  min() costs a call
                level = capacity
        need = units * self._period
        if level < need and level < capacity:
            self._level = level
            return False
        self._level = level - need
        return True

    def take(self, units: int) -> None:
        """Take `units`, be they there or not: ask `wait_ns` first. Negative units are given back."""
        level = self._level - units * self._period
        self._level = level if level < self._capacity else self._capacity  # noqa: FURB136  as above

    def wait_behind_ns(self, units: int, ahead: int, now_ns: int) -> int:
        """Nanoseconds until `units` may be taken by one whom takers of `ahead` units go before."""
        self.wait_ns(0, now_ns)
        need = min(units * self._period, self._capacity) + ahead * self._period
        return max(0, -(-(need - self._level) // self._rate))

    def available(self, now_ns: int) -> int:
        """Whole units there now; negative when in debt."""
        self.wait_ns(0, now_ns)
        return self._level // self._period

    @property
    def rate(self) -> int:
        """Units a period."""
        return self._rate

    def cost_ns(self, units: int) -> int:
        """Nanoseconds in which `units` grow back."""
        return units * self._period // self._rate

    def part_ns(self, _units: int) -> int:
        """It is nobody else's."""
        return 0

    def lower(self, units: int, now_ns: int) -> None:
        """Somebody who knows says that no more than `units` are left."""
        self.wait_ns(0, now_ns)
        self._level = min(self._level, units * self._period)

    def empty(self, now_ns: int) -> None:
        """Begin with nothing: for one who does not know what was spent before."""
        self.lower(0, now_ns)
