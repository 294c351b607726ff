"""How many calls a whole fleet has under way at once: what a member and the store say to each other. Milliseconds.

The law of a store, in one step that nothing interrupts (docs/why/concurrency.md says what follows from it):

1. Places are lent until `lease_ms` after the member was last heard of. One that dies gives them back by that.
2. From that moment on such a member may be using its share: the store keeps it for it, for `share_ms`.
3. Who wants alone gets what is free. Among several that want more than they have, each gets its part by weight of what
   the others leave; what is over, and what is less than a place each, goes to whoever has waited longest.
4. Calls under way count, whatever their member is lent: it begins no other before it is below that.
5. The number of places may be the fleet's to find out: then it begins with `total`, and each member's `delta` is added
   to it, within `least` and `most`.
6. A store that does not know a limit lends for `RECOVERY_MS` no more than members say that they hold.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class PlaceAsk(msgspec.Struct, frozen=True, gc=False):
    """A member's word: of `total` places of the limit it wants `want`, and has `using` calls under way.

    `held`, `share` and `size` are the last that it heard, `held` 0 once its lease has ended. Where `most` is not 0, the
    number of places adapts; `size` and `delta` count thousandths of one.
    """

    limit: str
    member: str
    total: int
    want: int = 0
    using: int = 0
    held: int = 0
    share: int = 0
    weight: int = 1
    lease_ms: int = 2_000
    share_ms: int = 3_600_000
    leaving: bool = False
    least: int = 0
    most: int = 0
    size: int = 0
    delta: int = 0


class PlaceAnswer(msgspec.Struct, frozen=True, gc=False):
    """The store's word: begin calls while fewer than `places` are under way; `share` is for when the store is away.

    `rivals` others want more than they have: who needs places only to be quicker, leaves them. `size` is the number of
    places in thousandths, where it adapts.
    """

    places: int
    share: int
    members: int
    rivals: int = 0
    size: int = 0


class PlaceStore(Protocol):
    """Where a fleet keeps its places."""

    async def exchange(self, asks: list[PlaceAsk]) -> list[PlaceAnswer]:
        """All at once, each on its own limit. Raises `StoreAwayError`."""
