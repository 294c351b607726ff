"""What a demonstration found: answers graded, the daemon's own figures read, all of it shown."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from ai_client.batch.tally import Summary
from ai_client.cli.batch_view import usd
from ai_client.config.snapshot import Config
from ai_client.cost.meter import estimate_nano
from ai_client.cost.prices import Price, PriceTable
from ai_client.model.usage import CHARS_PER_TOKEN
from ai_client.routing.complexity import QueryComplexity, classify

_ASSUMED_OUTPUT: Final = 200
_NANO: Final = 1_000_000_000
_WIDE: Final = 120
_GRADED: Final = re.compile(r"####\s*\$?\s*(-?[\d,]*\.?\d+)")
_SAMPLE: Final = re.compile(r"^ai_client_(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Question(msgspec.Struct, frozen=True):
    """A question with its known answer."""

    id: str
    question: str
    answer: str


class Estimate(msgspec.Struct):
    """What a run will take, as far as one can tell before."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: list[str] = []


class Grade(msgspec.Struct):
    """How a model did: answers, and those of them that were right."""

    answers: int = 0
    right: int = 0


class Metrics:
    """The samples of a Prometheus exposition, names without `ai_client_`."""

    def __init__(self, samples: Sequence[tuple[str, Mapping[str, str], float]]) -> None:
        self._samples = samples

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that carry these labels; 0 when there is none."""
        return sum(value for each, found, value in self._samples if each == name and labels.items() <= found.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums for each value of a label."""
        sums: dict[str, float] = defaultdict(float)
        for each, found, value in self._samples:
            if each == name:
                sums[found.get(label, "")] += value
        return dict(sums)


class Results(msgspec.Struct, frozen=True):
    """Everything there is to show; `alternatives` as in the batch's summary.json, `metrics` None without a daemon."""

    summary: Summary
    alternatives: list[dict[str, Any]]
    grades: Mapping[str, Grade]
    metrics: Metrics | None
    folder: Path


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Body(msgspec.Struct):
    choices: list[_Choice] = []


class _Response(msgspec.Struct):
    body: _Body


class _Details(msgspec.Struct):
    model: str = ""


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response
    ai_client: _Details


