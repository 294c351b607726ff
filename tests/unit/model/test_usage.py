"""Token counts."""

from __future__ import annotations

from ai_client.model.usage import NO_USAGE, Usage, plus


def test_the_total_is_input_and_output() -> None:
    assert Usage(10, 5, cached_input_tokens=4, reasoning_tokens=3).total_tokens == 15
    assert NO_USAGE.total_tokens == 0


def test_a_sum_is_estimated_if_one_of_its_parts_is() -> None:
    assert plus(Usage(1, 2, 3, 4), Usage(10, 20, 30, 40)) == Usage(11, 22, 33, 44)
    assert plus(Usage(1, 2), Usage(10, 20, estimated=True)) == Usage(11, 22, estimated=True)
