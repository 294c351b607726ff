"""What models cost: configured prices over a dated table shipped with the package."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Final, NamedTuple

import msgspec

NANO_PER_USD: Final = 1_000_000_000


class Price(msgspec.Struct, frozen=True, gc=False):
    """Prices of one model, each in nano-dollars (a billionth of a US dollar) per 1,000,000 tokens; never negative.

    `cached_input` is for the part of the prompt that the provider had already seen.
    """

    input: int
    cached_input: int
    output: int

    def __post_init__(self) -> None:
        if min(self.input, self.cached_input, self.output) < 0:
            raise ValueError(f"a price must not be negative: {self!r}")

    @classmethod
    def usd(cls, input_usd: Decimal, output_usd: Decimal, cached_input_usd: Decimal | None = None) -> Price:
        """From US dollars per 1,000,000 tokens; without `cached_input_usd`, cached tokens cost what others do.

        Raises ValueError for a price that is negative or not a finite number.
        """
        cached = input_usd if cached_input_usd is None else cached_input_usd
        return cls(nano_per_million(input_usd), nano_per_million(cached), nano_per_million(output_usd))


class ShippedPrices(NamedTuple):
    """The table that came with the package: when it was read from its sources, what these are, a price a model."""

    as_of: dt.date
    source: str
    models: Mapping[str, Price]


class PriceTable:
    """The price of each model: the configured one if there is one, else the shipped one."""

    def __init__(self, configured: Mapping[str, Price]) -> None:
        """`configured` maps the names that callers use to prices."""
        self._configured = dict(configured)
        self._prices: dict[str, Price] | None = None

    @property
    def as_of(self) -> dt.date:
        """The day on which the shipped prices were read from their sources."""
        return shipped_prices().as_of

    def lookup(self, model: str) -> Price | None:
        """The price of `model`; None when it is not known: that is the caller's to deal with, and never means zero."""
        prices = self._prices
        if prices is None:  # the shipped table is read at the first question, not at every start of the program
            prices = self._prices = {**shipped_prices().models, **self._configured}
        return prices.get(model)


def nano_per_million(usd: Decimal) -> int:
    """US dollars per 1,000,000 tokens as whole nano-dollars per 1,000,000 tokens.

    Anything finer is rounded up, so that no price, however small, turns into zero. Raises ValueError when `usd` is
    negative or not a finite number.
    """
    if not usd.is_finite() or usd < 0:
        raise ValueError(f"{usd} is no price: give US dollars per 1,000,000 tokens, 0 or more")
    return int((usd * NANO_PER_USD).to_integral_value(ROUND_CEILING))


def nano_dollars(usd: Decimal) -> int:
    """US dollars as whole nano-dollars. What is finer is dropped: a budget is no larger than it was written."""
    return int(usd * NANO_PER_USD)


@functools.cache
def shipped_prices() -> ShippedPrices:
    """The table shipped with the package, read once."""
    text = importlib.resources.files("ai_client.cost").joinpath("prices.toml").read_text("utf-8")
    table = tomllib.loads(text)
    models = {
        model: Price.usd(
            Decimal(entry["input"]),
            Decimal(entry["output"]),
            Decimal(entry["cached_input"]) if "cached_input" in entry else None,
        )
        for model, entry in table["models"].items()
    }
    return ShippedPrices(table["as_of"], table["source"].strip(), models)
