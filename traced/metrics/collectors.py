"""Collectors of findings, of the service graph, and of counters whose labels come from the data; the store is never asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from traced.metrics.series import OTHER, Labels, SeriesLimit, clean_label
from traced.model.edge import DURATION_BUCKETS_SECONDS, Durations, EdgeCounts
from traced.model.views import FindingsView, TallyView

_FINDING_LABELS: Final = ("finding", "level", "service", "peer", "cause")
_EDGE_LABELS: Final = ("client", "server", "connection_type")
_BOUNDS: Final = (*(str(bound) for bound in DURATION_BUCKETS_SECONDS), "+Inf")


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
            self.dropped[shown_name(family)] = over
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


def shown_name(family: Metric) -> str:
    """Give the name under which a family's samples are shown."""
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
        counted: tuple[Mapping[Any, int], ...] = (
            tallies.occurrences,
            tallies.withdrawn,
            tallies.missing_spans,
            spans,
            tallies.reported_losses,
            tallies.migration_messages,
        )
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
        CounterMetricFamily(
            "traced_migration_messages",
            "Sampled messages that a service sent or took of a migration's channel, by version; empty where the version is not known.",
            labels=("migration", "role", "service", "message_schema_version"),
        ),
    )
