"""The optimizer: classes, models, costs and savings, against figures reckoned by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ai_client.cost.prices import Price, PriceTable
from ai_client.errors import UnknownModelError
from ai_client.optimizer import CostOptimizer, calculate_cost
from ai_client.routing.complexity import QueryComplexity


def test_model_costs_can_be_read_from_the_class_and_the_object() -> None:
    costs = CostOptimizer.MODEL_COSTS
    assert costs["deepseek-v3.2"] == {"input": 0.14, "cached_input": 0.14, "output": 0.28}
    assert costs["gpt-4.1"]["cached_input"] == 0.5
    assert costs == CostOptimizer().MODEL_COSTS


def test_writing_into_model_costs_changes_nothing() -> None:
    CostOptimizer.MODEL_COSTS["gpt-4.1"]["input"] = 0.0
    assert CostOptimizer.MODEL_COSTS["gpt-4.1"]["input"] == 2.0


def test_prompts_are_classified() -> None:
    assert CostOptimizer().classify_complexity("hi") is QueryComplexity.SIMPLE
    assert CostOptimizer().classify_complexity("explain why") is QueryComplexity.COMPLEX


@pytest.mark.parametrize(
    ("complexity", "model", "usd_per_1k"),
    [
        (QueryComplexity.SIMPLE, "deepseek-v3.2", 0.00021),
        (QueryComplexity.MODERATE, "gemini-2.5-flash", 0.0014),
        (QueryComplexity.COMPLEX, "claude-sonnet-4.5", 0.009),
    ],
)
def test_a_model_for_each_complexity(complexity: QueryComplexity, model: str, usd_per_1k: float) -> None:
    chosen, price = CostOptimizer().select_model(complexity)
    assert chosen == model
    assert price == pytest.approx(usd_per_1k)


def test_a_model_can_be_forced() -> None:
    assert CostOptimizer().select_model(QueryComplexity.SIMPLE, "gpt-4.1") == ("gpt-4.1", 0.005)
    with pytest.raises(UnknownModelError, match="price of 'gpt-9' is not known"):
        CostOptimizer().select_model(QueryComplexity.SIMPLE, force_model="gpt-9")


def test_own_models() -> None:
    own = dict.fromkeys(QueryComplexity, "gpt-4.1")
    assert CostOptimizer(models=own).select_model(QueryComplexity.SIMPLE)[0] == "gpt-4.1"
    with pytest.raises(ValueError, match="names none for moderate, complex prompts"):
        CostOptimizer(models={QueryComplexity.SIMPLE: "gpt-4.1"})


def test_the_cost_of_a_call() -> None:
    assert CostOptimizer().calculate_cost("gpt-4.1", 1000, 500) == 0.006
    assert calculate_cost("gpt-4.1", 1_000_000, 1_000_000) == 10.0
    assert calculate_cost("deepseek-v3.2", 0, 0) == 0.0


def test_an_unknown_model_is_no_guess() -> None:
    with pytest.raises(UnknownModelError) as caught:
        calculate_cost("gpt-9", 1, 1)
    assert caught.value.param == "model"


@pytest.mark.parametrize("tokens", [(-1, 0), (0, -1)])
def test_negative_tokens(tokens: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="negative"):
        calculate_cost("gpt-4.1", *tokens)


def test_own_costs_go_before_a_table_and_that_before_the_shipped() -> None:
    table = PriceTable({"gpt-4.1": Price.usd(Decimal(1), Decimal(1)), "ours": Price.usd(Decimal(5), Decimal(5))})
    optimizer = CostOptimizer(costs={"ours": {"input": 0.1, "output": 0.7, "cached_input": 0.05}}, prices=table)
    assert optimizer.calculate_cost("ours", 1_000_000, 1_000_000) == 0.8
    assert optimizer.calculate_cost("gpt-4.1", 1_000_000, 0) == 1.0
    assert optimizer.calculate_cost("deepseek-v3.2", 1_000_000, 0) == 0.14
    assert calculate_cost("gpt-4.1", 1_000_000, 0, prices=table) == 1.0


@pytest.mark.parametrize("cost", [{"input": 1.0}, {"input": 1.0, "output": 1.0, "outptu": 2.0}])
def test_costs_with_a_wrong_shape(cost: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="costs of 'm' need input and output"):
        CostOptimizer(costs={"m": cost})


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf")])
def test_costs_that_are_none(usd: float) -> None:
    with pytest.raises(ValueError, match="is no price"):
        CostOptimizer(costs={"m": {"input": usd, "output": 1.0}})


def test_savings() -> None:
    # Now 5e8 tokens at 0.01 a thousand; then 3.5e8 at 0.42, 1.25e8 at 2.50 and 2.5e7 at 15 a million.
    assert CostOptimizer().calculate_savings(1_000_000, 500) == {
        "current_monthly_cost": 5000.0,
        "holy_sheep_monthly_cost": 147.0 + 312.5 + 375.0,
        "monthly_savings": 4165.5,
        "savings_percent": 83.3,
        "breakdown": {
            "deepseek_v3_2_requests": 700_000,
            "gemini_2_5_flash_requests": 250_000,
            "claude_sonnet_4_5_requests": 50_000,
        },
    }


def test_savings_may_be_a_loss() -> None:
    lost = CostOptimizer().calculate_savings(1000, 1000, current_usd_per_1k=0.001)
    assert (lost["current_monthly_cost"], lost["monthly_savings"]) == (1.0, -0.67)
    assert lost["savings_percent"] == -66.9


@pytest.mark.parametrize(("requests", "tokens"), [(0, 500), (500, 0)])
def test_nothing_costs_nothing_and_saves_nothing(requests: int, tokens: int) -> None:
    none = CostOptimizer().calculate_savings(requests, tokens)
    assert (none["monthly_savings"], none["savings_percent"]) == (0.0, 0.0)


def test_own_assumptions() -> None:
    own = CostOptimizer().calculate_savings(
        1000,
        1000,
        "somebody",
        shares={"gpt-4.1": 0.5, "deepseek-v3.2": 0.5},
        usd_per_million={"deepseek-v3.2": 1.0},
        current_usd_per_1k=0.02,
    )
    # gpt-4.1 has no figure of its own here, and costs the mean of 2 and 8.
    assert own["current_monthly_cost"] == 20.0
    assert own["holy_sheep_monthly_cost"] == 0.5 * 5.0 + 0.5 * 1.0
    assert own["breakdown"] == {"gpt_4_1_requests": 500, "deepseek_v3_2_requests": 500}


@pytest.mark.parametrize("requests", [*range(12), 90, 1_319, 10**15 + 7])
def test_the_breakdown_loses_no_request(requests: int) -> None:
    for shares in ({"a": 0.7, "b": 0.25, "c": 0.05}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, {"a": 1.0}):
        savings = CostOptimizer().calculate_savings(
            requests, 1, shares=shares, usd_per_million=dict.fromkeys(shares, 1.0)
        )
        assert sum(savings["breakdown"].values()) == requests
        assert all(
            abs(savings["breakdown"][f"{name}_requests"] - requests * share) < 1.5 for name, share in shares.items()
        )


def test_unreasonable_questions() -> None:
    optimizer = CostOptimizer()
    with pytest.raises(ValueError, match="must not be negative"):
        optimizer.calculate_savings(-1, 1)
    with pytest.raises(ValueError, match="must not be negative"):
        optimizer.calculate_savings(1, -1)
    with pytest.raises(ValueError, match="sum up to 1"):
        optimizer.calculate_savings(1, 1, shares={"gpt-4.1": 0.9})
    with pytest.raises(ValueError, match="sum up to 1"):
        optimizer.calculate_savings(1, 1, shares={"gpt-4.1": 1.5, "o3": -0.5})
    with pytest.raises(ValueError, match="no price is assumed for the provider 'somebody'"):
        optimizer.calculate_savings(1, 1, "somebody")
    with pytest.raises(UnknownModelError):
        optimizer.calculate_savings(1, 1, shares={"gpt-9": 1.0})
