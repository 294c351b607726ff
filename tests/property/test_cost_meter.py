"""Costs under any price and usage: exact, never negative, and the sum of their parts but for the rounding."""

from __future__ import annotations

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ai_client.cost.meter import cost_nano, estimate_nano
from ai_client.cost.prices import Price
from ai_client.model.usage import Usage

nano = st.integers(0, 10**12)
counts = st.integers(0, 10**9)
prices = st.builds(Price, nano, nano, nano)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """A usage as a provider should send it."""
    tokens = draw(counts)
    return Usage(tokens, draw(counts), draw(st.integers(0, tokens)))


def plus(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cached_input_tokens + other.cached_input_tokens,
    )


@given(prices, usages())
def test_it_is_the_exact_cost_rounded_half_up(price: Price, usage: Usage) -> None:
    fresh = usage.input_tokens - usage.cached_input_tokens
    exact = Fraction(
        fresh * price.input + usage.cached_input_tokens * price.cached_input + usage.output_tokens * price.output, 10**6
    )
    assert -Fraction(1, 2) < cost_nano(price, usage) - exact <= Fraction(1, 2)


@given(prices, st.integers(), st.integers(), st.integers())
def test_it_is_never_negative_whatever_a_provider_says(
    price: Price, given_in: int, given_out: int, cached: int
) -> None:
    assert cost_nano(price, Usage(given_in, given_out, cached)) >= 0


@given(prices, st.lists(usages(), min_size=1, max_size=8))
def test_the_parts_add_up_but_for_half_a_nano_dollar_each(price: Price, parts: list[Usage]) -> None:
    whole = parts[0]
    for part in parts[1:]:
        whole = plus(whole, part)
    apart = sum(cost_nano(price, part) for part in parts)
    assert abs(apart - cost_nano(price, whole)) <= (len(parts) + 1) // 2


@given(prices, usages(), counts, counts)
def test_more_tokens_never_cost_less(price: Price, usage: Usage, more_in: int, more_out: int) -> None:
    assert cost_nano(price, plus(usage, Usage(more_in, more_out))) >= cost_nano(price, usage)


@given(prices, usages(), st.sampled_from(["input", "cached_input", "output"]), nano)
def test_a_higher_price_never_costs_less(price: Price, usage: Usage, which: str, more: int) -> None:
    dearer = msgspec.structs.replace(price, **{which: getattr(price, which) + more})
    assert cost_nano(dearer, usage) >= cost_nano(price, usage)


@given(prices, usages())
def test_an_estimate_is_not_below_the_cost_where_cached_tokens_are_cheaper(price: Price, usage: Usage) -> None:
    price = msgspec.structs.replace(price, cached_input=min(price.cached_input, price.input))
    assert estimate_nano(price, usage.input_tokens, usage.output_tokens) >= cost_nano(price, usage)
