"""How long to wait before another try."""

from __future__ import annotations

import random

import pytest

from ai_client.routing.retry import backoff


class Highest(random.Random):
    """Draws the highest number there is."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize(
    ("number", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (6, 5.0), (10**9, 5.0)]
)
def test_the_longest_wait_doubles_up_to_the_cap(number: int, longest: float) -> None:
    assert backoff(number, 0.5, 5.0, Highest()) == longest


def test_the_jitter_is_full() -> None:
    drawn = [backoff(3, 1.0, 60.0, random.Random(seed)) for seed in range(1000)]
    assert min(drawn) < 0.1
    assert max(drawn) > 3.9
    assert 1.9 < sum(drawn) / len(drawn) < 2.1
