"""How often a place becomes free."""

from __future__ import annotations

from ai_client.limits.pace import Pace


def test_it_averages_what_lies_between_two_that_leave() -> None:
    pace = Pace()
    pace.left(1_000)
    assert pace.usual_ns == 0
    pace.left(1_160)
    assert pace.usual_ns == 160
    pace.left(1_480)
    assert pace.usual_ns == 170
    for number in range(200):
        pace.left(1_480 + (number + 1) * 1_000)
    assert 900 < pace.usual_ns <= 1_000


def test_a_time_without_anybody_waiting_does_not_count() -> None:
    pace = Pace()
    pace.left(0)
    pace.left(100)
    pace.left(200)
    pace.pause()
    pace.left(1_000_000)
    assert pace.usual_ns == 100
    pace.left(1_000_100)
    assert pace.usual_ns == 100
