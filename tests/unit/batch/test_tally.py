"""Counting, and the summary of what was counted."""

from __future__ import annotations

import msgspec
import pytest

from ai_client.batch.job import Ending
from ai_client.batch.store import Answered, Failed
from ai_client.batch.tally import Failures, Summary, Tally, Timeline, Whereabouts, summarise
from ai_client.cost.prices import Price
from ai_client.model.usage import Usage

MS = 1_000_000
SECOND = 1000 * MS
PRICES = {"m": Price(1, 1, 1)}


def answer(line: int, *, model: str = "m", cost: int = 500, cache: str = "", latency_ms: int = 10) -> Answered:
    usage = Usage(100, 20, 30)
    return Answered(line, str(line), 200, "r", b"{}", model, "p/m", 1, cache, cost, latency_ms * MS, usage)


def summary_of(tally: Tally, ending: Ending = Ending.COMPLETE, seconds: int = 2) -> Summary:
    return summarise(tally, Whereabouts("out", "err", "here"), ending, "", seconds * SECOND, PRICES.get)


def test_a_summary_adds_up() -> None:
    tally = Tally(10)
    tally.earlier(answer(1))
    for line in (2, 3, 4):
        tally.answer(answer(line, cache="hit" if line == 2 else "coalesced" if line == 3 else "miss"), line * SECOND)
    tally.blank, tally.failed = 2, 1
    found = summary_of(tally)
    assert (found.lines, found.answered, found.resumed, found.failed, found.blank, found.remaining) == (
        10,
        4,
        1,
        1,
        2,
        3,
    )
    assert tally.done == 7
    assert found.cache_hits == 2
    assert found.requests_per_second == 1.5  # three in two seconds; the earlier run's answer is no merit of this one
    assert (found.input_tokens, found.output_tokens) == (400, 80)
    assert found.cost_usd == 0.000002
    assert found.models["m"].cached_input_tokens == 120
    assert found.latency_ms.p50 == pytest.approx(10, rel=0.01)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Summary) == found


def test_failures_are_counted_by_code_and_by_what_becomes_of_them() -> None:
    tally = Tally(50)
    tally.earlier_refused(3)
    tally.failure(Failed(4, "a", "overloaded", "the first", status=503, retryable=True))
    tally.failure(Failed(5, "b", "overloaded", "the second", status=503, retryable=True))
    tally.failure(Failed(6, None, "invalid_line", "line 6: odd"))
    for line in range(7, 37):
        tally.failure(Failed(line, None, f"code {line}", "no", status=400))
    found = summary_of(tally)
    assert (found.failed, found.retryable, found.refused) == (36, 2, 33)
    assert found.failures["overloaded"] == Failures(2, "the first")
    assert found.failures["invalid_line"] == Failures(1, "line 6: odd")
    assert (len(found.failures), next(iter(found.failures))) == (21, "other")  # a provider that invents codes
    assert found.failures["other"].lines == 12


def test_a_model_without_a_price_has_no_known_cost() -> None:
    tally = Tally(3)
    tally.answer(answer(1, model="new", cost=0), 0)
    tally.answer(answer(2, model="m", cost=0, cache="hit"), 0)
    tally.answer(answer(3, model="known elsewhere", cost=7), 0)
    models = summary_of(tally).models
    assert models["new"].cost_usd is None
    assert models["m"].cost_usd == 0.0  # it has a price: the cache's answer was free
    assert models["known elsewhere"].cost_usd == 7e-9  # the daemon knows a price that this process does not


def test_a_run_without_an_answer_has_a_summary() -> None:
    found = summary_of(Tally(3), Ending.INTERRUPTED, seconds=0)
    assert (found.ending, found.remaining, found.requests_per_second, found.latency_ms.p99) == (
        "interrupted",
        3,
        0.0,
        0.0,
    )


def test_a_timeline_counts_by_slices() -> None:
    timeline = Timeline()
    for ns in (0, 99 * MS, 100 * MS, 350 * MS):
        timeline.add(ns)
    assert (timeline.width_ns, timeline.counts) == (100 * MS, [2, 1, 0, 1])


def test_a_timeline_stays_small_and_loses_nothing() -> None:
    timeline = Timeline()
    moments = [0, 1 * SECOND, 39 * SECOND, 40 * SECOND, 3600 * SECOND, 24 * 3600 * SECOND]
    for ns in moments:
        timeline.add(ns)
    assert len(timeline.counts) <= 400
    assert sum(timeline.counts) == len(moments)
    last = len(timeline.counts) - 1
    assert last * timeline.width_ns <= moments[-1] < (last + 1) * timeline.width_ns
    assert timeline.counts[3600 * SECOND // timeline.width_ns] == 1
