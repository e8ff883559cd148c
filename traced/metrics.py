"""Findings and the service graph to Prometheus, computed at scrape time from immutable snapshots; the store is never asked.

The graph has Tempo's names, so that Grafana draws it. Names that senders chose become labels only after cleaning, and
only so many of them: what is over the limit is summed into `__other__`, never lost.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Protocol, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from traced.model.edge import DURATION_BUCKETS_SECONDS, Durations, EdgeCounts
from traced.model.views import FindingsView, TallyView

OTHER: Final = "__other__"
"""The label value under which everything over the series limit is summed."""
MAX_LABEL_CHARACTERS: Final = 128

_FINDING_LABELS: Final = ("finding", "level", "service", "peer", "cause")
_CHOSEN_BY_SENDERS: Final = frozenset({"service", "peer"})
_EDGE_LABELS: Final = ("client", "server", "connection_type")
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKUP: Final = str.maketrans(dict.fromkeys("<>&\"'", "_"))
_BOUNDS: Final = (*(str(bound) for bound in DURATION_BUCKETS_SECONDS), "+Inf")

Labels = tuple[str, ...]
T = TypeVar("T")


def clean_label(text: str) -> str:
    """Make any text safe as a label value: valid UTF-8, no control or bidi characters, no markup, at most 128 characters.

    A lone surrogate would end the whole scrape, and label values were the way of stored XSS into more than one UI.
    """
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    if not (whole.isascii() and whole.isprintable()):
        whole = "".join(c for c in whole if c not in _BIDI and unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"})
    return whole.translate(_MARKUP)[:MAX_LABEL_CHARACTERS]


class SeriesLimit:
    """Lets the first `max_series` label sets of a metric through and sums the others into `__other__`.

    Who was let through once stays: a counter whose label set moved to `__other__` and back would seem to restart.
    """

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._admitted: set[Labels] = set()
        self._lock = threading.Lock()

    def apply(self, series: dict[Labels, T], plus: Callable[[T, T], T]) -> tuple[dict[Labels, T], int]:
        """Give the series with the surplus summed up, and how many label sets that was."""
        kept: dict[Labels, T] = {}
        dropped = 0
        with self._lock:
            for labels, value in series.items():
                if len(self._admitted) < self._max_series:
                    self._admitted.add(labels)
                if labels not in self._admitted:
                    dropped += 1
                shown = labels if labels in self._admitted else (OTHER,) * len(labels)
                kept[shown] = plus(kept[shown], value) if shown in kept else value
        return kept, dropped


class CountedGraph(Protocol):
    """The service graph, which says what it left out."""

    @property
    def dropped(self) -> int:
        """Calls of edges that it had no room for, since start."""
        ...


class SnapshotCollector(Collector):
    """Collects findings and the graph whenever somebody scrapes."""

    def __init__(self, findings: FindingsView, graph: CountedGraph, tallies: TallyView, *, max_series: int, version: str) -> None:
        """Collect from views.

        Args:
            findings: the ledger.
            graph: the service graph.
            tallies: its edges with counts that only grow.
            max_series: label sets per metric family.
            version: for `traced_build_info`.
        """
        self._findings = findings
        self._graph = graph
        self._tallies = tallies
        self._max_series = max_series
        self._version = version
        self._edge_limit = SeriesLimit(max_series)
        self.dropped: dict[str, int] = {}
        """Label sets that the newest scrape summed into `__other__`, by metric."""

    def describe(self) -> Iterable[Metric]:
        """Name the families without asking the views; a name taken twice fails at registration."""
        return [*_finding_families(), *_edge_families(), _dropped_family(), self._build_info()]

    def collect(self) -> Iterable[Metric]:
        """Give every family, also those without a sample: alerts then find a name that exists."""
        (findings_open,) = _finding_families()
        # open findings are a gauge and come worst first: the limit is applied afresh, so that the worst are always there
        counted, over = SeriesLimit(self._max_series).apply(self._findings_by_labels(), lambda a, b: a + b)
        for labels, count in counted.items():
            findings_open.add_metric(labels, count)
        self.dropped[findings_open.name] = over
        edges, over = self._edge_limit.apply(self._edges_by_labels(), EdgeCounts.plus)
        families = _edge_families()
        for family in families:
            _fill(family, edges)
            self.dropped[_shown_name(family)] = over
        return [findings_open, *families, self._dropped_calls(), self._build_info()]

    def _findings_by_labels(self) -> dict[Labels, int]:
        counted: dict[Labels, int] = {}
        for finding in self._findings.findings():
            labels = tuple(clean_label(t) for t in (finding.id, str(finding.level), finding.service, finding.peer, finding.cause))
            counted[labels] = counted.get(labels, 0) + 1
        return counted

    def _edges_by_labels(self) -> dict[Labels, EdgeCounts]:
        """Sum edges whose labels are the same, because namespaces are no labels and cleaning may make two names one."""
        edges: dict[Labels, EdgeCounts] = {}
        for edge in self._tallies.tallies().edges:
            labels = (clean_label(edge.key.client), clean_label(edge.key.server), str(edge.key.connection_type))
            edges[labels] = edges[labels].plus(edge.counts) if labels in edges else edge.counts
        return edges

    def _dropped_calls(self) -> CounterMetricFamily:
        """Give one sample without names: a full graph does not remember whose calls it left out."""
        family = _dropped_family()
        family.add_metric([OTHER] * len(_EDGE_LABELS), self._graph.dropped)
        return family

    def _build_info(self) -> InfoMetricFamily:
        return InfoMetricFamily("traced_build", "Which version of traced this is.", value={"version": self._version})


def _finding_families() -> tuple[GaugeMetricFamily]:
    return (GaugeMetricFamily("traced_findings_open", "Open findings (fingerprints, not occurrences).", labels=_FINDING_LABELS),)


def _edge_families() -> Sequence[CounterMetricFamily | HistogramMetricFamily]:
    name = "traces_service_graph"
    return (
        CounterMetricFamily(f"{name}_request", "Calls between two nodes, each once.", labels=_EDGE_LABELS),
        CounterMetricFamily(f"{name}_request_failed", "Calls of which either half has error status.", labels=_EDGE_LABELS),
        CounterMetricFamily(f"{name}_unpaired_spans", "Halves of calls whose other half did not come.", labels=_EDGE_LABELS),
        HistogramMetricFamily(f"{name}_request_server_seconds", "Duration of the answering half; 0 where it did not come.", labels=_EDGE_LABELS),
        HistogramMetricFamily(f"{name}_request_client_seconds", "Duration of the calling half; 0 where it did not come.", labels=_EDGE_LABELS),
        HistogramMetricFamily(f"{name}_request_messaging_system_seconds", "From the end of producing to the start of consuming.", labels=_EDGE_LABELS),
    )


def _dropped_family() -> CounterMetricFamily:
    return CounterMetricFamily("traces_service_graph_dropped_spans", "Calls left out because the graph was full, a span each.", labels=_EDGE_LABELS)


_COUNTS: Final[dict[str, Callable[[EdgeCounts], int]]] = {
    "traces_service_graph_unpaired_spans": lambda c: c.unpaired,
    "traces_service_graph_request": lambda c: c.calls,
    "traces_service_graph_request_failed": lambda c: c.errors,
}
_DURATIONS: Final[dict[str, Callable[[EdgeCounts], Durations]]] = {
    "traces_service_graph_request_server_seconds": lambda c: c.server_seconds,
    "traces_service_graph_request_client_seconds": lambda c: c.client_seconds,
    "traces_service_graph_request_messaging_system_seconds": lambda c: c.messaging_seconds,
}


def _fill(family: CounterMetricFamily | HistogramMetricFamily, edges: dict[Labels, EdgeCounts]) -> None:
    """Add an edge's sample where it has one; a call that never failed still shows 0 failed, so that rates can be divided."""
    for labels, counts in edges.items():
        if isinstance(family, HistogramMetricFamily):
            durations = _DURATIONS[family.name](counts)
            if durations.count:
                family.add_metric(labels, list(zip(_BOUNDS, accumulate(durations.buckets), strict=True)), durations.sum_seconds)
        else:
            count = _COUNTS[family.name](counts)
            if count or (counts.calls and family.name == "traces_service_graph_request_failed"):
                family.add_metric(labels, count)


