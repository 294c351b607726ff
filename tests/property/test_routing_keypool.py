"""Laws of taking turns: nobody gets more than a turn beyond his weight, whoever is out meanwhile."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ai_client.model.call import Target
from ai_client.routing.keypool import BARRED, KeyPool, Member

ASKED = Target("p", "m", "m")
WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=6)


def pool(weights: list[int], seed: int = 1) -> KeyPool:
    return KeyPool(
        [Member(f"k{at}", each, f"u{at}", {"m": "m"}) for at, each in enumerate(weights)], random.Random(seed)
    )


@given(WEIGHTS, st.integers(0, 1000), st.integers(1, 200))
def test_a_key_s_turns_are_its_weight_s_within_one_each(weights: list[int], seed: int, count: int) -> None:
    ring = pool(weights, seed)
    got = dict.fromkeys((f"k{at}" for at in range(len(weights))), 0)
    for _ in range(count):
        seat = ring.choose(ASKED, lambda _: 0)
        assert seat is not None
        got[seat.member.name] += 1
    for at, weight in enumerate(weights):
        assert abs(got[f"k{at}"] - count * weight / sum(weights)) <= len(weights) - 1 + 0.5


@given(WEIGHTS, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60), st.binary(max_size=4))
def test_what_is_chosen_stands_best_and_was_not_tried(
    weights: list[int], steps: list[tuple[int, int]], prefix: bytes
) -> None:
    ring = pool(weights)
    costs = {f"k{at}": 0 for at in range(len(weights))}
    for at, cost in steps:
        costs[f"k{at % len(weights)}"] = cost if cost < 5 else BARRED
        tried = [f"p.k{cost % len(weights)}/m"] if at > 2 else []
        left = {name: each for name, each in costs.items() if f"p.{name}/m" not in tried}
        seat = ring.choose(ASKED, lambda target: costs[target.member], prefix, tried)
        if not left or (tried and min(left.values()) >= BARRED):
            assert seat is None
        else:
            assert seat is not None
            assert costs[seat.member.name] == min(left.values())
            assert seat.target.name not in tried
