"""A whole fleet in virtual time: it uses the limit, never passes the bound, and survives its store."""

from __future__ import annotations

import asyncio
import random

import pytest

from ai_client.errors import RateLimitedError
from ai_client.limits.base import Settings
from ai_client.limits.fleet import Fleet
from ai_client.limits.member import Mode, Terms
from ai_client.testing import FakeClock
from tests.fleets import SECOND, Node, Town
from tests.quotas import limits, need, who
from tests.virtual import pass_seconds, run_virtually

LEASE = 2.0
BURST = 1.0


def bound(seconds: float) -> float:
    """The bound of docs/why/quota.md over a stretch of so many seconds, as a part of what the rate grants in it."""
    return (seconds + LEASE + BURST) / seconds


def test_a_fleet_uses_its_limit_and_shares_it_evenly() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 20, 1200, 10**7)
        await town.run(60, 3.0)
        requests, _ = town.used(10, 60)
        assert requests >= 0.97 * 1200 / 60 * 50
        for stretch in (1, 5, 30):
            assert town.most_over(stretch) <= bound(stretch)
        each = [len(node.used) for node in town.nodes]
        assert sum(each) ** 2 / (len(each) * sum(n * n for n in each)) >= 0.98, "Jain's index"
        assert {tuple(node.modes) for node in town.nodes} == {(Mode.SHARED,)}
        await town.close()
        assert all(node.link.closed for node in town.nodes)

    run_virtually(scenario)


def test_a_limit_of_tokens_is_used_as_well() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 10, 10**6, 100_000)
        await town.run(60, 3.0)
        _, tokens = town.used(10, 60)
        assert 0.85 * 100_000 / 60 * 50 <= tokens <= 1.06 * 100_000 / 60 * 50
        await town.close()

    run_virtually(scenario)


def test_alone_it_has_all_of_it() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 3, 600, 10**7)
        lone = Town.__new__(Town)
        lone.__dict__.update(town.__dict__, nodes=town.nodes[:1])
        await lone.run(30, 30.0)
        requests, _ = town.used(10, 30)
        assert requests >= 0.95 * 10 * 20, "the others, who ask for nothing, keep nothing from it"
        await town.close()

    run_virtually(scenario)


@pytest.mark.parametrize("rpm", [150, 1200])
def test_a_heavy_app_does_not_make_a_light_one_wait(rpm: int) -> None:
    """Also where a node's part is a call in eight seconds."""

    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 20, rpm, 10**7)
        rng, tasks = random.Random(1), []

        async def ask(node: Node, app: str, calls_a_second: float) -> None:
            while True:
                await pass_seconds(rng.expovariate(calls_a_second))
                tasks.append(asyncio.create_task(node.call(175, 170, 10.0, who(app=app))))

        asking = [
            asyncio.create_task(ask(node, app, share * rpm / 60 / len(town.nodes)))
            for node in town.nodes
            for app, share in (("light", 0.25), ("heavy", 3.0))
        ]
        await pass_seconds(200)
        for task in (*asking, *tasks):
            task.cancel()
        await asyncio.gather(*asking, *tasks, return_exceptions=True)
        waits = [wait for node in town.nodes for at, wait, app in node.let_in if app == "light" and at > 40 * SECOND]
        assert len(waits) >= 0.93 * 160 * 0.25 * rpm / 60
        assert sorted(waits)[len(waits) // 2] <= 0.03 * SECOND
        assert sorted(waits)[len(waits) * 9 // 10] <= 8 * 60 * SECOND // rpm, "eight turns of the whole limit"
        requests, _ = town.used(40, 200)
        assert requests >= 0.97 * rpm / 60 * 160
        each = [len(node.used) for node in town.nodes]
        assert sum(each) ** 2 / (len(each) * sum(n * n for n in each)) >= 0.98, "Jain's index"
        await town.close()

    run_virtually(scenario)


def test_without_the_store_each_goes_on_with_its_share_and_all_come_back() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 10, 1200, 10**7)
        await town.run(15, 6.0)
        for node in town.nodes:
            node.link.cut = True
        await town.run(60, 6.0)
        town.store.wipe()
        for node in town.nodes:
            node.link.cut = False
        await town.run(15, 6.0)
        requests, _ = town.used(15, 75)
        assert requests >= 0.8 * 1200
        back, _ = town.used(80, 90)
        assert back >= 0.9 * 200, "back within five seconds"
        for stretch in (1, 5, 30):
            assert town.most_over(stretch) <= bound(stretch)
        assert {tuple(node.modes) for node in town.nodes} == {(Mode.SHARED, Mode.ALONE, Mode.SHARED)}
        await town.close()

    run_virtually(scenario)


def test_half_of_them_cut_off_the_limit_holds_for_both_halves_together() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 10, 1200, 10**7)
        await town.run(15, 6.0)
        for node in town.nodes[:5]:
            node.link.cut = True
        await town.run(60, 6.0)
        for node in town.nodes[:5]:
            node.link.cut = False
        await town.run(15, 6.0)
        for stretch in (1, 5, 30):
            assert town.most_over(stretch) <= bound(stretch)
        for half in (town.nodes[:5], town.nodes[5:]):
            requests, _ = town.used(20, 75, half)
            assert 0.8 * 10 * 55 <= requests <= 1.1 * 10 * 55, "each half has its half"
        await town.close()

    run_virtually(scenario)


