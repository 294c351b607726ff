"""Time held in the hand."""

from __future__ import annotations

from typing import Final

_NS: Final = 1_000_000_000


class FakeClock:
    """A `Clock` that stands still until it is told to move."""

    def __init__(self, unix_ns: int = 1_769_860_800 * _NS, monotonic_ns: int = 0) -> None:
        """It begins at `unix_ns` (2026-01-31T12:00:00Z unless you say otherwise) and `monotonic_ns`, in nanoseconds."""
        self._unix_ns = unix_ns
        self._monotonic_ns = monotonic_ns

    def monotonic_ns(self) -> int:
        """Nanoseconds that only ever grow."""
        return self._monotonic_ns

    def unix_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return self._unix_ns

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, to the nanosecond. Raises ValueError for a negative number: time does not run back."""
        self.advance_ns(round(seconds * _NS))

    def advance_ns(self, ns: int) -> None:
        """Let `ns` nanoseconds pass. Raises ValueError for a negative number."""
        if ns < 0:
            raise ValueError(f"time does not run back: {ns} ns")
        self._monotonic_ns += ns
        self._unix_ns += ns
