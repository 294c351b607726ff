"""Percentiles and spreads."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; 0.0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest over the rounds."""

    median: float
    lowest: float
    highest: float

    def text(self, form: str, unit: str) -> str:
        """As a table shows it: the median, the range of the rounds behind it."""
        return f"{self.median:{form}}{unit} ({self.lowest:{form}} to {self.highest:{form}})"


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError for no values."""
    return Spread(statistics.median(values), min(values), max(values))
