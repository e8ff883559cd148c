"""Renders everything that is measured, as Prometheus asks for it.

The graph has Tempo's names, so that Grafana draws it. Names that senders chose become labels only after cleaning, and
only so many of them: what is over the limit is summed into `__other__`, never lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from traced.metrics.collectors import CountedGraph, SnapshotCollector, TallyCollector, shown_name
from traced.metrics.migrations import MigrationCollector
from traced.metrics.series import OTHER, Labels, SeriesLimit, clean_label
from traced.model.views import CaptureView, FindingsView, MigrationView, TallyView

_CHOSEN_BY_SENDERS: Final = frozenset({"service", "peer"})


class _Bounded(Collector):
    """The whole registry, with the counters that other rooms label by service cleaned and limited in the same way."""

    def __init__(self, registry: CollectorRegistry, snapshots: SnapshotCollector, max_series: int) -> None:
        self._registry = registry
        self._snapshots = snapshots
        self._max_series = max_series
        self._limits: dict[str, SeriesLimit] = {}

    def collect(self) -> Iterable[Metric]:
        dropped: dict[str, int] = {}
        for metric in self._registry.collect():
            if metric.type == "counter" and metric.samples and not _CHOSEN_BY_SENDERS.isdisjoint(metric.samples[0].labels):
                yield self._bounded(metric, dropped)
            else:
                yield metric
        text = f"Label sets over the series limit, summed into {OTHER} instead."
        family = GaugeMetricFamily("traced_metrics_series_dropped", text, labels=("metric",))
        for name, over in {**self._snapshots.dropped, **dropped}.items():
            family.add_metric([name], over)
        yield family

    def _bounded(self, metric: Metric, dropped: dict[str, int]) -> Metric:
        names = tuple(metric.samples[0].labels)
        series: dict[Labels, float] = {}
        for sample in metric.samples:
            labels = tuple(clean_label(sample.labels[name]) for name in names)
            series[labels] = series.get(labels, 0.0) + sample.value
        limit = self._limits.setdefault(metric.name, SeriesLimit(self._max_series))
        kept, dropped[shown_name(metric)] = limit.apply(series, lambda a, b: a + b)
        family = CounterMetricFamily(metric.name, metric.documentation, labels=names)
        for labels, count in kept.items():
            family.add_metric(labels, count)
        return family


class Exposition:
    """Renders a registry: what `/metrics` answers."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def negotiate(self, accept: str) -> tuple[bytes, str]:
        """Give (body, content type) in the format that an Accept header asks for: Prometheus text, or OpenMetrics."""
        encode, content_type = choose_encoder(accept)
        return encode(self._collector), content_type


def expose(
    registry: CollectorRegistry,
    findings: FindingsView,
    graph: CountedGraph,
    tallies: TallyView,
    migrations: MigrationView,
    captured: CaptureView,
    *,
    max_series: int,
    version: str,
) -> Exposition:
    """Register findings and graph on the daemon's registry and give what renders it.

    Args:
        registry: `Telemetry.registry`.
        findings: the ledger.
        graph: the service graph.
        tallies: counters of the ledger, the graph and the analysis.
        migrations: how they stand.
        captured: when the daemon listened.
        max_series: `HttpSettings.max_series`.
        version: of traced.

    Raises:
        ValueError: it was done before on this registry.
    """
    snapshots = SnapshotCollector(findings, graph, tallies, max_series=max_series, version=version)
    registry.register(snapshots)
    registry.register(TallyCollector(tallies))
    registry.register(MigrationCollector(migrations, captured, max_series))
    return Exposition(_Bounded(registry, snapshots, max_series))
