"""The one place where attempts are admitted: meters for what is counted, places for what is under way, and a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from ai_client.clock import Clock
from ai_client.errors import RateLimitedError
from ai_client.limits.base import MINUTE_NS, NOTHING, TOKENS, Caller, Kind, Need, Queued, Rate, Settings
from ai_client.limits.departures import Departures
from ai_client.limits.line import Line, Waiter
from ai_client.limits.stays import Stay, Stays


class Meter(Protocol):
    """Units of one kind: a bucket of this process, or what the fleet lent it."""

    def try_take(self, units: int, now_ns: int) -> bool:
        """Take `units` if they may be taken now."""

    def wait_ns(self, units: int, now_ns: int) -> int:
        """Nanoseconds until `units` may be taken; 0 when they may be now; -1 when somebody else will tell."""

    def wait_behind_ns(self, units: int, ahead: int, now_ns: int) -> int:
        """Nanoseconds to expect for one whom takers of `ahead` units go before."""

    def take(self, units: int) -> None:
        """Take `units`, be they there or not; negative units are given back."""

    def cost_ns(self, units: int) -> int:
        """In what time the whole limit yields `units`."""

    def part_ns(self, units: int) -> int:
        """In what time this process's part of a fleet's limit yields `units`; 0 where it has all of one."""

    def lower(self, units: int, now_ns: int) -> None:
        """Somebody who knows says that no more than `units` are left."""

    def available(self, now_ns: int) -> int:
        """Whole units that may be taken now; negative when in debt."""


_ANYBODY = Caller()


class Held(msgspec.Struct, gc=False):
    """See `limits.base.Reservation`. `gate` is None once it is released; `stay` is None for one that did not wait."""

    gate: Gate | None
    need: Need
    stay: Stay | None = None
    since_ns: int = 0

    def settle(self, spent: Need) -> None:
        """Give back what was reserved beyond `spent`, or owe what is missing."""
        gate = self.gate
        if gate is not None and spent != self.need:
            gate.correct(self.need, spent)
            self.need = spent

    def release(self, spent: Need | None = None) -> None:
        """The attempt is over, having spent so much."""
        gate, self.gate = self.gate, None
        if gate is not None:
            if spent is not None and spent != self.need:
                gate.correct(self.need, spent)
            if self.stay is not None and spent is not None and spent[TOKENS]:
                gate.answered(self.stay, self.since_ns)
            gate.leave()


class Gate:
    """Rates of any kind and window, and how many at once; see `limits.base.Limiter`.

    The deciding is synchronous; `reserve` awaits only when an attempt has to queue. One timer serves the whole line:
    it is set for the moment when its head can go.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        clock: Clock,
        make: Callable[[Rate, int], Meter],
        on_short: Callable[[], None] | None = None,
    ) -> None:
        """`make(rate, now_ns)` makes a meter; `on_short` hears of it when somebody begins to wait."""
        self._name = name
        self._clock = clock
        self._make = make
        self._on_short = on_short
        self._running = 0
        self._waiting = 0
        self._line = Line(int(settings.ageing * 1e9))
        self._timer: asyncio.TimerHandle | None = None
        self.settings = settings
        self._departures = Departures()
        self._stays = Stays()
        self._lent: int | None = None
        self.on_full: Callable[[], None] | None = None
        self._cap = settings.max_concurrent
        now = clock.monotonic_ns()
        self._meters: tuple[tuple[Kind, Meter], ...] = tuple((each.kind, make(each, now)) for each in settings.rates)

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""
        return self._waiting

    @property
    def running(self) -> int:
        """Attempts admitted and not yet released."""
        return self._running

    @property
    def queued(self) -> tuple[Need, bool, int, int, Need] | None:
        """What the next in line needs, `Line.light`, and what `Line.urgent` says; None when nobody waits, or only
        for a place.
        """
        if not self._waiting or (self._cap and self._running >= self._cap):
            return None
        return self._line.head.need, self._line.light, *self._line.urgent(self._clock.monotonic_ns())

    @property
    def meters(self) -> list[Meter]:
        """One for each of `settings.rates`, in their order."""
        return [meter for _, meter in self._meters]

    def available(self) -> dict[str, int]:
        """What may be spent now, by the name of its rate."""
        now = self._clock.monotonic_ns()
        pairs = zip(self.settings.rates, self._meters, strict=True)
        return {each.name: meter.available(now) for each, (_, meter) in pairs}

    def reconfigure(self, settings: Settings) -> None:
        """Other limits from now on. A meter whose rate is unchanged keeps its level."""
        kept = dict(zip(self.settings.rates, self._meters, strict=True))
        now = self._clock.monotonic_ns()
        self._meters = tuple(kept.get(each) or (each.kind, self._make(each, now)) for each in settings.rates)
        self.settings = settings
        self._bound()
        self._line.ageing_ns = int(settings.ageing * 1e9)
        self.advance()

    def resize(self, places: int) -> None:
        """So many at once from now on, and no more than `max_concurrent`; those under way beyond are waited for."""
        self._lent = places
        cap = self._cap
        self._bound()
        if self._waiting and self._cap > cap:
            self.advance()

    def _bound(self) -> None:
        """None may go at -1, any number at 0."""
        cap = self.settings.max_concurrent
        lent = self._lent
        self._cap = cap if lent is None else min(lent, cap or lent) or -1

    @property
    def places(self) -> int | None:
        """How many may be under way at once; None: any number."""
        return None if not self._cap else max(0, self._cap)

    def try_reserve(self, need: Need, priority: int) -> Held | None:
        """All of `need` now, or None."""
        # this is the way of every call that need not wait: one call a meter, nothing is allocated before it is sure
        if self._cap and self._running >= self._cap:
            return None
        now = self._clock.monotonic_ns()
        if self._waiting and not self._line.precedes(priority, now):
            return None
        for kind, meter in self._meters:
            if not meter.try_take(need[kind], now):
                self._put_back(need, meter)
                return None
        self._running += 1
        return Held(self, need)

    async def reserve(self, need: Need, caller: Caller, deadline_ns: int) -> Held:
        """All of `need`, after waiting if need be."""
        at_once = self.try_reserve(need, caller.priority)
        if at_once is not None:
            return at_once
        now = self._clock.monotonic_ns()
        patience = min(deadline_ns - now, int(self.settings.max_wait * 1e9))
        self._check_patience(need, caller, deadline_ns, patience)
        loop = asyncio.get_running_loop()
        cost = max((meter.cost_ns(need[kind]) for kind, meter in self._meters), default=0)
        waiter = self._line.join(caller, need, cost, now, loop.create_future())
        waiter.deadline_ns = deadline_ns
        self._waiting += 1
        self.advance()
        if self._on_short is not None and not waiter.future.done():
            self._on_short()
        if self.on_full is not None and not waiter.future.done():
            self.on_full()
        late = loop.call_later(max(patience / 1e9, 0.0), _give_up, waiter.future)
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                # admitted in the same turn in which the caller left: hand it all back
                Held(self, need).release((0, 0, 0, 0, 0))
            else:
                self._withdraw(waiter)
            raise
        except TimeoutError:
            self._withdraw(waiter)
            why = "the wait for quota outlasted max_wait, or left too little time for an answer"
            raise self._refusal(self.outlook(need, caller).expected_ns, why) from None
        finally:
            late.cancel()
        return Held(self, need, self._stays.of(caller), self._clock.monotonic_ns())

    def outlook(self, need: Need, caller: Caller) -> Queued:
        """How it would stand with one who began to wait now, as far as the meters, and those who left lately, tell."""
        now = self._clock.monotonic_ns()
        place, ahead, light = self._line.before(caller, now)
        longest = 0
        if self._cap and self._running >= self._cap:
            longest = (place + 1) * self._departures.usual_ns
        for kind, meter in self._meters:
            units = need[kind]
            if light and meter.part_ns(units):
                expected = meter.cost_ns(units + ahead[kind])  # the fleet has no part go before it
            else:
                expected = meter.wait_behind_ns(units, ahead[kind], now)
            longest = max(longest, expected)
        return Queued(place + 1, longest)

    def queues(self) -> dict[int, tuple[int, int]]:
        """By priority: how many wait, and the nanoseconds until all before one more call would have gone; of several
        apps, for the one that would wait longest. A priority of which nobody waits is left out.
        """
        found: dict[int, tuple[int, int]] = {}
        for caller, count in self._line.callers:
            waiting, longest = found.get(caller.priority, (0, 0))
            expected = self.outlook(NOTHING, caller).expected_ns
            found[caller.priority] = (waiting + count, max(longest, expected))
        return found

    def shortage(self, need: Need) -> int:
        """0 where `need` could be reserved now; what the fleet's store would have to lend first counts as there."""
        if self._waiting or (self._cap and self._running >= self._cap):
            return 1 + self._waiting + self.outlook(need, _ANYBODY).expected_ns
        now = self._clock.monotonic_ns()
        longest = 0
        for kind, meter in self._meters:
            wait = meter.wait_ns(need[kind], now)
            if wait > longest:  # noqa: PLR1730  max() costs a call
                longest = wait
        return longest

    def correct(self, reserved: Need, spent: Need) -> None:
        """Spend what is missing, give back what is over."""
        back = False
        for kind, meter in self._meters:
            units = spent[kind] - reserved[kind]
            if units:
                meter.take(units)
                back = back or units < 0
        if back and self._waiting:
            self.advance()

    def lower(self, kind: Kind, units: int) -> None:
        """Of this kind, the provider has no more than `units` left in this minute."""
        now = self._clock.monotonic_ns()
        for each, (_, meter) in zip(self.settings.rates, self._meters, strict=True):
            if each.kind is kind and each.period_ns == MINUTE_NS:
                meter.lower(units, now)

    def answered(self, stay: Stay, since_ns: int) -> None:
        """One that had waited, and was let in at that time, was answered."""
        now = self._clock.monotonic_ns()
        stay.answered(now - since_ns, now)

    def leave(self) -> None:
        """One attempt less at once."""
        self._running -= 1
        if self._waiting:
            self._departures.left(self._clock.monotonic_ns())
            self.advance()

    def advance(self) -> None:
        """Let go whoever can, in order; set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            head = self._line.head
            if head.future.done():  # given up, but not yet back to say so
                self._line.leave(head)
                self._left(head)
                continue
            if self._waiting > 1 and self._in_vain(head.flow.caller, head.deadline_ns):
                _give_up(head.future)
                continue
            wait = self._wait_ns(head.need)
            if wait > 0:
                self._timer = head.future.get_loop().call_later(wait / 1e9, self.advance)
            if wait:
                return
            self._running += 1
            self._line.serve(head, self._clock.monotonic_ns(), self._part_ns(head.need))
            self._left(head)
            for kind, meter in self._meters:
                meter.take(head.need[kind])
            head.future.set_result(None)

    # ---- deciding

    def _wait_ns(self, need: Need) -> int:
        """Nanoseconds until `need` may go; -1 when that depends on somebody else."""
        if self._cap and self._running >= self._cap:
            return -1
        now = self._clock.monotonic_ns()
        longest = 0
        for kind, meter in self._meters:
            wait = meter.wait_ns(need[kind], now)
            if wait < 0:
                return -1
            longest = max(longest, wait)
        return longest

    def _part_ns(self, need: Need) -> int:
        """In what time `need` should come here, where the others of a fleet have their parts as well; 0 where it is
        not they who are waited for.
        """
        if self._cap and self._running >= self._cap:
            return 0
        return max((meter.part_ns(need[kind]) for kind, meter in self._meters), default=0)

    def _put_back(self, need: Need, short: Meter) -> None:
        """All or nothing: what was taken before the meter that is short."""
        for kind, meter in self._meters:
            if meter is short:
                return
            meter.take(-need[kind])

    def _left(self, waiter: Waiter) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._departures.pause()
        waiter.order = 0  # out of the line

    def _withdraw(self, waiter: Waiter) -> None:
        if waiter.order:
            self._line.leave(waiter)
            self._left(waiter)
        self.advance()

    # ---- refusing

    def _in_vain(self, caller: Caller, deadline_ns: int, wait_ns: int = 0) -> bool:
        """Would one that is let in after `wait_ns` spend quota and have no answer? Near its deadline, a call gives half
        of what is left to the telling of a failure.
        """
        now, stay = self._clock.monotonic_ns(), self._stays.of(caller)
        vain = deadline_ns - wait_ns - now < 2 * stay.usual_ns(now)
        if vain:
            stay.doubted()
        return vain

    def _check_patience(self, need: Need, caller: Caller, deadline_ns: int, patience_ns: int) -> None:
        expected = self.outlook(need, caller).expected_ns
        if self._waiting >= self.settings.max_queue:
            raise self._refusal(expected, f"{self._waiting} calls already wait for quota (max_queue)")
        if expected > patience_ns:
            raise self._refusal(expected, f"the wait for quota would be {expected / 1e9:.1f} s")
        if self._waiting and self._in_vain(caller, deadline_ns, expected):
            why = f"the wait for quota would be {expected / 1e9:.1f} s, and leave too little time for an answer"
            raise self._refusal(expected, why)

    def _refusal(self, expected_ns: int, why: str) -> RateLimitedError:
        seconds = max(expected_ns / 1e9, 0.001)
        return RateLimitedError(
            f"the quota of {self._name} is short: {why}; try again in {seconds:.1f} s, or raise its limits",
            retry_after=seconds,
        )


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
