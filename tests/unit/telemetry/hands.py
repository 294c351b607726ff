"""Time and timers held in the hand, and records to hand to the sinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record
from ai_client.model.usage import Usage

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOON = 1_769_860_800 * SECOND  # 2026-01-31T12:00:00Z


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.monotonic = 0
        self.unix = NOON

    def monotonic_ns(self) -> int:
        return self.monotonic

    def unix_ns(self) -> int:
        return self.unix

    def pass_seconds(self, seconds: int) -> None:
        self.monotonic += seconds * SECOND
        self.unix += seconds * SECOND


class HandTimer:
    """A timer that fires when the test says so."""

    def __init__(self, delay: float, callback: Callable[[], object]) -> None:
        self.delay = delay
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandLoop:
    """An event loop's timers, without the loop."""

    def __init__(self) -> None:
        self.timers: list[HandTimer] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> HandTimer:
        timer = HandTimer(delay, callback)
        self.timers.append(timer)
        return timer

    @property
    def waiting(self) -> list[HandTimer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def fire(self) -> None:
        """Fire what waits now; what that arms waits for the next call."""
        due, self.timers = self.waiting, []
        for timer in due:
            timer.callback()


ANSWERED = Record(
    request_id="req_1",
    endpoint="/chat/completions",
    app="batch",
    tag="nightly",
    priority=5,
    stream=False,
    started_ns=0,
    unix_ns=NOON,
    asked_model="auto",
    model="deepseek-v3.2",
    target="holysheep/deepseek-v3.2",
    attempts=1,
    cache="miss",
    queue_ns=1_234_567,
    first_byte_ns=40_000_000,
    duration_ns=43_345_678,
    status=200,
    usage=Usage(230, 450, 128),
    cost_nano=123_456,
    bytes_in=300,
    bytes_out=900,
)

FAILED = AttemptFailed(
    request_id="req_1",
    target="holysheep/deepseek-v3.2",
    number=1,
    code="rate_limit_exceeded",
    status=429,
    message="429 from holysheep: slow down",
    waits_ns=1_500_000_000,
)


def record(**changes: Any) -> Record:
    """An answered call, but for `changes`."""
    return msgspec.structs.replace(ANSWERED, **changes)


def failed(**changes: Any) -> AttemptFailed:
    """A failed attempt, but for `changes`."""
    return msgspec.structs.replace(FAILED, **changes)
