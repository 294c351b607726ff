"""Places that this process has of a fleet's: renewed in the background, never on a call's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from ai_client.clock import Clock
from ai_client.limits.gate import Gate
from ai_client.limits.gradient import AdaptiveLimit
from ai_client.limits.lease import StoreAwayError
from ai_client.limits.member import Mode, Terms
from ai_client.limits.places import PlaceAnswer, PlaceAsk, PlaceStore
from ai_client.limits.supply import IDLE_NS, PATIENCE, RETRY_NS, Supply, least_pause_ns

_MS = 1_000_000
_BUSY_NS = 200 * _MS
_SHORT_NS = 50 * _MS
_LEAVE_AFTER = 10  # idle turns


class Berth:
    """One limit of the fleet as this member sees it: how many places to ask for, and to use without an answer."""

    def __init__(self, limit: str, gate: Gate, total: int, terms: Terms, adaptive: AdaptiveLimit | None = None) -> None:
        """`gate` begins with no place at all. `adaptive` is where the number of places is found out; `total` then is
        what the fleet begins with.
        """
        self.limit = limit
        self.gate = gate
        self.total = total
        self.terms = terms
        self.adaptive = adaptive
        self.mode = Mode.JOINING
        self.members = 0
        self.due_ns = 0
        self.share = 0
        self.wake: Callable[[Berth], None] = _nobody
        self._held = 0
        self._ends_ns = 0
        self._sent_ns = 0
        self._heard_ns = 0
        self._usual = 0
        self._idle = 0
        self._rivals = 0
        self._size = 0
        self._present = False
        self._least_pause_ns = least_pause_ns(0)
        self._use(0)
        gate.on_full = self._full

    def _full(self) -> None:
        """Somebody begins to wait: ask at once, unless it was asked a moment ago."""
        self.due_ns = min(self.due_ns, self._sent_ns + self._least_pause_ns)
        self.wake(self)

    def ask(self, now_ns: int, *, leaving: bool = False) -> PlaceAsk | None:
        """What to say to the store now; None when there is nothing to say."""
        self.due_ns = now_ns + IDLE_NS
        using, waiting = self.gate.running, self.gate.waiting
        # what was usual of late is kept at hand, and one more, so that the next call need not ask; unless others do
        self._usual = max(using, self._usual * 3 // 4)
        self._idle = 0 if using or waiting else self._idle + 1
        if (leaving or self._idle > _LEAVE_AFTER) and not self._present:
            return None
        leaving = leaving or self._idle > _LEAVE_AFTER
        ahead = 0
        if not self._rivals and (self._usual or waiting):
            ahead = self._usual - using + self._usual // 4 + 1
        want = 0 if leaving else min(self.total, using + waiting + ahead)
        if leaving:
            self._use(0)
        pace = self.adaptive.pace if self.adaptive is not None else None
        self._sent_ns = now_ns
        terms = self.terms
        return PlaceAsk(
            self.limit,
            terms.member,
            self.total,
            want,
            using,
            self._held if now_ns < self._ends_ns else 0,
            self.share,
            terms.weight,
            terms.lease_ns // _MS,
            terms.share_ns // _MS,
            leaving,
            pace.least if pace is not None else 0,
            pace.most if pace is not None else 0,
            self._size,
            self.adaptive.news() if self.adaptive is not None else 0,
        )

    def heard(self, ask: PlaceAsk, answer: PlaceAnswer, now_ns: int) -> None:
        """The store answered."""
        self.mode = Mode.SHARED
        self.members, self.share = answer.members, answer.share
        self._present = not ask.leaving
        self._heard_ns = now_ns
        self._ends_ns = self._sent_ns + self.terms.lease_ns
        self._held = answer.places
        self._rivals = answer.rivals
        if self.adaptive is not None:
            self.adaptive.heard(ask.delta)
            self.total, self._size = answer.size // 1000, answer.size
        self._least_pause_ns = least_pause_ns(answer.members)
        self._use(answer.places if now_ns < self._ends_ns else 0)
        pause = _BUSY_NS if self.gate.running or self.gate.waiting else IDLE_NS
        if self.gate.waiting:
            pause = _SHORT_NS
        # renewed at least twice before the lease ends
        self.due_ns = self._sent_ns + max(min(pause, self.terms.lease_ns // 3), self._least_pause_ns)

    def failed(self, now_ns: int) -> None:
        """The store did not answer: what is lent is used to its end, and then this member's own share."""
        self.due_ns = now_ns + min(RETRY_NS, self.terms.lease_ns // 4)
        if now_ns < self._ends_ns or self.mode is Mode.JOINING:
            return
        alone = not self.terms.fail_closed and self.share and now_ns - self._heard_ns < self.terms.share_ns
        # what 429s have cut meanwhile grows back by one place at a time
        most = (self.gate.places or 0) + 1 if self.mode is Mode.ALONE else self.share
        self.mode = Mode.ALONE if alone else Mode.CLOSED
        places = min(self.share, most) if alone else 0
        self._use(places)
        if self.adaptive is not None and alone:
            self.adaptive.alone(self._size / 1000, self.share, places)

    def _use(self, places: int) -> None:
        self.gate.resize(places)
        if self.adaptive is not None:
            self.adaptive.told(self._size / 1000 or float(self.total), places)


class Crew:
    """All limits of places that this process shares, kept supplied by one task."""

    def __init__(self, store: PlaceStore, terms: Terms, clock: Clock) -> None:
        self._store = store
        self._terms = terms
        self._clock = clock
        self._supply = Supply(self._turn, clock)
        self.berths: dict[str, Berth] = {}

    @property
    def mode(self) -> Mode:
        """The worst of any limit."""
        order = list(Mode)
        return max((each.mode for each in self.berths.values()), key=order.index, default=Mode.JOINING)

    def join(self, limit: str, gate: Gate, total: int, adaptive: AdaptiveLimit | None = None) -> None:
        """Let this gate take part in the fleet's limit of that name, which has, or begins with, `total` places."""
        known = self.berths.get(limit)
        if known is not None and known.gate is gate:
            known.total = total if adaptive is None else known.total
            known.due_ns = 0
        else:
            berth = self.berths[limit] = Berth(limit, gate, total, self._terms, adaptive)
            berth.wake = self._call
        self._supply.call()

    def keep(self, limits: AbstractSet[str]) -> None:
        """Of limits that are configured, only these are: the leases of others end by themselves."""
        for limit in [each for each, berth in self.berths.items() if berth.adaptive is None and each not in limits]:
            del self.berths[limit]

    async def close(self) -> None:
        """Give everything back, so that others need not wait for the leases' end."""
        await self._supply.stop()
        now = self._clock.monotonic_ns()
        asks = [ask for each in self.berths.values() if (ask := each.ask(now, leaving=True)) is not None]
        if asks and self.mode is Mode.SHARED:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._store.exchange(asks)
            except (StoreAwayError, TimeoutError):
                pass  # the leases end by themselves

    def _call(self, berth: Berth) -> None:
        """Somebody waits there, be it one that nobody used for long."""
        self.berths.setdefault(berth.limit, berth)
        self._supply.call()

    async def _turn(self, now: int) -> int:
        due = [each for each in self.berths.values() if each.due_ns <= now]
        if due:
            await self._renew(due, now)
        return min((each.due_ns for each in self.berths.values()), default=now + IDLE_NS)

    async def _renew(self, due: list[Berth], now: int) -> None:
        asked: list[tuple[Berth, PlaceAsk]] = []
        for each in due:
            ask = each.ask(now)
            if ask is not None:
                asked.append((each, ask))
            else:
                del self.berths[each.limit]  # not used for long, and given back: it is here again when somebody waits
        if not asked:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                answers = await self._store.exchange([ask for _, ask in asked])
        except (StoreAwayError, TimeoutError):
            now = self._clock.monotonic_ns()
            for each, _ in asked:
                each.failed(now)
        else:
            now = self._clock.monotonic_ns()
            for (each, ask), answer in zip(asked, answers, strict=True):
                each.heard(ask, answer, now)


def _nobody(_berth: Berth) -> None:
    """There is no crew yet that could be woken."""
