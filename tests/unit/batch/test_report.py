"""The folder that `--report` leaves."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path

from ai_client.batch.job import Ending
from ai_client.batch.report import NO_PLOTS, Plot, alternatives, write_report
from ai_client.batch.store import Answered
from ai_client.batch.tally import Summary, Tally, Whereabouts, summarise
from ai_client.cost.prices import Price
from ai_client.model.usage import Usage

NANO = 1_000_000_000
PRICES = {
    "dear": Price(10 * NANO, 1 * NANO, 30 * NANO),
    "cheap": Price(NANO, NANO, 3 * NANO),
}  # dollars for a million tokens
PLOTS = {"throughput.png", "latency.png", "tokens.png", "cost.png", "alternatives.png"}


def tally_of(*models: str) -> Tally:
    tally = Tally(len(models))
    for line, model in enumerate(models, 1):
        usage = Usage(1_000_000, 1_000_000, 400_000)
        answer = Answered(line, str(line), 200, "r", b"{}", model, "p/m", 1, "", NANO, line * 10_000_000, usage)
        tally.answer(answer, line * 50_000_000)
    return tally


def summary_of(tally: Tally, ending: Ending = Ending.COMPLETE) -> Summary:
    return summarise(tally, Whereabouts("out.jsonl", "err.jsonl", "here"), ending, "", NANO, PRICES.get)


class Page(html.parser.HTMLParser):
    """The images, the texts, and whether every tag that was opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        elif tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def draw(path: Path, plot: Plot) -> None:
    """Instead of a picture, its title: how pictures are drawn is in tests/unit/cli/test_batch_plots.py."""
    path.write_text(plot.title)


def test_the_same_tokens_are_priced_on_every_model() -> None:
    found = alternatives(summary_of(tally_of("cheap", "dear")), PRICES)
    # two million tokens in and two million out, no discount
    assert [(each.model, each.cost_usd) for each in found] == [("cheap", 8.0), ("dear", 80.0)]


def test_a_report_is_a_page_with_plots_and_a_summary(tmp_path: Path) -> None:
    tally = tally_of("cheap", "dear")
    folder = tmp_path / "a" / "report"
    summary = summary_of(tally)
    write_report(folder, summary, tally, PRICES, draw)
    assert {path.name for path in folder.iterdir()} == PLOTS | {"report.html", "summary.json"}
    assert (folder / "cost.png").read_text() == "Cost by model"
    page = Page((folder / "report.html").read_text("utf-8"))
    assert set(page.images) == PLOTS
    assert {"$2.0000", "$80.0000", "40.0×", "2 of 2", "out.jsonl"} <= set(page.texts)
    assert "errors in" not in page.texts
    told = json.loads((folder / "summary.json").read_bytes())
    assert told["alternatives"] == [{"model": "cheap", "cost_usd": 8.0}, {"model": "dear", "cost_usd": 80.0}]
    assert told["models"]["cheap"]["answers"] == 1


def test_a_report_can_be_written_over(tmp_path: Path) -> None:
    tally = tally_of("cheap")
    for _ in range(2):
        write_report(tmp_path, summary_of(tally), tally, PRICES, draw)


def test_without_matplotlib_the_report_says_so(tmp_path: Path) -> None:
    tally = tally_of("cheap")
    write_report(tmp_path, summary_of(tally), tally, PRICES, None)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "summary.json"}
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.images == []
    assert NO_PLOTS in page.texts


def test_a_run_that_answered_nothing_has_a_report(tmp_path: Path) -> None:
    tally = Tally(3)
    tally.failed = 2
    write_report(tmp_path, summary_of(tally, Ending.WRITE_FAILED), tally, PRICES, draw)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "summary.json"}
    texts = Page((tmp_path / "report.html").read_text("utf-8")).texts
    assert "The run did not reach the end (write failed)." in texts
    assert {"errors in", "err.jsonl"} <= set(texts)


def test_a_model_without_a_price_and_a_name_with_brackets(tmp_path: Path) -> None:
    tally = Tally(1)
    answer = Answered(1, "1", 200, "r", b"{}", "<b>&", "p/m", 1, "", 0, 1, Usage(1, 1))
    tally.answer(answer, 0)
    write_report(tmp_path, summary_of(tally), tally, {}, draw)
    texts = Page((tmp_path / "report.html").read_text("utf-8")).texts
    assert {"<b>&", "unknown (no price)"} <= set(texts)
    assert not (tmp_path / "alternatives.png").exists()


def test_what_cost_nothing_is_compared_without_a_ratio(tmp_path: Path) -> None:
    tally = Tally(1)
    tally.answer(Answered(1, "1", 200, "r", b"{}", "cheap", "", 0, "hit", 0, 1, Usage(1000, 1000)), 0)
    write_report(tmp_path, summary_of(tally), tally, PRICES, draw)
    texts = Page((tmp_path / "report.html").read_text("utf-8")).texts
    assert {"$0.000000", "$0.004000"} <= set(texts)
    assert not any(text.endswith("×") for text in texts)


def test_large_sums_are_shown_in_cents(tmp_path: Path) -> None:
    tally = Tally(1)
    tally.answer(Answered(1, "1", 200, "r", b"{}", "cheap", "", 0, "", 1234 * NANO, 1, Usage(1, 1)), 0)
    write_report(tmp_path, summary_of(tally), tally, PRICES, draw)
    assert "$1,234.00" in Page((tmp_path / "report.html").read_text("utf-8")).texts
