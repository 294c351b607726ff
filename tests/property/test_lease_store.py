"""The fleet's store: the script for Redis against the law in Python, and both against what they promise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.backends.store import MemoryStore
from ai_client.limits.lease import Answer, Ask, Part
from tests.redis_server import RedisServer, need_redis


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
        self.heard: dict[str, tuple[int, int]] = {}

    def next(self) -> Ask:
        rng = self.rng
        self.now += rng.choice([0, 1, 7, 50, 200, 200, 300, 1000, 2500, 60_000, -30, -100_000])
        member = rng.choice(["a", "b", "7", "8"])
        step, share = self.heard.get(member, (0, 0))
        parts = tuple(
            Part(amount, period, burst, want, rng.randint(0, want), rng.choice([0, 0, 3, -5]), most)
            for amount, period, burst in [(3000, 60_000, 50), (600_000, 60_000, rng.choice([10_000, 9_000]))]
            for most in [rng.choice([-1, -1, -1, 0, 4])]
            for want in [rng.choice([0, rng.randint(0, burst)])]
        )
        if rng.random() < 0.02:
            step += 5  # as if the store had lost something
        pauses = ((f"p/m{rng.randint(1, 3)}", rng.randint(1, 5000)),) if rng.random() < 0.1 else ()
        urgency = rng.choice([(0, 0), (2, 2), (2, 7), (5, 5), (5, 5), (9, 12)])
        weight, leaving, light = rng.choice([1, 1, 1, 3]), rng.random() < 0.05, rng.random() < 0.2
        return Ask("l", member, parts, weight, step, share, leaving, 10_000, pauses, *urgency, light)

    def note(self, ask: Ask, answer: Answer) -> None:
        self.heard[ask.member] = (answer.step, answer.share)


@given(st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_the_script_is_the_law(server: RedisServer, seed: int) -> None:
    moves = Moves(seed)
    law = MemoryStore(lambda: moves.now)

    async def scene() -> None:
        client = connect(server.url)
        await client.flushall()
        store = RedisStore(client, "t", lambda: moves.now)
        for _ in range(120):
            ask = moves.next()
            expected = law.answer(ask)
            (found,) = await store.exchange([ask])
            assert found == expected, ask
            moves.note(ask, found)
        await store.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
