"""A fleet too large for one machine, in simulated time: how often do its members ask the one server that they share?

What asks is `limits.member.Member`, with its gate and purses, as in every daemon; what answers is the law of the store.
Only time and the wire are made up: a question takes a millisecond there, its answer another back.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ai_client.limits.backends.store import MemoryStore
from ai_client.limits.base import MINUTE_NS, Caller, Kind, Need, Settings, rate
from ai_client.limits.lease import Answer, Ask
from ai_client.limits.member import Member, Terms
from ai_client.testing import FakeClock

MEMBERS = 5000
_SECOND = 1_000_000_000
_WIRE_NS = 1_000_000
_NEED: Need = (1, 200, 100, 300, 0)
_FOREVER = 10**6


@dataclass(frozen=True)
class Course:
    """What the fleet lives through, in seconds from the moment at which all of it starts."""

    members: int
    calls_each: float  # a second
    rpm: int
    steady: float = 2.0  # from then on it is at work
    away: float = 4.0  # then the store is killed
    back: float = 7.0  # and there again, with nothing in it
    end: float = 10.0


@dataclass
class Load:
    """When the server was asked, in nanoseconds."""

    asked: list[int] = field(default_factory=list)
    served: int = 0

    def a_second(self, begin: float, end: float) -> float:
        """On average, between two moments."""
        return sum(begin * _SECOND <= each < end * _SECOND for each in self.asked) / (end - begin)

    def most(self, begin: float, end: float) -> int:
        """In any stretch of a second that begins between two moments."""
        moments = [each for each in self.asked if begin * _SECOND <= each < (end + 1) * _SECOND]
        most = first = 0
        for last, moment in enumerate(moments):
            while moments[first] <= moment - _SECOND:
                first += 1
            most = max(most, last - first + 1)
        return most


class _Node:
    """A member, and whether it waits for an answer."""

    def __init__(self, name: str, settings: Settings, clock: FakeClock) -> None:
        self.member = Member("provider:p", "the provider 'p'", settings, Terms(name), clock, keep=True)
        self.asking = False
        self.turn_ns = 0


class Simulation:
    """The fleet, its time, and what is to happen next."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.load = Load()
        self._clock = FakeClock()
        self._store = MemoryStore(lambda: self._clock.unix_ns() // 1_000_000)
        self._rng = random.Random(course.members)
        self._order = itertools.count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._calls: list[object] = []
        settings = Settings((rate(Kind.REQUESTS, course.rpm, MINUTE_NS, 1.0),), max_wait=_FOREVER)
        self._nodes = [_Node(f"n{place}", settings, self._clock) for place in range(course.members)]

    def _at(self, ns: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (ns, next(self._order), what))

    async def run(self) -> Load:
        """From the start to the end."""
        for node in self._nodes:
            node.member.wake = partial(self._plan, node)
            self._at(self._rng.randrange(_SECOND), partial(self._call, node))
            self._at(0, node.member.wake)
        wiped = False
        while self._due:
            ns, _, what = heapq.heappop(self._due)
            if ns >= self.course.end * _SECOND:
                break
            self._clock.advance_ns(ns - self._clock.monotonic_ns())
            if ns >= self.course.back * _SECOND and not wiped:
                self._store.wipe()
                wiped = True
            what()
        return self.load

    def _call(self, node: _Node) -> None:
        """One more call, and when the next comes."""
        now = self._clock.monotonic_ns()
        self._at(now + int(self._rng.expovariate(self.course.calls_each) * _SECOND), partial(self._call, node))
        if node.member.gate.try_reserve(_NEED, 5) is not None:
            self.load.served += 1
            return
        waiting = node.member.gate.reserve(_NEED, Caller(), now + _FOREVER * _SECOND)
        try:
            waiting.send(None)
        except StopIteration:
            self.load.served += 1
        else:
            self._calls.append(waiting)  # it waits: its gate lets it go, or the end comes

    def _plan(self, node: _Node) -> None:
        """Have it asked whether it has something to say, when it is its turn."""
        turn = max(node.member.due_ns, self._clock.monotonic_ns())
        if not node.asking and (not node.turn_ns or turn < node.turn_ns):
            node.turn_ns = turn
            self._at(turn, partial(self._turn, node, turn))

    def _turn(self, node: _Node, turn: int) -> None:
        if node.asking or node.turn_ns != turn:
            return
        node.turn_ns = 0
        ask = node.member.ask(turn)
        if ask is None:
            self._plan(node)
            return
        node.asking = True
        self._at(turn + _WIRE_NS, partial(self._serve, node, ask))

    def _serve(self, node: _Node, ask: Ask) -> None:
        now = self._clock.monotonic_ns()
        answer: Answer | None = None
        if not self.course.away * _SECOND <= now < self.course.back * _SECOND:
            self.load.asked.append(now)
            answer = self._store.answer(ask)
        self._at(now + _WIRE_NS, partial(self._hear, node, answer))

    def _hear(self, node: _Node, answer: Answer | None) -> None:
        node.asking = False
        now = self._clock.monotonic_ns()
        if answer is None:
            node.member.failed(now)
        else:
            node.member.heard(answer, now)
        self._plan(node)


def simulate(course: Course) -> Load:
    """All of it, on the store in memory: tests/property/test_lease_store.py holds Redis' script to the same answers."""
    return asyncio.run(Simulation(course).run())
