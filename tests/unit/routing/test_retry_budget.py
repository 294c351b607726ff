"""How many retries a target gets."""

from __future__ import annotations

from ai_client.routing.retry_budget import SPAN_NS, RetryBudget


def test_light_traffic_has_its_floor() -> None:
    budget = RetryBudget(0.2, 3)
    assert [budget.allow(0) for _ in range(5)] == [True, True, True, False, False]
    assert budget.denied == 2


def test_traffic_earns_a_share_of_itself() -> None:
    budget = RetryBudget(0.2, 0)
    assert not budget.allow(0)
    for _ in range(50):
        budget.request(0)
    assert sum(budget.allow(0) for _ in range(50)) == 10


def test_what_is_past_earns_nothing_and_costs_nothing() -> None:
    budget = RetryBudget(0.2, 1)
    for _ in range(50):
        budget.request(0)
    assert sum(budget.allow(SPAN_NS // 2) for _ in range(50)) == 11
    assert not budget.allow(SPAN_NS), "the calls are forgotten, the retries are not"
    assert budget.allow(SPAN_NS // 2 * 3)


def test_no_share_and_no_floor_is_no_retry() -> None:
    budget = RetryBudget(0.0, 0)
    budget.request(0)
    assert not budget.allow(0)
