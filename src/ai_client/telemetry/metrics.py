"""The counting of calls: plain integers, bundled by series, so that a finished call costs one look-up."""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record
from ai_client.model.request import Endpoint
from ai_client.telemetry import catalogue
from ai_client.telemetry.catalogue import BOUNDS_SECONDS, WATCHED, Family
from ai_client.telemetry.labels import OTHER, Vocabulary

NANO = 1_000_000_000
BOUNDS_NS = tuple(round(bound * NANO) for bound in BOUNDS_SECONDS)

Labels = tuple[str, ...]
Reading = float | Mapping[Labels, float]
"""A figure, for a metric without labels; or a figure for each tuple of label values."""

Key = tuple[str, str, str, str, int, str]
"""app, model, target, endpoint, status, the cache's answer: what tells one bundle of cells from another."""


class Count:
    """A cell that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Histogram:
    """Observations in nanoseconds: how many fell into each bucket (the last has no upper bound), and their sum."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0


class _Bundle:
    """The cells that calls of one key count into: found once, then shared by name."""

    __slots__ = (
        "answered",
        "cache",
        "cached_input",
        "cost",
        "duration",
        "estimated",
        "first_byte",
        "input",
        "output",
        "queue",
        "requests",
        "streams",
    )

    def __init__(self, sink: MetricsSink, labels: Labels, cache: str) -> None:
        app, model, target, endpoint, status = labels
        self.requests = sink.counts[catalogue.REQUESTS][labels]
        self.duration = sink.histograms[catalogue.DURATION][target, endpoint, _status_class(status)]
        self.first_byte = sink.histograms[catalogue.FIRST_BYTE][target, endpoint]
        self.queue = sink.histograms[catalogue.QUEUE][(target,)]
        self.answered = sink.counts[catalogue.ATTEMPTS][(target,)]
        self.streams = sink.counts[catalogue.STREAMS][(target,)]
        tokens = sink.counts[catalogue.TOKENS]
        self.input = tokens[app, model, "input"]
        self.cached_input = tokens[app, model, "cached_input"]
        self.output = tokens[app, model, "output"]
        self.cost = sink.counts[catalogue.COST][app, model]
        self.estimated = sink.counts[catalogue.ESTIMATED][app, model]
        self.cache = sink.counts[catalogue.CACHE][(cache,)] if cache else Count()


