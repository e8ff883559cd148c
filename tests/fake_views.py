"""Views that answer from plain values, for tests of the ways out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from traced.errors import NotFoundError
from traced.graph.suspects import group
from traced.model.capture import Capture
from traced.model.edge import DURATION_BUCKETS_SECONDS, ConnectionType, Durations, Edge, EdgeCounts, EdgeKey
from traced.model.finding import Example, Finding
from traced.model.message_edge import MessageCounts, MessageEdge, MessageEdgeKey
from traced.model.occurrence import Level, Occurrence, fingerprint_of
from traced.model.query_result import QueryResult
from traced.model.schema import LOGS, SPANS
from traced.model.suspect import Suspects
from traced.model.verdict import FoundMigration, MigrationReport
from traced.model.views import DetectorHealth, Status, StoredTrace, StoreHealth, Tallies

NOW = 1_760_000_000.0
NOW_NANO = int(NOW) * 1_000_000_000


def finding(service: str = "cart", **changed: Any) -> Finding:
    """Give a finding of a service."""
    values: dict[str, Any] = {
        "id": "orphan_span",
        "level": Level.VIOLATION,
        "cause": "upstream_loss",
        "service": service,
        "peer": "web",
        "signal_type": "span",
        "signal_name": "GET /cart",
        "count": 3,
        "confidence": 0.97,
        "first_seen_unix_nano": NOW_NANO - 60_000_000_000,
        "last_seen_unix_nano": NOW_NANO,
        "message": f"3 spans of {service} name a parent that never came.",
        "how_to_fix": "Look at the exporter of web.",
        "examples": (Example((0, 0xABC), 0x11),),
        "context": {"missing_span_id": "00000000000000ff"},
        **changed,
    }
    values.setdefault("fingerprint", fingerprint_of(values["id"], values["cause"], values["service"], values["peer"], values["signal_name"]))
    return Finding(**values)


def occurrence(**changed: Any) -> Occurrence:
    """Give an occurrence of an orphan span."""
    values: dict[str, Any] = {
        "id": "orphan_span",
        "level": Level.VIOLATION,
        "trace_id": (0, 0xABC),
        "span_id": 0x11,
        "service": "cart",
        "signal_name": "GET /cart",
        "time_unix_nano": NOW_NANO,
        "cause": "upstream_loss",
        "peer": "web",
        "confidence": 0.97,
        "missing_span_id": 0xFF,
        **changed,
    }
    return Occurrence(**values)


def durations(*seconds: float) -> Durations:
    """Give a histogram of the seconds named."""
    buckets = [0] * (len(DURATION_BUCKETS_SECONDS) + 1)
    for one in seconds:
        buckets[sum(1 for bound in DURATION_BUCKETS_SECONDS if one > bound)] += 1
    return Durations(len(seconds), sum(seconds), tuple(buckets))


def edge(client: str, server: str, calls: int = 10, errors: int = 0, kind: ConnectionType = ConnectionType.CALL, **changed: Any) -> Edge:
    """Give an edge on which every call took 0.15 s at the server and 0.25 s at the client."""
    values: dict[str, Any] = {
        "calls": calls,
        "errors": errors,
        "server_seconds": durations(*[0.15] * calls),
        "client_seconds": durations(*[0.25] * calls),
        **changed,
    }
    return Edge(EdgeKey(client, server, kind), EdgeCounts(**values))


def message_edge(producer: str, destination: str, consumer: str, messages: int = 10, lag: int | None = None, **counts: Any) -> MessageEdge:
    """Give an edge of Kafka."""
    return MessageEdge(MessageEdgeKey(producer, destination, consumer, "kafka", "g" if consumer else ""), MessageCounts(messages, **counts), lag)


def status(**changed: Any) -> Status:
    """Give the status of a daemon that is well and has received, analysed and stored."""
    values: dict[str, Any] = {
        "version": "0.1.0",
        "alive": True,
        "ready": True,
        "not_ready_reasons": (),
        "otlp_grpc": "127.0.0.1:14317",
        "otlp_http": "127.0.0.1:14318",
        "received_spans": 1234,
        "received_logs": 56,
        "refused_requests": 0,
        "rejected_items": 0,
        "repeated_spans": 0,
        "dropped_findings": 0,
        "dropped_edges": 0,
        "last_arrival_unix_seconds": NOW - 12,
        "traces_analyzed": 321,
        "spans_analyzed": 1200,
        "traces_waiting": 4,
        "analysis_lag_seconds": 0.5,
        "analyzed_until_unix_seconds": NOW - 30,
        "settle_seconds": 30.0,
        "detectors": (DetectorHealth("orphan_span", 0, 0.1), DetectorHealth("clock_skew", 0, 0.2)),
        "store": StoreHealth(hot_spans=1234, sealed_files=2, sealed_bytes=300_000),
        **changed,
    }
    return Status(**values)


def nothing_received(**changed: Any) -> Status:
    """Give the status of a daemon that has just started on an empty directory."""
    values = {
        "received_spans": 0,
        "received_logs": 0,
        "last_arrival_unix_seconds": None,
        "traces_analyzed": 0,
        "spans_analyzed": 0,
        "traces_waiting": 0,
        "store": StoreHealth(0, 0, 0),
    }
    return status(**{**values, **changed})


def span(span_id: int, parent: int = 0, service: str | None = "cart", **changed: Any) -> dict[str, Any]:
    """Give a row of schema SPANS; columns not named are null."""
    row: dict[str, Any] = dict.fromkeys(SPANS.names)
    row |= {
        "trace_id_high": 0,
        "trace_id_low": 0xABC,
        "span_id": span_id,
        "parent_span_id": parent,
        "trace_state": "",
        "flags": 0x101,
        "name": f"span {span_id}",
        "kind": 1,
        "start_time_unix_nano": NOW_NANO + span_id,
        "end_time_unix_nano": NOW_NANO + span_id + 5_000_000,
        "status_code": 0,
        "status_message": "",
        "dropped_attributes_count": 0,
        "dropped_events_count": 0,
        "dropped_links_count": 0,
        "service_name": service,
        "attributes": [],
        "events": [],
        "links": [],
    }
    return {**row, **changed}


def spans(*rows: dict[str, Any]) -> pa.Table:
    """Give a table of schema SPANS."""
    return pa.Table.from_pylist(list(rows), schema=SPANS)


def log(**changed: Any) -> dict[str, Any]:
    """Give a row of schema LOGS; columns not named are null."""
    row: dict[str, Any] = dict.fromkeys(LOGS.names)
    row |= {"time_unix_nano": NOW_NANO, "observed_time_unix_nano": NOW_NANO, "severity_number": 9, "body_type": 1, "body": "hello", "attributes": []}
    return {**row, "trace_id_high": 0, "trace_id_low": 0xABC, "span_id": 0x11, **changed}


@dataclass
class FakeViews:
    """All views in one, answering what it is given."""

    all_findings: list[Finding] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    all_edges: list[Edge] = field(default_factory=list)
    rows: dict[tuple[int, int], pa.Table] = field(default_factory=dict)
    logs: dict[tuple[int, int], pa.Table] = field(default_factory=dict)
    now: Status = field(default_factory=status)
    result: QueryResult = field(default_factory=lambda: QueryResult(["n"], [[1]], truncated=False))
    asked: list[Any] = field(default_factory=list)
    dropped: int = 0
    counted: Tallies = field(default_factory=lambda: Tallies({}, {}, {}))
    spans_by_service: dict[str, int] = field(default_factory=dict)
    all_messages: list[MessageEdge] = field(default_factory=list)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(self.all_findings)

    def finding(self, fingerprint: str) -> Finding | None:
        return next((f for f in self.all_findings if f.fingerprint == fingerprint), None)

    def suspects(self, findings: tuple[Finding, ...]) -> Suspects:
        return group(findings)

    def of_trace(self, trace_id: tuple[int, int]) -> tuple[Occurrence, ...]:
        return tuple(o for o in self.occurrences if o.trace_id == trace_id)

    def edges(self, start_unix_seconds: float | None, end_unix_seconds: float | None) -> tuple[Edge, ...]:
        self.asked.append((start_unix_seconds, end_unix_seconds))
        return tuple(self.all_edges)

    def message_edges(self, start_unix_seconds: float | None, end_unix_seconds: float | None) -> tuple[MessageEdge, ...]:
        self.asked.append((start_unix_seconds, end_unix_seconds))
        return tuple(self.all_messages)

    def trace(self, high: int, low: int, max_spans: int, max_logs: int) -> StoredTrace:
        spans, logs = self.rows.get((high, low), SPANS.empty_table()), self.logs.get((high, low), LOGS.empty_table())
        spans = spans.sort_by([("start_time_unix_nano", "ascending"), ("span_id", "ascending")])
        here, parents = spans.slice(0, max_spans), set(spans.column("parent_span_id").to_pylist())
        beyond = frozenset(spans.slice(max_spans).column("span_id").to_pylist()) & frozenset(here.column("parent_span_id").to_pylist())
        return StoredTrace(here, logs.slice(0, max_logs), spans.num_rows, logs.num_rows, 0 in parents, beyond)

    def status(self) -> Status:
        return self.now

    def tallies(self) -> Tallies:
        return replace(self.counted, spans_analyzed=dict(self.spans_by_service), edges=tuple(self.all_edges))

    def run(self, name_or_sql: str, params: dict[str, Any], is_name: bool) -> QueryResult:  # noqa: FBT001 - the protocol
        self.asked.append((name_or_sql, params, is_name))
        if name_or_sql == "absent":
            raise NotFoundError("there is no query 'absent'", error_code="query_not_found", next_safe_actions=("List them.",))
        return self.result

    def reports(self) -> tuple[MigrationReport, ...]:
        return ()

    def found(self) -> tuple[FoundMigration, ...]:
        return ()

    def capture(self) -> Capture:
        return Capture()

    def names(self) -> list[tuple[str, str, tuple[str, ...]]]:
        return [("service_calls", "Who calls whom?", ("service",))]
