"""What one member was told, the others know; and what they cannot read does them no harm."""

from __future__ import annotations

import pytest

from ai_client.limits.backends.store import MemoryStore
from ai_client.limits.base import Settings
from ai_client.limits.hearsay import Hearsay
from ai_client.limits.heed import KEPT_NS, Heed
from ai_client.model.call import Target
from ai_client.testing import FakeClock
from tests.fleets import SECOND, Town
from tests.running import Run
from tests.unit.limits.test_heed import House, said, target
from tests.virtual import pass_seconds, run_virtually


def pair(clock: FakeClock) -> tuple[MemoryStore, list[House], list[Hearsay]]:
    houses = [House(), House()]
    for house in houses:
        house.clock = clock
        house.heed._clock = clock
    store = MemoryStore(lambda: clock.unix_ns() // 1_000_000)
    return store, houses, [Hearsay(house.heed, clock) for house in houses]


def test_a_word_goes_round(run: Run) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        store, (first, second), (teller, listener) = pair(clock)
        first.hear(said(500, tpm=1000))
        await teller.exchange(store)
        await listener.exchange(store)
        assert second.rates() == {"requests": 500, "tokens": 1000}
        assert listener.due_ns == clock.monotonic_ns() + 60 * SECOND
        second.hear(said(400), after=30)
        await listener.exchange(store)
        await teller.exchange(store)
        assert first.rates() == {"requests": 400}, "the later word counts"

    run(scenario())


def test_it_is_written_again_only_when_there_is_something_to_write(run: Run) -> None:
    class Counting(MemoryStore):
        writes = 0

        async def tell(self, provider: str, words: bytes, ms: int) -> None:
            self.writes += 1
            await super().tell(provider, words, ms)

    async def scenario() -> None:
        clock = FakeClock()
        _, (house, _), (teller, _) = pair(clock)
        store = Counting(lambda: clock.unix_ns() // 1_000_000)
        for _ in range(20):
            house.hear(said(500), after=60)
            await teller.exchange(store)
        assert store.writes == 2
        clock.advance_ns(KEPT_NS + SECOND)
        _, (_, late), (_, listener) = pair(clock)
        await listener.exchange(store)
        assert late.rates() == {}

    run(scenario())


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"[]",
        b'{"m": {"unix_ms": 1, "limits": {"pages": 5}}}',
        b'{"m": {"unix_ms": 99999999999999, "limits": {"requests": 0}}}',
        b'{"m": {"unix_ms": 1, "limits": {"requests": 5}}}',
    ],
)
def test_what_is_not_understood_or_long_past_is_left_out(run: Run, text: bytes) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        store, (house, _), (listener, _) = pair(clock)
        await store.tell("p", text, 60_000)
        await listener.exchange(store)
        assert house.rates() == {}

    run(scenario())


def test_a_fleet_learns_from_one_answer_and_spends_no_more_than_it_told() -> None:
    """Nothing is configured; the provider grants one of three nodes 600 a minute."""

    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 3, 6000, 10**7)
        heeds = []
        for node in town.nodes:
            heed = Heed(
                clock,
                {"p": node.gate},
                lambda name, settings, node=node: node.fleet.make(name, name, settings, keep=False),  # type: ignore[misc]
                lambda _, node=node: node.fleet.spread(),  # type: ignore[misc]
            )
            node.fleet.hearsay = Hearsay(heed, clock)
            heeds.append(heed)
        await pass_seconds(3)
        heeds[0].hear(Target("p", "m", "m"), said(600), clock.monotonic_ns())
        await pass_seconds(62)
        assert [heed.find(target("m")) is not None for heed in heeds] == [True] * 3
        for node, heed in zip(town.nodes, heeds, strict=True):
            node.gate = heed.gates["p"]
        await town.run(20, 10.0)
        begin = clock.monotonic_ns() / SECOND - 15
        assert 140 <= town.used(begin, begin + 15)[0] <= 10 * 18
        town.nodes[0].link.cut = True
        failures = town.nodes[0].fleet.failures
        town.nodes[0].fleet.spread()
        await pass_seconds(0.1)
        assert town.nodes[0].fleet.failures > failures
        await town.close()

    run_virtually(scenario)


def test_others_who_spend_from_the_key_lower_what_the_fleet_has() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 2, 6000, 10**7, burst_seconds=10.0)
        await pass_seconds(30)
        level = town.store._limits["provider:p"].levels[0]
        assert level.level == 1000
        heed = Heed(clock, {"p": town.nodes[0].gate}, lambda name, settings: town.nodes[0].gate, lambda _: None)
        heed.hear(Target("p", "m", "m"), said(6000, 7), clock.monotonic_ns())
        await pass_seconds(1.01)
        assert level.level <= 7 + 101
        await town.close()

    run_virtually(scenario)


def test_a_fleet_without_hearsay_has_nothing_to_spread() -> None:
    async def scenario(clock: FakeClock) -> None:
        town = Town(clock, 1, 600, 10**7)
        town.nodes[0].fleet.spread()
        assert town.nodes[0].fleet.hearsay is None
        assert town.limit != Settings()
        await town.close()

    run_virtually(scenario)
