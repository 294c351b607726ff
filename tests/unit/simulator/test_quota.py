"""Limits a minute, exact to the nanosecond."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_client.simulator.quota import MINUTE_NS, Bucket, Quota, duration, retry_headers


def test_a_minutes_worth_at_once_then_evenly() -> None:
    bucket = Bucket(60, 0)
    for _ in range(60):
        assert bucket.wait_ns(1, 0) == 0
        bucket.take(1)
    assert bucket.wait_ns(1, 0) == 1_000_000_000
    assert bucket.wait_ns(1, 999_999_999) == 1
    assert bucket.wait_ns(1, 1_000_000_000) == 0
    assert bucket.remaining(1_000_000_000) == 1
    assert bucket.reset_ns(1_000_000_000) == 59_000_000_000


def test_waiting_as_long_as_told_is_enough_whatever_the_limit() -> None:
    for limit in (1, 7, 59, 61, 500, 99_991):
        bucket = Bucket(limit, 0)
        bucket.take(limit)
        wait = bucket.wait_ns(1, 0)
        assert bucket.wait_ns(1, wait - 1) > 0
        assert bucket.wait_ns(1, wait) == 0


def test_a_clock_that_stands_or_steps_back_gives_nothing() -> None:
    bucket = Bucket(60, 1_000_000_000)
    bucket.take(60)
    assert bucket.wait_ns(1, 0) == 1_000_000_000


@given(
    st.integers(1, 100_000),
    st.lists(st.tuples(st.integers(0, 2 * MINUTE_NS), st.integers(0, 1_000)), min_size=1, max_size=50),
)
def test_no_span_ever_takes_more_than_its_share(limit: int, steps: list[tuple[int, int]]) -> None:
    bucket = Bucket(limit, 0)
    now = taken = 0
    for pause, amount in steps:
        now += pause
        if bucket.wait_ns(amount, now) == 0:
            bucket.take(amount)
            taken += amount
        assert taken * MINUTE_NS <= limit * (MINUTE_NS + now)
        assert 0 <= bucket.remaining(now) <= limit


def test_both_limits_hold_and_a_refusal_takes_nothing() -> None:
    quota = Quota(10, 1_000, 0)
    assert quota.admit(990, 0) is None
    assert quota.admit(20, 0) == ("tokens", 1_000, 600_000_000)
    assert dict(quota.headers(0))[b"x-ratelimit-remaining-requests"] == b"9"
    for _ in range(9):
        assert quota.admit(1, 0) is None
    assert quota.admit(1, 0) == ("requests", 10, 6_000_000_000)
    assert dict(quota.headers(0))[b"x-ratelimit-remaining-tokens"] == b"1"


def test_more_than_a_minutes_worth_never_fits() -> None:
    assert Quota(0, 1_000, 0).admit(1_001, 0) == ("tokens", 1_000, -1)


def test_no_limits_no_headers() -> None:
    quota = Quota(0, 0, 0)
    assert quota.admit(10**9, 0) is None
    assert quota.headers(0) == []


def test_headers_as_openai_sends_them() -> None:
    quota = Quota(500, 100_000, 0)
    quota.admit(1_000, 0)
    assert dict(quota.headers(0)) == {
        b"x-ratelimit-limit-requests": b"500",
        b"x-ratelimit-remaining-requests": b"499",
        b"x-ratelimit-reset-requests": b"120ms",
        b"x-ratelimit-limit-tokens": b"100000",
        b"x-ratelimit-remaining-tokens": b"99000",
        b"x-ratelimit-reset-tokens": b"600ms",
    }


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, b"0s"),
        (1, b"1ms"),
        (999_000_000, b"999ms"),
        (999_000_001, b"1s"),
        (8_640_000_000, b"8.64s"),
        (59_999_999_999, b"1m0s"),
        (360_000_000_000, b"6m0s"),
        (61_500_000_000, b"1m1.5s"),
    ],
)
def test_durations(ns: int, text: bytes) -> None:
    assert duration(ns) == text


def test_retry_after_is_never_too_early() -> None:
    assert retry_headers(1) == [(b"retry-after", b"1"), (b"retry-after-ms", b"1")]
    assert retry_headers(1_500_000_001) == [(b"retry-after", b"2"), (b"retry-after-ms", b"1501")]


def test_a_small_burst_is_a_strict_provider() -> None:
    quota = Quota(600, 0, 0, 0.5)
    assert [quota.admit(1, 0) is None for _ in range(6)] == [True] * 5 + [False]
    assert quota.admit(1, 100_000_000) is None
