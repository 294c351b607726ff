"""A large fleet in simulated time."""

from __future__ import annotations

from bench.quota.large import Course, Load, simulate

SECOND = 1_000_000_000


def test_a_large_fleet_asks_no_more_than_a_server_bears() -> None:
    """Each of 420 is short all the time: 10,000 questions a second for any number, 23 for each here."""
    load = simulate(Course(420, 2.0, 600, steady=0.2, away=0.5, back=0.7, end=0.9))
    assert 1000 <= load.a_second(0.2, 0.5) <= 10_000
    assert load.a_second(0.5, 0.7) == 0
    assert load.a_second(0.7, 0.9) > 0, "they come back"


def test_what_is_counted() -> None:
    load = Load([0, SECOND // 2, SECOND, SECOND + 1, 3 * SECOND])
    assert load.a_second(0, 2) == 2.0
    assert load.most(0, 3) == 3
    assert load.most(2, 3) == 1
