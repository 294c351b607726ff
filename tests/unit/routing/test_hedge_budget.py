"""How many calls may be hedged."""

from __future__ import annotations

from ai_client.routing.hedge_budget import MOST, HedgeBudget


def test_calls_earn_hedges_and_it_begins_with_none() -> None:
    budget = HedgeBudget(0.05)
    assert not budget.take()
    for _ in range(19):
        budget.call()
    assert not budget.take()
    budget.call()
    assert [budget.take(), budget.take()] == [True, False]


def test_only_so_many_are_saved_up() -> None:
    budget = HedgeBudget(1.0)
    for _ in range(10 * MOST):
        budget.call()
    budget.give_back()
    assert sum(budget.take() for _ in range(10 * MOST)) == MOST


def test_what_was_not_sent_comes_back() -> None:
    budget = HedgeBudget(1.0)
    budget.call()
    assert budget.take()
    budget.give_back()
    assert [budget.take(), budget.take()] == [True, False]


def test_another_share_counts_from_now_on() -> None:
    budget = HedgeBudget(0.0)
    budget.call()
    assert not budget.take()
    budget.allow(1.0)
    budget.call()
    assert budget.take()
