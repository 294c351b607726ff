"""How long to wait before another attempt."""

from __future__ import annotations

import random
from typing import Final

_MOST_DOUBLINGS: Final = 62


def backoff(number: int, base: float, cap: float, rng: random.Random) -> float:
    """Seconds to wait after attempt `number` (from 1) failed: any time up to `base * 2 ** (number - 1)`, at most `cap`.

    Exponential backoff with full jitter, after Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
    2015: of the variants compared there it costs the contended server the least work.
    """
    doublings = min(max(number - 1, 0), _MOST_DOUBLINGS)  # 2.0 ** 1024 would overflow; the cap was reached long before
    return rng.uniform(0.0, min(cap, base * 2.0**doublings))
