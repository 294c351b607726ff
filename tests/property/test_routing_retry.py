"""Waiting, whatever the numbers."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ai_client.routing.retry import backoff

delays = st.floats(0, 1e6, allow_nan=False)


@given(st.integers(-10, 10**6), delays, delays, st.integers())
def test_a_wait_is_bounded_by_the_cap_and_by_the_doubling(number: int, base: float, cap: float, seed: int) -> None:
    wait = backoff(number, base, cap, random.Random(seed))
    assert 0 <= wait <= cap
    if 1 <= number <= 60:
        assert wait <= base * 2 ** (number - 1)
