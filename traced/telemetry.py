"""What `traced` says of its own health: accepted, refused, dropped, behind.

One object holds every counter, declared once, on a registry of its own. Rooms get the object; nobody reaches for a global.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class AnalysisLimit(StrEnum):
    """What left something out of the analysis: all values of the label `limit` of `traced_analysis_dropped_total`, each with what it counts."""

    MAX_OPEN_SECONDS = "max_open_seconds"
    """Traces looked at while spans of them still came: they had been open for so long."""
    MAX_HELD_SPANS = "max_held_spans"
    """Traces looked at while spans of them still came: more spans than a pass may read were held."""
    LATE_WINDOW_SECONDS = "late_window_seconds"
    """Traces that got a late span when their earlier ones were out of reach: nothing is called absent in them."""
    MAX_SPANS_PER_TRACE = "max_spans_per_trace"
    """Spans left out of traces that have more of them than are looked at; as long as more come, such a trace is not read again."""
    HISTORY = "history"
    """Entries of what is learned (kinds of calls, operations, instances, links, samplers, gaps, children) beyond their bounds."""
    OUTSIDE_LINKS = "outside_links"
    """Span links whose targets were not looked up in the store: too many in one pass."""
    LATE_LINKS = "late_links"
    """Span links forgotten before their producer came: their messages are not in the graph."""
    MESSAGES = "messages"
    """Messages forgotten before their publication came, so that they are joined with no producer, and messages of edges for which there was no room."""
    REVISITS = "revisits"
    """Traces that were to be looked at again when more is known, and will not be: too many waited."""
    HASTY_CLAIMS = "hasty_claims"
    """Claims made before it was known whether all spans come here, forgotten: they are not taken back if only a part does."""
    MEASUREMENTS = "measurements"
    """What SDKs and Collectors count of their spans, beyond the bounds of the loss ledger."""
    WAITING_HALVES = "waiting_halves"
    """Halves of calls forgotten before it was decided whether another trace has their other half."""
    STANDBY = "standby"
    """SERVER spans that may have called another trace, forgotten before it came."""
    MATCH_CANDIDATES = "match_candidates"
    """Callers that were not weighed against a receiver, because too many others began between them and it."""
    MATCH_COMPONENT = "match_component"
    """Receivers without a match because too many compete for the same callers."""
    MATCH_UNLEARNED = "match_unlearned"
    """Receivers that were not matched at this time: of their services no delays are known yet, and newer ones took part."""
    FAILED_PASS = "failed_pass"  # noqa: S105 - no password
    """Passes, or parts of telling what they found, that failed again and again and were given up."""


class FindingsLimit(StrEnum):
    """What dropped occurrences: all values of the label `limit` of `traced_findings_dropped_total`, each with what it counts."""

    MAX_FINDINGS = "max_findings"
    """Occurrences of findings that made room for worse ones, or found none."""
    MAX_OCCURRENCES = "max_occurrences"
    """Occurrences that are counted and not remembered: late spans cannot withdraw them any more."""
    MAX_ROWS_PER_DETECTOR = "max_rows_per_detector"
    """Rows of one detector in one pass beyond its bound."""


class LogLoss(StrEnum):
    """Why rows are gone from the message log: all values of the label `reason` of `traced_store_message_log_lost_rows_total`."""

    AGE = "age"
    SIZE = "size"
    FULL = "full"
    """The disk could not be written for so long that memory ran out."""
    DAMAGED = "damaged"
    """Of files that were set aside."""


class LogTable(StrEnum):
    """What the message log keeps: all values of the label `table`."""

    MESSAGES = "messages"
    FLOWS = "flows"


class Telemetry:
    """All metrics about the daemon itself."""

    def __init__(self) -> None:
        """Declare every metric on a fresh registry."""
        registry = CollectorRegistry(auto_describe=False)
        self.registry = registry
        self.accepted = Counter(
            "traced_receiver_accepted",
            "Spans or log records acknowledged after they were on disk, and data points about spans.",
            ["signal", "transport"],
            registry=registry,
        )
        self.refused = Counter(
            "traced_receiver_refused",
            "Requests answered with a retryable or final error; nothing of them was stored.",
            ["signal", "transport", "reason"],
            registry=registry,
        )
        self.rejected_items = Counter(
            "traced_receiver_rejected_items",
            "Invalid spans, log records or data points inside requests of which the rest was taken.",
            ["signal", "reason"],
            registry=registry,
        )
        self.altered_items = Counter(
            "traced_receiver_altered_items",
            "Spans or log records stored with a change: cut, clamped or cleaned.",
            ["signal", "reason"],
            registry=registry,
        )
        self.ignored_metrics = Counter(
            "traced_receiver_ignored_metrics",
            "Metrics acknowledged without being read: they do not count spans of an SDK or a Collector.",
            ["transport"],
            registry=registry,
        )
        self.json_nonconformant = Counter(
            "traced_otlp_json_nonconformant",
            "OTLP/JSON requests with snake_case keys or enum names, read all the same.",
            registry=registry,
        )
        self.in_flight_bytes = Gauge("traced_receiver_in_flight_bytes", "Bytes of requests not answered yet.", registry=registry)
        self.last_arrival = Gauge("traced_receiver_last_arrival_timestamp_seconds", "Unix time of the newest stored batch.", registry=registry)
        self.ack_seconds = Histogram(
            "traced_receiver_ack_seconds",
            "From the whole request received to its answer.",
            ["transport"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._declare_store(registry)
        self._declare_analysis(registry)

    def _declare_store(self, registry: CollectorRegistry) -> None:
        self.repeated_spans = Counter("traced_store_repeated_spans", "Spans that came again and were not stored again.", ["content"], registry=registry)
        self.repeated_logs = Counter("traced_store_repeated_logs", "Log records whose whole batch came again; not stored again.", registry=registry)
        self.commit_seconds = Histogram("traced_store_commit_seconds", "One commit group: insert and fdatasync.", buckets=SECONDS_BUCKETS, registry=registry)
        self.hot_spans = Gauge("traced_store_hot_spans", "Spans in hot and frozen segments.", registry=registry)
        self.sealed_files = Gauge("traced_store_sealed_files", "Sealed Parquet files.", registry=registry)
        self.sealed_bytes = Gauge("traced_store_sealed_bytes", "Size of the sealed Parquet files.", registry=registry)
        self.sealed_spans = Counter("traced_store_sealed_spans", "Spans written to sealed files (merges not counted).", registry=registry)
        self.merged_files = Counter("traced_store_merged_files", "Small sealed files that were merged into larger ones.", registry=registry)
        self.dropped_files = Counter("traced_store_dropped_files", "Sealed files removed by retention.", ["reason"], registry=registry)
        self.lost_batches = Counter("traced_store_lost_batches", "Acknowledged batches that a damaged segment lost.", registry=registry)
        self.quarantined = Counter("traced_store_quarantined_segments", "Damaged segments or files set aside.", registry=registry)
        self.reopened = Counter("traced_store_reopened", "Times the hot segment was reopened after an I/O error.", registry=registry)
        self.seal_errors = Counter("traced_store_seal_errors", "Seals or merges that failed and will be tried again.", registry=registry)
        self.logged_rows = Counter("traced_store_message_log_rows", "Rows that passes put into the message log.", ["table"], registry=registry)
        self.lost_log_rows = Counter("traced_store_message_log_lost_rows", "Rows that are gone from the message log.", ["table", "reason"], registry=registry)
        self.log_files = Gauge("traced_store_message_log_files", "Files of the message log.", ["table"], registry=registry)
        self.log_bytes = Gauge("traced_store_message_log_bytes", "Size of the files of the message log.", ["table"], registry=registry)
        for table in LogTable:
            self.logged_rows.labels(table)
            self.log_files.labels(table)
            self.log_bytes.labels(table)
            for reason in LogLoss:
                self.lost_log_rows.labels(table, reason)

    def _declare_analysis(self, registry: CollectorRegistry) -> None:
        self.analysis_lag = Gauge(
            "traced_analysis_lag_seconds",
            "How far the analysis is behind: age of the oldest settled data not yet analysed, beyond settle_seconds.",
            registry=registry,
        )
        self.analysis_pass_seconds = Histogram("traced_analysis_pass_seconds", "One analysis pass.", buckets=SECONDS_BUCKETS, registry=registry)
        self.analysis_errors = Counter("traced_analysis_errors", "Analysis passes that failed and will be tried again.", registry=registry)
        self.detector_errors = Counter("traced_detector_errors", "Passes in which a detector, or what it reads, failed.", ["detector"], registry=registry)
        self.detector_seconds = Counter("traced_detector_seconds", "Time spent in a detector.", ["detector"], registry=registry)
        self.traces_analyzed = Counter("traced_traces_analyzed", "Traces analysed, each once.", ["complete"], registry=registry)
        self.traces_reanalyzed = Counter("traced_traces_reanalyzed", "Traces analysed again because late spans came or more was known.", registry=registry)
        self.traces_truncated = Counter("traced_traces_truncated", "Traces of which only the first max_spans_per_trace spans were analysed.", registry=registry)
        self.analysis_dropped = Counter(
            "traced_analysis_dropped",
            "What a limit of the analysis left out: links not followed, history not kept, traces judged before they were quiet or whole.",
            ["limit"],
            registry=registry,
        )
        self.dropped_findings = Counter("traced_findings_dropped", "Occurrences not kept because the ledger was full.", ["limit"], registry=registry)
        self.dropped_edges = Counter("traced_graph_dropped_edges", "Calls not kept because the graph had max_edges edges.", registry=registry)
        # a series that begins with its first loss hides that loss from `increase`
        for limit in AnalysisLimit:
            self.analysis_dropped.labels(limit)
        for of_findings in FindingsLimit:
            self.dropped_findings.labels(of_findings)

    def leave_out(self, limit: AnalysisLimit, number: int = 1) -> None:
        """Count what a limit of the analysis left out."""
        self.analysis_dropped.labels(limit).inc(number)

    def drop_findings(self, limit: FindingsLimit, number: int = 1) -> None:
        """Count occurrences that a limit dropped."""
        self.dropped_findings.labels(limit).inc(number)

    def not_taken(self, signal: str) -> tuple[int, int]:
        """Give how many requests of a signal were answered with an error by now, and how many items were left out of those that were taken."""
        counters = (self.refused, self.rejected_items)
        samples = ([s for family in counter.collect() for s in family.samples] for counter in counters)
        refused, rejected = (sum(s.value for s in of_one if s.name.endswith("_total") and s.labels["signal"] == signal) for of_one in samples)
        return int(refused), int(rejected)

    def own_families(self) -> Iterator[Metric]:
        """Give the metrics declared here, without what others registered beside them."""
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase):
                yield from metric.collect()
