"""One limit of the fleet, as this member sees it: when to ask, for how much, and what to do without an answer.

Pure decisions: time comes in as an argument, the store's words as values.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from ai_client.clock import Clock
from ai_client.limits.base import NOTHING, Rate, Settings
from ai_client.limits.gate import Gate
from ai_client.limits.lease import UNSEEN_MS, UNTOLD, WHOLE, Answer, Ask, Part
from ai_client.limits.purse import Purse
from ai_client.limits.supply import IDLE_NS, RETRY_NS, least_pause_ns

_MS = 1_000_000
_GRACE_NS = (UNSEEN_MS + 500) * _MS  # after which a store that lives surely keeps our share for us
_TICKS_AHEAD = 2
_LEAVE_AFTER = 10  # idle turns, for a limit that need not be kept


class Mode(enum.Enum):
    """How a limit is kept just now."""

    JOINING = "joining"  # the store has not answered yet
    SHARED = "shared"
    ALONE = "alone"  # the store is away: this member's share, and no more
    CLOSED = "closed"  # away for longer than the share is kept, or it must not be spent: nothing goes


class Terms(msgspec.Struct, frozen=True):
    """How this member takes part. Times in nanoseconds; `pace_ns` is between two renewals under load."""

    member: str
    weight: int = 1
    lease_ns: int = 2_000 * _MS
    share_ns: int = 3_600_000 * _MS
    pace_ns: int = 200 * _MS
    fail_closed: bool = False


class Member:
    """The gate, its purses, and what is known of the fleet."""

    def __init__(self, limit: str, said: str, settings: Settings, terms: Terms, clock: Clock, *, keep: bool) -> None:
        """`limit` names it at the store, `said` in messages. One that is not kept is left when nobody uses it."""
        self.limit = limit
        self.terms = terms
        self.mode = Mode.JOINING
        self.members = 0
        self.due_ns = 0
        self.pauses: list[tuple[str, int]] = []
        self.present = False
        self._keep = keep
        self._clock = clock
        self._purses: list[Purse] = []
        self._step = 0
        self._share = 0
        self._usual: list[int] = []  # spent in `pace_ns`, in sixteenths of a unit
        self._spent: list[int] = []  # since that was last reckoned
        self._reckoned_ns = 0
        self._after: list[int] = []  # in hand after the turn before
        self._debts: list[int] = []
        self._shared_before: list[int] = []
        self._sent_ns = 0
        self._least_pause_ns = least_pause_ns(0)
        self._heard_ns = 0
        self._idle = 0
        self._rank = self._level = 0  # of those who waited last: what is asked for in advance is for their like
        self.wake: Callable[[], None] = _nobody
        self.gate = Gate(said, settings, clock, self._purse, self._short)

    def _purse(self, rate: Rate, now_ns: int) -> Purse:
        return Purse(rate, now_ns)

    def _short(self) -> None:
        """Somebody begins to wait: ask at once, unless it was asked a moment ago."""
        self.due_ns = min(self.due_ns, self._sent_ns + self._least_pause_ns)
        self.wake()

    def pause(self, target: str, ms: int) -> None:
        """Tell the fleet that a target wants to be left alone."""
        self.pauses.append((target, ms))
        self.due_ns = 0
        self.wake()

    def ask(self, now_ns: int, *, leaving: bool = False) -> Ask | None:
        """What to say to the store now; None when there is nothing to say."""
        self._purses = [purse for purse in self.gate.meters if isinstance(purse, Purse)]
        count = len(self._purses)
        if len(self._usual) != count:
            self._usual, self._after, self._debts = [0] * count, [0] * count, [0] * count
            self._spent = [0] * count
        self.due_ns = now_ns + IDLE_NS
        if not count or (leaving and not self.present):
            return None
        self._sent_ns = now_ns
        self._shared_before = [purse.shared for purse in self._purses]
        queued = self.gate.queued
        head, total, light = NOTHING, NOTHING, False
        if queued is not None:
            head, light, self._rank, self._level, total = queued
        self._reckon(now_ns)
        parts = tuple(
            self._part(place, purse, head[purse.rate.kind], total[purse.rate.kind], leaving=leaving)
            for place, purse in enumerate(self._purses)
        )
        busy = any(part.want or part.back for part in parts) or any(self._usual) or self.gate.running
        self._idle = 0 if busy else self._idle + 1
        if not self._keep and self._idle > _LEAVE_AFTER:
            if not self.present:
                return None
            leaving = True
        pauses, self.pauses = tuple(self.pauses), []
        return Ask(
            self.limit,
            self.terms.member,
            parts,
            self.terms.weight,
            self._step,
            self._share,
            leaving,
            self.terms.share_ns // _MS,
            pauses,
            self._rank,
            self._level,
            light,
        )

    def _reckon(self, now_ns: int) -> None:
        """How much is usually spent between two renewals. Questions that follow one another fast are taken together."""
        for place, purse in enumerate(self._purses):
            purse.prune(now_ns)
            self._spent[place] += max(0, self._after[place] - purse.balance)
        passed = now_ns - self._reckoned_ns
        pace = self.terms.pace_ns
        if 4 * passed >= 3 * pace:
            self._reckoned_ns = now_ns
            for place, spent in enumerate(self._spent):
                # rounded so that it ends at nothing
                self._usual[place] += (spent * 16 * pace // passed - self._usual[place]) // 2
                self._spent[place] = 0

    def _part(self, place: int, purse: Purse, head: int, total: int, *, leaving: bool) -> Part:
        """What to want of one rate, and what to give back."""
        usual = -(-self._usual[place] // 16)
        want = least = back = 0
        if leaving:
            back = purse.part_with(purse.balance)
        elif total:
            # what is in hand was too little, of this or of another kind: others may have use for it meanwhile
            back = purse.part_with(purse.balance)
            least = head
            want = total + usual
        else:
            target = usual * _TICKS_AHEAD
            back = purse.part_with(purse.balance - 2 * target)
            if purse.balance < target:
                want = target - purse.balance
        back += self._debts[place]
        self._debts[place] = min(back, 0)
        self._after[place] = purse.balance
        rate = purse.rate
        most = max(least, rate.amount * self.terms.lease_ns // rate.period_ns + 1)
        told, purse.most = purse.most, UNTOLD
        return Part(rate.amount, rate.period_ns // _MS, rate.burst, min(want, most), least, back, told)

    def heard(self, answer: Answer, now_ns: int) -> None:
        """The store answered."""
        expiry = self._sent_ns + self.terms.lease_ns
        self.present = answer.share > 0 or self._keep
        self._heard_ns = now_ns
        self._step, self._share, self.members = answer.step, answer.share, answer.members
        for place, purse in enumerate(self._purses):
            if purse.share is not None:
                purse.share = None
                # what was spent of the share since the question left may have been refilled to others as well
                purse.balance -= purse.shared - self._shared_before[place]
            if now_ns < expiry:
                purse.lend(answer.granted[place], expiry, answer.crowd)
            self._debts[place] = 0
            self._after[place] = purse.balance
        self.mode = Mode.SHARED
        least = self._least_pause_ns = least_pause_ns(answer.members)
        pace = max(self.terms.pace_ns, least)
        if answer.retry:
            self.due_ns = self._sent_ns + max(pace // 4, least, min(answer.retry * _MS, IDLE_NS))
        elif any(self._usual):
            self.due_ns = self._sent_ns + pace
        else:
            self.due_ns = self._sent_ns + max(IDLE_NS, pace)
        self.gate.advance()

    def failed(self, now_ns: int) -> None:
        """The store did not answer: after a while, this member's own share is all there is."""
        self.due_ns = now_ns + RETRY_NS
        since = now_ns - self._heard_ns
        if self.mode is Mode.JOINING:
            return
        if self.terms.fail_closed or since >= self.terms.share_ns or not self._share:
            if since >= self.terms.lease_ns and self.mode is not Mode.CLOSED:
                self.mode = Mode.CLOSED
                for purse in self._purses:
                    purse.share = None
        elif self.mode is Mode.SHARED and since >= _GRACE_NS:
            self.mode = Mode.ALONE
            for purse in self._purses:
                purse.go_alone(self._share, now_ns)
        self.gate.advance()

    @property
    def share(self) -> float:
        """The part of the limit that is this member's when the store is away."""
        return self._share / WHOLE


def _nobody() -> None:
    """There is no fleet yet that could be woken."""
