"""The report of a batch: a page, its plots, and the summary for programs, in a folder."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ai_client.batch.tally import Summary, Tally
from ai_client.cost.meter import cost_nano
from ai_client.cost.prices import Price
from ai_client.model.usage import Usage

_NANO: Final = 1_000_000_000
_PERCENTS: Final = range(1, 101)
_MARKS: Final = (50, 95, 99)

NO_PLOTS: Final = "No plots: matplotlib is not installed (pip install 'ai-client[report]')."


class Steps(NamedTuple):
    """Heights over equal widths of `x`."""

    title: str
    x: str
    y: str
    width: float
    heights: Sequence[float]


class Curve(NamedTuple):
    """Points of a curve, and named ones among them."""

    title: str
    x: str
    y: str
    xs: Sequence[float]
    ys: Sequence[float]
    marks: Sequence[tuple[str, float, float]]


class Bars(NamedTuple):
    """A bar for each name, made of named parts, with a text at its end."""

    title: str
    x: str
    names: Sequence[str]
    parts: Sequence[tuple[str, Sequence[float]]]
    totals: Sequence[str]


Plot = Steps | Curve | Bars
Draw = Callable[[Path, Plot], None]
"""Writes a plot as a PNG file."""


class Alternative(msgspec.Struct, frozen=True):
    """What all answers would have cost, in dollars, had this one model given them, token for token."""

    model: str
    cost_usd: float


def alternatives(summary: Summary, prices: Mapping[str, Price]) -> list[Alternative]:
    """The price of the same tokens on each model that has a price, cheapest first.

    Tokens are counted as they were answered: another model would have written shorter or longer. Prefix discounts
    are left out, since they belong to the provider that gave them.
    """
    usage = Usage(summary.input_tokens, summary.output_tokens)
    costs = ((cost_nano(price, usage), name) for name, price in prices.items())
    return [Alternative(name, nano / _NANO) for nano, name in sorted(costs)]


def write_report(folder: Path, summary: Summary, tally: Tally, prices: Mapping[str, Price], draw: Draw | None) -> None:
    """Write `report.html`, `summary.json` and the plots into `folder`, which is made if need be.

    `prices` are those of every model to compare with. Without `draw` the report has no plots, and says so. Raises
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    compared = alternatives(summary, prices)
    told = msgspec.to_builtins(summary) | {"alternatives": msgspec.to_builtins(compared)}
    (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    plots: dict[str, Plot] = {}
    if draw is not None:
        plots.update(_plots(summary, tally, compared))
        for name, plot in plots.items():
            draw(folder / name, plot)
    page = "".join(_page(summary, compared, plots, "" if draw is not None else NO_PLOTS))
    (folder / "report.html").write_text(page, "utf-8")


def _plots(summary: Summary, tally: Tally, compared: Sequence[Alternative]) -> Iterator[tuple[str, Plot]]:
    """The plots that there are figures for, by file name."""
    counts = tally.timeline.counts
    if counts:
        width = tally.timeline.width_ns / _NANO
        rates = [count / width for count in counts]
        yield "throughput.png", Steps("Answers a second, this run", "seconds", "answers/s", width, rates)
    if summary.answered:
        latency = {percent: tally.latencies.percentile(percent) / 1e6 for percent in _PERCENTS}
        marks = [(f"p{percent}", latency[percent], float(percent)) for percent in _MARKS]
        title = "Latency: share of answers that took at most so long"
        yield "latency.png", Curve(title, "milliseconds", "%", list(latency.values()), list(latency), marks)
    models = summary.models
    if models:
        parts = [
            ("input", [float(m.input_tokens - m.cached_input_tokens) for m in models.values()]),
            ("input, cached by the provider", [float(m.cached_input_tokens) for m in models.values()]),
            ("output", [float(m.output_tokens) for m in models.values()]),
        ]
        totals = [f"{m.input_tokens + m.output_tokens:,}" for m in models.values()]
        yield "tokens.png", Bars("Tokens by model", "tokens", list(models), parts, totals)
        costs = [m.cost_usd or 0.0 for m in models.values()]
        texts = [_usd(m.cost_usd) for m in models.values()]
        yield "cost.png", Bars("Cost by model", "US dollars", list(models), [("cost", costs)], texts)
    if compared and summary.answered:
        names = ["this batch", *(each.model for each in compared)]
        costs = [summary.cost_usd, *(each.cost_usd for each in compared)]
        bars = Bars("Cost of all on one model", "US dollars", names, [("cost", costs)], [_usd(cost) for cost in costs])
        yield "alternatives.png", bars


_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #d9dee3 }
th { text-align: left; font-weight: 600 } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; height: auto; display: block; margin: 1rem 0 } .note { color: #9a5b00 }
"""


def _page(summary: Summary, compared: Sequence[Alternative], plots: Mapping[str, Plot], note: str) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Batch report</title>'
    yield f"<style>{_STYLE}</style></head>\n<body>\n<h1>Batch report</h1>\n"
    if summary.ending != "complete":
        yield f'<p class="note">The run did not reach the end ({html.escape(summary.ending.replace("_", " "))}).</p>\n'
    yield _table(("", ""), _facts(summary))
    yield _pictures(plots, "throughput.png", "latency.png")
    yield "<h2>By model</h2>\n"
    heads = ("model", "answers", "input tokens", "of them cached", "output tokens", "cost")
    yield _table(
        heads,
        [
            (
                name,
                f"{m.answers:,}",
                f"{m.input_tokens:,}",
                f"{m.cached_input_tokens:,}",
                f"{m.output_tokens:,}",
                _usd(m.cost_usd),
            )
            for name, m in summary.models.items()
        ],
    )
    yield _pictures(plots, "cost.png", "tokens.png")
    if compared and summary.answered:
        yield "<h2>What the same would have cost without routing</h2>\n"
        yield "<p>Every answer from one model and none from the cache, at the same number of tokens and without prefix "
        yield "discounts.</p>\n"
        rows = [(each.model, _usd(each.cost_usd), _times(each.cost_usd, summary.cost_usd)) for each in compared]
        yield _table(("all on", "cost", "over this batch"), [("this batch", _usd(summary.cost_usd), ""), *rows])
        yield _pictures(plots, "alternatives.png")
    if note:
        yield f'<p class="note">{html.escape(note)}</p>\n'
    yield "</body></html>\n"


def _facts(summary: Summary) -> list[tuple[str, str]]:
    latency = summary.latency_ms
    facts = [
        ("answered", f"{summary.answered:,} of {summary.lines - summary.blank:,}"),
        ("of them in earlier runs", f"{summary.resumed:,}"),
        ("failed", f"{summary.failed:,}"),
        ("not reached", f"{summary.remaining:,}"),
        ("from the cache", f"{summary.cache_hits:,}"),
        ("this run took", f"{summary.duration_s:,.1f} s"),
        ("answers a second", f"{summary.requests_per_second:,.1f}"),
        ("latency p50 / p95 / p99", f"{latency.p50:,.0f} / {latency.p95:,.0f} / {latency.p99:,.0f} ms"),
        ("tokens in / out", f"{summary.input_tokens:,} / {summary.output_tokens:,}"),
        ("cost", _usd(summary.cost_usd)),
        ("through", summary.through),
        ("answers in", summary.output),
    ]
    if summary.failed:
        facts.append(("errors in", summary.errors))
    return facts


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        first, *rest = cells
        others = "".join(f'<{tag} class="n">{html.escape(cell)}</{tag}>' for cell in rest)
        return f"<tr><{tag}>{html.escape(first)}</{tag}>{others}</tr>\n"

    head = row("th", heads) if any(heads) else ""
    return f"<table>\n{head}{''.join(row('td', cells) for cells in rows)}</table>\n"


def _pictures(plots: Mapping[str, Plot], *names: str) -> str:
    return "".join(f'<img src="{name}" alt="{html.escape(plots[name].title)}">\n' for name in names if name in plots)


def _usd(dollars: float | None) -> str:
    """Dollars, with as many decimals as a small sum needs."""
    if dollars is None:
        return "unknown (no price)"
    return f"${dollars:,.2f}" if dollars >= 100 else f"${dollars:.4f}" if dollars >= 0.01 else f"${dollars:.6f}"


def _times(other: float, ours: float) -> str:
    return f"{other / ours:,.1f}×" if ours else ""
