"""Targets that asked to be left alone: nothing is sent there until the moment they named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ai_client.clock import Clock

LONGEST_S: Final = 3600.0
"""What is said to last longer is looked at once an hour: a wrong date in one header must not end a target for good."""


class Pauses:
    """Until when each target is left alone. `until` is empty in good times: one look says so."""

    __slots__ = ("_clock", "on_set", "until")

    def __init__(self, clock: Clock, on_set: Callable[[str, int], None] | None = None) -> None:
        """`on_set(target, ns)` hears of each pause that a provider asked for here, in nanoseconds from now."""
        self._clock = clock
        self.on_set = on_set
        self.until: dict[str, int] = {}

    def ask(self, target: str, seconds: float) -> None:
        """The provider said so, to us: we keep to it, for `LONGEST_S` at most, and the others are told."""
        ns = int(min(seconds, LONGEST_S) * 1e9)
        self.hear(target, ns)
        if self.on_set is not None:
            self.on_set(target, ns)

    def hear(self, target: str, ns: int) -> None:
        """It was said, to us or to another, that nothing is to go there for so long. The later end counts."""
        end = self._clock.monotonic_ns() + ns
        if end > self.until.get(target, 0):
            self.until[target] = end

    def left_ns(self, target: str) -> int:
        """Nanoseconds that the pause still lasts, 0 when there is none."""
        end = self.until.get(target)
        if end is None:
            return 0
        left = end - self._clock.monotonic_ns()
        if left > 0:
            return left
        del self.until[target]
        return 0
