"""How often a place becomes free: learned only while somebody waits for one, so that nobody else pays for it."""

from __future__ import annotations

_WEIGHT = 16
"""One departure counts a sixteenth: by then what is usual follows the last three dozen."""


class Departures:
    """The time between two departures, in nanoseconds, averaged; 0 until two were seen one after the other."""

    __slots__ = ("_last_ns", "usual_ns")

    def __init__(self) -> None:
        self.usual_ns = 0
        self._last_ns = 0

    def left(self, now_ns: int) -> None:
        """Somebody left, while others waited."""
        last, self._last_ns = self._last_ns, now_ns
        if last:
            gap = now_ns - last
            self.usual_ns = self.usual_ns + (gap - self.usual_ns) // _WEIGHT if self.usual_ns else gap

    def pause(self) -> None:
        """Nobody waits any more: the time until somebody does again is no pace."""
        self._last_ns = 0
