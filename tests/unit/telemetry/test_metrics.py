"""What is counted, as a scraper reads it."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ai_client.model.usage import BROKEN, NO_USAGE, Lost, Usage
from ai_client.telemetry import catalogue
from ai_client.telemetry.base import Sink
from ai_client.telemetry.catalogue import BOUNDS_SECONDS, COUNTED, WATCHED, Kind
from ai_client.telemetry.exposition import Exposition
from ai_client.telemetry.metrics import MetricsSink
from tests.unit.telemetry.hands import SECOND, failed, record

TARGET = "holysheep/deepseek-v3.2"


class Scraped:
    """A metrics sink, read as Prometheus reads it."""

    def __init__(self, sink: MetricsSink) -> None:
        body, _ = Exposition(sink).render()
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse_text(body.decode())
            for sample in family.samples
        }

    def get(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"ai_client_{name}", frozenset(labels.items())))

    def total(self, name: str) -> float:
        return sum(value for (found, _), value in self.samples.items() if found == f"ai_client_{name}")

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self.samples if found == f"ai_client_{name}"]


@pytest.fixture
def sink() -> MetricsSink:
    return MetricsSink("1.2.3")


def test_what_other_attempts_cost_is_counted_where_it_was_spent(sink: MetricsSink) -> None:
    lost = Lost("other/mini", "mini", Usage(20, 7, 2, estimated=True), 1000, BROKEN)
    sink.finished(record(cost_nano=4000, lost=(lost, lost)))
    sink.finished(record(cost_nano=500, usage=Usage(1, 1, estimated=True)))
    scraped = Scraped(sink)
    here, there = ({"app": "batch", "model": model} for model in ("deepseek-v3.2", "mini"))
    assert scraped.get("cost_usd_total", **here) == pytest.approx(2500e-9)
    assert scraped.get("cost_usd_total", **there) == pytest.approx(2000e-9)
    assert scraped.get("lost_cost_usd_total", target="other/mini", why="broken") == pytest.approx(2000e-9)
    assert scraped.get("tokens_total", **there, kind="input") == 40
    assert scraped.get("tokens_total", **there, kind="cached_input") == 4
    assert scraped.get("tokens_total", **there, kind="output") == 14
    assert scraped.get("tokens_total", **here, kind="input") == 231
    assert (scraped.get("usage_estimated_total", **here), scraped.get("usage_estimated_total", **there)) == (1, 2)


def test_a_call(sink: MetricsSink) -> None:
    sink.finished(record())
    sink.finished(record(stream=True))
    scraped = Scraped(sink)
    request = {"app": "batch", "model": "deepseek-v3.2"}
    where = {"target": TARGET, "endpoint": "/chat/completions"}
    assert scraped.get("requests_total", **request, **where, status="200") == 2
    assert scraped.get("request_duration_seconds_bucket", **where, status="2xx", le="0.025") == 0
    assert scraped.get("request_duration_seconds_bucket", **where, status="2xx", le="0.05") == 2
    assert scraped.get("request_duration_seconds_bucket", **where, status="2xx", le="+Inf") == 2
    assert scraped.get("request_duration_seconds_count", **where, status="2xx") == 2
    assert scraped.get("request_duration_seconds_sum", **where, status="2xx") == pytest.approx(0.086691356)
    assert scraped.get("time_to_first_byte_seconds_sum", **where) == pytest.approx(0.08)
    assert scraped.get("queue_seconds_count", target=TARGET) == 2
    assert scraped.get("queue_seconds_sum", target=TARGET) == pytest.approx(0.002469134)
    assert scraped.get("attempts_total", target=TARGET) == 2
    assert scraped.get("streams_total", target=TARGET) == 1
    assert scraped.get("tokens_total", **request, kind="input") == 460
    assert scraped.get("tokens_total", **request, kind="cached_input") == 256
    assert scraped.get("tokens_total", **request, kind="output") == 900
    assert scraped.get("cost_usd_total", **request) == pytest.approx(0.000246912)
    assert scraped.get("cache_total", answer="miss") == 2


def test_the_bounds_include_themselves_and_the_last_bucket_is_open(sink: MetricsSink) -> None:
    for bound in BOUNDS_SECONDS:
        sink.finished(record(duration_ns=round(bound * SECOND)))
    sink.finished(record(duration_ns=301 * SECOND))
    where = {"target": TARGET, "endpoint": "/chat/completions", "status": "2xx"}
    scraped = Scraped(sink)
    counts = [
        scraped.get("request_duration_seconds_bucket", **where, le=str(bound)) for bound in (*BOUNDS_SECONDS, "+Inf")
    ]
    assert counts == list(range(1, len(BOUNDS_SECONDS) + 2))


def test_an_answer_from_the_cache_was_no_attempt(sink: MetricsSink) -> None:
    sink.finished(record(target="", attempts=0, cache="hit", first_byte_ns=0, queue_ns=0, usage=NO_USAGE, cost_nano=0))
    scraped = Scraped(sink)
    assert scraped.get("cache_total", answer="hit") == 1
    assert scraped.total("requests_total") == 1
    assert scraped.total("attempts_total") == 0
    assert scraped.total("tokens_total") == 0
    assert not scraped.labels("queue_seconds_count")  # an empty histogram says nothing
    assert not scraped.labels("time_to_first_byte_seconds_count")


def test_a_call_that_the_cache_had_no_say_in(sink: MetricsSink) -> None:
    sink.finished(record(cache=""))
    assert not Scraped(sink).labels("cache_total")


def test_attempts_are_those_that_failed_and_those_that_answered(sink: MetricsSink) -> None:
    sink.attempt_failed(failed(target="a/m", code="connect_error"))
    sink.attempt_failed(failed(target="a/m", code="upstream_timeout"))
    sink.finished(record(target="b/m", attempts=3))
    sink.attempt_failed(failed(target="b/m"))
    sink.finished(record(target="b/m", attempts=1, status=429, error="rate_limit_exceeded", first_byte_ns=0))
    sink.finished(record(target="b/m", attempts=1, status=502, error="broken_reply"))  # a stream that broke off
    scraped = Scraped(sink)
    assert scraped.get("attempts_total", target="a/m") == 2
    assert scraped.get("attempts_total", target="b/m") == 3
    assert scraped.get("attempt_failures_total", target="a/m", code="connect_error") == 1
    assert scraped.get("attempt_failures_total", target="b/m", code="rate_limit_exceeded") == 1


def test_reloads_and_build(sink: MetricsSink) -> None:
    assert Scraped(sink).get("config_reloads_total", outcome="refused") == 0
    sink.config_reloaded(applied=True)
    sink.config_reloaded(applied=False)
    sink.config_reloaded(applied=False)
    scraped = Scraped(sink)
    assert scraped.get("config_reloads_total", outcome="applied") == 1
    assert scraped.get("config_reloads_total", outcome="refused") == 2
    (labels,) = scraped.labels("build_info")
    assert labels["version"] == "1.2.3"


def test_what_others_keep_is_read_at_each_scrape(sink: MetricsSink) -> None:
    calls = [0]
    sink.watch(catalogue.IN_FLIGHT, lambda: calls[0])
    sink.watch(catalogue.POOL, lambda: {("a",): 4, ("b",): 3})
    sink.watch(catalogue.LINES_DROPPED, lambda: {("calls",): 7})
    calls[0] = 5
    scraped = Scraped(sink)
    assert scraped.get("in_flight") == 5
    assert scraped.get("pool_connections", provider="a") == 4
    assert scraped.get("log_lines_dropped_total", log="calls") == 7
    assert not scraped.labels("tls_verification_off")

    sink.watch(catalogue.IN_FLIGHT, lambda: 9)
    assert Scraped(sink).get("in_flight") == 9
    sink.close()
    assert Scraped(sink).get("in_flight") is None


def test_what_is_counted_here_cannot_be_watched(sink: MetricsSink) -> None:
    with pytest.raises(ValueError, match="ai_client_requests_total is not offered"):
        sink.watch(catalogue.REQUESTS, lambda: 1)


def test_a_label_takes_so_many_values_and_the_rest_are_other() -> None:
    sink = MetricsSink("1", max_values=3)
    for number in range(50):
        sink.finished(record(app=f"app{number}", status=200 + number))
        sink.attempt_failed(failed(target=f"t{number}", code=f"c{number}"))
    scraped = Scraped(sink)
    assert {labels["app"] for labels in scraped.labels("requests_total")} == {"app0", "app1", "app2", "other"}
    assert {labels["status"] for labels in scraped.labels("requests_total")} == {"200", "201", "202", "other"}
    assert scraped.total("requests_total") == 50
    assert scraped.total("attempt_failures_total") == 50
    assert len(scraped.labels("attempt_failures_total")) <= 4
    classes = {labels["status"] for labels in scraped.labels("request_duration_seconds_count")}
    assert classes == {"2xx", "other"}


def test_combinations_are_bounded_too() -> None:
    sink = MetricsSink("1", max_values=100, max_series=20)
    for app in range(30):
        for model in range(30):
            sink.finished(record(app=f"a{app}", model=f"m{model}", target=f"h/m{model}"))
    scraped = Scraped(sink)
    assert len(scraped.labels("requests_total")) == 21
    assert scraped.get(
        "requests_total", app="other", model="other", target="other", endpoint="other", status="200"
    ) == (900 - 20)
    assert scraped.total("cost_usd_total") == pytest.approx(900 * 0.000123456)
    assert len(sink._bundles) == 20


@pytest.mark.parametrize("name", ["x" * 129, "a\nb", "a\ud800"])
def test_a_value_that_is_no_label_is_other(sink: MetricsSink, name: str) -> None:
    sink.finished(record(app=name))
    assert Scraped(sink).labels("requests_total")[0]["app"] == "other"


def test_names_that_led_nowhere_leave_the_labels_alone() -> None:
    sink = MetricsSink("1", max_values=6)
    for number in range(50):
        nowhere = {"target": "", "attempts": 0, "first_byte_ns": 0, "status": 404}
        sink.finished(record(model=f"typo{number}", error="model_not_found", **nowhere))
        sink.finished(record(endpoint=f"/files/{number}", error="not_found", **nowhere))
    sink.finished(record())
    scraped = Scraped(sink)
    where = {"target": TARGET, "endpoint": "/chat/completions", "status": "200"}
    assert scraped.get("requests_total", app="batch", model="deepseek-v3.2", **where) == 1
    assert {labels.get("model", "") for labels in scraped.labels("requests_total")} == {"", "deepseek-v3.2"}


def test_quotes_and_letters_of_every_language_are_labels(sink: MetricsSink) -> None:
    sink.finished(record(app='đêm "x" \\'))
    assert Scraped(sink).labels("requests_total")[0]["app"] == 'đêm "x" \\'


def test_openmetrics_for_those_who_ask(sink: MetricsSink) -> None:
    sink.finished(record())
    sink.attempt_failed(failed())
    for family in WATCHED:
        sink.watch(family, partial(lambda labels: {labels: 1.0} if labels else 1.0, family.labels))
    exposition = Exposition(sink)
    body, content_type = exposition.render("application/openmetrics-text; version=1.0.0; q=0.9, text/plain;q=0.1")
    assert content_type.startswith("application/openmetrics-text")
    kinds = {family.name: family.type for family in parse_openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    for family in (*COUNTED, *WATCHED):
        name = family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name
        assert kinds[name] == family.kind.value
    assert kinds["process_resident_memory_bytes"] == "gauge"

    body, content_type = exposition.render()
    assert content_type.startswith("text/plain")
    assert b"\n# HELP ai_client_requests_total Calls finished.\n" in body


def test_names_follow_the_conventions() -> None:
    for family in (*COUNTED, *WATCHED):
        assert family.name.startswith("ai_client_")
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert family.help.endswith(".")


def test_two_sinks_in_one_process_do_not_meet(sink: MetricsSink) -> None:
    other: Sink = MetricsSink("2")
    other.finished(record())
    assert Scraped(sink).total("requests_total") == 0


def test_another_thread_may_scrape_while_calls_are_counted(sink: MetricsSink) -> None:
    """A dictionary that grows under an iteration would raise in the scraping thread."""
    bodies: list[bytes] = []
    counted = threading.Event()

    def scrape() -> None:
        while not counted.is_set():
            bodies.append(Exposition(sink).render()[0])

    thread = threading.Thread(target=scrape)
    thread.start()
    for number in range(3000):
        sink.finished(record(app=f"a{number % 90}", model=f"m{number % 50}"))
    counted.set()
    thread.join()
    assert Scraped(sink).total("requests_total") == 3000
    assert bodies
