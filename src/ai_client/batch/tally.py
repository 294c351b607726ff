"""What a run counts as it goes, in fixed memory, and the summary of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ai_client.batch.job import Ending
from ai_client.batch.store import Answered, Failed
from ai_client.cost.prices import Price
from ai_client.telemetry.stats import Latencies

_NANO: Final = 1_000_000_000
_SLICES: Final = 400
_FIRST_WIDTH_NS: Final = 100_000_000
_MOST_CODES: Final = 20  # a provider may invent some
_OTHERS: Final = "other"


class ModelTally(msgspec.Struct):
    """One model's part: tokens as in `model.usage`, money in nano-dollars."""

    answers: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0


class Failures(msgspec.Struct):
    """How many lines failed with one code in this run, and what was said of the first of them."""

    lines: int = 0
    first: str = ""


class Timeline:
    """Answers over time, in at most 400 slices of equal width: when they are used up, each becomes twice as wide."""

    def __init__(self) -> None:
        self.width_ns = _FIRST_WIDTH_NS
        self.counts: list[int] = []

    def add(self, ns: int) -> None:
        """Count an answer `ns` nanoseconds after the start."""
        while ns // self.width_ns >= _SLICES:
            self.width_ns *= 2
            self.counts = [sum(self.counts[at : at + 2]) for at in range(0, len(self.counts), 2)]
        index = ns // self.width_ns
        self.counts += [0] * (index + 1 - len(self.counts))
        self.counts[index] += 1


class Tally:
    """Counts lines and what their answers took. Earlier runs' answers count too, but for the timeline and the rate."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.blank = 0
        self.answered = 0
        self.resumed = 0
        self.failed = 0
        self.retryable = 0
        self.refused = 0
        self.failures: dict[str, Failures] = {}
        self.cache_hits = 0
        self.models: dict[str, ModelTally] = {}
        self.latencies = Latencies()
        self.timeline = Timeline()

    @property
    def done(self) -> int:
        """Lines that are over, blank ones included."""
        return self.blank + self.answered + self.failed

    @property
    def cost_nano(self) -> int:
        """What all answers cost, in nano-dollars."""
        return sum(model.cost_nano for model in self.models.values())

    def earlier(self, answer: Answered) -> None:
        """Count an answer of an earlier run."""
        self.resumed += 1
        self._count(answer)

    def earlier_refused(self, lines: int) -> None:
        """Count lines that were refused in an earlier run and are not asked again."""
        self.failed += lines
        self.refused += lines

    def failure(self, failed: Failed) -> None:
        """Count a line that has no answer."""
        self.failed += 1
        self.retryable += failed.retryable
        self.refused += failed.status is not None and not failed.retryable
        code = failed.code if failed.code in self.failures or len(self.failures) < _MOST_CODES else _OTHERS
        failures = self.failures.setdefault(code, Failures(first=failed.message))
        failures.lines += 1

    def answer(self, answer: Answered, elapsed_ns: int) -> None:
        """Count an answer, so many nanoseconds after the start of the run."""
        self.timeline.add(elapsed_ns)
        self._count(answer)

    def _count(self, answer: Answered) -> None:
        self.answered += 1
        self.cache_hits += answer.cache in ("hit", "coalesced")
        self.latencies.add(answer.latency_ns)
        model = self.models.get(answer.model)
        if model is None:
            model = self.models[answer.model] = ModelTally()
        usage = answer.usage
        model.answers += 1
        model.input_tokens += usage.input_tokens
        model.cached_input_tokens += usage.cached_input_tokens
        model.output_tokens += usage.output_tokens
        model.cost_nano += answer.cost_nano


class ModelSummary(msgspec.Struct, frozen=True):
    """One model's part. `cached_input_tokens` are part of `input_tokens`.

    `cost_usd` is in dollars; None where the model has no price and its answers therefore no known cost.
    """

    answers: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: float | None


class LatencySummary(msgspec.Struct, frozen=True):
    """Percentiles of the answers' latency in milliseconds, within 0.8 %; 0 when there is no answer."""

    p50: float
    p95: float
    p99: float


class Summary(msgspec.Struct, frozen=True):
    """What `--json` prints and `summary.json` holds.

    `lines` = `answered` + `failed` + `blank` + `remaining`. `resumed` of the answered came from earlier runs; tokens,
    cost, models and latency are of all answers, `duration_s` and `requests_per_second` of this run. `ending` is one
    of `job.Ending`, `reason` says more where there is more to say. Of the failed, `retryable` are asked again by the
    next run, `refused` only with --retry-errors; `failures` has this run's by code, the most frequent first.
    """

    ending: str
    reason: str
    output: str
    errors: str
    through: str
    lines: int
    blank: int
    answered: int
    resumed: int
    failed: int
    remaining: int
    cache_hits: int
    duration_s: float
    requests_per_second: float
    latency_ms: LatencySummary
    input_tokens: int
    output_tokens: int
    cost_usd: float
    models: dict[str, ModelSummary]
    retryable: int = 0
    refused: int = 0
    failures: dict[str, Failures] = {}


class Whereabouts(msgspec.Struct, frozen=True):
    """What stands in a summary though nobody counted it: the two files, and where the calls went."""

    output: str
    errors: str
    through: str


def summarise(
    tally: Tally,
    where: Whereabouts,
    ending: Ending,
    reason: str,
    duration_ns: int,
    price: Callable[[str], Price | None],
) -> Summary:
    """The summary of a run; `price(model)` is None for a model whose price nobody knows."""
    models = {
        name: ModelSummary(
            model.answers,
            model.input_tokens,
            model.cached_input_tokens,
            model.output_tokens,
            None if not model.cost_nano and price(name) is None else model.cost_nano / _NANO,
        )
        for name, model in sorted(tally.models.items())
    }
    seconds = duration_ns / _NANO
    percentiles = [round(tally.latencies.percentile(percent) / 1e6, 3) for percent in (50, 95, 99)]
    return Summary(
        ending.value,
        reason,
        where.output,
        where.errors,
        where.through,
        tally.lines,
        tally.blank,
        tally.answered,
        tally.resumed,
        tally.failed,
        tally.lines - tally.done,
        tally.cache_hits,
        round(seconds, 3),
        round((tally.answered - tally.resumed) / seconds, 3) if seconds else 0.0,
        LatencySummary(*percentiles),
        sum(model.input_tokens for model in models.values()),
        sum(model.output_tokens for model in models.values()),
        tally.cost_nano / _NANO,
        models,
        tally.retryable,
        tally.refused,
        dict(sorted(tally.failures.items(), key=lambda item: -item[1].lines)),
    )
