"""Several keys of one provider as one: whose turn it is, and which of them are out. Decides; does no I/O.

Turns are taken by smooth weighted round robin, as nginx does since 1.3.1: with weights 5, 1 and 1 the order is
a a b a c a a, never five in a row. Calls with one prefix go to one key by weighted rendezvous hashing (D. Thaler and
C. Ravishankar, IEEE/ACM Transactions on Networking 1998; weights after J. Schindelhauer and G. Schomaker, 2005): when a
key is out, only its own calls move.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from ai_client.clock import Clock
from ai_client.model.call import Target

BARRED: Final = 1 << 62
"""A standing from here on: the key is not to be asked, for so many nanoseconds beyond this. Below: so long a wait for
quota; 0: it can take the call now."""

FIRST_REFUSAL_S: Final = 60.0
LONGEST_REFUSAL_S: Final = 3600.0
_MOST_SEATED: Final = 1000


class Member:
    """One key: its name in the pool ("" for the provider's own), its weight, and where it goes.

    `models` maps the names callers use to the provider's; None serves any.
    """

    __slots__ = ("current", "models", "name", "open", "place", "seed", "weight")

    def __init__(self, name: str, weight: int, place: str, models: Mapping[str, str], *, open_: bool = False) -> None:
        """`place` is the base URL; keys of one place share its failures. `open_`: other models pass, too."""
        self.name = name
        self.weight = weight
        self.place = place
        self.models = models
        self.open = open_
        self.current = 0.0
        self.seed = name.encode()


class Seat:
    """A member, for one model."""

    __slots__ = ("member", "target")

    def __init__(self, member: Member, target: Target) -> None:
        self.member = member
        self.target = target


class KeyPool:
    """One provider's keys."""

    __slots__ = ("_members", "_seats", "alone", "sticky_bytes")

    def __init__(self, members: Sequence[Member], rng: random.Random, sticky_bytes: int = 0) -> None:
        """The nodes of a fleet begin at different keys, as `rng` has it."""
        self._members = members
        self.alone = len(members) == 1
        self._seats: dict[str, tuple[Seat, ...]] = {}
        self.sticky_bytes = sticky_bytes
        first = rng.choice(members)
        first.current = 0.5  # less than any weight: it decides between equals, once

    def seats(self, target: Target) -> tuple[Seat, ...]:
        """The members that serve the target's model, in the order of the configuration."""
        found = self._seats.get(target.name)
        if found is None:
            found = tuple(
                Seat(
                    each,
                    Target(
                        target.provider, target.model, each.models.get(target.model, target.upstream_model), each.name
                    ),
                )
                for each in self._members
                if each.open or not target.model or target.model in each.models
            )
            if len(self._seats) < _MOST_SEATED:
                self._seats[target.name] = found
        return found

    def choose(
        self,
        target: Target,
        standing: Callable[[Target], int],
        prefix: bytes = b"",
        tried: Collection[str] = (),
        places: Collection[str] = (),
    ) -> Seat | None:
        """The key for one call: of those that stand best, the one whose turn it is or, given a prefix, that owns it.

        `tried` names targets, `places` base URLs that are out of the question. After a first try nothing that is barred
        is chosen: None then, and where no key is left.
        """
        best: list[Seat] = []
        lowest = -1
        for seat in self.seats(target):
            if seat.target.name in tried or seat.member.place in places:
                continue
            cost = standing(seat.target)
            if cost < lowest or lowest < 0:
                lowest = cost
                best = [seat]
            elif cost == lowest:
                best.append(seat)
        if not best or (tried and lowest >= BARRED):
            return None
        return _owner(best, prefix) if prefix else _next(best)


def _next(seats: list[Seat]) -> Seat:
    total = 0
    chosen = seats[0]
    for seat in seats:
        member = seat.member
        member.current += member.weight
        total += member.weight
        if member.current > chosen.member.current:
            chosen = seat
    chosen.member.current -= total
    return chosen


def _owner(seats: list[Seat], prefix: bytes) -> Seat:
    return max(seats, key=lambda seat: _claim(seat.member, prefix))


def _claim(member: Member, prefix: bytes) -> float:
    """A member's claim to a prefix: the largest wins, in proportion to the weights over many prefixes."""
    drawn = int.from_bytes(blake2b(prefix, digest_size=8, key=member.seed[:64]).digest(), "big")
    return member.weight / -math.log((drawn + 0.5) / 2**64)


OnRefusal = Callable[[str, int, float], None]
"""Hears of a key, or a key's model, that was refused: its name, the status, and for how many seconds it is left out;
0 seconds: it was taken again."""


class Refusals:
    """Keys that the provider refused: left out for a minute, then tried by one call, and for twice as long each time.

    By key, `openai.eu`, or by target, `openai.eu/gpt-4.1`, where only a model was refused. Empty in good times.
    """

    def __init__(self, clock: Clock, on_change: OnRefusal) -> None:
        self._clock = clock
        self._on_change = on_change
        self.until: dict[str, tuple[int, float]] = {}

    def refused(self, name: str, status: int) -> None:
        """Leave it out. One that is out already stays so: others were under way."""
        now = self._clock.monotonic_ns()
        until, seconds = self.until.get(name, (0, FIRST_REFUSAL_S / 2))
        if now < until:
            return
        seconds = min(2 * seconds, LONGEST_REFUSAL_S)
        self.until[name] = (now + int(seconds * 1e9), seconds)
        self._on_change(name, status, seconds)

    def accepted(self, target: Target) -> None:
        """It answered: whatever was said before is over."""
        for name in (target.key, target.name):
            if self.until.pop(name, None) is not None:
                self._on_change(name, 200, 0.0)

    def left_ns(self, target: Target) -> int:
        """For how long the target is still left out; 0: not at all."""
        until = max(self.until.get(name, (0, 0.0))[0] for name in (target.key, target.name))
        return max(0, until - self._clock.monotonic_ns())

    def forget(self) -> None:
        """A reload may have brought new keys: all are tried again."""
        self.until.clear()

    def states(self) -> dict[str, float]:
        """Seconds for which each is still left out."""
        now = self._clock.monotonic_ns()
        return {name: round(max(0, until - now) / 1e9, 1) for name, (until, _) in self.until.items()}
