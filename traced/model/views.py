"""What the ways out (JSON, pages, metrics) need to see of the rooms behind them: protocols and the values they answer with.

Everything but `TraceView` and `QueryView` answers from immutable snapshots in memory: cheap, safe from any thread, never the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from traced.model.capture import Capture
from traced.model.edge import Edge
from traced.model.finding import Finding, timestamp
from traced.model.losses import ServiceAccount
from traced.model.message_edge import MessageEdge
from traced.model.migration import Gate, VerdictRecord
from traced.model.occurrence import Occurrence
from traced.model.query_result import QueryResult
from traced.model.suspect import Suspects
from traced.model.verdict import Acceptance, FoundMigration, GateVerdict, MigrationReport


class FindingsView(Protocol):
    """The ledger's open findings."""

    def findings(self) -> tuple[Finding, ...]:
        """Give a snapshot of all open findings, worst first."""
        ...

    def finding(self, fingerprint: str) -> Finding | None:
        """Give one open finding, or None."""
        ...

    def suspects(self, findings: tuple[Finding, ...]) -> Suspects:
        """Give what to mend first: the suspects that explain a snapshot of the findings; cheap for the newest one."""
        ...

    def of_trace(self, trace_id: tuple[int, int]) -> tuple[Occurrence, ...]:
        """Give the open occurrences of one trace (high, low)."""
        ...


class GraphView(Protocol):
    """The service graph."""

    def edges(self, start_unix_seconds: float | None, end_unix_seconds: float | None) -> tuple[Edge, ...]:
        """Give the edges with what was seen on them in a time range; None leaves that side open."""
        ...


class MessageGraphView(Protocol):
    """The message graph."""

    def message_edges(self, start_unix_seconds: float | None, end_unix_seconds: float | None) -> tuple[MessageEdge, ...]:
        """Give the edges with what was seen on them in a time range; None leaves that side open."""
        ...


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """The earliest of what is stored of a trace; no rows where nothing is.

    Attributes:
        spans: the earliest by start, in order, schema `traced.model.schema.SPANS`.
        logs: the earliest log records, in order, schema `traced.model.schema.LOGS`.
        total_spans: how many spans are stored.
        total_logs: how many log records are stored.
        has_root: a root span is stored, here or not.
        beyond: ids of spans that `spans` name as parents, and that are stored but not here.
    """

    spans: pa.Table
    logs: pa.Table
    total_spans: int
    total_logs: int
    has_root: bool
    beyond: frozenset[int] = frozenset()

    @property
    def truncated(self) -> bool:
        """Whether more is stored than is here."""
        return bool(self.total_spans > self.spans.num_rows or self.total_logs > self.logs.num_rows)


class TraceView(Protocol):
    """One trace out of the store; may read files, so it must not run on an event loop."""

    def trace(self, high: int, low: int, max_spans: int, max_logs: int) -> StoredTrace:
        """Give what is stored of a trace; of more than the limits the earliest."""
        ...


@dataclass(frozen=True, slots=True)
class DetectorHealth:
    """How a detector fares.

    Attributes:
        id: the detector.
        errors: passes in which it could not look, since start: it raised, or what it reads could not be made.
        seconds: time spent in it, since start.
    """

    id: str
    errors: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside `/api/v1/status`."""
        return {"id": self.id, "errors": self.errors, "seconds": round(self.seconds, 6)}


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What the store holds: spans in hot and frozen segments, and sealed Parquet files."""

    hot_spans: int
    sealed_files: int
    sealed_bytes: int

    def as_dict(self) -> dict[str, int]:
        """Give the JSON shape inside `/api/v1/status`."""
        return {"hot_spans": self.hot_spans, "sealed_files": self.sealed_files, "sealed_bytes": self.sealed_bytes}


