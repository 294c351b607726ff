"""What the pipeline asks of a limiter."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """Limits of one scope (a provider's key, an app). 0 means no limit.

    `burst_seconds` is how much of a minute's quota a rested bucket holds; `max_wait` is in seconds.
    """

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    max_concurrent: int = 0
    burst_seconds: float = 1.0
    max_queue: int = 10_000
    max_wait: float = 60.0


class Reservation(Protocol):
    """Quota lent to one attempt. Each of its two ends is told once; telling again is harmless."""

    def settle(self, tokens: int) -> None:
        """The attempt spent `tokens`: what was reserved beyond is given back, what is missing becomes debt."""

    def release(self, spent: int = 0) -> None:
        """The attempt is over: its place among the concurrent ones is free. `spent` tokens settles it as well; 0 leaves
        what is reserved, for an answer without a count.
        """


class Limiter(Protocol):
    """Admits attempts to one scope, in order of priority, then of arrival."""

    def try_reserve(self, tokens: int, priority: int) -> Reservation | None:
        """One request of `tokens` at once, or None when it has to wait. Never awaits."""

    async def reserve(self, tokens: int, priority: int, deadline_ns: int) -> Reservation:
        """One request of `tokens`, after waiting if need be.

        Raises `RateLimitedError` at once when the wait would outlast `deadline_ns` or the queue is full.
        """

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""

    @property
    def running(self) -> int:
        """Attempts admitted and not yet released."""

    def reconfigure(self, settings: Settings) -> None:
        """Other limits from now on; what was spent stays spent."""
