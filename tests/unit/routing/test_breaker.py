"""When a circuit opens, how it is tried, and when it closes."""

from __future__ import annotations

import random

import pytest

from ai_client.routing.breaker import REFUSED, Breaker, BreakerSettings, Outcome, State

SECOND = 1_000_000_000
SETTINGS = BreakerSettings(window_ns=10 * SECOND, min_calls=4, open_ns=8 * SECOND, max_open_ns=20 * SECOND)


class Longest(random.Random):
    """Draws the highest number there is."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Circuit:
    """A breaker, a clock, and what it told."""

    def __init__(self, settings: BreakerSettings = SETTINGS) -> None:
        self.now = 0
        self.told: list[State] = []
        self.breaker = Breaker(settings, Longest(), lambda breaker: self.told.append(breaker.state))

    def call(self, outcome: Outcome, times: int = 1) -> bool:
        """Was the last of these calls let through?"""
        ticket = REFUSED
        for _ in range(times):
            ticket = self.breaker.admit(self.now)
            if ticket != REFUSED:
                self.breaker.settle(ticket, outcome, self.now)
        return ticket != REFUSED

    def open(self) -> None:
        self.call(Outcome.BAD, 4)
        assert self.breaker.state is State.OPEN


def test_it_opens_at_its_rate_of_failures_and_not_on_fewer_calls() -> None:
    circuit = Circuit()
    circuit.call(Outcome.BAD, 3)
    assert circuit.breaker.state is State.CLOSED
    circuit.call(Outcome.GOOD, 4)
    assert circuit.breaker.state is State.CLOSED
    circuit.call(Outcome.BAD)
    assert (circuit.breaker.state, circuit.breaker.counts, circuit.breaker.opened) == (State.OPEN, (8, 4, 0), 1)
    assert circuit.told == [State.OPEN]


def test_what_is_past_does_not_count() -> None:
    circuit = Circuit()
    circuit.call(Outcome.BAD, 3)
    circuit.now = 11 * SECOND
    circuit.call(Outcome.BAD, 3)
    assert circuit.breaker.state is State.CLOSED


def test_it_opens_at_its_rate_of_slow_calls() -> None:
    circuit = Circuit(BreakerSettings(min_calls=4, slow_rate=0.75))
    circuit.call(Outcome.GOOD)
    circuit.call(Outcome.SLOW, 2)
    assert circuit.breaker.state is State.CLOSED
    circuit.call(Outcome.SLOW)
    assert (circuit.breaker.state, circuit.breaker.counts) == (State.OPEN, (4, 0, 3))


def test_what_says_nothing_about_the_target_is_not_counted() -> None:
    circuit = Circuit()
    assert circuit.call(Outcome.NEITHER, 100)
    assert circuit.breaker.counts == (0, 0, 0)


def test_while_it_is_open_nobody_is_let_through_and_all_are_told_how_long() -> None:
    circuit = Circuit()
    circuit.open()
    assert not circuit.call(Outcome.GOOD)
    assert circuit.breaker.retry_after_ns(circuit.now) == 8 * SECOND
    circuit.now = 8 * SECOND - 1
    assert not circuit.call(Outcome.GOOD)
    assert (circuit.breaker.retry_after_ns(circuit.now), circuit.breaker.refused) == (1, 2)


def test_then_one_at_a_time() -> None:
    circuit = Circuit()
    circuit.open()
    circuit.now = 8 * SECOND
    assert circuit.breaker.retry_after_ns(circuit.now) == 0
    first = circuit.breaker.admit(circuit.now)
    assert first != REFUSED
    assert circuit.breaker.admit(circuit.now) == REFUSED
    assert circuit.breaker.retry_after_ns(circuit.now) == SECOND
    circuit.breaker.settle(first, Outcome.GOOD, circuit.now)
    assert circuit.told[-1] is State.HALF_OPEN
    assert circuit.call(Outcome.GOOD)
    assert circuit.told == [State.OPEN, State.HALF_OPEN, State.CLOSED]
    circuit.call(Outcome.BAD, 3)
    assert circuit.breaker.state is State.CLOSED, "it begins anew"


@pytest.mark.parametrize("outcome", [Outcome.BAD, Outcome.SLOW])
def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound(outcome: Outcome) -> None:
    circuit = Circuit()
    circuit.open()
    for seconds in (8, 16, 20, 20):
        assert circuit.breaker.retry_after_ns(circuit.now) == seconds * SECOND
        circuit.now += seconds * SECOND
        assert circuit.call(outcome)
    circuit.now += 20 * SECOND
    circuit.call(Outcome.GOOD, 2)
    circuit.open()
    assert circuit.breaker.retry_after_ns(circuit.now) == 8 * SECOND, "short again, once it was closed"


def test_a_probe_that_says_nothing_gives_its_place_to_another() -> None:
    circuit = Circuit()
    circuit.open()
    circuit.now = 8 * SECOND
    assert circuit.call(Outcome.NEITHER)
    assert circuit.breaker.state is State.HALF_OPEN
    assert circuit.call(Outcome.NEITHER)


def test_how_long_is_spread() -> None:
    waits = set()
    for seed in range(20):
        breaker = Breaker(SETTINGS, random.Random(seed))
        for _ in range(4):
            breaker.settle(breaker.admit(0), Outcome.BAD, 0)
        waits.add(breaker.retry_after_ns(0))
    assert len(waits) == 20
    assert all(6 * SECOND <= wait <= 8 * SECOND for wait in waits)


def test_what_began_before_a_change_says_nothing_after_it() -> None:
    circuit = Circuit()
    late = [circuit.breaker.admit(0) for _ in range(3)]
    circuit.open()
    circuit.now = 8 * SECOND
    probe = circuit.breaker.admit(circuit.now)
    circuit.breaker.settle(late[0], Outcome.BAD, circuit.now)
    assert circuit.breaker.state is State.HALF_OPEN
    assert circuit.breaker.admit(circuit.now) == REFUSED, "the probe is still out"
    circuit.breaker.settle(probe, Outcome.GOOD, circuit.now)
    circuit.call(Outcome.GOOD)
    for ticket in late[1:]:
        circuit.breaker.settle(ticket, Outcome.BAD, circuit.now)
    assert circuit.breaker.counts == (0, 0, 0)


def test_a_stream_that_is_a_probe_is_judged_by_its_beginning() -> None:
    circuit = Circuit()
    circuit.open()
    circuit.now = 8 * SECOND
    first = circuit.breaker.begun(circuit.breaker.admit(circuit.now), Outcome.GOOD, circuit.now)
    assert first == REFUSED, "its end is not counted: others are tried by then"
    last = circuit.breaker.begun(circuit.breaker.admit(circuit.now), Outcome.GOOD, circuit.now)
    assert circuit.breaker.state is State.CLOSED
    circuit.breaker.settle(first, Outcome.BAD, circuit.now)
    circuit.breaker.settle(last, Outcome.BAD, circuit.now)
    assert circuit.breaker.counts == (1, 1, 0)


def test_any_other_stream_keeps_its_ticket() -> None:
    circuit = Circuit()
    ticket = circuit.breaker.admit(0)
    assert circuit.breaker.begun(ticket, Outcome.GOOD, 0) == ticket
    assert circuit.breaker.counts == (0, 0, 0)
    circuit.open()
    assert circuit.breaker.begun(ticket, Outcome.GOOD, 0) == ticket


def test_states_have_words() -> None:
    assert [state.label for state in State] == ["closed", "half_open", "open"]
