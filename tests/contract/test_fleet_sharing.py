"""Who gets how much of what is too little, in one process and in a fleet: the urgent first, the light unharmed."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Caller
from ai_client.testing import FakeClock
from tests.fleets import SECOND, Node, Town
from tests.quotas import limits, need
from tests.virtual import pass_seconds, run_virtually

BATCH = Caller(2, "batch")
ONLINE = Caller(5, "online")
LIGHT = Caller(5, "light")
HEAVY = Caller(5, "heavy")


async def ask(node: Node, who: Caller, per_second: float, seconds: float) -> None:
    """Ask so often, evenly, waiting for no answer."""
    tasks = []
    for _ in range(round(per_second * seconds)):
        tasks.append(asyncio.create_task(node.call(10, 10, 60.0, who)))
        await pass_seconds(1 / per_second)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def waits(nodes: list[Node], app: str, begin: float, end: float) -> list[float]:
    """How long each call of `app` waited that was let in then, in seconds, the longest last."""
    found = [(moment, wait) for node in nodes for moment, wait, whose in node.let_in if whose == app]
    return sorted(wait / SECOND for moment, wait in found if begin * SECOND <= moment < end * SECOND)


def test_a_batch_that_has_all_of_the_quota_yields_within_a_second() -> None:
    """On the node itself and from another one, of a fleet of four; until waiting has made up for its priority."""

    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 4, 1200, 10**7)
        batch = [asyncio.create_task(ask(node, BATCH, 7.0, 60)) for node in town.nodes[:3]]
        await pass_seconds(10)
        assert len(waits(town.nodes, "batch", 5, 10)) >= 0.95 * 100, "it has all of it"
        await asyncio.gather(*(ask(node, ONLINE, 5.0, 12) for node in town.nodes))
        assert len(waits(town.nodes, "batch", 11, 20)) <= 0.02 * 180, "a second later it has nothing"
        online = waits(town.nodes, "online", 11, 20)
        assert len(online) >= 0.97 * 180
        assert online[int(0.99 * len(online))] <= 1.0
        await pass_seconds(10)
        assert len(waits(town.nodes, "batch", 23, 32)) >= 0.95 * 180, "and all of it again"
        for task in batch:
            task.cancel()
        await asyncio.gather(*batch, return_exceptions=True)
        await town.close()

    run_virtually(scenario)


def test_a_batch_uses_what_online_traffic_leaves() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 4, 1200, 10**7)
        batch = asyncio.create_task(ask(town.nodes[0], BATCH, 12.0, 40))
        await pass_seconds(5)
        await asyncio.gather(*(ask(node, ONLINE, 2.5, 30) for node in town.nodes))
        online = waits(town.nodes, "online", 6, 35)
        assert len(online) >= 0.97 * 10 * 29
        assert online[int(0.95 * len(online))] <= 1.0
        assert len(waits(town.nodes, "batch", 6, 35)) >= 0.7 * 10 * 29
        batch.cancel()
        await asyncio.gather(batch, return_exceptions=True)
        await town.close()

    run_virtually(scenario)


def test_an_old_batch_is_not_starved() -> None:
    """Online traffic wants all of it for a minute: from its eighteenth second on, waiting has made up for priority."""

    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 2, 600, 10**7)
        await pass_seconds(3)
        batch = asyncio.create_task(ask(town.nodes[0], BATCH, 2.0, 50))
        online = asyncio.create_task(ask(town.nodes[1], ONLINE, 12.0, 50))
        await pass_seconds(50)
        assert len(waits(town.nodes, "batch", 6, 19)) <= 5
        assert len(waits(town.nodes, "batch", 25, 50)) >= 20
        for task in (batch, online):
            task.cancel()
        await asyncio.gather(batch, online, return_exceptions=True)
        await town.close()

    run_virtually(scenario)


def rate_of_the_light(*, beside_heavy: bool) -> tuple[int, float]:
    """How many calls the light app got, of a fifth of the limit, and how long they waited in the mean."""

    async def scenario(clock: FakeClock) -> tuple[int, float]:
        town = Town(clock, 4, 1200, 10**7)
        heavy: list[asyncio.Task[None]] = []
        if beside_heavy:
            heavy = [asyncio.create_task(ask(node, HEAVY, 10.0, 27)) for node in town.nodes]
        await pass_seconds(5)
        await asyncio.gather(*(ask(node, LIGHT, 1.0, 20) for node in town.nodes))
        found = waits(town.nodes, "light", 8, 24)
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)
        await town.close()
        return len(found), sum(found) / len(found)

    return run_virtually(scenario)


def test_a_heavy_app_takes_nothing_from_a_light_one_on_the_same_nodes() -> None:
    """Twice the limit is asked for beside it: as many of its calls are answered."""
    alone, _ = rate_of_the_light(beside_heavy=False)
    beside, wait = rate_of_the_light(beside_heavy=True)
    assert beside >= 0.9 * alone
    assert wait <= 0.25


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_heavy_app_takes_nothing_from_a_light_one_on_another_node(part: float) -> None:
    """Three nodes want four times their parts; the fourth, whose app wants less than its own, notices nothing."""

    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 4, 1200, 10**7)
        rate = part * 20 / 4
        await pass_seconds(3)
        light = asyncio.create_task(ask(town.nodes[0], LIGHT, rate, 60))
        await pass_seconds(15)
        heavy = [asyncio.create_task(ask(node, HEAVY, 20.0, 45)) for node in town.nodes[1:]]
        await light
        for begin in range(20, 60, 5):
            found = waits(town.nodes, "light", begin, begin + 5)
            assert len(found) >= 0.9 * rate * 5
            assert sum(found) / len(found) <= 0.1
        requests, _ = town.used(20, 60)
        assert requests >= 0.97 * 20 * 40, "and nothing of it is left lying"
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)
        await town.close()

    run_virtually(scenario)


def test_minutes_of_backlog_change_nothing_for_a_light_app() -> None:
    """Four nodes, each with a call a second; each has a line of a heavy app's calls a minute long, for two minutes."""

    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 4, 240, 10**7)
        heavy = [asyncio.create_task(ask(node, HEAVY, 3.0, 150)) for node in town.nodes]
        light = [asyncio.create_task(ask(node, LIGHT, 0.25, 150)) for node in town.nodes]
        await pass_seconds(150)
        for begin in range(0, 150, 30):
            found = waits(town.nodes, "light", begin, begin + 30)
            assert len(found) >= 0.9 * 30
            assert sum(found) / len(found) <= 3
        for task in heavy + light:
            task.cancel()
        await asyncio.gather(*heavy, *light, return_exceptions=True)
        await town.close()

    run_virtually(scenario)


