"""Counts over the last seconds: a ring of sums, so that counting costs the same however many there were."""

from __future__ import annotations

from typing import Final

_STEPS: Final = 10


class Window:
    """Some columns of counts over the last `span_ns` nanoseconds.

    Time is cut into tenths of the span; a whole tenth is forgotten at once. So what is counted is at most as old as
    the span, and at least nine tenths of it are covered.
    """

    __slots__ = ("_row", "_rows", "_step", "_step_ns", "_until")

    def __init__(self, span_ns: int, columns: int) -> None:
        self._step_ns = max(span_ns // _STEPS, 1)
        self._step = 0
        self._until = self._step_ns  # when the present tenth is over
        self._rows = [[0] * columns for _ in range(_STEPS)]
        self._row = self._rows[0]

    def add(self, now_ns: int, column: int) -> None:
        """Count one. `now_ns` must not run back."""
        if now_ns >= self._until:
            self.forget(now_ns)
        self._row[column] += 1

    @property
    def sums(self) -> list[int]:
        """Of each column. Added up when asked for, which is seldom beside the counting."""
        return [sum(column) for column in zip(*self._rows, strict=True)]

    def forget(self, now_ns: int) -> None:
        """Let go of what is older than the span: `sums` is true afterwards."""
        if now_ns < self._until:
            return
        step = now_ns // self._step_ns
        for passed in range(max(self._step + 1, step - _STEPS + 1), step + 1):
            row = self._rows[passed % _STEPS]
            row[:] = [0] * len(row)
        self._step = step
        self._until = (step + 1) * self._step_ns
        self._row = self._rows[step % _STEPS]

    def clear(self) -> None:
        """Forget everything."""
        for row in self._rows:
            row[:] = [0] * len(row)
