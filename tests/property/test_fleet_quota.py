"""A fleet of three under everything that can happen: never more than the bound, whatever is lost, wiped or set back."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ai_client.limits.backends.store import MemoryStore
from ai_client.limits.base import MINUTE_NS, Kind, Need, Settings, rate
from ai_client.limits.gate import Held
from ai_client.limits.lease import Answer, Ask, Part
from ai_client.limits.member import Member, Mode, Terms
from ai_client.testing import FakeClock

SECOND = 1_000_000_000
RPM = 600
BURST = 10
LEASE = 2 * SECOND
members = st.integers(0, 2)


class QuotaMachine(RuleBasedStateMachine):
    """The members' own code and the store's law, with the wire between them in the machine's hand."""

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock(monotonic_ns=100 * SECOND)
        self.jump_ms = 0
        self.jumps = 0
        self.store = MemoryStore(lambda: self.clock.unix_ns() // 1_000_000 + self.jump_ms)
        limit = Settings((rate(Kind.REQUESTS, RPM, MINUTE_NS, 1.0),))
        self.members = [Member("l", "l", limit, Terms(f"m{at}"), self.clock, keep=True) for at in range(3)]
        self.held: list[Held] = []
        self.spent: list[tuple[int, int]] = []

    def _say(self, member: Member) -> Ask:
        ask = member.ask(self.clock.monotonic_ns())
        assert ask is not None
        return ask

    @rule(at=members, wanted=st.integers(0, 8), delay_ms=st.sampled_from([0, 1, 30, 900]))
    def renew(self, at: int, wanted: int, delay_ms: int) -> None:
        """A question, its way, the step at the store, and the way back."""
        member = self.members[at]
        ask = self._say(member)
        parts = (_wanting(ask.parts[0], wanted),)
        self.clock.advance_ns(delay_ms * 500_000)
        answer: Answer = self.store.answer(Ask(ask.limit, ask.member, parts, 1, ask.step, ask.share))
        self.clock.advance_ns(delay_ms * 500_000)
        member.heard(answer, self.clock.monotonic_ns())

    @rule(at=members, arrives=st.booleans(), wanted=st.integers(0, 8))
    def lose(self, at: int, arrives: bool, wanted: int) -> None:
        """A question that is lost, or whose answer is."""
        member = self.members[at]
        ask = self._say(member)
        if arrives:
            self.store.answer(Ask(ask.limit, ask.member, (_wanting(ask.parts[0], wanted),), 1, ask.step, ask.share))
        self.clock.advance(1)
        member.failed(self.clock.monotonic_ns())

    @rule(at=members, count=st.integers(1, 12))
    def spend(self, at: int, count: int) -> None:
        for _ in range(count):
            held = self.members[at].gate.try_reserve((1, 0, 0, 0, 0), 5)
            if held is None:
                return
            self.held.append(held)
            self.spent.append((self.clock.monotonic_ns(), 1))

    @rule(at=members, wiped=st.booleans())
    def grab(self, at: int, wiped: bool) -> None:
        """All there is at once, perhaps of a store that has just forgotten everything."""
        if wiped:
            self.store.wipe()
        self.renew(at, 30, 0)
        self.spend(at, 30)

    @rule(gives_back=st.booleans())
    def settle(self, gives_back: bool) -> None:
        """Idempotent: the second word of an attempt changes nothing."""
        if self.held:
            held = self.held.pop()
            back: Need | None = (0, 0, 0, 0, 0) if gives_back else None
            held.release(back)
            held.release((0, 0, 0, 0, 0))
            if gives_back:
                self.spent.append((self.clock.monotonic_ns(), -1))

    @rule(ms=st.sampled_from([1, 50, 400, 2600, 10_000]))
    def wait(self, ms: int) -> None:
        self.clock.advance_ns(ms * 1_000_000)

    @rule()
    def wipe(self) -> None:
        self.store.wipe()

    @rule(ms=st.sampled_from([-60_000, -500, 500, 60_000]))
    def set_the_clock(self, ms: int) -> None:
        """A clock that is set forward refills at most one burst; one that is set back refills nothing."""
        self.jump_ms += ms
        self.jumps += ms > 0

    @invariant()
    def never_more_than_the_bound(self) -> None:
        """B + R (T + L), net of what was given back; a burst more for each time the store's clock was set forward."""
        for first in range(len(self.spent)):
            begun = self.spent[first][0]
            totals = accumulate(units for _, units in self.spent[first:])
            for (moment, _), total in zip(self.spent[first:], totals, strict=True):
                passed = moment - begun + LEASE
                assert total <= BURST * (1 + self.jumps) + Fraction(RPM * passed, MINUTE_NS)

    @invariant()
    def shares_are_never_more_than_the_whole(self) -> None:
        alone = [member.share for member in self.members if member.mode is Mode.ALONE]
        assert sum(alone) <= 1.0


def _wanting(part: Part, wanted: int) -> Part:
    return msgspec.structs.replace(part, want=wanted)


TestQuota = QuotaMachine.TestCase
TestQuota.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
