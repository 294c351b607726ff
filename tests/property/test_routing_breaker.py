"""The laws of circuits and retry budgets, whatever calls do: nothing leaks, nothing is exceeded."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ai_client.routing.breaker import REFUSED, Breaker, BreakerSettings, Outcome, State
from ai_client.routing.retry_budget import SPAN_NS, RetryBudget
from ai_client.routing.window import Window

SECOND = 1_000_000_000
OPEN = 5 * SECOND
OUTCOMES = st.sampled_from(Outcome)


class Circuit(RuleBasedStateMachine):
    """Calls that begin, stream, end in any way and any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.out: list[int] = []  # tickets not handed back yet
        self.probes: list[int] = []  # those of them that were given half open
        self.since = 0
        settings = BreakerSettings(min_calls=3, open_ns=OPEN, max_open_ns=4 * OPEN, slow_rate=0.6)
        self.breaker = Breaker(settings, random.Random(1), self.changed)

    def changed(self, breaker: Breaker) -> None:
        self.probes.clear()
        if breaker.state is State.OPEN:
            self.since = self.now

    @rule()
    def begin(self) -> None:
        before = self.breaker.state
        ticket = self.breaker.admit(self.now)
        if ticket == REFUSED:
            assert before is State.OPEN or self.probes, "only an open circuit or a probe that is out refuses"
            assert before is not State.OPEN or self.breaker.retry_after_ns(self.now) > 0
            return
        if self.breaker.state is State.HALF_OPEN:
            assert not self.probes, "one at a time"
            self.probes.append(ticket)
        self.out.append(ticket)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=OUTCOMES)
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        ticket = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if ticket in self.probes:
            self.probes.remove(ticket)
        self.breaker.settle(ticket, outcome, self.now)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=OUTCOMES)
    def stream(self, data: st.DataObject, outcome: Outcome) -> None:
        place = data.draw(st.integers(0, len(self.out) - 1))
        ticket = self.out[place]
        if ticket in self.probes:
            self.probes.remove(ticket)
        self.out[place] = self.breaker.begun(ticket, outcome, self.now)

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @invariant()
    def it_is_never_left_for_good(self) -> None:
        """Open is bounded, and while no probe is out the next call is let through: no place leaks."""
        breaker = self.breaker
        if breaker.state is State.OPEN:
            assert breaker.retry_after_ns(self.now) <= max(4 * OPEN - (self.now - self.since), 0)
        elif breaker.state is State.HALF_OPEN:
            assert len(self.probes) <= 1
            assert breaker.retry_after_ns(self.now) == (SECOND if self.probes else 0)

    @invariant()
    def counts_are_counts(self) -> None:
        calls, faults, slow = self.breaker.counts
        assert 0 <= faults + slow <= calls


TestCircuit = Circuit.TestCase


@given(
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.booleans()), max_size=200),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    st.integers(0, 5),
)
def test_retries_are_never_more_than_their_share(steps: list[tuple[int, bool]], share: float, floor: int) -> None:
    """Of the requests of the last 10 seconds, and the floor; nor is one refused that both would have allowed."""
    budget = RetryBudget(share, floor)
    now = 0
    requests: list[int] = []
    retries: list[int] = []
    for passed, retry in steps:
        now += passed
        if not retry:
            budget.request(now)
            requests.append(now)
            continue
        allowed = budget.allow(now)
        in_span = sum(now - at <= SPAN_NS for at in requests)
        sure = sum(now - at <= SPAN_NS * 9 // 10 for at in requests)
        spent = sum(now - at <= SPAN_NS * 9 // 10 for at in retries)
        at_most = sum(now - at <= SPAN_NS for at in retries)
        if allowed:
            assert spent + 1 <= floor + in_span * share
            retries.append(now)
        else:
            assert at_most + 1 > floor + sure * share


@given(st.lists(st.integers(0, 400), max_size=100))
def test_a_window_holds_what_is_younger_than_nine_tenths_of_it_and_nothing_older_than_all(steps: list[int]) -> None:
    window = Window(1000, 1)
    now = 0
    seen: list[int] = []
    for step in steps:
        now += step
        window.add(now, 0)
        seen.append(now)
        young = sum(now - at <= 900 for at in seen)
        assert young <= window.sums[0] <= sum(now - at < 1000 for at in seen)
