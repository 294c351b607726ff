from __future__ import annotations

import pytest

from ai_client.model.usage import BROKEN, NO_USAGE, Lost, Usage
from ai_client.telemetry.base import Sink
from ai_client.telemetry.stats import Latencies, StatsSink
from tests.unit.telemetry.hands import failed, record

MS = 1_000_000


def test_nothing_yet() -> None:
    assert StatsSink().snapshot() == {
        "requests": {},
        "errors": {},
        "total_requests": 0,
        "total_errors": 0,
        "error_rate": 0.0,
        "avg_latency_ms": 0.0,
        "p50_latency_ms": 0.0,
        "p95_latency_ms": 0.0,
        "p99_latency_ms": 0.0,
        "attempt_failures": 0,
        "cache_hits": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_usd": 0.0,
        "unpriced": 0,
    }


def test_figures() -> None:
    stats = StatsSink()
    sink: Sink = stats
    for ms in range(1, 101):
        sink.finished(record(duration_ns=ms * MS))
    sink.finished(record(model="gpt-4.1", duration_ns=50_500_000, cache="hit", usage=NO_USAGE, cost_nano=0))
    sink.finished(record(model="gpt-4.1", status=502, error="upstream_error", duration_ns=9_000 * MS, usage=NO_USAGE))
    sink.finished(record(model="", asked_model="gpt-4", status=404, error="model_not_found", cost_nano=0))
    sink.attempt_failed(failed())
    sink.close()
    figures = stats.snapshot()
    assert figures["requests"] == {"deepseek-v3.2": 100, "gpt-4.1": 1}
    assert figures["errors"] == {"gpt-4.1": 1, "gpt-4": 1}
    assert figures["total_requests"] == 103
    assert figures["total_errors"] == 2
    assert figures["error_rate"] == pytest.approx(2 / 103)
    assert figures["avg_latency_ms"] == 50.5  # failed calls do not count: a quick refusal is no fast answer
    assert figures["p50_latency_ms"] == pytest.approx(51, rel=0.008)
    assert figures["p95_latency_ms"] == pytest.approx(95, rel=0.02)
    assert figures["p99_latency_ms"] == pytest.approx(99, rel=0.02)
    assert figures["attempt_failures"] == 1
    assert figures["cache_hits"] == 1
    assert figures["input_tokens"] == 101 * 230
    assert figures["output_tokens"] == 101 * 450
    assert figures["cost_usd"] == pytest.approx(101 * 0.000123456)


def test_what_was_lost_was_spent_too() -> None:
    stats = StatsSink()
    stats.finished(record(lost=(Lost("other/mini", "mini", Usage(20, 7), 1000, BROKEN),)))
    figures = stats.snapshot()
    assert (figures["input_tokens"], figures["output_tokens"]) == (250, 457)


def test_a_snapshot_stays_as_it_was() -> None:
    stats = StatsSink()
    stats.finished(record())
    before = stats.snapshot()
    stats.finished(record())
    assert before["requests"] == {"deepseek-v3.2": 1}


def test_models_are_bounded() -> None:
    stats = StatsSink()
    for number in range(150):
        stats.finished(record(model="", asked_model=f"typo{number}", status=404, error="model_not_found"))
    errors = stats.snapshot()["errors"]
    assert len(errors) == 101
    assert errors["other"] == 50


@pytest.mark.parametrize(("ns", "nearest"), [(0, 64.5), (127, 64.5), (2**60, 2**45)])
def test_durations_out_of_range_count_at_its_ends(ns: int, nearest: float) -> None:
    latencies = Latencies()
    latencies.add(ns)
    assert latencies.percentile(50) == pytest.approx(nearest, rel=0.008)
