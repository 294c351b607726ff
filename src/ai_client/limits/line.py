"""The order of those who wait: by priority, outweighed in time by waiting; fairly between apps. No clock, no I/O.

Each waiter has a tag, in nanoseconds, and the smallest goes first: `start - priority × ageing`. `start` is the moment
of arrival where nobody of that priority waits. Otherwise it is the start of the one served last at that priority or,
where the app has others there, the moment at which they will have had their turn if everybody gets his share:
start-time fair queueing (P. Goyal, H. Vin and H. Cheng, SIGCOMM 1996), where an app's rate is its weight among those
who wait at its priority or above. No start lies further back than ten levels' ageing, and tags never change: whoever
waits long enough goes first. One level of priority is worth `ageing`.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice

from ai_client.limits.base import NOTHING, Caller, Need

_COUNTED = 256  # those before a newcomer are added up one by one to here; beyond, by their average
_LOOKED_AT = 1000  # of more who wait, the fleet's store is asked for those first


class Waiter:
    """One attempt in the line."""

    __slots__ = ("flow", "future", "need", "order", "plain", "spacing", "start", "tag")

    def __init__(self, start: int, order: int, flow: _Flow, need: Need, future: asyncio.Future[None]) -> None:
        self.start = start
        self.tag = 0
        self.plain = 0
        self.spacing = 0
        self.order = order
        self.flow = flow
        self.need = need
        self.future = future

    def __lt__(self, other: Waiter) -> bool:
        return (self.tag, self.order) < (other.tag, other.order)


class _Flow:
    """An app's calls of one priority while some are in the line: how many, and when they will have had their turn."""

    __slots__ = ("count", "finish", "key", "last", "weight")

    def __init__(self, key: tuple[str, int], weight: int) -> None:
        self.key = key
        self.count = 0
        self.finish = 0
        self.last = 0
        self.weight = weight


class Line:
    """Those who wait, in order."""

    __slots__ = ("_flows", "_order", "_served", "_sum", "_waiters", "ageing_ns")

    def __init__(self, ageing_ns: int) -> None:
        """`ageing_ns` is how much waiting outweighs one level of priority."""
        self.ageing_ns = ageing_ns
        self._waiters: list[Waiter] = []
        self._sum = NOTHING
        self._flows: dict[tuple[str, int], _Flow] = {}
        self._served: dict[int, int] = {}  # by priority, while somebody of it waits: the start of the one served last
        self._order = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        """In order, the next one first."""
        return iter(self._waiters)

    @property
    def head(self) -> Waiter:
        """Who is next. There must be somebody."""
        return self._waiters[0]

    @property
    def callers(self) -> list[tuple[Caller, int]]:
        """Whose calls wait, at which priority, and how many of them."""
        return [(Caller(flow.key[1], flow.key[0], flow.weight), flow.count) for flow in self._flows.values()]

    @property
    def total(self) -> Need:
        """What all of them need together."""
        return self._sum

    def urgent(self, now_ns: int) -> tuple[int, int, Need]:
        """The highest priority that waits, the level to which waiting has brought the next one, if that is higher; and
        what all of that priority need, with the next one. Without ageing nobody goes before another: 0 and 0.
        """
        ageing = self.ageing_ns
        if not ageing:
            return 0, 0, self._sum
        rank = max(priority for _, priority in self._flows)
        head = self._waiters[0]
        level = max(rank, (now_ns - head.tag) // ageing)
        if all(priority == rank for _, priority in self._flows):
            return rank, level, self._sum
        total = head.need if head.flow.key[1] < rank else NOTHING
        for waiter in islice(self._waiters, _LOOKED_AT):
            if waiter.flow.key[1] == rank:
                total = plus(total, waiter.need)
        return rank, level, total

    def precedes(self, priority: int, now_ns: int) -> bool:
        """Would one of this priority, arriving now, surely go before all of them?"""
        return not self._waiters or now_ns - priority * self.ageing_ns < self._waiters[0].plain

    def before(self, caller: Caller, now_ns: int) -> tuple[int, Need]:
        """How many would go before one who arrives now, and what they need together."""
        tag = self._start(caller, now_ns) - caller.priority * self.ageing_ns
        place = bisect_left(self._waiters, tag + 1, key=lambda waiter: waiter.tag)
        count = len(self._waiters)
        if place == count:
            return place, self._sum
        if place <= _COUNTED:
            total = NOTHING
            for waiter in islice(self._waiters, place):
                total = plus(total, waiter.need)
            return place, total
        a, b, c, d, e = self._sum
        return place, (
            a * place // count,
            b * place // count,
            c * place // count,
            d * place // count,
            e * place // count,
        )

    def join(self, caller: Caller, need: Need, cost_ns: int, now_ns: int, future: asyncio.Future[None]) -> Waiter:
        """Take a place. `cost_ns` is in what time the whole limit yields `need`."""
        start = self._start(caller, now_ns)
        key = (caller.app, caller.priority)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(key, caller.weight)
            self._served.setdefault(caller.priority, start)
        flow.count += 1
        rivals = sum(each.weight for each in self._flows.values() if each.key[1] >= caller.priority)
        self._order += 1
        waiter = Waiter(start, self._order, flow, need, future)
        waiter.spacing = cost_ns * rivals // flow.weight
        waiter.tag = start - caller.priority * self.ageing_ns
        waiter.plain = now_ns - caller.priority * self.ageing_ns
        flow.finish = start + waiter.spacing
        flow.last = start
        insort(self._waiters, waiter)
        self._sum = plus(self._sum, need)
        return waiter

    def leave(self, waiter: Waiter, *, served: bool) -> None:
        """Give a place up, be it because one is served or because one gives up."""
        place = bisect_left(self._waiters, waiter)
        del self._waiters[place]
        self._sum = minus(self._sum, waiter.need)
        flow = waiter.flow
        priority = flow.key[1]
        if served:
            self._served[priority] = max(self._served[priority], waiter.start)
        else:
            flow.finish -= waiter.spacing
        flow.count -= 1
        if not flow.count:  # what it had ahead of it counts no more: only who waits is shared among
            del self._flows[flow.key]
            if not any(each.key[1] == priority for each in self._flows.values()):
                del self._served[priority]

    def _start(self, caller: Caller, now_ns: int) -> int:
        served = self._served.get(caller.priority)
        start = now_ns if served is None else max(served, now_ns - 10 * self.ageing_ns)
        flow = self._flows.get((caller.app, caller.priority))
        return start if flow is None else max(start, flow.finish, flow.last)


def plus(a: Need, b: Need) -> Need:
    """Sum by kind."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4])


def minus(a: Need, b: Need) -> Need:
    """Difference by kind."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4])
