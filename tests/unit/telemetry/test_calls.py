"""The call log: its lines, its levels, and what it must never say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ai_client.model.usage import BROKEN, Lost, Usage
from ai_client.telemetry.base import Level, Sink
from ai_client.telemetry.calls import AttemptLine, CallLine, CallLog
from ai_client.telemetry.lines import LineWriter
from ai_client.telemetry.logfile import LogFile
from ai_client.telemetry.text import Style
from tests.unit.telemetry.hands import HandClock, failed, record


class Log:
    """A call log on a real file, and what stands in it."""

    def __init__(self, directory: Path, clock: HandClock, level: Level, style: Style) -> None:
        self.sink = CallLog(
            LineWriter(LogFile(directory, "calls", clock), clock, None), clock, level=level, style=style
        )
        self._path = directory / "calls.log"

    def lines(self) -> list[str]:
        return self._path.read_text().split("\n")[:-1] if self._path.exists() else []

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def log(tmp_path: Path, clock: HandClock) -> Log:
    return Log(tmp_path, clock, Level.INFO, Style.JSON)


@pytest.fixture
def text(tmp_path: Path, clock: HandClock) -> Log:
    return Log(tmp_path, clock, Level.INFO, Style.TEXT)


def test_a_finished_call(log: Log) -> None:
    log.sink.finished(record())
    assert log.objects() == [
        {
            "ts": "2026-01-31T12:00:00.043Z",
            "level": "INFO",
            "event": "call",
            "request_id": "req_1",
            "app": "batch",
            "tag": "nightly",
            "endpoint": "/chat/completions",
            "model": "deepseek-v3.2",
            "asked_model": "auto",
            "target": "holysheep/deepseek-v3.2",
            "status": 200,
            "error": "",
            "attempts": 1,
            "hedge": "",
            "cache": "miss",
            "stream": False,
            "priority": 5,
            "queue_ms": 1.234,
            "ttft_ms": 40.0,
            "duration_ms": 43.345,
            "input_tokens": 230,
            "cached_input_tokens": 128,
            "output_tokens": 450,
            "usage_estimated": False,
            "cost_usd": "0.000123456",
            "lost_usd": "0.000000000",
            "bytes_in": 300,
            "bytes_out": 900,
        }
    ]


def test_what_all_attempts_spent_is_in_the_line(log: Log) -> None:
    lost = Lost("other/mini", "mini", Usage(20, 7, 2, estimated=True), 1000, BROKEN)
    log.sink.finished(record(cost_nano=124_456, lost=(lost,)))
    (line,) = log.objects()
    assert (line["input_tokens"], line["cached_input_tokens"], line["output_tokens"]) == (250, 130, 457)
    assert (line["usage_estimated"], line["cost_usd"], line["lost_usd"]) == (True, "0.000124456", "0.000001000")


def test_a_finished_call_as_text(text: Log) -> None:
    text.sink.finished(record(stream=True))
    assert text.lines() == [
        (
            "2026-01-31T12:00:00.043Z INFO call request_id=req_1 app=batch tag=nightly endpoint=/chat/completions"
            " model=deepseek-v3.2 asked_model=auto target=holysheep/deepseek-v3.2 status=200 error= attempts=1"
            " hedge= cache=miss stream=true priority=5 queue_ms=1.234 ttft_ms=40.0 duration_ms=43.345 input_tokens=230"
            " cached_input_tokens=128 output_tokens=450 usage_estimated=false cost_usd=0.000123456"
            " lost_usd=0.000000000 bytes_in=300 bytes_out=900"
        )
    ]


def test_both_ways_of_writing_text_agree(text: Log) -> None:
    text.sink.finished(record(tag="plain"))
    text.sink.finished(record(tag="two words"))
    plain, quoted = text.lines()
    assert plain.replace("tag=plain", 'tag="two words"') == quoted


def test_a_failed_attempt(log: Log, clock: HandClock) -> None:
    log.sink.attempt_failed(failed())
    log.sink.attempt_failed(failed(waits_ns=-1))
    first, last = log.objects()
    assert first == {
        "ts": "2026-01-31T12:00:00.000Z",
        "level": "WARNING",
        "event": "attempt_failed",
        "request_id": "req_1",
        "target": "holysheep/deepseek-v3.2",
        "attempt": 1,
        "status": 429,
        "error": "rate_limit_exceeded",
        "message": "429 from holysheep: slow down",
        "retry_in_ms": 1500.0,
    }
    assert last["retry_in_ms"] is None


def test_a_failed_attempt_as_text(text: Log) -> None:
    text.sink.attempt_failed(failed())
    assert text.lines() == [
        (
            "2026-01-31T12:00:00.000Z WARNING attempt_failed request_id=req_1 target=holysheep/deepseek-v3.2 attempt=1"
            ' status=429 error=rate_limit_exceeded message="429 from holysheep: slow down" retry_in_ms=1500.0'
        )
    ]


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.000000000"), (1, "0.000000001"), (10**9, "1.000000000"), (12_345_678_901_234_567, "12345678.901234567")],
)
def test_money_is_exact(log: Log, nano: int, text: str) -> None:
    log.sink.finished(record(cost_nano=nano))
    assert log.objects()[0]["cost_usd"] == text


def test_money_that_nobody_knows_is_no_zero(log: Log) -> None:
    log.sink.finished(record(unpriced=True))
    assert log.objects()[0]["cost_usd"] == "unknown"


@pytest.mark.parametrize(
    ("level", "events"),
    [
        (Level.DEBUG, ["INFO", "ERROR", "WARNING"]),
        (Level.INFO, ["INFO", "ERROR", "WARNING"]),
        (Level.WARNING, ["ERROR", "WARNING"]),
        (Level.ERROR, ["ERROR"]),
        (Level.CRITICAL, []),
    ],
)
def test_levels(tmp_path: Path, clock: HandClock, level: Level, events: list[str]) -> None:
    log = Log(tmp_path, clock, level, Style.JSON)
    sink: Sink = log.sink
    sink.finished(record())
    sink.finished(record(status=502, error="upstream_error"))
    sink.attempt_failed(failed())
    sink.close()
    assert [line["level"] for line in log.objects()] == events


FORGERY = 'x\n{"level":"INFO","event":"call"}\r\u2028\x85\x00\x1b[2J\x9b2J\ud800'


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("field", ["request_id", "app", "tag", "asked_model", "model", "target", "error"])
def test_no_value_can_forge_a_line(tmp_path: Path, clock: HandClock, style: Style, field: str) -> None:
    log = Log(tmp_path, clock, Level.INFO, style)
    log.sink.finished(record(**{field: FORGERY}))
    (line,) = (tmp_path / "calls.log").read_text().splitlines()
    assert line.isprintable()
    if style is Style.TEXT:
        assert " event=" not in line
        assert f"{field}=" + json.dumps(FORGERY) in line
    else:
        value = json.loads(line)[field]
        assert value.startswith("x\\n{")
        assert value.endswith("\\ud800")


@pytest.mark.parametrize("style", Style)
def test_a_value_that_is_long_on_purpose_is_cut(tmp_path: Path, clock: HandClock, style: Style) -> None:
    log = Log(tmp_path, clock, Level.INFO, style)
    log.sink.finished(record(asked_model="m" * 1_000_000))
    (line,) = log.lines()
    assert "m" * 256 in line
    assert len(line) < 2048


def test_letters_of_every_language_stay(log: Log) -> None:
    log.sink.finished(record(tag="đêm"))
    assert '"tag":"đêm"' in log.lines()[0]


def test_counts_beyond_64_bits_are_written(log: Log) -> None:
    log.sink.finished(record(usage=Usage(10**30)))
    assert log.objects()[0]["input_tokens"] == 10**30


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_the_content_is_not_quoted(log: Log, status: int) -> None:
    log.sink.attempt_failed(failed(status=status, message="cannot answer 'my secret question'"))
    assert log.objects()[0]["message"] == ""


@pytest.mark.parametrize(
    "key",
    ["hs_live_0123456789", "sk-proj-abcdef123", "AIzaSyD-abc", "Bearer eyJhbGciOi", "gsk_abcdefgh", "sk-abc***xyz"],
)
def test_keys_are_masked(log: Log, key: str) -> None:
    log.sink.attempt_failed(failed(status=401, message=f"the key {key} was refused"))
    assert log.objects()[0]["message"] == "the key *** was refused"


def test_the_reference_explains_every_key_in_order() -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "logs.md").read_text("utf-8")
    for heading, line in (("A finished call", CallLine), ("A failed attempt", AttemptLine)):
        section = reference.split(f"## {heading}\n")[1].split("\n## ")[0]
        assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == line.__struct_fields__


UNUSUAL = {
    "nothing": [],
    "usual": [{}],
    "a word beyond ASCII": [{}, {"tag": "grün"}, {}],
    "a word that is no word": [{}, {"tag": "\ud800"}],
    "a word made long on purpose": [{"model": "m" * 3000}, {}],
    "a quote": [{"tag": 'a"b\\c\n'}],
    "a failure": [{}, {"error": "timeout", "status": 504}, {}],
}


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("changes", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_many_at_once_make_the_lines_of_one_by_one(
    tmp_path: Path, clock: HandClock, style: Style, level: Level, changes: list[dict[str, Any]]
) -> None:
    for name in ("singly", "together"):
        (tmp_path / name).mkdir()
    singly = Log(tmp_path / "singly", clock, level, style)
    together = Log(tmp_path / "together", clock, level, style)
    records = [record(**each) for each in changes]
    for each in records:
        singly.sink.finished(each)
    together.sink.finished_all(records)
    assert together.lines() == singly.lines()
