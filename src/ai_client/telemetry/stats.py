"""The figures behind `get_stats()`: requests and errors by model, latency percentiles in fixed memory."""

from __future__ import annotations

from typing import TypedDict

from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record
from ai_client.telemetry.labels import Vocabulary

_SIGNIFICANT = 7
_HALF = 1 << (_SIGNIFICANT - 1)
_WIDEST = 45  # bits: 2**45 ns are 9.8 hours


class Latencies:
    """Percentiles of durations within 0.8 %, in a fixed 2,496 integers.

    A duration is counted by its seven leading bits: 64 buckets for each doubling, each 1/64 to 1/128 of its value
    wide. A percentile is given as the middle of its bucket, so it is off by at most 1/128 of the exact nearest-rank
    value; durations above 9.8 hours count as 9.8 hours. (The idea is that of Gil Tene's HdrHistogram.)
    """

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * ((_WIDEST - _SIGNIFICANT + 1) * _HALF)
        self.total = 0

    def add(self, ns: int) -> None:
        """Count one duration, in nanoseconds."""
        shift = ns.bit_length() - _SIGNIFICANT
        if shift <= 0:  # below 128 ns: not a duration that a call can have
            index = 0
        elif shift > _WIDEST - _SIGNIFICANT:
            index = len(self._counts) - 1
        else:
            index = (shift << (_SIGNIFICANT - 1)) + (ns >> shift) - _HALF
        self._counts[index] += 1
        self.total += 1

    def percentile(self, percent: int) -> float:
        """The duration, in nanoseconds, that `percent` of 100 do not exceed; 0.0 when none was counted."""
        rank = max(1, -(-self.total * percent // 100))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                shift, rest = divmod(index, _HALF)
                return (_HALF + rest + 0.5) * (1 << shift)
        return 0.0


class Stats(TypedDict):
    """What `get_stats()` gives. Latencies are those of answered calls, in milliseconds, percentiles within 0.8 %."""

    requests: dict[str, int]  # answered, by model
    errors: dict[str, int]  # failed, by model
    total_requests: int  # answered and failed
    total_errors: int
    error_rate: float  # 0.0 to 1.0: failed of all
    avg_latency_ms: float
    p50_latency_ms: float
    p95_latency_ms: float
    p99_latency_ms: float
    attempt_failures: int
    cache_hits: int  # calls answered by the cache, coalesced ones included
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced: int  # calls of which not all has a known price: that part is not in `cost_usd`


class StatsSink:
    """Keeps the figures of `get_stats()`: by model, for the first 100 models; later ones count as `other`."""

    def __init__(self) -> None:
        self._models = Vocabulary(100)
        self._requests: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._latencies = Latencies()
        self._sum_ns = 0
        self._attempt_failures = 0
        self._cache_hits = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self._cost_nano = 0
        self._unpriced = 0

    def finished(self, record: Record, /) -> None:
        """Count a call."""
        cells = self._errors if record.error else self._requests
        model = record.model
        if model in cells:
            cells[model] += 1
        else:
            self._first(cells, record)
        if not record.error:
            self._latencies.add(record.duration_ns)
            self._sum_ns += record.duration_ns
        if record.cache and record.cache != "miss":
            self._cache_hits += 1
        usage = record.spent if record.lost else record.usage
        self._input_tokens += usage.input_tokens
        self._output_tokens += usage.output_tokens
        self._cost_nano += record.cost_nano
        self._unpriced += record.unpriced

    def attempt_failed(self, _: AttemptFailed, /) -> None:
        """Count a failed attempt."""
        self._attempt_failures += 1

    def close(self) -> None:
        """Nothing is held open; the figures stay readable."""

    def snapshot(self) -> Stats:
        """The figures up to now. Any thread may ask."""
        answered = sum(self._requests.values())
        failed = sum(self._errors.values())
        latencies = self._latencies
        return Stats(
            requests=dict(self._requests),
            errors=dict(self._errors),
            total_requests=answered + failed,
            total_errors=failed,
            error_rate=failed / max(1, answered + failed),
            avg_latency_ms=_ms(self._sum_ns / max(1, latencies.total)),
            p50_latency_ms=_ms(latencies.percentile(50)),
            p95_latency_ms=_ms(latencies.percentile(95)),
            p99_latency_ms=_ms(latencies.percentile(99)),
            attempt_failures=self._attempt_failures,
            cache_hits=self._cache_hits,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cost_usd=self._cost_nano / 1_000_000_000,
            unpriced=self._unpriced,
        )

    def _first(self, cells: dict[str, int], record: Record) -> None:
        """A model not counted yet. A call that failed before it was routed goes by the model it asked for."""
        model = self._models.admit(record.model or record.asked_model)
        cells[model] = cells.get(model, 0) + 1


def _ms(ns: float) -> float:
    return round(ns / 1_000_000, 3)
