"""Token counts."""

from __future__ import annotations

from ai_client.model.usage import NO_USAGE, Usage


def test_the_total_is_input_and_output() -> None:
    assert Usage(10, 5, cached_input_tokens=4, reasoning_tokens=3).total_tokens == 15
    assert NO_USAGE.total_tokens == 0
