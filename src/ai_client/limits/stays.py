"""How long what is admitted stays: learned from those who had to wait, so that nobody else pays for it."""

from __future__ import annotations

from ai_client.limits.base import Caller

_WEIGHT = 32
_KEPT_NS = 30_000_000_000
"""What was not seen for so long may have changed."""
_MOST_CALLERS = 1000


class Stay:
    """The lower quartile of the time from admission to an answer, tracked by stochastic approximation (H. Robbins and
    S. Monro, 1951): three of four take longer, so one with less time left would most likely be admitted in vain.
    """

    __slots__ = ("_seen_ns", "_usual_ns")

    def __init__(self) -> None:
        self._usual_ns = 0
        self._seen_ns = 0

    def usual_ns(self, now_ns: int) -> int:
        """In nanoseconds; 0 where nothing is known of late."""
        return self._usual_ns if now_ns - self._seen_ns < _KEPT_NS else 0

    def answered(self, took_ns: int, now_ns: int) -> None:
        """One was answered so long after it was admitted."""
        usual = self.usual_ns(now_ns)
        step = usual // _WEIGHT
        if not usual:
            self._usual_ns = took_ns
        else:
            self._usual_ns = usual + step if took_ns > usual else usual - 3 * step
        self._seen_ns = now_ns

    def doubted(self) -> None:
        """One was not admitted for this: should that go on, one will be, and shows whether it was right."""
        self._usual_ns -= self._usual_ns // (8 * _WEIGHT)


class Stays(dict[tuple[str, int], Stay]):
    """By app and priority, made as they are asked for: one's long answers say nothing about another's. Of very many,
    those that come late are not remembered.
    """

    def of(self, caller: Caller) -> Stay:
        """The one of this caller."""
        return self[caller.app, caller.priority]

    def __missing__(self, key: tuple[str, int]) -> Stay:
        stay = Stay()
        if len(self) < _MOST_CALLERS:
            self[key] = stay
        return stay
