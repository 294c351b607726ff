"""A fleet's places: the script for Redis against the law in Python, and both against what they promise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_client.limits.backends.place_redis import RedisPlaces
from ai_client.limits.backends.place_store import MemoryPlaces
from ai_client.limits.backends.redis import connect
from ai_client.limits.places import PlaceAnswer, PlaceAsk
from tests.redis_server import RedisServer, need_redis

MEMBERS = ("a", "b", "7", "8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need_redis()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Moves:
    """Random words of a few members, and a clock that mostly goes on, sometimes jumps and sometimes steps back."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 10**12
        self.heard: dict[str, PlaceAnswer] = {}
        self.adaptive = seed % 2

    def next(self) -> PlaceAsk:
        rng = self.rng
        self.now += rng.choice([0, 1, 7, 50, 200, 200, 300, 1000, 2500, 12_000, -30, -100_000])
        member = rng.choice(MEMBERS)
        last = self.heard.get(member, PlaceAnswer(0, 0, 0))
        return PlaceAsk(
            "l",
            member,
            rng.choice([3, 20, 20, 20]),
            rng.choice([0, 1, rng.randint(0, 25)]),
            rng.choice([0, rng.randint(0, 20)]),
            rng.choice([0, last.places]),
            last.share,
            rng.choice([1, 1, 1, 3]),
            share_ms=10_000,
            leaving=rng.random() < 0.05,
            least=2 * self.adaptive,
            most=rng.choice([30, 30, 9]) * self.adaptive,
            size=rng.choice([0, last.size]),
            delta=rng.choice([0, 700, 1_500, -4_000]) * self.adaptive,
        )


@given(st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_the_script_is_the_law(server: RedisServer, seed: int) -> None:
    moves = Moves(seed)
    law = MemoryPlaces(lambda: moves.now)

    async def scene() -> None:
        client = connect(server.url)
        await client.flushall()
        store = RedisPlaces(client, "t", lambda: moves.now)
        for _ in range(120):
            ask = moves.next()
            expected = law.answer(ask)
            (found,) = await store.exchange([ask])
            assert found == expected, ask
            moves.heard[ask.member] = found
        await client.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


@given(st.integers(1, 12), st.data())
@settings(max_examples=60)
def test_no_more_are_under_way_than_there_are_places(total: int, data: st.DataObject) -> None:
    """Members that keep the rule (begin a call while fewer than their places are under way) and are heard in time."""
    now = 10**12
    store = MemoryPlaces(lambda: now)
    heard = dict.fromkeys(MEMBERS, PlaceAnswer(0, 0, 0))
    using = dict.fromkeys(MEMBERS, 0)
    steps = st.lists(st.tuples(st.sampled_from(MEMBERS), st.integers(0, 15), st.integers(0, 4)), max_size=60)
    for member, wanted, ended in data.draw(steps):
        now += data.draw(st.integers(1, 400))
        for each in MEMBERS:
            if each == member:
                using[each] = max(0, using[each] - ended)
            want = wanted if each == member else using[each]
            before = heard[each]
            ask = PlaceAsk("l", each, total, want, using[each], before.places, before.share)
            heard[each] = store.answer(ask)
            assert store.lent("l") <= total
        using[member] = max(using[member], min(heard[member].places, wanted))
        assert sum(using.values()) <= total
    assert sum(answer.share for answer in heard.values()) <= total


@given(st.integers(1, 12), st.lists(st.integers(1, 20), min_size=4, max_size=4))
def test_who_wants_gets_his_part_and_nothing_is_left_over(total: int, wants: list[int]) -> None:
    """Calls of one second each, for a minute: everybody gets what he wants, or at least his even part less one."""
    now = 10**12
    store = MemoryPlaces(lambda: now)
    heard = dict.fromkeys(MEMBERS, PlaceAnswer(0, 0, 0))
    running: dict[str, list[int]] = {each: [] for each in MEMBERS}
    used = dict.fromkeys(MEMBERS, 0)
    for _ in range(1200):
        now += 50
        for member, want in zip(MEMBERS, wants, strict=True):
            calls = running[member] = [end for end in running[member] if end > now]
            before = heard[member]
            heard[member] = store.answer(PlaceAsk("l", member, total, want, len(calls), before.places, before.share))
            calls += [now + 1000] * max(0, min(heard[member].places, want) - len(calls))
            used[member] += len(calls) if now > 10**12 + 10_000 else 0
    mean = {member: count / 1000 for member, count in used.items()}
    assert sum(mean.values()) >= 0.85 * min(total, sum(wants))
    for member, want in zip(MEMBERS, wants, strict=True):
        assert mean[member] >= min(want, 0.6 * total / 4)
