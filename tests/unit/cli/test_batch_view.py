"""What a person sees of a batch."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from ai_client.batch.job import Ending
from ai_client.batch.tally import Failures, LatencySummary, ModelSummary, Summary, Tally
from ai_client.cli.batch_view import Bar, Lines, Pace, advice, summary_text, usd, view

SECOND = 1_000_000_000


class Hand:
    """A clock held in the hand."""

    def __init__(self) -> None:
        self.ns = 5 * SECOND

    def monotonic_ns(self) -> int:
        return self.ns

    def unix_ns(self) -> int:
        return self.ns


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def summary(**changes: Any) -> Summary:
    plain = Summary(
        "complete", "", "out.jsonl", "err.jsonl", "here", 12, 0, 12, 0, 0, 0, 0, 2.0, 6.0,
        LatencySummary(1.0, 2.0, 3.0), 1000, 500, 0.5,
        {"m": ModelSummary(10, 900, 0, 400, 0.5), "longer": ModelSummary(2, 100, 0, 100, None)},
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def test_the_pace_is_that_of_the_last_seconds() -> None:
    clock, tally = Hand(), Tally(1000)
    tally.resumed = tally.answered = 100
    pace = Pace(clock)
    assert pace.rate(tally) == 0.0
    for _ in range(30):
        clock.ns += SECOND
        tally.answered += 10
        assert pace.rate(tally) == 10.0
    for _ in range(20):  # nothing more comes: the rate falls to nothing with the window
        clock.ns += SECOND
        pace.rate(tally)
    assert pace.rate(tally) == 0.0


def test_the_pace_says_what_is_left() -> None:
    clock, tally = Hand(), Tally(1000)
    pace = Pace(clock)
    assert pace.text(tally) == "0.0/s, $0.0000, -:-- left"
    clock.ns += 2 * SECOND
    tally.answered, tally.failed = 18, 2
    assert pace.text(tally) == "10.0/s, $0.0000, 2 failed, 1:38 min left"
    tally.lines = 100_000
    assert pace.text(tally).endswith("2:46 h left")


def test_without_a_terminal_a_line_comes_every_five_seconds() -> None:
    clock, tally, file = Hand(), Tally(100), io.StringIO()
    lines = view(file, clock)
    assert isinstance(lines, Lines)
    lines.say("begun")
    for _ in range(24):
        clock.ns += SECOND // 2
        tally.answered += 1
        lines.watch(tally)
    lines.close()
    first, second, third = file.getvalue().splitlines()
    assert first == "begun"
    assert second.startswith("10 of 100 lines, 2.0/s")
    assert third.startswith("20 of 100 lines, 2.0/s")


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    clock, tally, file = Hand(), Tally(4), Terminal()
    bar = view(file, clock)
    assert isinstance(bar, Bar)
    bar.say("[begun]")
    for _ in range(3):
        tally.answered += 1
        bar.watch(tally)  # the first is drawn, the others come too soon
    clock.ns += SECOND
    tally.answered += 1
    bar.watch(tally)
    bar.close()
    shown = file.getvalue()
    assert "[begun]" in shown
    assert "1 of 4" in shown
    assert "2 of 4" not in shown
    assert "3 of 4" not in shown
    assert "4 of 4" in shown
    assert "3.0/s, $0.0000, 0.0 s left" in shown


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view(Terminal(), Hand()), Lines)


def test_the_summary_says_what_there_is_to_say() -> None:
    assert list(summary_text(summary())) == [
        "answered  12 of 12",
        "time      2.0 s, 6.0 answers/s",
        "latency   p50 1 ms, p95 2 ms, p99 3 ms",
        "tokens    1,000 in, 500 out",
        "cost      $0.5000",
        "          m             10 answers  $0.5000",
        "          longer         2 answers  unknown: it has no price",
        "answers   out.jsonl",
    ]
    text = "\n".join(summary_text(summary(answered=8, resumed=5, failed=1, blank=3, cache_hits=4)))
    assert "8 of 9, 5 of them in earlier runs" in text
    assert "failed    1: see err.jsonl" in text
    assert "blank     3: their numbers are in err.jsonl" in text
    assert "500 out, 4 answers from the cache" in text


def test_what_failed_is_told_with_its_reasons_and_no_figure_is_made_of_no_answer() -> None:
    failures = {"model_not_found": Failures(11, "no provider\nserves it"), "invalid_line": Failures(1, "line 3: odd")}
    assert list(summary_text(summary(answered=0, failed=12, failures=failures))) == [
        "answered  0 of 12",
        "failed    12: see err.jsonl",
        "                11  model_not_found, the first: no provider serves it",
        "                 1  invalid_line, the first: line 3: odd",
        "time      2.0 s, 6.0 answers/s",
    ]


def test_whatever_happened_there_is_advice() -> None:
    assert advice(summary()) == ""
    assert advice(summary(failed=1)) == ""  # a line that is no request: the same command cannot help
    assert advice(summary(failed=1, retryable=1)) == "The same command asks those again whose error may pass."
    assert advice(summary(failed=1, refused=1)).startswith("With --retry-errors it ")
    assert " With --retry-errors it " in advice(summary(failed=2, retryable=1, refused=1))
    for ending in set(Ending) - {Ending.COMPLETE}:
        said = advice(summary(ending=ending.value, reason="because.", remaining=1234))
        assert said.startswith("Stopped")
        assert "1,234 lines remain: the same command goes on" in said
        assert ("because" in said) == (ending is not Ending.INTERRUPTED)
        assert ".." not in said


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0.0, "$0.0000"), (0.000012, "$0.000012"), (0.0123, "$0.0123"), (12.3456, "$12.3456"), (1234.5, "$1,234.50")],
)
def test_sums_have_the_decimals_that_they_need(dollars: float, text: str) -> None:
    assert usd(dollars) == text