def _shown_name(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


class TallyCollector(Collector):
    """Collects the counters of ledger and analysis, whose labels come from the data; `_Bounded` cleans and limits them."""

    def __init__(self, tallies: TallyView) -> None:
        """Collect from a view whose counts only grow."""
        self._tallies = tallies

    def describe(self) -> Iterable[Metric]:
        """Name the families without asking the view."""
        return _tally_families()

    def collect(self) -> Iterable[Metric]:
        """Give every family, also those without a sample."""
        tallies = self._tallies.tallies()
        families = _tally_families()
        spans = {(service,): count for service, count in tallies.spans_analyzed.items()}
        counted: tuple[Mapping[Any, int], ...] = (tallies.occurrences, tallies.withdrawn, tallies.missing_spans, spans, tallies.reported_losses)
        for family, counts in zip(families, counted, strict=True):
            for labels, count in counts.items():
                family.add_metric(labels, count)
        return families


def _tally_families() -> Sequence[CounterMetricFamily]:
    labels = ("finding", "service", "peer", "cause")
    return (
        CounterMetricFamily("traced_finding_occurrences", "Occurrences, each counted once when it was first found.", labels=labels),
        CounterMetricFamily("traced_finding_withdrawn_occurrences", "Occurrences that no longer held when late spans came.", labels=labels),
        CounterMetricFamily("traced_missing_spans", "Absent parents, each counted once.", labels=("service", "cause")),
        CounterMetricFamily("traced_spans_analyzed", "Spans analysed, each once.", labels=("service",)),
        CounterMetricFamily(
            "traced_reported_span_losses",
            "Spans that an SDK or a Collector says it lost, or refused, by its own metrics.",
            labels=("service", "quantity", "reason"),
        ),
    )


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
        kept, dropped[_shown_name(metric)] = limit.apply(series, lambda a, b: a + b)
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
        max_series: `HttpSettings.max_series`.
        version: of traced.

    Raises:
        ValueError: it was done before on this registry.
    """
    snapshots = SnapshotCollector(findings, graph, tallies, max_series=max_series, version=version)
    registry.register(snapshots)
    registry.register(TallyCollector(tallies))
    return Exposition(_Bounded(registry, snapshots, max_series))
