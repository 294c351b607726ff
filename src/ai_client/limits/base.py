"""What the pipeline asks of a limiter."""

from __future__ import annotations

import enum
from typing import Final, Protocol

import msgspec

REQUESTS: Final = 0
INPUT: Final = 1
OUTPUT: Final = 2
TOKENS: Final = 3
NANO: Final = 4

Need = tuple[int, int, int, int, int]
"""What an attempt takes of each kind: requests, input tokens, output tokens, tokens of both kinds, nano-dollars."""

NOTHING: Final[Need] = (0, 0, 0, 0, 0)


class Kind(enum.IntEnum):
    """What can be counted; the value is its place in a `Need`."""

    REQUESTS = REQUESTS
    INPUT_TOKENS = INPUT
    OUTPUT_TOKENS = OUTPUT
    TOKENS = TOKENS
    NANO_DOLLARS = NANO


class Rate(msgspec.Struct, frozen=True, gc=False):
    """`amount` of one kind in each `period_ns`, of which a rested bucket holds `burst`. All are at least 1."""

    kind: Kind
    amount: int
    period_ns: int
    burst: int

    @property
    def name(self) -> str:
        """As metrics write it: the kind and, unless it is a minute, the window: `requests`, `nano_dollars_day`."""
        window = _WINDOWS.get(self.period_ns, "")
        return f"{self.kind.name.lower()}{window}"


SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS
_WINDOWS: Final = {SECOND_NS: "_second", MINUTE_NS: "", HOUR_NS: "_hour", DAY_NS: "_day"}


def rate(kind: Kind, amount: int, period_ns: int, burst_seconds: float) -> Rate:
    """A rate whose rested bucket holds what accrues in `burst_seconds`, at least one unit and at most all of it."""
    burst = int(amount * burst_seconds * SECOND_NS / period_ns)
    return Rate(kind, amount, period_ns, min(max(1, burst), amount))


class Settings(msgspec.Struct, frozen=True):
    """Limits of one scope (a provider's key, an app, …). Without rates, and with 0 places, nothing is limited.

    `fleet_concurrent` places are for all members of a fleet together. `max_wait` is in seconds. `ageing` is how many
    seconds of waiting outweigh one level of priority.
    """

    rates: tuple[Rate, ...] = ()
    max_concurrent: int = 0
    max_queue: int = 10_000
    max_wait: float = 60.0
    ageing: float = 6.0
    fleet_concurrent: int = 0


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks: what decides on the order of those who wait.

    `priority` runs from 1 (last) to 10 (first). Apps share by `weight` what is too little for all of them.
    """

    priority: int = 5
    app: str = ""
    weight: int = 1


class Queued(msgspec.Struct, frozen=True, gc=False):
    """How it stands with a call in the queue: its place, from 1, and how long it has to expect."""

    position: int
    expected_ns: int


class Reservation(Protocol):
    """Quota lent to one attempt. Each of its two ends is told once; telling again is harmless."""

    def settle(self, spent: Need) -> None:
        """The attempt spent `spent`: what was reserved beyond is given back, what is missing becomes debt."""

    def release(self, spent: Need | None = None) -> None:
        """The attempt is over: its place among the concurrent ones is free. `spent` settles it as well; None leaves
        what is reserved, for an answer without a count.
        """


class Limiter(Protocol):
    """Admits attempts to one scope: by priority, which waiting outweighs in time; fairly between apps."""

    def try_reserve(self, need: Need, priority: int) -> Reservation | None:
        """All of `need` at once, or None when it has to wait. Never awaits."""

    async def reserve(self, need: Need, caller: Caller, deadline_ns: int) -> Reservation:
        """All of `need`, after waiting if need be.

        Raises `RateLimitedError` at once when the wait would outlast `deadline_ns`, or leave too little of it for an
        answer, or the queue is full.
        """

    def outlook(self, need: Need, caller: Caller) -> Queued:
        """How it would stand with one who began to wait now."""

    def shortage(self, need: Need) -> int:
        """0 where `need` could be reserved now, as far as is known; else about the nanoseconds that it would wait."""

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""

    @property
    def running(self) -> int:
        """Attempts admitted and not yet released."""

    def reconfigure(self, settings: Settings) -> None:
        """Other limits from now on; what was spent stays spent."""
