"""What an answer costs, by hand."""

from __future__ import annotations

import pytest

from ai_client.cost.meter import cost_nano, estimate_nano
from ai_client.cost.prices import Price
from ai_client.model.usage import NO_USAGE, Usage

GPT = Price(input=2_000_000_000, cached_input=500_000_000, output=8_000_000_000)


def test_nothing_costs_nothing() -> None:
    assert cost_nano(GPT, NO_USAGE) == 0


def test_input_and_output() -> None:
    assert cost_nano(GPT, Usage(1000, 500)) == 1000 * 2000 + 500 * 8000


def test_cached_input_has_its_own_price() -> None:
    assert cost_nano(GPT, Usage(1000, 0, cached_input_tokens=600)) == 400 * 2000 + 600 * 500


def test_reasoning_is_part_of_the_output() -> None:
    assert cost_nano(GPT, Usage(0, 10, reasoning_tokens=9)) == 10 * 8000


@pytest.mark.parametrize(("tokens", "nano"), [(1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2)])
def test_half_a_nano_dollar_is_rounded_up(tokens: int, nano: int) -> None:
    assert cost_nano(Price(250_000, 0, 0), Usage(tokens)) == nano


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        (Usage(10, 5, 20), Usage(10, 5, 10)),
        (Usage(10, 5, -1), Usage(10, 5, 0)),
        (Usage(-10, 5, 3), Usage(0, 5, 0)),
        (Usage(10, -5, 3), Usage(10, 0, 3)),
    ],
)
def test_impossible_counts_are_no_credit(slip: Usage, meant: Usage) -> None:
    assert cost_nano(GPT, slip) == cost_nano(GPT, meant)


def test_an_estimate_takes_nothing_for_cached() -> None:
    assert estimate_nano(GPT, 1000, 500) == cost_nano(GPT, Usage(1000, 500))
