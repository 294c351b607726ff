"""Token counts of one answer, and what attempts cost whose answer was not the call's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ai_client.model.request import Fields


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens spent by one answer.

    `cached_input_tokens` (a prefix the provider had already seen) are part of `input_tokens`, and
    `reasoning_tokens` are part of `output_tokens`, as in OpenAI's usage object. `estimated` is True when the
    provider did not say and the figures are ours.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


NO_USAGE = Usage()


def as_members(usage: Usage) -> dict[str, int | bool]:
    """As OpenAI's `usage`; a count of ours says so."""
    members: dict[str, int | bool] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    return {**members, "estimated": True} if usage.estimated else members


Count = Callable[[str, Fields, int], Usage]
"""Our own count where the provider gave none: of a model's prompt, and of an answer of so many characters."""

CHARS_PER_TOKEN: Final = 4
"""Of English text, where nothing is known of the model."""


def by_length(_model: str, fields: Fields, output_chars: int) -> Usage:
    """A `Count` that knows nothing of the model."""
    return Usage(fields.input_chars // CHARS_PER_TOKEN, -(-output_chars // CHARS_PER_TOKEN), estimated=True)


def plus(a: Usage, b: Usage) -> Usage:
    """Both together; estimated if one of them is."""
    return Usage(
        a.input_tokens + b.input_tokens,
        a.output_tokens + b.output_tokens,
        a.cached_input_tokens + b.cached_input_tokens,
        a.reasoning_tokens + b.reasoning_tokens,
        a.estimated or b.estimated,
    )


class Lost(msgspec.Struct, frozen=True, gc=False):
    """What an attempt cost whose answer nobody got, or not alone. `target` is `provider/model`; money is nano-dollars.

    `why` is one of `LOST_WHY`.
    """

    target: str
    model: str
    usage: Usage
    cost_nano: int
    why: str


CANCELLED = "cancelled"
"""The caller went away before the answer began: its prompt is booked."""
BROKEN = "broken"
"""An answer that broke off before anybody had seen of it, or that another attempt took up: what had come is booked."""
HEDGE = "hedge"
"""The slower one of two requests for one answer: its prompt is booked, and what had come."""
LOST_WHY = (CANCELLED, BROKEN, HEDGE)