def estimate(config: Config, questions: Collection[Question], instruction: str) -> Estimate:
    """What asking these questions with the model `auto` will take: 4 characters a token in, 200 tokens out."""
    costs, routing = config.model_costs, config.routing
    prices = PriceTable({name: Price.usd(cost.input, cost.output, cost.cached_input) for name, cost in costs.items()})
    models = {
        QueryComplexity.SIMPLE: routing.simple,
        QueryComplexity.MODERATE: routing.moderate,
        QueryComplexity.COMPLEX: routing.complex,
    }
    found = Estimate()
    nano = 0
    for question in questions:
        tokens = -(-(len(question.question) + len(instruction)) // CHARS_PER_TOKEN)
        model = models[classify(question.question)]
        model = routing.aliases.get(model, model)
        price = prices.lookup(model)
        found.input_tokens += tokens
        found.output_tokens += _ASSUMED_OUTPUT
        if price is not None:
            nano += estimate_nano(price, tokens, _ASSUMED_OUTPUT)
        elif model not in found.unpriced:
            found.unpriced.append(model)
    found.usd = nano / _NANO
    return found


def graded(lines: Iterable[bytes], book: Mapping[str, Question]) -> dict[str, Grade]:
    """How each model did, from the lines of a batch's output."""
    grades: dict[str, Grade] = defaultdict(Grade)
    for text in lines:
        line = msgspec.json.decode(text, type=_Line)
        said = "".join(choice.message.content or "" for choice in line.response.body.choices[:1])
        grade = grades[line.ai_client.model]
        grade.answers += 1
        grade.right += is_right(said, book[line.custom_id].answer)
    return dict(grades)


def is_right(said: str, answer: str) -> bool:
    """Whether the number behind the last `####` is the answer; `1,000.00` is `1000`."""
    found = _GRADED.findall(said)
    try:
        return bool(found) and Decimal(found[-1].replace(",", "")) == Decimal(answer.replace(",", ""))
    except InvalidOperation:
        return False


def figures_of(exposition: str) -> Metrics:
    """Read a Prometheus exposition."""
    return Metrics(
        [
            (name, dict(_LABEL.findall(labels)), float(value))
            for name, labels, value in _SAMPLE.findall(exposition)
            if not name.endswith(("_bucket", "_created"))
        ]
    )


def show(results: Results) -> None:
    """Print it all on standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    summary = results.summary
    latency = summary.latency_ms
    earlier = f", {summary.resumed:,} of them before" if summary.resumed else ""
    click.echo(f"\nanswered    {summary.answered:,} of {summary.lines:,}{earlier}")
    if summary.failed:
        click.echo(f"failed      {summary.failed:,}: see {summary.errors}")
    click.echo(f"throughput  {summary.requests_per_second:,.1f} answers/s, {summary.duration_s:,.1f} s in all")
    click.echo(f"latency     p50 {latency.p50:,.0f} ms, p95 {latency.p95:,.0f} ms, p99 {latency.p99:,.0f} ms")
    console.print(_models(results))
    console.print(_alternatives(results))
    for line in _daemon(results.metrics):
        click.echo(line)
    click.echo(f"results     {results.folder}: report.html, summary.json, answers.jsonl, ledger.sqlite, logs")


def _models(results: Results) -> Table:
    summary, grades = results.summary, results.grades
    answers = sum(grade.answers for grade in grades.values())
    right = sum(grade.right for grade in grades.values())
    cost = usd(summary.cost_usd)
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("model", footer="all")
    for head, foot in (
        ("answers", f"{summary.answered:,}"),
        ("right", _share(right, answers)),
        ("tokens in", f"{summary.input_tokens:,}"),
        ("tokens out", f"{summary.output_tokens:,}"),
        ("cost", cost),
    ):
        table.add_column(head, footer=foot, justify="right")
    for name, model in summary.models.items():
        grade = grades.get(name, Grade())
        table.add_row(
            name,
            f"{model.answers:,}",
            _share(grade.right, grade.answers),
            f"{model.input_tokens:,}",
            f"{model.output_tokens:,}",
            "unknown" if model.cost_usd is None else usd(model.cost_usd),
        )
    return table


def _share(part: int, whole: int) -> str:
    return f"{part / whole * 100:.1f} %" if whole else "-"


def _alternatives(results: Results) -> Table:
    """What the same tokens would have cost on one model alone."""
    cost = results.summary.cost_usd
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("the same tokens, all on")
    table.add_column("cost", justify="right")
    table.add_column("over this", justify="right")
    for each in results.alternatives:
        there = float(each["cost_usd"])
        times = f"{there / cost:,.2f} ×" if cost else "-"
        table.add_row(str(each["model"]), usd(there), times)
    return table


def _daemon(metrics: Metrics | None) -> Iterable[str]:
    """What the daemon did, by its own count."""
    if metrics is None:
        yield "daemon      gives no figures of its own"
        return
    calls, attempts = metrics.total("requests_total"), metrics.total("attempts_total")
    failures = ", ".join(
        f"{int(count):,} {code}" for code, count in metrics.by("attempt_failures_total", "code").items()
    )
    yield f"attempts    {attempts:,.0f} for {calls:,.0f} calls; failed and tried again: {failures or 'none'}"
    waited, count = metrics.total("queue_seconds_sum"), metrics.total("queue_seconds_count")
    yield f"limits      a call waited {waited / count * 1000 if count else 0:,.0f} ms for quota, on average"
    cache = ", ".join(f"{int(number):,} {answer}" for answer, number in metrics.by("cache_total", "answer").items())
    yield f"cache       {cache or 'not asked'}"