def test_one_that_is_lost_keeps_its_share_until_its_time_is_over() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 2, 600, 10**7, lambda name: Terms(name, share_ns=20 * SECOND))
        await town.run(5, 12.0)
        town.nodes[0].link.cut = True
        await town.run(55, 12.0)
        other = town.nodes[1:]
        assert town.used(10, 24, other)[0] <= 0.6 * 10 * 14
        assert town.used(30, 60, other)[0] >= 0.95 * 10 * 30, "then it is given to those who are there"
        assert town.used(26.5, 60, town.nodes[:1])[0] == 0, "and the lost one stops before"
        assert town.nodes[0].modes[-1] is Mode.CLOSED
        await town.close()

    run_virtually(scenario)


def test_where_it_is_wanted_nothing_goes_without_the_store() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 2, 600, 10**7, lambda name: Terms(name, fail_closed=True))
        await town.run(5, 12.0)
        for node in town.nodes:
            node.link.cut = True
        await town.run(20, 12.0)
        assert town.used(8, 25) == (0, 0)
        assert town.nodes[0].fleet.mode is Mode.CLOSED
        for node in town.nodes:
            node.link.cut = False
        await town.run(5, 12.0)
        assert town.used(26, 30)[0] > 20
        await town.close()

    run_virtually(scenario)


def test_a_store_that_was_never_there_is_said_once() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 1, 600, 10**7)
        node = town.nodes[0]
        node.link.cut = True
        await pass_seconds(3)
        assert node.modes == [Mode.JOINING]
        with pytest.raises(RateLimitedError):
            await node.gate.reserve(need(1), who(), clock.monotonic_ns() + SECOND)
        await town.close()
        assert node.fleet.share == 0.0

    run_virtually(scenario)


def test_a_pause_that_one_hears_of_is_everybody_s() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 3, 600, 10**7)
        await pass_seconds(1)
        town.nodes[0].fleet.pause("p/m", 30 * SECOND)
        town.nodes[0].fleet.pause("unknown/m", SECOND)
        await pass_seconds(1.1)
        for node in town.nodes:
            assert 28 * SECOND < node.paused["p/m"] <= 30 * SECOND
        await town.close()

    run_virtually(scenario)


def test_a_limit_that_nobody_uses_is_left() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 1, 600, 10**7)
        fleet = town.nodes[0].fleet
        gate = fleet.make("limit:users:alice", "alice", limits(requests=600), keep=False)
        (await gate.reserve(need(1), who(), 10 * SECOND)).release()
        await pass_seconds(3)
        assert "alice" not in town.store._limits["limit:users:alice"].last
        assert list(town.store._limits["limit:users:alice"].last) == ["n0"]
        await pass_seconds(30)
        assert list(town.store._limits["limit:users:alice"].last) == []
        operations = town.store.operations
        fleet.forget("provider:p")
        await pass_seconds(30)
        assert town.store.operations == operations, "then it costs nothing"
        (await gate.reserve(need(1), who(), clock.monotonic_ns() + 10 * SECOND)).release()
        await fleet.close()

    run_virtually(scenario)


def test_a_gate_without_rates_asks_for_nothing() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 1, 600, 10**7)
        gate = town.nodes[0].fleet.make("provider:q", "q", Settings(), keep=True)
        assert gate.try_reserve(need(10**9), 5) is not None
        await pass_seconds(2)
        assert "provider:q" not in town.store._limits
        await town.close()

    run_virtually(scenario)


def test_made_before_there_is_a_loop_it_begins_with_the_first_that_waits() -> None:
    made: list[Node] = []
    clock = FakeClock()
    town = Town(clock, 1, 600, 10**7)
    made += town.nodes

    async def scenario(own: FakeClock) -> None:
        node = made[0]
        node.clock = own
        node.gate._clock = own
        node.fleet._clock = node.fleet._supply._clock = own
        town.store._now_ms = lambda: own.unix_ns() // 1_000_000
        assert await node.call(10, 10)
        await node.fleet.close()

    run_virtually(scenario)


def test_new_limits_are_lent_anew() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 1, 600, 10**7)
        node = town.nodes[0]
        assert await node.call(10, 10)
        node.gate.reconfigure(limits(requests=1200))
        assert await node.call(10, 10)
        assert len(town.store._limits["provider:p"].levels) == 1
        await town.close()

    run_virtually(scenario)


def test_one_fleet_may_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 1, 600, 10**7)
        fleet: Fleet = town.nodes[0].fleet
        fleet.forget("provider:p")
        await pass_seconds(3)
        assert (fleet.members, fleet.share) == (0, 0.0)
        await fleet.close()

    run_virtually(scenario)
