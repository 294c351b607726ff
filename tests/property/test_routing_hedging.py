"""The percentile and the budget of hedges, whatever comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_client.routing.hedge_budget import MOST, HedgeBudget
from ai_client.routing.quantile import GENERATION, LEAST_NS, MOST_NS, Quantile

times = st.lists(st.integers(LEAST_NS, MOST_NS), min_size=1, max_size=300)


@given(times, st.integers(1, 100))
def test_a_percentile_is_at_most_a_sixteenth_above_the_nearest_rank(values: list[int], percent: int) -> None:
    quantile = Quantile()
    for value in values:
        quantile.add(value)
    exact = sorted(values)[-(-len(values) * percent // 100) - 1]
    assert exact <= quantile.at(percent) <= exact + exact // 16


@given(st.integers(1, 3), st.integers(0, GENERATION - 1), st.integers(LEAST_NS, MOST_NS))
def test_only_the_last_two_generations_are_remembered(generations: int, more: int, value: int) -> None:
    quantile = Quantile()
    for _ in range(generations * GENERATION + more):
        quantile.add(value)
    assert quantile.seen == min(generations, 1 if more else 2) * GENERATION + more
    assert value <= quantile.at(95) <= value + value // 16


@given(st.floats(0, 1), st.lists(st.sampled_from(["call", "take", "back"]), max_size=400))
def test_hedges_are_never_more_than_their_share(share: float, steps: list[str]) -> None:
    budget = HedgeBudget(share)
    calls = out = saved = 0
    for step in steps:
        if step == "call":
            budget.call()
            calls += 1
        elif step == "take":
            out += budget.take()
        elif out:
            budget.give_back()
            out -= 1
        assert out <= calls * share
    while budget.take():
        saved += 1
    assert saved <= MOST
    assert out + saved <= calls * share