@dataclass(frozen=True, slots=True)
class Status:
    """How the daemon is; counts are since its start, those of what was analysed since the data directory's.

    Attributes:
        version: of traced.
        alive: False only where a restart would help (a thread that must run has ended).
        ready: store open, receivers bound, below the hard limits.
        not_ready_reasons: a sentence each; empty when ready.
        otlp_grpc: the bound address, HOST:PORT.
        otlp_http: the bound address, HOST:PORT.
        received_spans: spans acknowledged.
        received_logs: log records acknowledged.
        refused_requests: requests of which nothing was stored.
        rejected_items: invalid spans or log records inside requests of which the rest was stored.
        repeated_spans: spans that came again and were not stored again.
        repeated_logs: log records of batches that came again and were not stored again.
        dropped_findings: occurrences not kept because the ledger was full.
        dropped_edges: calls not kept because the graph was full.
        last_arrival_unix_seconds: when the newest batch was stored, also before this start; None where nothing is stored.
        traces_analyzed: traces settled and analysed.
        spans_analyzed: spans analysed.
        traces_waiting: traces received and not settled yet.
        analysis_lag_seconds: how far the analysis is behind, beyond `settle_seconds`.
        analyzed_until_unix_seconds: everything that arrived up to then was analysed, or belongs to traces that wait; None before the first look.
        settle_seconds: how long a trace must be quiet before it is analysed.
        detectors: every detector that runs.
        store: what the store holds.
        received_data_points: data points about spans taken into the loss ledger.
        ignored_metrics: other metrics, acknowledged without being read.
        loss_ledger: what instances say of their own spans, those that lost most first.
        view: `complete`, or `partial` where only a part of the system's spans come here.
    """

    version: str
    alive: bool
    ready: bool
    not_ready_reasons: tuple[str, ...]
    otlp_grpc: str
    otlp_http: str
    received_spans: int
    received_logs: int
    refused_requests: int
    rejected_items: int
    repeated_spans: int
    dropped_findings: int
    dropped_edges: int
    last_arrival_unix_seconds: float | None
    traces_analyzed: int
    spans_analyzed: int
    traces_waiting: int
    analysis_lag_seconds: float
    analyzed_until_unix_seconds: float | None
    settle_seconds: float
    detectors: tuple[DetectorHealth, ...]
    store: StoreHealth
    received_data_points: int = 0
    ignored_metrics: int = 0
    repeated_logs: int = 0
    loss_ledger: tuple[ServiceAccount, ...] = ()
    view: str = "complete"

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `/api/v1/status`."""
        return {
            "version": self.version,
            "alive": self.alive,
            "ready": self.ready,
            "not_ready_reasons": list(self.not_ready_reasons),
            "view": self.view,
            "addresses": {"otlp_grpc": self.otlp_grpc, "otlp_http": self.otlp_http},
            "received": {"spans": self.received_spans, "logs": self.received_logs, "data_points": self.received_data_points},
            "ignored": {"metrics": self.ignored_metrics},
            "refused": {"requests": self.refused_requests},
            "rejected": {"items": self.rejected_items},
            "repeated": {"spans": self.repeated_spans, "logs": self.repeated_logs},
            "dropped": {"findings": self.dropped_findings, "edges": self.dropped_edges},
            "last_arrival": _time_or_none(self.last_arrival_unix_seconds),
            "analysis": {
                "traces_analyzed": self.traces_analyzed,
                "spans_analyzed": self.spans_analyzed,
                "traces_waiting": self.traces_waiting,
                "lag_seconds": round(self.analysis_lag_seconds, 3),
                "analyzed_until": _time_or_none(self.analyzed_until_unix_seconds),
                "settle_seconds": self.settle_seconds,
            },
            "detectors": [d.as_dict() for d in self.detectors],
            "store": self.store.as_dict(),
            "loss_ledger": [account.as_dict() for account in self.loss_ledger],
        }


def _time_or_none(unix_seconds: float | None) -> str | None:
    return None if unix_seconds is None else timestamp(int(unix_seconds * 1_000_000_000))


class StatusView(Protocol):
    """The daemon's health."""

    def status(self) -> Status:
        """Give how the daemon is now."""
        ...


class CaptureView(Protocol):
    """When the daemon listened."""

    def capture(self) -> Capture:
        """Give the intervals, and the gaps in them; cheap."""
        ...


class MigrationView(Protocol):
    """Dual-publish migrations; may read files, so it must not run on an event loop."""

    def reports(self) -> tuple[MigrationReport, ...]:
        """Give how each configured migration stands, perhaps as it was a minute ago."""
        ...

    def found(self) -> tuple[FoundMigration, ...]:
        """Give schemas that flow side by side, of which no configuration speaks."""
        ...

    def report(self, name: str) -> MigrationReport:
        """Give how one migration stands now.

        Raises:
            NotFoundError: no migration of this name is configured.
        """
        ...

    def check(self, name: str, gate: Gate, accepted: Sequence[Acceptance]) -> GateVerdict:
        """Give the verdict of one gate now, and remember that it was asked for.

        Raises:
            NotFoundError: no migration of this name is configured.
        """
        ...

    def history(self, name: str) -> tuple[VerdictRecord, ...]:
        """Give the verdicts of one migration that are remembered, the oldest first.

        Raises:
            NotFoundError: no migration of this name is configured.
        """
        ...


class QueryView(Protocol):
    """Named queries, and a user's own SQL; slow, so it must not run on an event loop."""

    def run(self, name_or_sql: str, params: dict[str, Any], is_name: bool) -> QueryResult:  # noqa: FBT001 - the protocol as agreed between the rooms
        """Run a named query, or SQL, with named parameters.

        Raises:
            TracedError: unknown name, refused or failed SQL, or a limit that ended it.
        """
        ...

    def names(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Give (name, the question it answers, parameter names) of every named query."""
        ...


@dataclass(frozen=True, slots=True)
class Tallies:
    """Counters that only grow, by labels that come from the data.

    Attributes:
        occurrences: (finding, service, peer, cause) to occurrences found, each once.
        withdrawn: the same labels to occurrences that no longer held when late spans came.
        missing_spans: (service, cause) to absent parents, each once.
        spans_analyzed: service to spans analysed, each once.
        edges: the service graph with counts that only grow; those with unpaired spans only are among them.
        reported_losses: (service, quantity, reason) to spans that SDKs and Collectors say they lost.
        migration_messages: (migration, role, service, version) to sampled messages.
    """

    occurrences: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    withdrawn: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    missing_spans: dict[tuple[str, str], int] = field(default_factory=dict)
    spans_analyzed: dict[str, int] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    reported_losses: dict[tuple[str, str, str], int] = field(default_factory=dict)
    migration_messages: dict[tuple[str, str, str, str], int] = field(default_factory=dict)


class TallyView(Protocol):
    """The counters of the ledger, the graph and the analysis."""

    def tallies(self) -> Tallies:
        """Give counts that only grow, also across a crash."""
        ...
