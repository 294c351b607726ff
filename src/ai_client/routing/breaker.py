"""A circuit breaker: a target that fails is left alone for a while, and then asked carefully. Decides; does no I/O.

After Michael Nygard, "Release It!" (2007), with the sliding window, the rate of slow calls and the least number of
calls of Resilience4j's CircuitBreaker.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from typing import Final

import msgspec

from ai_client.routing.window import Window

REFUSED: Final = -1
"""The ticket of a call that is not let through; to settle it changes nothing."""

_CALLS, _FAULTS, _SLOW_CALLS = range(3)
_MOST_DOUBLINGS: Final = 30
_PROBE_NS: Final = 1_000_000_000


class Outcome(enum.Enum):
    """How a call ended, as far as the target is to blame. `NEITHER` is what says nothing about it: not counted."""

    GOOD = "good"
    SLOW = "slow"
    BAD = "bad"
    NEITHER = "neither"


class State(enum.IntEnum):
    """`CLOSED` lets every call through, `OPEN` none, `HALF_OPEN` one at a time. The number is the metric's value."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2

    @property
    def label(self) -> str:
        """In a word, for people."""
        return self.name.lower()


# A member looked up in its enum costs ten times a name of the module's, up to Python 3.11, and calls come by here.
_CLOSED, _HALF_OPEN, _OPEN = State
_GOOD, _SLOW, _BAD, _NEITHER = Outcome


class BreakerSettings(msgspec.Struct, frozen=True):
    """When it opens, and for how long. Rates are of the calls in the window, 0 to 1; times are nanoseconds.

    A call is slow from `slow_ns` on; 0: none is. `open_ns` doubles with each probe that fails, up to `max_open_ns`.
    `probes` good answers in a row close it.
    """

    window_ns: int = 30_000_000_000
    min_calls: int = 20
    failure_rate: float = 0.5
    slow_rate: float = 1.0
    slow_ns: int = 0
    open_ns: int = 5_000_000_000
    max_open_ns: int = 60_000_000_000
    probes: int = 2


class Breaker:
    """The circuit of one target.

    `admit` gives a ticket, and each ticket but `REFUSED` has to be handed back by `settle` exactly once, whatever
    became of the call: while it is half open, the one that is out is the only one. A call that began before the state
    changed says nothing about the time after it. `opened` counts how often it did, `refused` the calls.
    """

    __slots__ = (
        "_epoch",
        "_good",
        "_on_change",
        "_probing",
        "_rng",
        "_settings",
        "_trips",
        "_until",
        "_window",
        "opened",
        "refused",
        "state",
    )

    def __init__(
        self, settings: BreakerSettings, rng: random.Random, on_change: Callable[[Breaker], None] | None = None
    ) -> None:
        """`on_change(self)` hears of each new state."""
        self._settings = settings
        self._rng = rng
        self._on_change = on_change
        self._window = Window(settings.window_ns, 3)
        self._epoch = 0
        self._until = 0
        self._trips = 0
        self._good = 0
        self._probing = False
        self.state = _CLOSED
        self.opened = 0
        self.refused = 0

    def admit(self, now_ns: int) -> int:
        """A ticket for one call, or `REFUSED`."""
        if self.state is _CLOSED:
            return self._epoch
        if self.state is _OPEN:
            if now_ns < self._until:
                self.refused += 1
                return REFUSED
            self._good = 0
            self._turn(_HALF_OPEN)
        elif self._probing:
            self.refused += 1
            return REFUSED
        self._probing = True
        return self._epoch

    def settle(self, ticket: int, outcome: Outcome, now_ns: int) -> None:
        """Say how the call with this ticket ended."""
        if ticket != self._epoch:
            return
        if self.state is _CLOSED:
            if outcome is not _NEITHER:
                self._window.add(now_ns, _CALLS)
                if outcome is not _GOOD:
                    self._count_fault(outcome, now_ns)
            return
        self._probing = False
        if outcome is _GOOD:
            self._good += 1
            if self._good >= self._settings.probes:
                self._trips = 0
                self._window.clear()
                self._turn(_CLOSED)
        elif outcome is not _NEITHER:
            self._open(now_ns)

    def retry_after_ns(self, now_ns: int) -> int:
        """In how long a call may be let through again. While a probe is out nobody knows: a second is said."""
        if self.state is _OPEN:
            return max(self._until - now_ns, 0)
        return _PROBE_NS if self._probing else 0

    def begun(self, ticket: int, outcome: Outcome, now_ns: int) -> int:
        """The answer has begun and may take long: a probe is judged by that. Gives the ticket to settle at the end."""
        if ticket != self._epoch or self.state is _CLOSED:
            return ticket
        self.settle(ticket, outcome, now_ns)
        return self._later()

    @property
    def counts(self) -> tuple[int, int, int]:
        """Calls, and of them faults and slow ones, as they stood when the window was last looked at."""
        calls, faults, slow = self._window.sums
        return calls, faults, slow

    def _later(self) -> int:
        return self._epoch if self.state is _CLOSED else REFUSED

    def _count_fault(self, outcome: Outcome, now_ns: int) -> None:
        window = self._window
        window.add(now_ns, _FAULTS if outcome is _BAD else _SLOW_CALLS)
        settings = self._settings
        calls, faults, slow = window.sums
        if calls >= settings.min_calls and (
            faults >= calls * settings.failure_rate or slow >= calls * settings.slow_rate
        ):
            self._open(now_ns)

    def _open(self, now_ns: int) -> None:
        settings = self._settings
        wait = min(settings.open_ns << min(self._trips, _MOST_DOUBLINGS), settings.max_open_ns)
        # spread, or all nodes of a fleet would ask at the same moment
        self._until = now_ns + int(wait * self._rng.uniform(0.75, 1.0))
        self._trips += 1
        self.opened += 1
        self._turn(_OPEN)

    def _turn(self, state: State) -> None:
        self.state = state
        self._epoch += 1
        if self._on_change is not None:
            self._on_change(self)
