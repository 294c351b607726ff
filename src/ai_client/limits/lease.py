"""What a member and the fleet's store say to each other, and what every store owes. Times are milliseconds.

The law of a store, in one step that nothing interrupts (docs/why/quota.md derives what follows from it):

1. A limit that the store does not know begins with nothing to give, and for `RECOVERY_MS` refills only in the
   proportion of the shares that members report: what was spent before is not known.
2. A member that reports a later step than the store's own proves that the store lost some: it gives nothing until it
   has refilled from nothing.
3. Every rate refills by the time that passed, in integers, to its burst; members unseen for `UNSEEN_MS` keep their
   share of it to themselves until `share_ms`. A clock that steps back refills nothing.
4. What is returned is added, debts are taken. No level stays above what the provider says is left.
5. Who asks alone gets what there is. Among several, each is entitled to its part of every rate: whoever got more than
   that of any waits until its entitlement has caught up, and what the one furthest behind is saving up for is left to
   it. What is returned of a rate counts as not got.
6. Whose next call is `light`, of an app that had less than its part at that member, may have that call, and no more,
   up to `AHEAD_TURNS` of its turns early. For `YIELD_MS` after one asked, others leave a quarter of every level.
7. Who was short makes the less urgent wait for `YIELD_MS`, unless the level is three quarters full: those whose `level`
   is below its `rank`.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

WHOLE: Final = 1_000_000
"""A share of the whole limit is counted in millionths."""

UNSEEN_MS: Final = 2_000
"""A member that was silent for so long may be spending its share: the store keeps it for it."""

SWEEP_MS: Final = 250
"""How often a store looks for the silent ones."""

RECOVERY_MS: Final = 2_000
"""How long a new store waits for members to tell what they hold: longer than any of them waits before it tries."""

UNTOLD: Final = -1
"""The provider did not say how much is left."""

YIELD_MS: Final = 1_000
"""For so long after a member was short, those whose calls are less urgent take nothing."""

AHEAD_TURNS: Final = 4
"""So many of its turns a member may have early for the calls of an app that had less than its part."""

HUNGRY_MS: Final = 1_500
LAG_MS: Final = 3_000
SAVING_MS: Final = 1_000


class Part(msgspec.Struct, frozen=True, gc=False):
    """One rate of a limit: what it is, and what is wanted and returned of it.

    `amount` units each `period`, at most `burst` at once. `want` is all that would be of use, `least` what is of any
    use at all; `back` is returned, or owed when negative. `most` is what is left by the provider's own word.
    """

    amount: int
    period: int
    burst: int
    want: int = 0
    least: int = 0
    back: int = 0
    most: int = UNTOLD


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A member's word on one limit. `step` and `share` are the last that it heard; `pauses` are news, by target.

    `rank` is the highest priority that waits there, `level` the one that the next in line has reached by waiting; both
    are 0 where priorities mean nothing. `light`: the next in line is of an app that has had less than its part there.
    """

    limit: str
    member: str
    parts: tuple[Part, ...]
    weight: int = 1
    step: int = 0
    share: int = 0
    leaving: bool = False
    share_ms: int = 3_600_000
    pauses: tuple[tuple[str, int], ...] = ()
    rank: int = 0
    level: int = 0
    light: bool = False


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The store's word. `granted` is for each part. `crowd` is by how many the limit is shared, in millionths, oneself
    included; `retry` is when asking again is worth it, 0 when all was granted. `pauses` are all that last.
    """

    granted: tuple[int, ...]
    step: int
    share: int
    members: int
    crowd: int
    retry: int
    pauses: tuple[tuple[str, int], ...] = ()


class StoreAwayError(Exception):
    """The store did not answer. What was asked may have happened all the same."""


class LeaseStore(Protocol):
    """Where a fleet keeps its limits."""

    async def exchange(self, asks: list[Ask]) -> list[Answer]:
        """All at once, each on its own limit. Raises `StoreAwayError`."""

    async def tell(self, provider: str, words: bytes, ms: int) -> None:
        """Keep what a provider said of its limits, for so long. Raises `StoreAwayError`."""

    async def told(self, provider: str) -> bytes | None:
        """What was told of a provider last, None when nothing is kept. Raises `StoreAwayError`."""

    async def close(self) -> None:
        """Let go of it."""
