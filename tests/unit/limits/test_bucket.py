"""The token bucket: what it grants, and when."""

from __future__ import annotations

import pytest

from ai_client.limits.bucket import MINUTE_NS, Bucket

SECOND = 1_000_000_000


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-1, 5), (5, -1)])
def test_a_bucket_that_gives_nothing_is_refused(rate: int, burst: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Bucket(rate, burst, 0)


def test_it_begins_full_and_grows_back() -> None:
    bucket = Bucket(60, 3, 0)
    assert bucket.rate == 60
    assert bucket.available(0) == 3
    assert bucket.wait_ns(3, 0) == 0
    bucket.take(3)
    assert bucket.available(0) == 0
    assert bucket.wait_ns(1, 0) == SECOND
    assert bucket.wait_ns(2, SECOND // 2) == SECOND * 3 // 2
    assert bucket.wait_ns(1, SECOND - 1) == 1
    assert bucket.wait_ns(1, SECOND) == 0
    assert bucket.available(100 * SECOND) == 3


def test_the_wait_is_rounded_up_to_the_nanosecond_never_down() -> None:
    bucket = Bucket(7, 1, 0, period_ns=10)
    bucket.take(1)
    assert bucket.wait_ns(1, 0) == 2  # 10 / 7
    assert bucket.wait_ns(1, 1) == 1
    assert bucket.wait_ns(1, 2) == 0


def test_debt_is_paid_first() -> None:
    bucket = Bucket(60, 10, 0)
    bucket.take(15)
    assert bucket.available(0) == -5
    assert bucket.wait_ns(0, 0) == 5 * SECOND
    assert bucket.wait_ns(1, 0) == 6 * SECOND


def test_one_larger_than_the_bucket_goes_from_a_full_one() -> None:
    bucket = Bucket(60, 10, 0)
    assert bucket.wait_ns(1000, 0) == 0
    bucket.take(1)
    assert bucket.wait_ns(1000, 0) == SECOND
    assert bucket.wait_ns(1000, SECOND) == 0
    bucket.take(1000)
    assert bucket.available(SECOND) == -990


def test_what_is_given_back_does_not_overflow() -> None:
    bucket = Bucket(60, 10, 0)
    bucket.take(4)
    bucket.take(-100)
    assert bucket.available(0) == 10


def test_a_clock_that_steps_back_takes_nothing_away() -> None:
    bucket = Bucket(60, 10, 5 * SECOND)
    bucket.take(10)
    assert bucket.wait_ns(1, 0) == SECOND
    assert bucket.wait_ns(1, 6 * SECOND) == 0


def test_who_stands_behind_others_waits_for_them_too() -> None:
    bucket = Bucket(60, 10, 0)
    assert bucket.wait_behind_ns(1, 9, 0) == 0
    assert bucket.wait_behind_ns(1, 10, 0) == SECOND
    bucket.take(10)
    assert bucket.wait_behind_ns(5, 20, 0) == 25 * SECOND
    assert bucket.wait_behind_ns(5, 20, 5 * SECOND) == 20 * SECOND
    assert bucket.wait_behind_ns(1000, 0, 5 * SECOND) == 5 * SECOND, "one larger than the bucket needs a full one"


def test_the_usual_period_is_a_minute() -> None:
    bucket = Bucket(1, 1, 0)
    bucket.take(1)
    assert bucket.wait_ns(1, 0) == MINUTE_NS
