"""What calls cost, and which model is worth it: for a program that chooses for itself.

The pipeline does the same for every call that asks for the model `auto`, with the configured models and prices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from ai_client.cost.meter import estimate_nano
from ai_client.cost.prices import NANO_PER_USD, Price, PriceTable, shipped_prices
from ai_client.errors import UnknownModelError
from ai_client.routing.complexity import QueryComplexity, classify

MODELS: Final[Mapping[QueryComplexity, str]] = MappingProxyType(
    {
        QueryComplexity.SIMPLE: "deepseek-v3.2",
        QueryComplexity.MODERATE: "gemini-2.5-flash",
        QueryComplexity.COMPLEX: "claude-sonnet-4.5",
    }
)
"""The model for each complexity, unless told otherwise."""

SHARES: Final[Mapping[str, float]] = MappingProxyType(
    {"deepseek-v3.2": 0.70, "gemini-2.5-flash": 0.25, "claude-sonnet-4.5": 0.05}
)
"""The part of all requests that each model is assumed to take when prompts are routed by complexity."""

BLENDED_USD_PER_MILLION: Final[Mapping[str, float]] = MappingProxyType(
    {"deepseek-v3.2": 0.42, "gemini-2.5-flash": 2.50, "claude-sonnet-4.5": 15.0}
)
"""US dollars per 1,000,000 tokens, input and output alike, that `calculate_savings` reckons with: HolySheep's own
one-figure prices. They are as high as the models' dearer side, output, or higher: savings come out small, not big."""

CURRENT_USD_PER_1K: Final[Mapping[str, float]] = MappingProxyType({"openai": 0.01})
"""US dollars per 1,000 tokens assumed for a present provider. openai: GPT-4 Turbo's input price, the cheaper side."""


class _ShippedCosts:
    """`CostOptimizer.MODEL_COSTS`: the shipped prices, read when somebody looks."""

    def __get__(self, instance: object, owner: type | None = None) -> dict[str, dict[str, float]]:
        return {
            model: {
                "input": price.input / NANO_PER_USD,
                "cached_input": price.cached_input / NANO_PER_USD,
                "output": price.output / NANO_PER_USD,
            }
            for model, price in shipped_prices().models.items()
        }


