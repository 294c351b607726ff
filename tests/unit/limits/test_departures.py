"""How often a place becomes free."""

from __future__ import annotations

from ai_client.limits.departures import Departures


def test_it_averages_what_lies_between_two_that_leave() -> None:
    departures = Departures()
    departures.left(1_000)
    assert departures.usual_ns == 0
    departures.left(1_160)
    assert departures.usual_ns == 160
    departures.left(1_480)
    assert departures.usual_ns == 170
    for number in range(200):
        departures.left(1_480 + (number + 1) * 1_000)
    assert 900 < departures.usual_ns <= 1_000


def test_a_time_without_anybody_waiting_does_not_count() -> None:
    departures = Departures()
    departures.left(0)
    departures.left(100)
    departures.left(200)
    departures.pause()
    departures.left(1_000_000)
    assert departures.usual_ns == 100
    departures.left(1_000_100)
    assert departures.usual_ns == 100
