"""Amounts in windows of time: `10/second, 500/minute`."""

from __future__ import annotations

import re
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from ai_client.config.values import Kind

WINDOWS: Final = MappingProxyType({"second": 1, "minute": 60, "hour": 3600, "day": 86_400})
"""The windows in which amounts are granted, in seconds."""

Rates = tuple[tuple[int, str], ...]
"""Amounts, each with its window. Money is in nano-dollars."""

_ITEM: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) */ *(second|minute|hour|day)", re.ASCII)
_NANO: Final = 1_000_000_000


def rates(*, money: bool = False) -> Kind[Rates]:
    """`AMOUNT/WINDOW`, several separated by commas, each window once; whole numbers, or US dollars."""
    unit = _NANO if money else 1

    def parse(text: str) -> Rates:
        found: dict[str, int] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            match = _ITEM.fullmatch(item)
            amount = Decimal(match[1]) * unit if match else Decimal(0)
            if match is None or match[2] in found or amount < 1 or amount != int(amount):
                raise ValueError(text)
            found[match[2]] = int(amount)
        return tuple((amount, window) for window, amount in found.items())

    def show(value: Rates) -> str:
        return ", ".join(f"{_short(Decimal(amount) / unit)}/{window}" for amount, window in value)

    what = "amounts of USD" if money else "whole numbers"
    allowed = f"{what} above 0, each with its window (`{'2.50' if money else '500'}/minute`; second, minute, hour, day)"
    return Kind("rates", f"{allowed}, or nothing", parse, show)


def _short(amount: Decimal) -> str:
    return format(amount.normalize(), "f")
