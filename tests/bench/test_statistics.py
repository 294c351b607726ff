"""Percentiles and spreads."""

from __future__ import annotations

import pytest

from bench.statistics import Spread, percentile, spread


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 99, 0.0),
        ([7.0], 50, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 3.0, 1.0, 2.0], 50, 2.0),  # the nearest rank, never a value that nobody measured
        ([float(each) for each in range(1, 101)], 99, 99.0),
        ([float(each) for each in range(1, 101)], 100, 100.0),
        ([float(each) for each in range(1, 1001)], 99.9, 999.0),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_a_spread_is_the_median_and_its_range() -> None:
    found = spread([5.0, 1.0, 2.0])
    assert found == Spread(2.0, 1.0, 5.0)
    assert found.text(".2f", "x") == "2.00x (1.00 to 5.00)"
    assert spread([1.0, 2.0]).median == 1.5
    with pytest.raises(ValueError, match="no median"):
        spread([])
