"""A fleet in virtual time: members on the store in memory, and a judge that grants no more than the limit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ai_client.errors import RateLimitedError
from ai_client.limits.backends.store import MemoryStore
from ai_client.limits.base import MINUTE_NS, Caller, Kind, Need, Settings, rate
from ai_client.limits.fleet import Fleet
from ai_client.limits.gate import Gate
from ai_client.limits.lease import Answer, Ask, StoreAwayError
from ai_client.limits.member import Mode, Terms
from ai_client.testing import FakeClock
from tests.virtual import pass_seconds

SECOND = 1_000_000_000
_SOMEBODY = Caller(5, "a")


class Link:
    """One member's way to the store: two milliseconds, and it can be cut."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.cut = False
        self.closed = False

    async def exchange(self, asks: list[Ask]) -> list[Answer]:
        await pass_seconds(0.001)
        if self.cut:
            raise StoreAwayError("cut off")
        answers = [self._store.answer(ask) for ask in asks]
        await pass_seconds(0.001)
        if self.cut:
            raise StoreAwayError("cut off on the way back")
        return answers

    async def tell(self, provider: str, words: bytes, ms: int) -> None:
        if self.cut:
            raise StoreAwayError("cut off")
        await self._store.tell(provider, words, ms)

    async def told(self, provider: str) -> bytes | None:
        if self.cut:
            raise StoreAwayError("cut off")
        return await self._store.told(provider)

    async def close(self) -> None:
        self.closed = True


class Node:
    """A member with the one limit."""

    def __init__(self, name: str, store: MemoryStore, limit: Settings, clock: FakeClock, terms: Terms) -> None:
        self.link = Link(store)
        self.modes: list[Mode] = []
        self.paused: dict[str, int] = {}
        self.fleet = Fleet(
            self.link,
            terms,
            clock,
            on_mode=lambda mode, why: self.modes.append(mode),
            on_pause=self.paused.__setitem__,
        )
        self.gate: Gate = self.fleet.make("provider:p", "the provider 'p'", limit, keep=True)
        self.clock = clock
        self.used: list[tuple[int, int]] = []  # when, and how many tokens
        self.let_in: list[tuple[int, int, str]] = []  # when, after how long a wait, and whose

    async def call(self, estimate: int, spent: int, patience: float = 30.0, who: Caller = _SOMEBODY) -> bool:
        need: Need = (1, estimate, 0, estimate, 0)
        deadline = self.clock.monotonic_ns() + int(patience * SECOND)
        begun = self.clock.monotonic_ns()
        try:
            held = self.gate.try_reserve(need, who.priority) or await self.gate.reserve(need, who, deadline)
        except RateLimitedError:
            return False
        now = self.clock.monotonic_ns()
        self.used.append((now, spent))
        self.let_in.append((now, now - begun, who.app))
        await pass_seconds(0.5)
        held.release((1, spent, 0, spent, 0))
        return True


class Town:
    """Many nodes, their calls, and what they used together."""

    def __init__(
        self,
        clock: FakeClock,
        nodes: int,
        rpm: int,
        tpm: int,
        terms: Callable[[str], Terms] = Terms,
        burst_seconds: float = 1.0,
    ) -> None:
        self.clock = clock
        self.store = MemoryStore(lambda: clock.unix_ns() // 1_000_000)
        self.limit = Settings(
            (
                rate(Kind.REQUESTS, rpm, MINUTE_NS, burst_seconds),
                rate(Kind.TOKENS, tpm, MINUTE_NS, burst_seconds),
            )
        )
        self.nodes = [Node(f"n{at}", self.store, self.limit, clock, terms(f"n{at}")) for at in range(nodes)]

    async def run(self, seconds: float, calls_a_second: float, seed: int = 1) -> None:
        """Let every node ask so often."""
        rng = random.Random(seed)
        tasks: list[asyncio.Task[bool]] = []
        end = self.clock.monotonic_ns() + int(seconds * SECOND)

        async def ask(node: Node) -> None:
            await pass_seconds(rng.random() / calls_a_second)
            while self.clock.monotonic_ns() < end:
                estimate = rng.randint(150, 300)
                tasks.append(asyncio.create_task(node.call(estimate, int(estimate * rng.uniform(0.7, 1.0)))))
                await pass_seconds(rng.expovariate(calls_a_second))

        await asyncio.gather(*(ask(node) for node in self.nodes))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def used(self, begin: float, end: float, nodes: list[Node] | None = None) -> tuple[int, int]:
        """Requests and tokens begun in that time."""
        found = [
            tokens
            for node in nodes or self.nodes
            for moment, tokens in node.used
            if begin * SECOND <= moment < end * SECOND
        ]
        return len(found), sum(found)

    def most_over(self, seconds: float) -> float:
        """The most requests in any stretch of so many seconds, as a part of what the rate grants in it."""
        moments = sorted(moment for node in self.nodes for moment, _ in node.used)
        width, most, first = int(seconds * SECOND), 0, 0
        for last, moment in enumerate(moments):
            while moments[first] <= moment - width:
                first += 1
            most = max(most, last - first + 1)
        return most / (self.limit.rates[0].amount * seconds / 60)

    async def close(self) -> None:
        for node in self.nodes:
            await node.fleet.close()
