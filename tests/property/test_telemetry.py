"""Telemetry under whatever may come: percentiles keep their bound, and a line stays one line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ai_client.telemetry.stats import Latencies
from ai_client.telemetry.text import tame, text_line

durations = st.integers(min_value=128, max_value=2**45 - 1)


@given(st.lists(durations, min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_percentile_is_within_its_bound_of_the_nearest_rank(values: Sequence[int], percent: int) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[max(1, -(-len(values) * percent // 100)) - 1]
    assert abs(latencies.percentile(percent) - exact) <= exact / 128


@given(st.text(st.characters(), max_size=300))
def test_a_tamed_value_is_printable_and_a_good_one_is_left_as_it_is(value: str) -> None:
    tamed = tame(value)
    assert tamed.isprintable()
    assert len(value) > 256 or not value.isprintable() or tamed == value


@given(st.dictionaries(st.sampled_from("abcdef"), st.text(st.characters(), max_size=200) | st.integers() | st.none()))
def test_a_text_line_is_one_line_whose_values_come_back(fields: dict[str, str | int | None]) -> None:
    line = text_line(("now", "INFO", "event"), fields.items()).decode()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    rest = line[len("now INFO event") : -1]
    for name, value in fields.items():
        rest = rest.removeprefix(f" {name}=")
        if rest.startswith('"'):
            found, end = json.JSONDecoder().raw_decode(rest)
        else:
            end = rest.find(" ") if " " in rest else len(rest)
            found = rest[:end] if isinstance(value, str) else json.loads(rest[:end])
        assert found == value
        rest = rest[end:]
    assert rest == ""
