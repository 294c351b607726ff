"""What one answer costs, in exact integers."""

from __future__ import annotations

from typing import Final

from ai_client.cost.prices import Price
from ai_client.model.usage import Usage

_MILLION: Final = 1_000_000
_HALF: Final = _MILLION // 2


def cost_nano(price: Price, usage: Usage) -> int:
    """The cost of an answer in nano-dollars, rounded half up once; never negative.

    Counts that no provider should send (negative ones, more cached tokens than there were) are taken for the nearest
    possible ones: a provider's slip must not turn into a credit.
    """
    total = usage.input_tokens
    cached = usage.cached_input_tokens
    output = usage.output_tokens
    if not 0 <= cached <= total or output < 0:
        total = max(total, 0)
        cached = min(max(cached, 0), total)
        output = max(output, 0)
    spent = (total - cached) * price.input + cached * price.cached_input + output * price.output
    return (spent + _HALF) // _MILLION


def estimate_nano(price: Price, input_tokens: int, output_tokens: int) -> int:
    """What a call of that many tokens costs in nano-dollars when nothing of its prompt is cached; never negative."""
    return cost_nano(price, Usage(input_tokens, output_tokens))
