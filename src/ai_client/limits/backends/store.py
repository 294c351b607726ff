"""The fleet's store in this process's memory: the law of `limits.lease` in plain integers.

What the script for Redis is held against, and what a fleet is simulated with.
"""

from __future__ import annotations

from collections.abc import Callable

from ai_client.limits.lease import (
    AHEAD_TURNS,
    HUNGRY_MS,
    LAG_MS,
    RECOVERY_MS,
    SAVING_MS,
    SWEEP_MS,
    UNSEEN_MS,
    UNTOLD,
    WHOLE,
    YIELD_MS,
    Answer,
    Ask,
    Part,
)


class _Level:
    """One rate's bucket: whole units, and the part of a unit that has grown, in units of 1/period."""

    __slots__ = ("amount", "burst", "level", "period", "rest")

    def __init__(self, part: Part) -> None:
        self.level = self.rest = 0
        self.amount, self.period, self.burst = part.amount, part.period, part.burst

    def configure(self, part: Part) -> None:
        if (self.amount, self.period, self.burst) != (part.amount, part.period, part.burst):
            self.amount, self.period, self.burst, self.rest = part.amount, part.period, part.burst, 0
            self.level = min(self.level, self.burst)

    def refill(self, elapsed: int) -> None:
        each, more = divmod(self.amount, self.period)
        elapsed = min(elapsed, self.period)
        grown, self.rest = divmod(more * elapsed + self.rest, self.period)
        self.add(each * elapsed + grown)

    def add(self, units: int) -> None:
        self.level += units
        if self.level >= self.burst:
            self.level, self.rest = self.burst, 0

    def cost(self, units: int) -> int:
        """In how many milliseconds so many units grow."""
        return units * self.period // self.amount


class _Limit:
    """Everything that is kept of one limit."""

    def __init__(self, ask: Ask, now: int) -> None:
        self.levels = [_Level(part) for part in ask.parts]
        self.born = self.seen = self.swept = now
        self.phase = self.step = self.shares = self.reserved = self.weight = 0
        self.last: dict[str, int] = {}
        self.share: dict[str, int] = {}
        self.weights: dict[str, int] = {}
        self.entitled: dict[str, list[int]] = {}  # by rate, the moment up to which a member has had its part of it
        self.hungry: dict[str, int] = {}
        self.pauses: dict[str, int] = {}
        self.saver = ""
        self.saver_entitled = self.saver_until = self.rank = self.rank_until = self.light_until = 0
        self.saved: tuple[int, ...] = ()

    def forget(self, member: str) -> None:
        self.last.pop(member, None)
        self.shares -= self.share.pop(member, 0)
        self.weight -= self.weights.pop(member, 0)
        self.entitled.pop(member, None)
        self.hungry.pop(member, None)
        if self.saver == member:
            self.saver = ""


