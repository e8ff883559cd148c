"""Analyses files with the daemon's own rooms: decoder, store, graph and detectors, but no ports."""

from __future__ import annotations

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from traced.analysis.message_history import MessageHistory
from traced.analysis.migrations import judge_messages
from traced.analysis.outcome import Outcome
from traced.analysis.passes import Passes
from traced.analysis.settling import Settling
from traced.analysis.wording import wording
from traced.config import Settings
from traced.detectors import detectors
from traced.errors import TracedError
from traced.findings.ledger import Ledger
from traced.graph.losses import LossLedger
from traced.graph.service_graph import as_edges, total
from traced.graph.suspects import group
from traced.graph.together import silent_callees
from traced.model.batch import Batch, Receipt, Signal
from traced.model.edge import Edge
from traced.model.finding import Finding
from traced.model.input import InputRequest
from traced.model.measurement import Measurement
from traced.model.message_edge import MessageEdge
from traced.model.messages import MESSAGES
from traced.model.occurrence import Occurrence
from traced.model.schema_rules import SchemaRules
from traced.model.verdict import FoundMigration, MigrationReport
from traced.receiver.decode import decode_logs, decode_traces
from traced.receiver.measuring import decode_metrics
from traced.receiver.wire import Limits
from traced.store.store import Store
from traced.store.workbench import Workbench
from traced.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class AnalysisReport:
    """What `traced analyze` found in files.

    Attributes:
        counts: the `input` object of the JSON answer.
        services: names of the services that reported.
        edges: the service graph.
        message_edges: the message graph.
        findings: worst first.
        occurrences: every one, nothing sampled away.
        migrations: how the configured ones stand, by the times of the spans.
        found: others, that nobody configured.
    """

    counts: dict[str, int]
    services: tuple[str, ...]
    edges: tuple[Edge, ...]
    message_edges: tuple[MessageEdge, ...]
    findings: tuple[Finding, ...]
    occurrences: tuple[Occurrence, ...]
    migrations: tuple[MigrationReport, ...] = ()
    found: tuple[FoundMigration, ...] = ()

    def as_dict(self, unreadable_lines: int = 0) -> dict[str, Any]:
        """Give the answer of `analyze --format json`."""
        traces: defaultdict[tuple[int, int], list[Occurrence]] = defaultdict(list)
        for occurrence in self.occurrences:
            traces[occurrence.trace_id].append(occurrence)
        suspects = group(self.findings, silent_callees(traces.values()))
        return {
            "input": {**self.counts, "unreadable_lines": unreadable_lines},
            "services": list(self.services),
            "service_graph": {"edges": [edge.as_dict() for edge in self.edges]},
            "message_graph": {"edges": [edge.as_dict() for edge in self.message_edges]},
            "suspects": [suspect.as_dict() for suspect in suspects.ranked],
            "not_grouped": suspects.not_grouped,
            "findings": [finding.as_dict() for finding in self.findings],
            "migrations": [report.as_dict() for report in self.migrations],
            "found_migrations": [one.as_dict() for one in self.found],
        }


@dataclass(slots=True)
class _Ingested:
    """Running totals of what went into the temporary store, and what SDKs counted."""

    received: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    repeated: int = 0
    undecodable: int = 0
    measured: list[Measurement] = field(default_factory=list)

    def add(self, batch: Batch, receipt: Receipt) -> None:
        self.received[str(batch.signal)] += receipt.stored
        if batch.signal is Signal.TRACES:
            self.rejected += sum(batch.rejected.values())
            self.repeated += receipt.repeated