@pytest.mark.parametrize("crowd", [BATCH, HEAVY])
def test_for_places_it_is_the_same(crowd: Caller) -> None:
    """Forty calls at a time for two places that each take two seconds; now and then comes one of another app."""

    async def scenario(clock: FakeClock) -> list[float]:
        limiter = MemoryLimiter("p", limits(places=2), clock)
        found: list[float] = []

        async def call(who: Caller) -> float:
            begun = clock.monotonic_ns()
            held = await limiter.reserve(need(1), who, begun + 100 * SECOND)
            waited = clock.monotonic_ns() - begun
            await pass_seconds(2)
            held.release()
            return waited / SECOND

        async def again_and_again() -> None:
            while True:
                await call(crowd)

        tasks = [asyncio.create_task(again_and_again()) for _ in range(40)]
        for _ in range(20):
            await pass_seconds(10)
            found.append(await call(LIGHT))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found

    assert max(run_virtually(scenario)) <= 4


def test_fifty_share_the_seeds_key_evenly() -> None:
    """500 a minute: ten for each, so that a single one more or less is a tenth."""

    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 50, 500, 100_000)
        await town.run(100, 2.0 * 500 / 60 / 50)
        each = [len(node.used) for node in town.nodes]
        assert sum(each) ** 2 / (len(each) * sum(n * n for n in each)) >= 0.98, "Jain's index"
        requests, _ = town.used(10, 100)
        assert requests >= 0.95 * 500 / 60 * 90
        await town.close()

    run_virtually(scenario)
