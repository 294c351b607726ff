"""How many calls of a target may be hedged: a share of them, never more, in however long a time.

A token bucket that calls fill and hedges empty, after gRPC's retry throttling (gRFC A6), but begun empty: so that no
restart is an allowance. Jeffrey Dean and Luiz Barroso, "The Tail at Scale" (2013), wait for the 95th percentile, which
bounds the load to about 5 % in quiet times; this bounds it when all calls have become slow, too.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 10
"""Hedges that may be saved up."""

_HEDGE: Final = 1_000_000


class HedgeBudget:
    """The budget of one target. `share` of its calls, 0 to 1, may be hedged."""

    __slots__ = ("_earned", "_units")

    def __init__(self, share: float) -> None:
        self._units = 0
        self.allow(share)

    def allow(self, share: float) -> None:
        """Another share from now on."""
        self._earned = int(share * _HEDGE)

    def call(self) -> None:
        """A call came that might be hedged."""
        self._units = min(self._units + self._earned, MOST * _HEDGE)

    def take(self) -> bool:
        """Take one hedge, or say that there is none."""
        if self._units < _HEDGE:
            return False
        self._units -= _HEDGE
        return True

    def give_back(self) -> None:
        """It was not sent after all."""
        self._units = min(self._units + _HEDGE, MOST * _HEDGE)