class CostOptimizer:
    """Sorts prompts by complexity, names the model for each, and reckons what that costs and saves. No I/O."""

    MODEL_COSTS = _ShippedCosts()
    """The shipped prices: `{model: {"input": …, "cached_input": …, "output": …}}`, US dollars per 1,000,000 tokens."""

    def __init__(
        self,
        *,
        costs: Mapping[str, Mapping[str, float]] | None = None,
        prices: PriceTable | None = None,
        models: Mapping[QueryComplexity, str] = MODELS,
    ) -> None:
        """`costs` has the shape of `MODEL_COSTS` (`cached_input` may be left out) and goes before `prices`, a client's
        own table; without either the shipped prices count. `models` names a model for each complexity.

        Raises ValueError for a price that is negative or no number, or a complexity without a model.
        """
        self._costs = {model: _price(model, cost) for model, cost in (costs or {}).items()}
        self._prices = prices or PriceTable({})
        missing = [each.value for each in QueryComplexity if each not in models]
        if missing:
            raise ValueError(f"models names none for {', '.join(missing)} prompts")
        self._models = dict(models)

    def classify_complexity(self, prompt: str) -> QueryComplexity:
        """How hard `prompt` (its text) looks: by patterns of words, not by a model. Any text has an answer.

        The patterns stand in `ai_client.routing.complexity`; `auto` chooses by the same ones.
        """
        return classify(prompt)

    def select_model(self, complexity: QueryComplexity, force_model: str | None = None) -> tuple[str, float]:
        """The model for prompts of this complexity (or `force_model`), and its price in US dollars per 1,000 tokens.

        The price is the mean of the input and the output price: right for calls that read as much as they write.
        Raises `UnknownModelError` when the model's price is not known.
        """
        model = force_model or self._models[complexity]
        price = self._price(model)
        return model, (price.input + price.output) / 2 / 1000 / NANO_PER_USD

    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """What a call of so many tokens costs, in US dollars, at this optimizer's prices; none of them were cached.

        Raises `UnknownModelError` when the model's price is not known, ValueError for a negative number of tokens.
        """
        if input_tokens < 0 or output_tokens < 0:
            raise ValueError(
                f"a number of tokens is negative: input_tokens={input_tokens}, output_tokens={output_tokens}"
            )
        return estimate_nano(self._price(model), input_tokens, output_tokens) / NANO_PER_USD

    def calculate_savings(
        self,
        monthly_requests: int,
        avg_tokens_per_request: float,
        current_provider: str = "openai",
        *,
        shares: Mapping[str, float] = SHARES,
        usd_per_million: Mapping[str, float] = BLENDED_USD_PER_MILLION,
        current_usd_per_1k: float | None = None,
    ) -> dict[str, Any]:
        """What a month costs now, and what it would cost with prompts routed by complexity.

        Assumes that `shares` of the requests go to each model (together 1), that all requests are alike in tokens, and
        one price for input and output: `usd_per_million` a model, `current_usd_per_1k` now (by default that of
        `current_provider`, see `CURRENT_USD_PER_1K`). The shares and prices assumed are those of HolySheep's deployment
        guides; they are no measurement. A model without a price there costs the mean of its two prices.

        Returns US dollars rounded to cents (`current_monthly_cost`, `holy_sheep_monthly_cost`, `monthly_savings`, which
        is negative when it costs more), `savings_percent` of the current cost (0 when that is 0), and `breakdown`, the
        requests of each model (`deepseek_v3_2_requests`, …), which sum up to `monthly_requests`.

        Raises ValueError for negative numbers, shares that do not sum up to 1, and a provider without an assumed price;
        `UnknownModelError` for a model without any.
        """
        if monthly_requests < 0 or avg_tokens_per_request < 0:
            raise ValueError("monthly_requests and avg_tokens_per_request must not be negative")
        if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1.0) > 1e-9:
            raise ValueError(f"shares must be 0 or more and sum up to 1: {dict(shares)}")
        if current_usd_per_1k is None:
            current_usd_per_1k = _current_price(current_provider)
        tokens = monthly_requests * avg_tokens_per_request
        current = tokens / 1000 * current_usd_per_1k
        routed = sum(tokens * share / 1e6 * self._blended(model, usd_per_million) for model, share in shares.items())
        return {
            "current_monthly_cost": round(current, 2),
            "holy_sheep_monthly_cost": round(routed, 2),
            "monthly_savings": round(current - routed, 2),
            "savings_percent": round((current - routed) / current * 100, 1) if current else 0.0,
            "breakdown": _breakdown(monthly_requests, shares),
        }

    def _price(self, model: str) -> Price:
        price = self._costs.get(model) or self._prices.lookup(model)
        if price is None:
            raise UnknownModelError(
                f"the price of {model!r} is not known: give it in `costs`, or in the configuration's [model_costs]",
                param="model",
            )
        return price

    def _blended(self, model: str, usd_per_million: Mapping[str, float]) -> float:
        if model in usd_per_million:
            return usd_per_million[model]
        price = self._price(model)
        return (price.input + price.output) / 2 / NANO_PER_USD


def calculate_cost(model: str, input_tokens: int, output_tokens: int, *, prices: PriceTable | None = None) -> float:
    """What a call of so many tokens costs, in US dollars, at the shipped prices or those of `prices`.

    The shipped ones stand with their date and sources in src/ai_client/cost/prices.toml; a provider may have changed
    its own since.

    Raises `UnknownModelError` when the model's price is not known, ValueError for a negative number of tokens.
    """
    return CostOptimizer(prices=prices).calculate_cost(model, input_tokens, output_tokens)


def _breakdown(requests: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole requests for each share, by largest remainder, so that none is lost to rounding."""
    parts = {model: Fraction(str(share)) for model, share in shares.items()}
    total = sum(parts.values())
    exact = {model: requests * part / total for model, part in parts.items()}
    whole = {model: math.floor(part) for model, part in exact.items()}
    left = requests - sum(whole.values())
    for model in sorted(exact, key=lambda each: whole[each] - exact[each])[:left]:
        whole[model] += 1
    return {f"{_identifier(model)}_requests": count for model, count in whole.items()}


def _identifier(model: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in model)


def _current_price(provider: str) -> float:
    price = CURRENT_USD_PER_1K.get(provider)
    if price is None:
        known = ", ".join(CURRENT_USD_PER_1K)
        text = f"no price is assumed for the provider {provider!r}, only for {known}"
        raise ValueError(f"{text}: give current_usd_per_1k, in US dollars")
    return price


def _price(model: str, cost: Mapping[str, float]) -> Price:
    if not {"input", "output"} <= cost.keys() <= {"input", "output", "cached_input"}:
        raise ValueError(f"the costs of {model!r} need input and output, and may hold cached_input: {dict(cost)}")
    cached = cost.get("cached_input")
    return Price.usd(_decimal(cost["input"]), _decimal(cost["output"]), None if cached is None else _decimal(cached))


def _decimal(usd: float) -> Decimal:
    """The number as it is written: 0.14 is 14 cents, not the binary fraction next to it."""
    return Decimal(str(usd))
