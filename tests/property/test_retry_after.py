"""Waiting, whatever a server says."""

from __future__ import annotations

import math
from email.utils import formatdate

from hypothesis import example, given
from hypothesis import strategies as st

from ai_client.transport.retry_after import parse_retry_after

SECOND = 1_000_000_000
moments = st.integers(0, 4_000_000_000)


@given(st.binary(max_size=60), moments)
@example(b"1 Jan 0001 00:00:00 +2359", 0)
@example(b"Mon, 31 Dec 9999 23:59:59 -2359", 0)
@example(b"0 Jan 2026 00:00:00 GMT", 0)
def test_any_bytes_are_understood_or_not_but_never_raise(value: bytes, now: int) -> None:
    for name in (b"retry-after", b"retry-after-ms"):
        seconds = parse_retry_after([(name, value)], now * SECOND)
        assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.text("0123456789 :+-,./JanFebMrApyulgSOctNvDGMTZ", max_size=40), moments)
def test_almost_dates_never_raise(text: str, now: int) -> None:
    seconds = parse_retry_after([(b"retry-after", text.encode())], now * SECOND)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.integers(0, 10**6))
def test_whole_seconds(seconds: int) -> None:
    assert parse_retry_after([(b"retry-after", b"%d" % seconds)], 0) == seconds
    assert parse_retry_after([(b"retry-after-ms", b"%d" % seconds)], 0) == seconds / 1000


@given(moments, moments)
def test_a_date_is_the_time_until_then(now: int, then: int) -> None:
    value = formatdate(then, usegmt=True).encode()
    assert parse_retry_after([(b"retry-after", value)], now * SECOND) == max(0, then - now)
