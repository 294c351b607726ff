"""Time held in the hand, and answers to keep."""

from __future__ import annotations

from ai_client.cache.base import Entry
from ai_client.model.usage import Usage

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOON = 1_769_860_800 * SECOND  # 2026-01-31T12:00:00Z


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.unix = NOON

    def monotonic_ns(self) -> int:
        return self.unix - NOON

    def unix_ns(self) -> int:
        return self.unix

    def pass_ns(self, ns: int) -> None:
        self.unix += ns


def entry(body: bytes = b"{}", stored: int = NOON, *, streamed: bool = False) -> Entry:
    """An answer that was given at `stored`."""
    return Entry(200, [(b"content-type", b"application/json")], body, streamed, "gpt-4.1", stored, Usage(10, 5, 4))


def key(number: int) -> bytes:
    """A key like those of calls."""
    return number.to_bytes(32, "big")
