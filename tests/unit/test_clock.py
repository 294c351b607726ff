"""The machine's clock, and how its readings are written."""

from __future__ import annotations

import datetime as dt

import pytest

from ai_client.clock import SystemClock, iso_utc, local_day

SECOND = 1_000_000_000
NOON = 1_769_860_800 * SECOND  # 2026-01-31T12:00:00Z


def test_the_system_clock_reads_the_machine() -> None:
    clock = SystemClock()
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert clock.unix_ns() > NOON - 10 * 365 * 86_400 * SECOND


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (NOON, "2026-01-31T12:00:00.000Z"),
        (NOON + 123_999_999, "2026-01-31T12:00:00.123Z"),
        (NOON + SECOND - 1, "2026-01-31T12:00:00.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_utc(ns: int, text: str) -> None:
    assert iso_utc(ns) == text


@pytest.mark.parametrize("hours", range(0, 48, 5))
def test_the_day_is_the_local_one(hours: int) -> None:
    moment = NOON + hours * 3600 * SECOND
    assert local_day(moment) == dt.datetime.fromtimestamp(moment // SECOND, dt.UTC).astimezone().date().isoformat()
