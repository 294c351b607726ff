"""Limits of one process, in its memory."""

from __future__ import annotations

from ai_client.clock import Clock
from ai_client.limits.base import Rate, Settings
from ai_client.limits.bucket import Bucket
from ai_client.limits.gate import Gate


class MemoryLimiter(Gate):
    """A gate whose meters are buckets of its own."""

    def __init__(self, name: str, settings: Settings, clock: Clock) -> None:
        super().__init__(name, settings, clock, _bucket)


def _bucket(rate: Rate, now_ns: int) -> Bucket:
    return Bucket(rate.amount, rate.burst, now_ns, rate.period_ns)
