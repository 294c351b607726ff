"""The fleet's places in this process's memory: the law of `limits.places`. The script for Redis is held against it."""

from __future__ import annotations

from collections.abc import Callable

from ai_client.limits.lease import HUNGRY_MS, RECOVERY_MS, SWEEP_MS
from ai_client.limits.places import PlaceAnswer, PlaceAsk


class _Limit:
    """Everything that is kept of one limit."""

    def __init__(self, now: int) -> None:
        self.born = self.swept = now
        self.reserved = 0
        self.size = 0
        self.held: dict[str, int] = {}
        self.until: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.weights: dict[str, int] = {}
        self.shares: dict[str, int] = {}
        self.hungry: dict[str, int] = {}

    def forget(self, member: str) -> None:
        if member not in self.until:
            self.reserved -= self.shares[member]
        for kept in (self.held, self.until, self.last, self.weights, self.shares, self.hungry):
            kept.pop(member, None)


class MemoryPlaces:
    """See `limits.places.PlaceStore`. `now_ms` is the store's own clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._limits: dict[str, _Limit] = {}

    async def exchange(self, asks: list[PlaceAsk]) -> list[PlaceAnswer]:
        """All at once."""
        return [self.answer(ask) for ask in asks]

    def wipe(self) -> None:
        """Forget everything."""
        self._limits.clear()

    def lent(self, limit: str) -> int:
        """Places that count as taken."""
        known = self._limits.get(limit)
        return 0 if known is None else sum(known.held.values())

    def answer(self, ask: PlaceAsk) -> PlaceAnswer:
        """One step of the law."""
        now, me = self._now_ms(), ask.member
        limit = self._limits.get(ask.limit)
        if limit is None:
            limit = self._limits[ask.limit] = _Limit(now)
        for member in [each for each, until in limit.until.items() if until <= now]:
            limit.held.pop(member, None)
            del limit.until[member]
            limit.reserved += limit.shares[member]
        if me not in limit.until:
            limit.reserved -= limit.shares.get(me, 0)
        limit.held.pop(me, None)
        limit.until[me] = now + ask.lease_ms
        limit.last[me] = now
        _sweep(limit, now, ask.share_ms)
        total = ask.total
        if ask.most:
            size = (limit.size or ask.size or total * 1000) + ask.delta
            limit.size = min(max(size, ask.least * 1000), ask.most * 1000)
            total = limit.size // 1000
        if ask.leaving:
            limit.forget(me)
            return PlaceAnswer(0, 0, len(limit.last), 0, limit.size)
        recovering = now < limit.born + RECOVERY_MS
        limit.weights[me] = ask.weight
        wanted = ask.share if recovering else total * ask.weight // sum(limit.weights.values())
        others = sum(limit.shares.values()) - limit.shares.get(me, 0)
        limit.shares[me] = max(0, min(wanted, total - others))
        rivals = [each for each in limit.hungry if each != me]
        places, part = _places(limit, ask, total, now, rivals, recovering=recovering)
        counted = max(places, ask.using)
        if counted:
            limit.held[me] = counted
        if places >= ask.want:
            limit.hungry.pop(me, None)
        elif places > part or me not in limit.hungry:
            limit.hungry[me] = now  # it had more than its part: to the end of the line
        return PlaceAnswer(places, limit.shares[me], len(limit.last), len(rivals), limit.size)


def _sweep(limit: _Limit, now: int, share_ms: int) -> None:
    """Now and then: who has been silent for too long, and who wants nothing any more?"""
    if 0 <= now - limit.swept < SWEEP_MS:
        return
    limit.swept = now
    for member in [each for each, last in limit.last.items() if last < now - share_ms]:
        limit.forget(member)
    for member in [each for each in limit.hungry if limit.last[each] < now - HUNGRY_MS]:
        del limit.hungry[member]


def _places(
    limit: _Limit, ask: PlaceAsk, total: int, now: int, rivals: list[str], *, recovering: bool
) -> tuple[int, int]:
    """How many the member gets, what it has being free to be given again; and how many are its part, rounded down."""
    me = ask.member
    room = total - sum(limit.held.values()) - limit.reserved
    if recovering:
        return max(0, min(ask.held, ask.want, room)), 0
    if not rivals:
        return max(0, min(ask.want, room)), 0
    content = sum(places for member, places in limit.held.items() if member not in limit.hungry)
    pot = max(0, total - limit.reserved - content) * ask.weight
    weight = ask.weight + sum(limit.weights[each] for each in rivals)
    since = limit.hungry.get(me, now)
    older = sum(limit.hungry[each] < since for each in rivals)
    part = pot // weight
    return max(0, min(ask.want, room, max(part, min(-(-pot // weight), room - older)))), part
