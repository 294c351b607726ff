"""A fleet's places in virtual time: members that come, want, are cut off, die and return, and a store that forgets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from ai_client.errors import RateLimitedError
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.backends.place_store import MemoryPlaces
from ai_client.limits.base import Caller, Settings
from ai_client.limits.crew import Crew
from ai_client.limits.lease import StoreAwayError
from ai_client.limits.member import Mode, Terms
from ai_client.limits.places import PlaceAnswer, PlaceAsk
from ai_client.testing import FakeClock
from tests.virtual import pass_seconds, run_virtually

SECOND = 1_000_000_000


class Node:
    """A member, its way to the store, and its calls."""

    def __init__(self, town: Town, name: str, total: int, **terms: Any) -> None:
        self.town = town
        self.cut = False
        self.asked = 0
        self.under_way = 0
        self.done = 0
        self.gate = MemoryLimiter(name, Settings((), fleet_concurrent=total), town.clock)
        self.crew = Crew(self, Terms(name, **terms), town.clock)
        self.crew.join("l", self.gate, total)
        self.calls: set[asyncio.Task[None]] = set()

    async def exchange(self, asks: list[PlaceAsk]) -> list[PlaceAnswer]:
        self.asked += 1
        await pass_seconds(0.001)
        if self.cut:
            raise StoreAwayError("cut off")
        answers = await self.town.store.exchange(asks)
        await pass_seconds(0.001)
        return answers

    @property
    def mode(self) -> Mode:
        return self.crew.mode

    async def call(self, seconds: float, patience: float = 60.0) -> None:
        deadline = self.town.clock.monotonic_ns() + int(patience * SECOND)
        try:
            held = await self.gate.reserve((1, 0, 0, 0, 0), Caller(), deadline)
        except RateLimitedError:
            return
        self.under_way += 1
        self.town.most = max(self.town.most, self.town.under_way)
        try:
            await pass_seconds(seconds)
            self.done += 1
        finally:
            self.under_way -= 1
            held.release()

    def busy(self, callers: int, seconds: float = 0.5) -> None:
        """So many callers, one call after the other."""
        rng = random.Random(callers)

        async def caller() -> None:
            while True:
                await self.call(seconds * rng.uniform(0.5, 1.5))

        self.calls |= {asyncio.create_task(caller()) for _ in range(callers)}

    async def rest(self) -> None:
        for task in self.calls:
            task.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)
        self.calls.clear()

    async def die(self) -> None:
        """As if by SIGKILL: calls end, and nothing more is said."""
        self.cut = True
        await self.crew._supply.stop()
        await self.rest()


class Town:
    """Nodes that share so many places."""

    def __init__(self, clock: FakeClock, nodes: int, total: int, **terms: Any) -> None:
        self.clock = clock
        self.total = total
        self.most = 0
        self.store = MemoryPlaces(lambda: clock.unix_ns() // 1_000_000)
        self.nodes = [Node(self, f"n{at}", total, **terms) for at in range(nodes)]

    @property
    def under_way(self) -> int:
        return sum(node.under_way for node in self.nodes)

    async def used(self, seconds: float) -> float:
        """The mean of calls under way in that time, sampled."""
        seen = []
        for _ in range(int(seconds * 20)):
            await pass_seconds(0.05)
            seen.append(self.under_way)
        return sum(seen) / len(seen)

    async def close(self) -> None:
        for node in self.nodes:
            await node.rest()
            await node.crew.close()


def play(scene: Any, nodes: int, total: int, **terms: Any) -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, nodes, total, **terms)
        coroutine: Coroutine[Any, Any, None] = scene(town)
        await coroutine
        await town.close()

    run_virtually(scenario)


def test_places_are_used_whole_shared_evenly_and_never_exceeded() -> None:
    async def scene(town: Town) -> None:
        for node in town.nodes:
            node.busy(6)
        await pass_seconds(5)
        assert await town.used(20) >= 0.9 * town.total
        assert town.most == town.total
        done = [node.done for node in town.nodes]
        assert min(done) >= 0.8 * max(done)

    play(scene, 5, 12)


def test_one_who_wants_alone_has_all_and_gives_way_to_others() -> None:
    async def scene(town: Town) -> None:
        first, second, third = town.nodes
        first.busy(30)
        await pass_seconds(5)
        assert first.under_way == 10
        second.busy(3)
        third.busy(30)
        await pass_seconds(5)
        before = [node.done for node in town.nodes]
        await pass_seconds(20)
        gained = [node.done - was for node, was in zip(town.nodes, before, strict=True)]
        assert gained[1] >= 0.8 * gained[2]  # its three places of 3.3
        assert 0.8 <= gained[0] / gained[2] <= 1.25
        assert town.most == 10

    play(scene, 3, 10)


def test_fewer_places_than_members_go_round() -> None:
    async def scene(town: Town) -> None:
        for node in town.nodes:
            node.busy(2, 0.3)
        await pass_seconds(60)
        assert town.most == 2
        done = [node.done for node in town.nodes]
        assert min(done) >= 0.5 * max(done)
        assert min(done) >= 15

    play(scene, 6, 2)


def test_a_dead_member_s_places_come_back_by_the_end_of_its_lease() -> None:
    async def scene(town: Town) -> None:
        dead, other = town.nodes
        dead.busy(20)
        await pass_seconds(3)
        assert dead.under_way == 10
        other.busy(20)
        await pass_seconds(3)
        await dead.die()
        await pass_seconds(2.5)
        # what is its share is kept for it, in case that it lives and is only cut off
        assert town.store.lent("l") == other.under_way == 5

    play(scene, 2, 10)


def test_its_share_comes_back_after_the_share_s_time() -> None:
    async def scene(town: Town) -> None:
        dead, other = town.nodes
        dead.busy(20)
        other.busy(20)
        await pass_seconds(5)
        await dead.die()
        await pass_seconds(13)
        assert other.under_way == 10

    play(scene, 2, 10, share_ns=10 * SECOND)


def test_cut_off_each_spends_its_share_and_together_no_more_than_all() -> None:
    async def scene(town: Town) -> None:
        for node in town.nodes:
            node.busy(12)
        await pass_seconds(10)
        for node in town.nodes:
            node.cut = True
        await pass_seconds(5)
        assert {node.mode for node in town.nodes} == {Mode.ALONE}
        assert [node.under_way for node in town.nodes] == [3, 3, 3, 3]
        for node in town.nodes:
            node.cut = False
        await pass_seconds(5)
        assert {node.mode for node in town.nodes} == {Mode.SHARED}
        assert await town.used(5) >= 0.85 * 12
        assert town.most == 12

    play(scene, 4, 12)


def test_one_half_cut_off_stays_within_its_part() -> None:
    async def scene(town: Town) -> None:
        for node in town.nodes:
            node.busy(12, 0.2)
        await pass_seconds(10)
        for node in town.nodes[:2]:
            node.cut = True
        await pass_seconds(20)
        assert [node.under_way for node in town.nodes[:2]] == [3, 3]
        assert await town.used(5) >= 0.85 * 12
        assert town.most == 12

    play(scene, 4, 12)


def test_fail_closed_and_a_share_that_has_expired_stop() -> None:
    async def closed(town: Town) -> None:
        (node,) = town.nodes
        node.busy(3, 0.2)
        await pass_seconds(5)
        assert node.under_way == 3
        node.cut = True
        await pass_seconds(4)
        assert (node.under_way, node.mode) == (0, Mode.CLOSED)
        node.cut = False
        await pass_seconds(2)
        assert node.under_way == 3

    async def expired(town: Town) -> None:
        (node,) = town.nodes
        node.busy(3, 0.2)
        await pass_seconds(5)
        node.cut = True
        await pass_seconds(9)
        assert (node.under_way, node.mode) == (3, Mode.ALONE)
        await pass_seconds(4)
        assert (node.under_way, node.mode) == (0, Mode.CLOSED)

    play(closed, 1, 4, fail_closed=True)
    play(expired, 1, 4, share_ns=10 * SECOND)


def test_without_a_store_from_the_start_nothing_goes() -> None:
    async def scene(town: Town) -> None:
        (node,) = town.nodes
        node.cut = True
        await node.call(1, patience=5)
        assert (node.done, node.mode) == (0, Mode.JOINING)
        node.cut = False
        await node.call(1, patience=5)
        assert node.done == 1

    play(scene, 1, 4)


def test_a_store_that_was_wiped_lends_nothing_twice() -> None:
    async def scene(town: Town) -> None:
        for node in town.nodes:
            node.busy(12, 5.0)
        await pass_seconds(10)
        town.store.wipe()
        await pass_seconds(10)
        assert town.most == 12
        assert await town.used(5) >= 0.85 * 12

    play(scene, 4, 12)


def test_one_that_leaves_gives_back_at_once() -> None:
    async def scene(town: Town) -> None:
        first, second = town.nodes
        first.busy(20)
        await pass_seconds(5)
        await first.rest()
        await first.crew.close()
        second.busy(20)
        await pass_seconds(0.5)
        assert second.under_way == 10
        second.cut = True
        await second.rest()
        await second.crew.close()  # nobody hears it: the lease ends by itself

    play(scene, 2, 10)


def test_one_that_nobody_uses_is_silent_and_comes_back() -> None:
    async def scene(town: Town) -> None:
        (node,) = town.nodes
        await node.call(0.1)
        await pass_seconds(20)
        asked = node.asked
        assert node.crew.berths == {}
        assert town.store.lent("l") == 0
        await pass_seconds(20)
        assert node.asked == asked
        begun = town.clock.monotonic_ns()
        await node.call(0.1)
        assert town.clock.monotonic_ns() - begun < 0.2 * SECOND
        assert node.done == 2

    play(scene, 1, 4)


def test_other_settings_take_effect_and_what_is_gone_is_forgotten() -> None:
    async def scene(town: Town) -> None:
        (node,) = town.nodes
        node.busy(20)
        await pass_seconds(5)
        node.crew.join("l", node.gate, 4)
        await pass_seconds(5)
        assert node.under_way == 4
        node.crew.keep({"l"})
        assert set(node.crew.berths) == {"l"}
        node.crew.keep(set())
        assert node.crew.berths == {}

    play(scene, 1, 10)


def test_a_large_fleet_asks_no_more_often_than_the_store_bears() -> None:
    async def scene(town: Town) -> None:
        node = town.nodes[0]
        (berth,) = node.crew.berths.values()
        ask = berth.ask(town.clock.monotonic_ns())
        assert ask is not None
        berth.heard(ask, PlaceAnswer(0, 0, 5000), town.clock.monotonic_ns())
        assert berth.due_ns - town.clock.monotonic_ns() >= 250_000_000

    play(scene, 1, 10)


def test_made_before_there_is_a_loop() -> None:
    crew = Crew(MemoryPlaces(lambda: 0), Terms("n"), FakeClock())
    gate = MemoryLimiter("n", Settings(), FakeClock())
    crew.join("l", gate, 3)
    assert gate.places == 0
    assert gate.try_reserve((1, 0, 0, 0, 0), 5) is None