class MetricsSink:
    """Counts calls for Prometheus; `exposition.Exposition` renders what it counted.

    Memory is bounded twice: each label takes `max_values` different values, and all of them together make
    `max_series` combinations; what comes later is counted under `other`, so that sums stay true. One thread counts;
    any thread may read.
    """

    def __init__(self, version: str, *, max_values: int = 100, max_series: int = 2000) -> None:
        """`version` is this package's, for `build_info`."""
        self.counts: dict[Family, defaultdict[Labels, Count]] = {}
        self.histograms: dict[Family, defaultdict[Labels, Histogram]] = {}
        for family in catalogue.COUNTED:
            if family.kind is catalogue.Kind.COUNTER:
                self.counts[family] = defaultdict(Count)
            elif family.kind is catalogue.Kind.HISTOGRAM:
                self.histograms[family] = defaultdict(Histogram)
        self._watched: dict[Family, Callable[[], Reading]] = {}
        self._build: dict[Labels, float] = {(version, platform.python_version()): 1.0}
        self._names = tuple(Vocabulary(max_values) for _ in catalogue.REQUESTS.labels)
        for endpoint in Endpoint:  # before whatever paths callers may think of
            self._names[3].admit(endpoint.value)
        self._codes = Vocabulary(max_values)
        self._max_series = max_series
        self._bundles: dict[Key, _Bundle] = {}
        for outcome in ("applied", "refused"):  # there from the start, so that an alert sees the first increase
            self.counts[catalogue.RELOADS][(outcome,)] = Count()

    def finished(self, record: Record, /) -> None:
        """Count a call."""
        self.finished_all((record,))

    def finished_all(self, records: Iterable[Record], /) -> None:
        """Count calls."""
        bundles, bounds, place = self._bundles, BOUNDS_NS, bisect_left
        for record in records:
            # a name that led nowhere is only what somebody typed: such names must not use up the label's values
            model = record.model if record.target or not record.error else ""
            key = (record.app, model, record.target, record.endpoint, record.status, record.cache)
            bundle = bundles.get(key)
            if bundle is None:
                bundle = self._bundle(key)
            bundle.requests.value += 1
            # three observations written out: a method call would cost as much as the observation
            ns = record.duration_ns
            cell = bundle.duration
            cell.counts[place(bounds, ns)] += 1
            cell.sum_ns += ns
            ns = record.first_byte_ns
            if ns:
                cell = bundle.first_byte
                cell.counts[place(bounds, ns)] += 1
                cell.sum_ns += ns
                bundle.answered.value += 1
            if record.attempts or record.queue_ns:
                ns = record.queue_ns
                cell = bundle.queue
                if ns:
                    cell.counts[place(bounds, ns)] += 1
                    cell.sum_ns += ns
                else:
                    cell.counts[0] += 1
            if record.stream:
                bundle.streams.value += 1
            if record.cache:
                bundle.cache.value += 1
            usage = record.usage
            bundle.input.value += usage.input_tokens
            bundle.cached_input.value += usage.cached_input_tokens
            bundle.output.value += usage.output_tokens
            if record.lost or usage.estimated:
                self._particulars(record, bundle)
            else:
                bundle.cost.value += record.cost_nano

    def _particulars(self, record: Record, bundle: _Bundle) -> None:
        """What is estimated; what was spent elsewhere, under the models and targets where it was."""
        bundle.estimated.value += record.usage.estimated
        bundle.cost.value += record.cost_nano - record.lost_nano
        app = self._names[0].admit(record.app)
        for each in record.lost:
            model, target = self._names[1].admit(each.model), self._names[2].admit(each.target)
            tokens, usage = self.counts[catalogue.TOKENS], each.usage
            tokens[app, model, "input"].value += usage.input_tokens
            tokens[app, model, "cached_input"].value += usage.cached_input_tokens
            tokens[app, model, "output"].value += usage.output_tokens
            self.counts[catalogue.COST][app, model].value += each.cost_nano
            self.counts[catalogue.LOST][target, each.why].value += each.cost_nano
            self.counts[catalogue.ESTIMATED][app, model].value += usage.estimated

    def attempt_failed(self, event: AttemptFailed, /) -> None:
        """Count a failed attempt."""
        target = self._names[2].admit(event.target)
        self.counts[catalogue.ATTEMPTS][(target,)].value += 1
        self.counts[catalogue.FAILURES][target, self._codes.admit(event.code)].value += 1

    def config_reloaded(self, *, applied: bool) -> None:
        """Count a reload: the new configuration took effect, or was refused."""
        self.counts[catalogue.RELOADS][("applied" if applied else "refused",)].value += 1

    def watch(self, family: Family, read: Callable[[], Reading]) -> None:
        """Have `read` called at every scrape for a metric that others keep.

        `family` is one of `catalogue.WATCHED` (else ValueError). A later call for the same family takes the place
        of the former: after a reload, the new objects are read. `read` must be quick and must not raise.
        """
        if family not in WATCHED:
            raise ValueError(f"{family.name} is not offered for watching: add it to catalogue.WATCHED.")
        self._watched[family] = read

    def close(self) -> None:
        """Let go of whatever is watched; the counts stay readable."""
        self._watched.clear()

    def figures(self) -> Iterator[tuple[Family, Mapping[Labels, float]]]:
        """Every counter and gauge with its present values, in the catalogue's order. Money is in dollars."""
        for family, counts in self.counts.items():
            unit = NANO if family in catalogue.MONEY else 1
            yield family, {labels: count.value / unit for labels, count in list(counts.items())}
        yield catalogue.BUILD, self._build
        for family in WATCHED:
            read = self._watched.get(family)
            if read is not None:
                reading = read()
                yield family, reading if isinstance(reading, Mapping) else {(): reading}

    def _bundle(self, key: Key) -> _Bundle:
        exact: Labels = (*key[:4], str(key[4]))
        labels = tuple(names.admit(name) for names, name in zip(self._names, exact, strict=True))
        requests = self.counts[catalogue.REQUESTS]
        if labels not in requests and len(requests) >= self._max_series:
            labels = (OTHER, OTHER, OTHER, OTHER, labels[4])
        bundle = _Bundle(self, labels, key[5])
        if labels == exact:  # folded keys are not remembered, or they would be endless after all
            self._bundles[key] = bundle
        return bundle


def _status_class(status: str) -> str:
    return OTHER if status == OTHER else f"{status[0]}xx"