def analyze_requests(requests: Iterable[InputRequest], settings: Settings, on_error: Any = None) -> AnalysisReport:
    """Analyse export requests from files: the same decoder, store, graph and detectors as the daemon's, without ports.

    The input is taken as complete: nothing waits for late spans.

    Args:
        requests: in any order.
        settings: of the rooms; where the store lies is chosen here, in a temporary directory that is removed.
        on_error: called with (request, error) for a request that cannot be decoded; the others still count.
    """
    telemetry = Telemetry()
    with tempfile.TemporaryDirectory(prefix="traced-analyze-") as directory:
        changes = {"data_dir": Path(directory), "durable": False, "max_disk_fraction": 1.0, "seal_after_spans": 500_000}
        keys = SchemaRules.of(settings.configured_migrations()).attribute_keys()
        store = Store(settings.store.model_copy(update=changes), telemetry, keys)
        store.open()
        try:
            ingested = _ingest(requests, store, settings, on_error)
            return _look(store, settings, telemetry, ingested)
        finally:
            store.close()


def _ingest(requests: Iterable[InputRequest], store: Store, settings: Settings, on_error: Any) -> _Ingested:
    ingested = _Ingested()
    limits = Limits(max_items=settings.receiver.max_items_per_request)
    for request in requests:
        try:
            if request.signal is Signal.METRICS:
                ingested.measured += decode_metrics(request.body, limits).points
                continue
            batch = (decode_traces if request.signal is Signal.TRACES else decode_logs)(request.body, limits)
        except TracedError as error:
            ingested.undecodable += 1
            if on_error is not None:
                on_error(request, error)
            continue
        ingested.add(batch, store.accept(batch).result())
    return ingested


def _look(store: Store, settings: Settings, telemetry: Telemetry, ingested: _Ingested) -> AnalysisReport:
    # nothing is left out: what a limit dropped could be the very finding that `--fail-on` waits for
    unbounded = settings.findings.model_copy(update={"max_findings": 2**62, "max_occurrences": 2**62})
    ledger = Ledger(unbounded, telemetry, wording())
    occurrences: list[Occurrence] = []
    counted = []
    messages, rows = MessageHistory(2**62, 2**62), [MESSAGES.empty_table()]
    services: set[str] = set()
    traces = 0
    for outcome in _passes(store, settings, telemetry, ingested.measured):
        gone = outcome.withdrawn | outcome.judged
        occurrences = [*(o for o in occurrences if o.key not in gone), *outcome.occurrences]
        counted.append(outcome.edges)
        messages.add(outcome.messages, outcome.flows)
        rows.append(outcome.messages)
        services |= outcome.services
        traces += outcome.complete + outcome.incomplete
        ledger.record(outcome.occurrences, outcome.again, outcome.failed, time.time(), outcome.withdrawn, outcome.judged)
    counts = {
        "spans": ingested.received["traces"],
        "traces": traces,
        "logs": ingested.received["logs"],
        "rejected_spans": ingested.rejected,
        "duplicate_spans": ingested.repeated,
        "data_points": len(ingested.measured),
    }
    graphs = as_edges(total(counted)), messages.message_edges(None, None)
    judged = judge_messages(pa.concat_tables(rows), settings.configured_migrations(), services)
    return AnalysisReport(counts, tuple(sorted(services)), *graphs, ledger.findings(), tuple(occurrences), *judged)


def _passes(store: Store, settings: Settings, telemetry: Telemetry, measured: list[Measurement]) -> Iterator[Outcome]:
    """Go through everything; in more than one slice, a first round only learns, so that the order of the input does not matter."""
    workbench = Workbench(spill=store.spill)
    forever = 2**62
    passes = Passes(workbench, store, detectors(), settings.graph, telemetry, settings.analysis, None)
    passes.migrate(settings.configured_migrations())
    passes.losses = LossLedger(len(measured) + 1)
    passes.losses.learn(measured)
    end = store.visible_until
    arrivals = store.arrival_slices(end, settings.analysis.max_spans_per_pass)
    rounds = (True, False) if len(arrivals) > 1 else (False,)
    for learn_only in rounds:
        analysis = settings.analysis
        settling = Settling(store, workbench, forever, analysis.late_window_traces, forever, max_spans_per_trace=analysis.max_spans_per_trace)
        for until in arrivals:
            outcome = passes.run(settling.advance(until, end), time.time(), learn_only=learn_only)
            if not learn_only:
                yield outcome
    yield passes.finish()
    workbench.close()
