"""The bucket against exact fractions: never a unit too many, never a nanosecond too late."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from ai_client.limits.bucket import Bucket

rates = st.integers(1, 10**7)
bursts = st.integers(1, 10**5)
periods = st.sampled_from([1, 7, 1000, 60_000_000_000])
steps = st.lists(st.tuples(st.integers(0, 10**11), st.integers(0, 10**5)), max_size=40)


class Exact:
    """The same bucket in fractions of a unit, written as one would explain it."""

    def __init__(self, rate: int, burst: int, period: int) -> None:
        self.rate = Fraction(rate, period)
        self.burst = burst
        self.level = Fraction(burst)
        self.seen = 0

    def pass_to(self, now: int) -> None:
        self.level = min(self.level + self.rate * (now - self.seen), Fraction(self.burst))
        self.seen = now

    def wait(self, units: int) -> Fraction:
        return max(Fraction(0), (min(units, self.burst) - self.level) / self.rate)


@given(rates, bursts, periods, steps)
def test_waits_and_levels_are_exact(rate: int, burst: int, period: int, moves: list[tuple[int, int]]) -> None:
    bucket, exact = Bucket(rate, burst, 0, period), Exact(rate, burst, period)
    now = 0
    for passed, units in moves:
        now += passed
        exact.pass_to(now)
        wait = bucket.wait_ns(units, now)
        assert 0 <= wait - exact.wait(units) < 1, "rounded up, by less than a nanosecond"
        assert bucket.available(now) == exact.level // 1
        if not wait:
            bucket.take(units)
            exact.level -= units


@given(rates, bursts, periods, steps)
def test_no_interval_is_granted_more_than_its_rate_and_one_burst(
    rate: int, burst: int, period: int, moves: list[tuple[int, int]]
) -> None:
    bucket = Bucket(rate, burst, 0, period)
    now = 0
    grants: list[tuple[int, int]] = []
    for passed, asked in moves:
        now += passed
        units = min(asked, burst)
        if bucket.wait_ns(units, now) == 0:
            bucket.take(units)
            grants.append((now, units))
    for first in range(len(grants)):
        for (moment, _), granted in zip(grants[first:], accumulate(units for _, units in grants[first:]), strict=True):
            assert granted <= Fraction(rate * (moment - grants[first][0]), period) + burst


@given(rates, bursts, periods, st.integers(0, 10**5))
def test_after_the_wait_it_may_be_taken_and_not_before(rate: int, burst: int, period: int, units: int) -> None:
    bucket = Bucket(rate, burst, 0, period)
    bucket.take(burst + units)
    wait = bucket.wait_ns(units, 0)
    if wait:
        assert bucket.wait_ns(units, wait - 1) == 1
    assert bucket.wait_ns(units, wait) == 0


@given(rates, bursts, st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 10**5)), max_size=40))
def test_reserving_and_settling_spends_what_was_used(rate: int, burst: int, calls: list[tuple[int, int]]) -> None:
    """Whatever was reserved: while time stands still, the bucket has lost what was used in the end."""
    bucket = Bucket(rate, burst, 0)
    for reserved, _ in calls:
        bucket.take(reserved)
    for reserved, used in calls:
        bucket.take(used - reserved)
    # giving back never fills it above its brim here, for it was full when the first was taken
    spent = sum(used for _, used in calls)
    assert bucket.available(0) == burst - spent


@given(rates, bursts, periods, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5))
def test_behind_others_the_wait_is_theirs_and_ones_own(
    rate: int, burst: int, period: int, taken: int, ahead: int, units: int
) -> None:
    told = Bucket(rate, burst, 0, period)
    told.take(taken)
    exact = Exact(rate, burst, period)
    exact.level -= taken + ahead
    assert 0 <= told.wait_behind_ns(units, ahead, 0) - exact.wait(units) < 1
