"""What was counted, in Prometheus's text format or in OpenMetrics.

Apart from the counting, so that only a process that is scraped pays for the import of prometheus_client (70 ms).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ai_client.telemetry.catalogue import BOUNDS_SECONDS, Kind
from ai_client.telemetry.metrics import NANO, Histogram, MetricsSink

_BOUNDS = (*(str(bound) for bound in BOUNDS_SECONDS), "+Inf")


class Exposition(Collector):
    """Renders a `MetricsSink`, together with the process's own figures (CPU, memory, open files)."""

    def __init__(self, metrics: MetricsSink) -> None:
        self._metrics = metrics
        # A registry of our own: two clients in one process do not see each other's figures.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The body and its content type, as the scraper's Accept header asks. Any thread may call it."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus_client wants them."""
        for family, cells in self._metrics.histograms.items():
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            for labels, cell in list(cells.items()):
                buckets = _buckets(cell)
                if buckets[-1][1]:  # a bundle makes its cells beforehand; those never used say nothing
                    histogram.add_metric(labels, buckets, cell.sum_ns / NANO)
            yield histogram
        for family, figures in self._metrics.figures():
            make = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
            metric = make(family.name, family.help, labels=family.labels)
            for labels, value in figures.items():
                metric.add_metric(labels, value)
            yield metric


def _buckets(cell: Histogram) -> list[tuple[str, float]]:
    return list(zip(_BOUNDS, accumulate(cell.counts), strict=True))
