"""Percentiles of the last times."""

from __future__ import annotations

import pytest

from ai_client.routing.quantile import GENERATION, LEAST_NS, MOST_NS, Quantile

MS = 1_000_000


def test_without_times_there_is_no_percentile() -> None:
    assert Quantile().at(95) == 0


def test_the_percentile_is_a_little_above_the_exact_one() -> None:
    times = Quantile()
    for number in range(1, 101):
        times.add(number * 10 * MS)
    assert 950 * MS <= times.at(95) <= 950 * MS * 17 / 16
    assert 500 * MS <= times.at(50) <= 500 * MS * 17 / 16
    assert times.seen == 100


@pytest.mark.parametrize(
    ("ns", "told"), [(0, LEAST_NS * 17 // 16 - 1), (-5, LEAST_NS * 17 // 16 - 1), (1 << 50, MOST_NS)]
)
def test_times_out_of_range_count_at_its_ends(ns: int, told: int) -> None:
    times = Quantile()
    times.add(ns)
    assert times.at(95) == told


def test_it_is_reckoned_anew_after_sixteen() -> None:
    times = Quantile()
    for _ in range(50):
        times.add(100 * MS)
    before = times.at(95)
    for _ in range(15):
        times.add(1000 * MS)
    assert times.at(95) == before
    times.add(1000 * MS)
    assert times.at(95) >= 1000 * MS


def test_what_is_long_past_is_forgotten() -> None:
    times = Quantile()
    for _ in range(GENERATION):
        times.add(1000 * MS)
    for _ in range(GENERATION):
        times.add(10 * MS)
    assert (times.seen, times.at(99) >= 1000 * MS) == (2 * GENERATION, True)
    times.add(10 * MS)
    assert times.seen == GENERATION + 1
    for _ in range(16):
        times.add(10 * MS)
    assert times.at(99) < 11 * MS
