"""One target, several members: the fleet finds out together how many calls it takes, and shares them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from ai_client.errors import RateLimitedError
from ai_client.limits.adaptive import Adaptive
from ai_client.limits.backends.place_store import MemoryPlaces
from ai_client.limits.base import Caller, Settings
from ai_client.limits.crew import Crew
from ai_client.limits.gradient import Pace
from ai_client.limits.lease import StoreAwayError
from ai_client.limits.member import Mode, Terms
from ai_client.limits.places import PlaceAnswer, PlaceAsk
from ai_client.testing import FakeClock
from tests.virtual import pass_seconds, run_virtually

NEED = (1, 0, 0, 0, 0)
PACE = Pace(least=2, most=400, first=10)


class Upstream:
    """Takes `knee` calls at once in a second each; beyond, all take longer. Refuses all while it `refuses`."""

    def __init__(self, knee: int) -> None:
        self.knee = knee
        self.under_way = 0
        self.refuses = False
        self._rng = random.Random(1)

    async def answer(self) -> bool:
        self.under_way += 1
        try:
            if self.refuses:
                await pass_seconds(0.05)
                return False
            await pass_seconds(self._rng.lognormvariate(0, 0.2) * max(1.0, self.under_way / self.knee))
            return True
        finally:
            self.under_way -= 1


class Node:
    """A member: callers that ask one after the other."""

    def __init__(self, name: str, store: MemoryPlaces, upstream: Upstream, clock: FakeClock) -> None:
        self.store = store
        self.upstream = upstream
        self.clock = clock
        self.cut = False
        self.done = 0
        self.adaptive = Adaptive(clock)
        self.adaptive.set(PACE, Settings())
        self.adaptive.crew = self.crew = Crew(self, Terms(name), clock)
        self.target = self.adaptive.of("p/m", "p")
        self.tasks: list[asyncio.Task[None]] = []

    async def exchange(self, asks: list[PlaceAsk]) -> list[PlaceAnswer]:
        await pass_seconds(0.001)
        if self.cut:
            raise StoreAwayError("cut off")
        return [self.store.answer(ask) for ask in asks]

    async def caller(self) -> None:
        clock, target = self.clock, self.target
        while True:
            try:
                held = await target.gate.reserve(NEED, Caller(), clock.monotonic_ns() + 10**11)
            except RateLimitedError:
                continue
            began, among = clock.monotonic_ns(), target.gate.running
            try:
                if await self.upstream.answer():
                    self.done += 1
                    target.answered(began, clock.monotonic_ns(), among, None)
                else:
                    target.dropped(began, clock.monotonic_ns())
            finally:
                held.release()

    def busy(self, callers: int) -> None:
        self.tasks += [asyncio.create_task(self.caller()) for _ in range(callers)]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.crew.close()


def play(scene: Any, knee: int, nodes: int = 4) -> None:
    async def scenario(clock: FakeClock) -> None:
        store = MemoryPlaces(lambda: clock.unix_ns() // 1_000_000)
        upstream = Upstream(knee)
        members = [Node(f"n{at}", store, upstream, clock) for at in range(nodes)]
        await scene(upstream, members)
        for member in members:
            await member.close()

    run_virtually(scenario)


def limits(nodes: list[Node]) -> set[int]:
    return {round(node.target.limit.limit) for node in nodes}


def test_together_they_find_the_knee_and_share_it_by_demand() -> None:
    async def scene(upstream: Upstream, nodes: list[Node]) -> None:
        for node in nodes[:2]:
            node.busy(30)
        nodes[2].busy(2)
        await pass_seconds(80)
        before = [node.done for node in nodes]
        for _ in range(6):
            await pass_seconds(8)
            assert all(18 <= limit <= 40 for limit in limits(nodes)), limits(nodes)
            assert 16 <= upstream.under_way <= 42
        gained = [node.done - was for node, was in zip(nodes, before, strict=True)]
        assert max(gained[:2]) <= 1.3 * min(gained[:2])
        assert gained[2] >= 50  # its two callers are not short: 48 s of 1.5 s each would be 64

    play(scene, 20, nodes=3)


def test_a_storm_of_429s_halves_the_fleet_s_limit_and_it_comes_back() -> None:
    async def scene(upstream: Upstream, nodes: list[Node]) -> None:
        for node in nodes:
            node.busy(25)
        await pass_seconds(80)
        before = max(limits(nodes))
        assert before >= 70
        upstream.refuses = True
        await pass_seconds(0.15)
        upstream.refuses = False
        await pass_seconds(1)
        assert 0.4 * before <= max(limits(nodes)) <= 0.65 * before
        assert upstream.under_way <= 0.7 * before
        await pass_seconds(60)
        assert max(limits(nodes)) >= 70

    play(scene, 1000, nodes=3)


def test_a_storm_that_lasts_leaves_the_least_and_all_of_it_comes_back() -> None:
    async def scene(upstream: Upstream, nodes: list[Node]) -> None:
        for node in nodes:
            node.busy(25)
        await pass_seconds(40)
        upstream.refuses = True
        await pass_seconds(20)
        assert max(limits(nodes)) <= 4
        assert upstream.under_way <= 4
        upstream.refuses = False
        await pass_seconds(60)
        assert min(limits(nodes)) >= 15
        assert upstream.under_way >= 15

    play(scene, 1000, nodes=3)


def test_without_the_store_each_keeps_to_its_share() -> None:
    async def scene(upstream: Upstream, nodes: list[Node]) -> None:
        for node in nodes:
            node.busy(30)
        await pass_seconds(60)
        fleet = max(limits(nodes))
        for node in nodes:
            node.cut = True
        await pass_seconds(10)
        assert {node.crew.mode for node in nodes} == {Mode.ALONE}
        assert upstream.under_way <= fleet
        assert all(abs(node.target.gate.running - fleet / 4) <= 2 for node in nodes)
        upstream.refuses = True
        await pass_seconds(4)
        assert upstream.under_way <= 0.4 * fleet
        upstream.refuses = False
        await pass_seconds(15)
        assert all(abs(node.target.gate.running - fleet / 4) <= 2 for node in nodes)
        for node in nodes:
            node.cut = False
        await pass_seconds(40)
        assert {node.crew.mode for node in nodes} == {Mode.SHARED}
        assert all(20 <= limit <= 80 for limit in limits(nodes)), limits(nodes)

    play(scene, 40)
