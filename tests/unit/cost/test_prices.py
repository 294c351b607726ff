"""Prices: configured over shipped, and exact."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from ai_client.cost.prices import Price, PriceTable, nano_per_million, shipped_prices


def test_the_shipped_table() -> None:
    table = shipped_prices()
    assert table.models == {
        "deepseek-v3.2": Price(140_000_000, 140_000_000, 280_000_000),
        "gemini-2.5-flash": Price(300_000_000, 300_000_000, 2_500_000_000),
        "claude-sonnet-4.5": Price(3_000_000_000, 300_000_000, 15_000_000_000),
        "gpt-4.1": Price(2_000_000_000, 500_000_000, 8_000_000_000),
        "text-embedding-3-small": Price(20_000_000, 20_000_000, 0),
    }
    assert table.as_of >= dt.date(2026, 1, 1)
    assert "HolySheep" in table.source
    assert PriceTable({}).as_of == table.as_of


def test_a_configured_price_wins() -> None:
    mine = Price.usd(Decimal(1), Decimal(2))
    table = PriceTable({"gpt-4.1": mine, "our-own": mine})
    assert table.lookup("gpt-4.1") == mine
    assert table.lookup("our-own") == mine
    assert table.lookup("deepseek-v3.2") == shipped_prices().models["deepseek-v3.2"]


def test_an_unknown_price_is_none_and_not_zero() -> None:
    assert PriceTable({}).lookup("gpt-9") is None


def test_a_model_that_costs_nothing_is_known() -> None:
    assert PriceTable({"local": Price(0, 0, 0)}).lookup("local") == Price(0, 0, 0)


def test_from_dollars() -> None:
    assert Price.usd(Decimal("0.14"), Decimal("0.28")) == Price(140_000_000, 140_000_000, 280_000_000)
    assert Price.usd(Decimal(2), Decimal(8), Decimal("0.5")) == Price(2_000_000_000, 500_000_000, 8_000_000_000)
    assert Price.usd(Decimal(2), Decimal(8), Decimal(0)).cached_input == 0


@pytest.mark.parametrize(
    ("usd", "nano"),
    [("0", 0), ("8", 8_000_000_000), ("0.000000001", 1), ("0.0000000001", 1), ("1.0000000001", 1_000_000_001)],
)
def test_no_price_is_rounded_to_nothing(usd: str, nano: int) -> None:
    assert nano_per_million(Decimal(usd)) == nano


@pytest.mark.parametrize("usd", ["-0.01", "NaN", "Infinity", "-Infinity"])
def test_what_is_no_price(usd: str) -> None:
    with pytest.raises(ValueError, match="is no price"):
        nano_per_million(Decimal(usd))


def test_a_negative_price_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Price(1, 1, -1)
