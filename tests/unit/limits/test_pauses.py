"""Targets that asked to be left alone."""

from __future__ import annotations

from ai_client.limits.pauses import Pauses
from ai_client.testing import FakeClock

SECOND = 1_000_000_000


def test_a_pause_lasts_as_long_as_was_said_and_the_later_end_counts() -> None:
    clock = FakeClock()
    told: list[tuple[str, int]] = []
    pauses = Pauses(clock, lambda target, ns: told.append((target, ns)))
    assert pauses.left_ns("p/m") == 0
    pauses.ask("p/m", 2.0)
    pauses.hear("p/m", SECOND)
    assert told == [("p/m", 2 * SECOND)], "only what was said to us is told"
    assert pauses.left_ns("p/m") == 2 * SECOND
    assert pauses.left_ns("p/n") == 0
    clock.advance(2)
    assert pauses.left_ns("p/m") == 0
    assert pauses.until == {}


def test_nobody_need_be_told() -> None:
    pauses = Pauses(FakeClock())
    pauses.ask("p/m", 1.0)
    assert pauses.left_ns("p/m") == SECOND


def test_no_word_of_a_provider_ends_a_target_for_good() -> None:
    """A date of the year 2100 is a mistake, or becomes one: after an hour it is asked again."""
    told: list[int] = []
    pauses = Pauses(FakeClock(), lambda target, ns: told.append(ns))
    pauses.ask("p/m", 1e12)
    assert told == [pauses.left_ns("p/m")] == [3600 * SECOND]
