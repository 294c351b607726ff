"""The order of those who wait: by priority, outweighed in time by waiting; fairly between apps. No clock, no I/O.

Those of one priority are a rank. Within it, start-time fair queueing (P. Goyal, H. Vin and H. Cheng, SIGCOMM 1996):
each has a start, and the smallest goes first. That is the moment at which the app's calls before will have had their
turn, waiting ones or not, but at the earliest a credit of some calls before the start of the one served last: so much
an app that had less than its part may have at once. Starts are counted in what is spent, by weight: how fast the rank
is served does not matter, be it by a fiftieth of a limit or by places.

Between ranks, time counts: each has a moment since which it has waited for its turn, and the earliest `since -
priority × ageing` goes first. When it has had one, its moment is now if nobody else waits. Otherwise it moves on by
what a turn takes of late, as many times as it would be passed over if all apps shared, and to where the rank is as
urgent as the most urgent one. So nobody waits for ever, but whom waiting has lifted is an equal, and no more.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from itertools import islice

from ai_client.limits.base import NOTHING, Caller, Need

_CREDIT = 4  # calls that an app may have at once, after it had less than its part
_COUNTED = 256  # those before a newcomer are added up one by one to here; beyond, by their average
_FINE = 1_000_000  # of a start: so that small costs can be divided by large weights
_LEVELS = 10  # of priority, at most
_TURNS = 16  # over which it is averaged how long one takes


class Waiter:
    """One attempt in the line."""

    __slots__ = ("deadline_ns", "flow", "future", "need", "order", "spacing", "start")

    def __init__(self, flow: _Flow, order: int, need: Need, spacing: int, future: asyncio.Future[None]) -> None:
        self.flow = flow
        self.start = flow.next_start
        self.order = order
        self.need = need
        self.spacing = spacing
        self.future = future
        self.deadline_ns = 0

    def __lt__(self, other: Waiter) -> bool:
        return (self.start, self.order) < (other.start, other.order)


class _Flow:
    """An app's calls of one priority, while any of that priority wait: how many do, and when they will have had their
    turn.
    """

    __slots__ = ("caller", "count", "finish", "last", "rank")

    def __init__(self, rank: _Rank, caller: Caller) -> None:
        self.rank = rank
        self.caller = caller
        self.count = 0
        self.finish = self.last = rank.served - 1  # who is new has had less than anybody

    @property
    def next_start(self) -> int:
        return max(self.rank.served - self.rank.credit, self.finish, self.last)


class _Rank:
    """Those of one priority, in order."""

    __slots__ = ("credit", "flows", "priority", "served", "since", "total", "waiters", "weight")

    def __init__(self, priority: int, now_ns: int) -> None:
        self.priority = priority
        self.since = now_ns
        self.served = 0  # the start of the one served last; when none is left, where the app is that had most
        self.credit = 0  # how far an app's start may be behind that
        self.waiters: list[Waiter] = []
        self.total = NOTHING
        self.weight = 0  # of the apps that wait
        self.flows: dict[tuple[str, int], _Flow] = {}

    def first(self, count: int) -> Need:
        """What the first so many of them need together."""
        if count >= len(self.waiters):
            return self.total
        if count > _COUNTED:
            a, b, c, d, e = (units * count // len(self.waiters) for units in self.total)
            return a, b, c, d, e
        total = NOTHING
        for waiter in islice(self.waiters, count):
            total = plus(total, waiter.need)
        return total


class Line:
    """Those who wait, in order."""

    __slots__ = ("_order", "_passed_ns", "_ranks", "_rested", "_seen_ns", "ageing_ns")

    def __init__(self, ageing_ns: int) -> None:
        """`ageing_ns` is how much waiting outweighs one level of priority; at 0 there is one rank for all."""
        self.ageing_ns = ageing_ns
        self._ranks: dict[int, _Rank] = {}  # where somebody waits
        self._rested: dict[int, _Rank] = {}  # where somebody did
        self._order = 0
        self._seen_ns = 0  # when somebody was served last
        self._passed_ns = 0  # of the time until then, what no turn was said to take yet

    def __len__(self) -> int:
        return sum(len(rank.waiters) for rank in self._ranks.values())

    @property
    def head(self) -> Waiter:
        """Who is next. There must be somebody."""
        return self._next.waiters[0]

    @property
    def light(self) -> bool:
        """Has the app of who is next had less than its part?"""
        head = self.head
        return head.start < head.flow.rank.served

    @property
    def callers(self) -> list[tuple[Caller, int]]:
        """Whose calls wait, at which priority, and how many of them."""
        flows = (flow for rank in self._ranks.values() for flow in rank.flows.values())
        return [(flow.caller, flow.count) for flow in flows if flow.count]

    def urgent(self, now_ns: int) -> tuple[int, int, Need]:
        """The highest priority that waits, the level to which waiting has brought the next one, if that is higher; and
        what all of that priority need, with the next one. Without ageing nobody goes before another: 0 and 0.
        """
        top = self._ranks[max(self._ranks)]
        if not self.ageing_ns:
            return 0, 0, top.total
        rank = self._next
        level = max(top.priority, rank.priority + (now_ns - rank.since) // self.ageing_ns)
        return top.priority, level, top.total if rank is top else plus(top.total, rank.waiters[0].need)

    def precedes(self, priority: int, now_ns: int) -> bool:
        """Would one of this priority, arriving now, surely go before all of them?"""
        mine = now_ns - priority * self.ageing_ns
        return all(mine < self._due(rank)[0] for rank in self._ranks.values()) and priority not in self._ranks

    def before(self, caller: Caller, now_ns: int) -> tuple[int, Need, bool]:
        """How many would go before one who arrives now, what they need together, and whether all of them, and he
        himself, would be `light`.
        """
        priority = self._priority(caller)
        rank = self._ranks.get(priority) or self._rested.get(priority) or _Rank(priority, now_ns)
        flow = rank.flows.get((caller.app, caller.priority)) or _Flow(rank, caller)
        own = bisect_right(rank.waiters, flow.next_start, key=lambda waiter: waiter.start)
        place, total, light = own, rank.first(own), flow.next_start < rank.served
        for other in self._ranks.values():
            if other is not rank and self._due(other) < self._due(rank):
                # those whom waiting has lifted take turns with the rank
                count = len(other.waiters) if other.priority > priority else min(len(other.waiters), own + 1)
                place, total, light = place + count, plus(total, other.first(count)), False
        return place, total, light

    def join(self, caller: Caller, need: Need, cost_ns: int, now_ns: int, future: asyncio.Future[None]) -> Waiter:
        """Take a place. `cost_ns` is in what time the whole limit yields `need`."""
        if not self._ranks:
            self._seen_ns, self._passed_ns = now_ns, 0
        priority = self._priority(caller)
        rank = self._ranks.get(priority)
        if rank is None:
            rank = self._rested.pop(priority) if priority in self._rested else _Rank(priority, now_ns)
            rank.since = now_ns
            self._ranks[priority] = rank
        key = (caller.app, caller.priority)
        flow = rank.flows.get(key)
        if flow is None:
            flow = rank.flows[key] = _Flow(rank, caller)
        if not flow.count:
            flow.caller = caller
            rank.weight += caller.weight
        self._order += 1
        waiter = Waiter(flow, self._order, need, max(cost_ns, 1) * _FINE // flow.caller.weight, future)
        flow.count += 1
        flow.last = waiter.start
        flow.finish = waiter.start + waiter.spacing
        insort(rank.waiters, waiter)
        rank.total = plus(rank.total, need)
        return waiter

    def serve(self, waiter: Waiter, now_ns: int, part_ns: int = 0) -> None:
        """It is this one's turn: out of the line. `part_ns` is in what time it should have come where nobody else waits
        here, but others elsewhere have turns as well; 0 where there are none.
        """
        rank = waiter.flow.rank
        rank.served = max(rank.served, waiter.start)
        rank.credit = _CREDIT * waiter.spacing
        passed = self._passed_ns + now_ns - self._seen_ns
        turn = passed // _TURNS
        self._seen_ns, self._passed_ns = now_ns, passed - turn
        if len(self._ranks) > 1:
            levels = max(self._ranks) - rank.priority
            turn = turn * sum(each.weight for each in self._ranks.values()) // rank.weight
        else:
            levels, turn = (_LEVELS, part_ns) if part_ns else (0, 0)
        rank.since = min(now_ns, max(rank.since + turn, now_ns - levels * self.ageing_ns))
        self._remove(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Give a place up."""
        waiter.flow.finish -= waiter.spacing
        self._remove(waiter)

    def _remove(self, waiter: Waiter) -> None:
        flow = waiter.flow
        rank = flow.rank
        del rank.waiters[bisect_left(rank.waiters, waiter)]
        rank.total = minus(rank.total, waiter.need)
        flow.count -= 1
        if not flow.count:
            rank.weight -= flow.caller.weight
        if not rank.waiters:
            # as all had what they wanted, all are even; but for who had less than his part
            rank.served = max(rank.served, *(each.finish for each in rank.flows.values()))
            self._rested[rank.priority] = self._ranks.pop(rank.priority)

    def _priority(self, caller: Caller) -> int:
        return caller.priority if self.ageing_ns else 0

    def _due(self, rank: _Rank) -> tuple[int, int]:
        """The smallest is next."""
        return rank.since - rank.priority * self.ageing_ns, -rank.priority

    @property
    def _next(self) -> _Rank:
        return min(self._ranks.values(), key=self._due)


def plus(a: Need, b: Need) -> Need:
    """Sum by kind."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4])


def minus(a: Need, b: Need) -> Need:
    """Difference by kind."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4])
