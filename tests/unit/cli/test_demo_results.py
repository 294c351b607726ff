"""What a demonstration found: grading, estimates, metrics, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ai_client.batch.tally import LatencySummary, ModelSummary, Summary
from ai_client.cli.demo_results import Grade, Question, Results, estimate, figures_of, graded, is_right, show
from ai_client.config.load import from_mapping

METRICS = """# HELP ai_client_requests_total Calls finished.
ai_client_requests_total{app="local",model="a\\"b",status="200"} 3.0
ai_client_requests_total{app="local",model="c",status="429"} 1.0
ai_client_attempts_total{target="p/a"} 5.0
ai_client_attempt_failures_total{target="p/a",code="overloaded"} 1.0
ai_client_cache_total{answer="miss"} 4.0
ai_client_queue_seconds_bucket{target="p/a",le="0.005"} 2.0
ai_client_queue_seconds_sum{target="p/a"} 2.0
ai_client_queue_seconds_count{target="p/a"} 4.0
ai_client_in_flight 2.0
"""


@pytest.mark.parametrize(
    ("said", "answer", "right"),
    [
        ("so\n#### 18", "18", True),
        ("#### 17\n#### 18", "18", True),
        ("#### $1,800.00.", "1800", True),
        ("#### -3", "-3", True),
        ("#### 0.5", "0.5", True),
        ("#### 19", "18", False),
        ("18", "18", False),
        ("#### 18", "eighteen", False),
        ("#### 1,2", "12", True),
    ],
)
def test_grading(said: str, answer: str, right: bool) -> None:
    assert is_right(said, answer) is right


def test_answers_are_graded_by_model() -> None:
    def line(name: str, model: str, content: str | None) -> bytes:
        body = {"choices": [{"message": {"content": content}}]}
        return msgspec.json.encode({"custom_id": name, "response": {"body": body}, "ai_client": {"model": model}})

    book = {name: Question(name, "?", "1") for name in "abc"}
    lines = [line("a", "m", "#### 1"), line("b", "m", None), line("c", "n", "#### 1")]
    assert graded(lines, book) == {"m": Grade(2, 1), "n": Grade(1, 1)}


def test_an_estimate_follows_the_routing() -> None:
    sections = {
        "api": {"models": "*"},
        "routing": {"complex": "nobody-knows", "aliases": "fast: gpt-4.1", "simple": "gpt-4.1"},
    }
    config = from_mapping(sections)
    questions = [
        Question("a", "x" * 400, "1"),  # moderate: gemini-2.5-flash, 0.30 in, 2.50 out
        Question("b", "Why? Explain this.", "1"),
        Question("c", "Explain that too.", "1"),
    ]
    found = estimate(config, questions, "y" * 40)
    assert (found.input_tokens, found.output_tokens) == (110 + 15 + 15, 600)
    assert found.usd == pytest.approx((110 * 0.30 + 200 * 2.50) / 1e6)
    assert found.unpriced == ["nobody-knows"]


def test_metrics_are_read() -> None:
    metrics = figures_of(METRICS)
    assert metrics.total("requests_total") == 4
    assert metrics.total("requests_total", status="429") == 1
    assert metrics.total("in_flight") == 2
    assert metrics.total("nothing") == 0
    assert metrics.by("cache_total", "answer") == {"miss": 4.0}


def results(*, metrics: str | None, failed: int = 0, resumed: int = 0, cost: float = 0.5) -> Results:
    models = {"m": ModelSummary(3, 30, 0, 6, cost), "n": ModelSummary(1, 10, 0, 2, None)}
    summary = Summary(
        "complete", "", "out", "err", "t", 4 + failed, 0, 4, resumed, failed, 0, 0, 2.0, 2.0,
        LatencySummary(10.0, 20.0, 30.0), 40, 8, cost, models,
    )  # fmt: skip
    found = None if metrics is None else figures_of(metrics)
    return Results(summary, [{"model": "gpt-4.1", "cost_usd": 2.0}], {"m": Grade(3, 2)}, found, Path("results/x"))


def test_everything_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show(results(metrics=METRICS))
    told = capsys.readouterr().out
    for text in (
        "answered    4 of 4\n",
        "throughput  2.0 answers/s, 2.0 s in all",
        "p50 10 ms, p95 20 ms, p99 30 ms",
        "66.7 %",
        "unknown",
        "gpt-4.1",
        "4.00 ×",
        "attempts    5 for 4 calls; failed and tried again: 1 overloaded",
        "waited 500 ms for quota",
        "cache       4 miss",
        "results     results/x: report.html",
    ):
        assert text in told


def test_what_is_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    show(results(metrics=None, failed=1, resumed=2, cost=0.0))
    told = capsys.readouterr().out
    assert "answered    4 of 5, 2 of them before" in told
    assert "failed      1: see err" in told
    assert "gives no figures of its own" in told
    show(results(metrics=""))
    told = capsys.readouterr().out
    assert "tried again: none" in told
    assert "cache       not asked" in told