class MemoryStore:
    """See `limits.lease.LeaseStore`. `now_ms` is the store's own clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._limits: dict[str, _Limit] = {}
        self._words: dict[str, tuple[int, bytes]] = {}
        self.operations = 0

    async def exchange(self, asks: list[Ask]) -> list[Answer]:
        """All at once."""
        return [self.answer(ask) for ask in asks]

    async def tell(self, provider: str, words: bytes, ms: int) -> None:
        """Keep them for so long."""
        self._words[provider] = (self._now_ms() + ms, words)

    async def told(self, provider: str) -> bytes | None:
        """What is kept."""
        until, words = self._words.get(provider, (0, b""))
        return words if self._now_ms() < until else None

    async def close(self) -> None:
        """Nothing is held."""

    def wipe(self) -> None:
        """Forget everything, as a store does that is restarted without its file."""
        self._limits.clear()
        self._words.clear()

    def answer(self, ask: Ask) -> Answer:
        """One step of the law."""
        self.operations += 1
        now = self._now_ms()
        limit = self._limits.get(ask.limit)
        if limit is None or len(limit.levels) != len(ask.parts):
            limit = self._limits[ask.limit] = _Limit(ask, now)
        for level, part in zip(limit.levels, ask.parts, strict=True):
            level.configure(part)
            if ask.step > limit.step:
                level.level, level.rest = min(level.level, 0), 0
        limit.step = max(limit.step, ask.step) + 1
        recovering = now < limit.born + RECOVERY_MS
        share = _join(limit, ask, now, recovering=recovering)
        _sweep(limit, ask, now)
        _refill(limit, now, limit.shares if recovering else WHOLE - limit.reserved)
        for level, part in zip(limit.levels, ask.parts, strict=True):
            if part.back:
                level.add(part.back)
            if part.most != UNTOLD:
                level.level = min(level.level, part.most)
        if ask.leaving:
            limit.forget(ask.member)
            return Answer((0,) * len(ask.parts), limit.step, 0, len(limit.last), WHOLE, 0, _pauses(limit, ask, now))
        granted, crowd, retry = _grant(limit, ask, now)
        return Answer(granted, limit.step, share, len(limit.last), crowd, retry, _pauses(limit, ask, now))


def _join(limit: _Limit, ask: Ask, now: int, *, recovering: bool) -> int:
    """Note that the member is there, and what share it may spend when the store is away. Returns the share."""
    limit.last[ask.member] = now
    limit.weight += ask.weight - limit.weights.get(ask.member, 0)
    limit.weights[ask.member] = ask.weight
    held = limit.share.get(ask.member, 0)
    wanted = ask.share if recovering else WHOLE * ask.weight // limit.weight
    share = min(wanted, WHOLE - limit.shares + held)
    limit.shares += share - held
    limit.share[ask.member] = share
    return share


def _sweep(limit: _Limit, ask: Ask, now: int) -> None:
    """Now and then: what do the silent ones hold, and who has been silent for too long?"""
    if 0 <= now - limit.swept < SWEEP_MS:
        return
    limit.swept = now
    for member in [each for each, last in limit.last.items() if last < now - ask.share_ms]:
        limit.forget(member)
    limit.reserved = sum(limit.share[each] for each, last in limit.last.items() if last < now - UNSEEN_MS)


def _refill(limit: _Limit, now: int, part: int) -> None:
    elapsed = max(0, now - limit.seen)
    limit.seen = now
    elapsed, limit.phase = divmod(elapsed * part + limit.phase, WHOLE)
    for level in limit.levels:
        level.refill(elapsed)


def _grant(limit: _Limit, ask: Ask, now: int) -> tuple[tuple[int, ...], int, int]:
    """What the member gets, by how many the limit is shared, and when to ask again."""
    me, parts = ask.member, ask.parts
    for member in [each for each, last in limit.hungry.items() if last < now - HUNGRY_MS]:
        del limit.hungry[member]
    others = len(limit.hungry) - (me in limit.hungry)
    # the hungry ones' weights are taken for those of the average other
    rivals = max(1, len(limit.last) - 1) * ask.weight
    crowd = WHOLE + others * (limit.weight - ask.weight) * WHOLE // rivals
    pairs = list(zip(limit.levels, parts, strict=True))
    _uncharge(limit, me, pairs, crowd)
    moments = limit.entitled.get(me) or [now] * len(pairs)
    entitled = max(moments, default=now)
    if not any(part.want for part in parts):
        limit.hungry.pop(me, None)
        return (0,) * len(parts), crowd, 0
    fits = all(level.level >= min(part.least, level.burst) for level, part in pairs)
    ample = all(4 * (level.level - part.least) >= 3 * level.burst for level, part in pairs)
    rank = limit.rank if now < limit.rank_until else 0
    if ask.level < rank and not ample and ask.level:
        limit.hungry.pop(me, None)
        return (0,) * len(parts), crowd, limit.rank_until - now
    due = entitled
    if others and ask.light:
        due -= AHEAD_TURNS * max(level.cost(part.least) for level, part in pairs) * crowd // WHOLE
        limit.light_until = now + YIELD_MS
    if fits and others:
        fits = (due <= now or ample) and not _saved_for_another(limit, ask, due, now, pairs)
    if not fits:
        limit.hungry[me] = now
        _be_short(limit, ask, rank, now)
        return (0,) * len(parts), crowd, max(1, due - now, _save_up(limit, me, due, now, pairs))
    early = due <= now < entitled and not ample
    granted = tuple(part.least for part in parts) if early else _portion(pairs, crowd)
    for (level, _), units in zip(pairs, granted, strict=True):
        level.level -= units
    limit.entitled[me] = moments = [
        max(moment, now - LAG_MS) + level.cost(units) * crowd // WHOLE if others else now
        for (level, _), units, moment in zip(pairs, granted, moments, strict=True)
    ]
    if limit.saver == me:
        limit.saver = ""
    if all(units >= part.want for part, units in zip(parts, granted, strict=True)):
        limit.hungry.pop(me, None)
        return granted, crowd, 0
    limit.hungry[me] = now
    _be_short(limit, ask, rank, now)
    return granted, crowd, max(1, max(moments) - now)


def _uncharge(limit: _Limit, me: str, pairs: list[tuple[_Level, Part]], crowd: int) -> None:
    """What came back was of no use to the member: of its rate, and of no other, it does not count as its turn."""
    moments = limit.entitled.get(me)
    if moments is not None:
        for place, (level, part) in enumerate(pairs):
            moments[place] -= level.cost(max(0, part.back)) * crowd // WHOLE


def _be_short(limit: _Limit, ask: Ask, rank: int, now: int) -> None:
    """The less urgent are to wait for a while."""
    if ask.rank >= rank:
        limit.rank, limit.rank_until = ask.rank, now + YIELD_MS


def _save_up(limit: _Limit, me: str, due: int, now: int, pairs: list[tuple[_Level, Part]]) -> int:
    """Have others leave it what its next call needs, if it is the one furthest behind; when will that have grown?"""
    if not limit.saver or now >= limit.saver_until or due < limit.saver_entitled or limit.saver == me:
        limit.saver, limit.saver_entitled, limit.saver_until = me, due, now + SAVING_MS
        limit.saved = tuple(min(part.least, level.burst) for level, part in pairs)
    return max(level.cost(min(part.least, level.burst) - level.level) + 1 for level, part in pairs)


def _saved_for_another(limit: _Limit, ask: Ask, due: int, now: int, pairs: list[tuple[_Level, Part]]) -> bool:
    """Would what is left be too little for the one furthest behind, who saves up for something large, or less than the
    quarter that is kept for light calls? A call so large that it needs that quarter itself may have it.
    """
    if (
        not ask.light
        and now < limit.light_until
        and any(level.level - part.least < min(-(-level.burst // 4), level.burst - part.least) for level, part in pairs)
    ):
        return True
    if limit.saver in ("", ask.member) or now >= limit.saver_until or limit.saver_entitled >= due:
        return False
    return any(level.level - part.least < saved for (level, part), saved in zip(pairs, limit.saved, strict=True))


def _portion(pairs: list[tuple[_Level, Part]], crowd: int) -> tuple[int, ...]:
    """What is of least use, and of the rest the same part of every kind: as much as the scarcest allows."""
    over, under = 1, 1  # that part, as a fraction
    for level, part in pairs:
        more = part.want - part.least
        room = max(0, level.level - part.least) * WHOLE // crowd
        if more > 0 and room * under < more * over:
            over, under = room, more
    return tuple(part.least + max(0, part.want - part.least) * over // under for _, part in pairs)


def _pauses(limit: _Limit, ask: Ask, now: int) -> tuple[tuple[str, int], ...]:
    for target, ms in ask.pauses:
        limit.pauses[target] = max(limit.pauses.get(target, 0), now + ms)
    for target in [each for each, until in limit.pauses.items() if until <= now]:
        del limit.pauses[target]
    return tuple(sorted((target, until - now) for target, until in limit.pauses.items()))
