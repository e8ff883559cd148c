"""docs/metrics.md: every metric that `/metrics` gives: name, type, labels, meaning."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from documentation.table import table
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

import traced.telemetry
from traced.config import HttpSettings
from traced.detectors import detector_ids
from traced.metrics.collectors import SnapshotCollector, TallyCollector
from traced.metrics.exposition import expose
from traced.metrics.migrations import MigrationCollector
from traced.metrics.series import MAX_LABEL_CHARACTERS, OTHER
from traced.model.batch import Signal
from traced.model.capture import Capture, GapReason
from traced.model.edge import DURATION_BUCKETS_SECONDS, ConnectionType
from traced.model.measurement import LOSSES
from traced.model.messages import Role
from traced.model.migration import Gate, Phase, Verdict
from traced.model.occurrence import Level
from traced.model.views import Tallies
from traced.receiver.refusals import RefusalReason, Transport
from traced.telemetry import SECONDS_BUCKETS, AnalysisLimit, FindingsLimit, LogLoss, LogTable, Telemetry

SUFFIXES = {"counter": "_total", "info": "_info"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the table."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class NothingYet:
    """A daemon that has seen nothing: the metrics are the same, only without samples."""

    dropped = 0

    def findings(self) -> tuple[()]:
        return ()

    def tallies(self) -> Tallies:
        return Tallies()

    def reports(self) -> tuple[()]:
        return ()

    def capture(self) -> Capture:
        return Capture()


def shown() -> list[Shown]:
    """Give every metric, in the order of `/metrics`."""
    telemetry, nothing = Telemetry(), NothingYet()
    labels = {m._name: m._labelnames for m in vars(telemetry).values() if isinstance(m, MetricWrapperBase)}
    snapshots = SnapshotCollector(nothing, nothing, nothing, max_series=10, version="")
    labels |= {
        m.name: m._labelnames for m in (*snapshots.describe(), *TallyCollector(nothing).describe(), *MigrationCollector(nothing, nothing, 10).describe())
    }
    exposition = expose(telemetry.registry, *[nothing] * 5, max_series=10, version="")
    return list(_lines(exposition._collector.collect(), labels))


def _lines(families: Iterator[Metric], labels: dict[str, tuple[str, ...]]) -> Iterator[Shown]:
    for family in families:
        named = tuple(labels.get(family.name, getattr(family, "_labelnames", ())))
        if family.type == "info":
            named = tuple(family.samples[0].labels)
        yield Shown(family.name + SUFFIXES.get(family.type, ""), family.type, named, family.documentation)


def _code(values: object) -> str:
    return ", ".join(f"`{value}`" for value in values)  # type: ignore[attr-defined]


LABELS = {
    "signal": f"{_code(Signal)}, or `unknown` where a path names none",
    "transport": _code(Transport),
    "reason": (
        f"of `traced_receiver_refused_total`: {_code(RefusalReason)}; of rejected and altered items: what was wrong, or what was changed; "
        f"of `traced_store_dropped_files_total`: `age`, `size`; of `traced_store_message_log_lost_rows_total`: {_code(LogLoss)}: too old, too much, a disk "
        "that could not be written, a damaged file; of `traced_reported_span_losses_total`: the error that the sender names; "
        f"of `traced_capture_last_gap_timestamp_seconds`: {_code(GapReason)}"
    ),
    "table": f"{_code(LogTable)}: what the rows of the message log are",
    "content": "`equal` or `conflicting`: whether the span that came again differs from the stored one",
    "detector": "a detector's id",
    "finding": f"a detector's id: {_code(detector_ids())}",
    "level": _code(Level),
    "service": "`service.name` of the span that the finding is about",
    "quantity": f"{_code(LOSSES)}: how spans were lost",
    "peer": "the other side, where the detector names one; else empty",
    "cause": "why, where the detector names it; else empty",
    "complete": "`true`: a root, every parent there, no loop; else `false`",
    "limit": "which limit left it out: see [limits](#limits)",
    "client": "who calls",
    "server": "who is called",
    "connection_type": f"{_code(c for c in ConnectionType if c)}; empty for a call between two services",
    "version": "of traced",
    "migration": "its name in the configuration",
    "role": f"{_code(Role)}: on which side of the schema the service is",
    "message_schema_version": "as the spans say it; empty where it is not known, `other` beyond the first twenty of a migration",
    "gate": _code(Gate),
    "verdict": _code(Verdict),
    "phase": _code(Phase),
    "metric": "the metric whose label sets were over the limit",
}

LIMITS = {"traced_analysis_dropped_total": AnalysisLimit, "traced_findings_dropped_total": FindingsLimit}
"""The limits that a metric counts by."""


def limits() -> Iterator[tuple[str, str, str]]:
    """Give each metric with each of its limits, and what is counted."""
    classes = {node.name: node.body for node in ast.parse(inspect.getsource(traced.telemetry)).body if isinstance(node, ast.ClassDef)}
    for metric, kind in LIMITS.items():
        for line, after in pairwise(classes[kind.__name__]):
            match line, after:
                case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                    yield metric, kind[name], " ".join(text.split())
                case _:
                    pass


INTRODUCTION = f"""# Metrics

`GET /metrics` on the port for people and machines (4320 by default) answers in Prometheus' text format, or in OpenMetrics where the
Accept header asks for it. A scrape reads snapshots in memory; only where a migration is configured the message log is asked, once a minute at most.

Names that senders choose become labels only after cleaning (no control characters, no markup, at most {MAX_LABEL_CHARACTERS} characters), and
only so many of them: a metric shows at most `http.max_series` label sets ({HttpSettings().max_series:,} by default). What is over it is summed
under `{OTHER}`, never lost, and `traced_metrics_series_dropped` says how many label sets that was.

The service graph has the names that Grafana's service graph view reads. Counters never fall: what a late span takes back is
right on the pages and in the JSON, and is counted in a metric of its own here.

"""
HISTOGRAMS = f"""
Histograms have the usual `_bucket`, `_sum` and `_count`. Upper bounds in seconds: of `traces_service_graph_*`
{", ".join(f"{b:g}" for b in DURATION_BUCKETS_SECONDS)}; of the others {", ".join(f"{b:g}" for b in SECONDS_BUCKETS)}.

"""
EXAMPLES = {
    "Something is missing or wrong": 'sum by (finding, service, peer) (traced_findings_open{level="violation"})',
    "Spans that never arrived, per hour": "sum by (service) (increase(traced_missing_spans_total[1h]))",
    "The analysis falls behind": "traced_analysis_lag_seconds > 60",
    "Senders are told to come back": "sum by (reason) (rate(traced_receiver_refused_total[5m])) > 0",
    "Messages are gone that should not be": 'increase(traced_store_message_log_lost_rows_total{reason=~"full|damaged"}[1d]) > 0',
    "Acknowledged data was lost on disk": "increase(traced_store_lost_batches_total[1d]) > 0",
    "A detector could not look": "increase(traced_detector_errors_total[15m]) > 0",
    "Error share of each call path": "sum by (client, server) (rate(traces_service_graph_request_failed_total[5m])) / "
    "sum by (client, server) (rate(traces_service_graph_request_total[5m]))",
}


def document() -> str:
    """Give the page."""
    lines = [(f"`{one.name}`", one.kind, _code(one.labels), one.meaning) for one in shown()]
    parts = [INTRODUCTION, table(("name", "type", "labels", "meaning"), lines), HISTOGRAMS, "## Labels\n\n"]
    parts.append(table(("label", "values"), [(f"`{name}`", meaning) for name, meaning in LABELS.items()]))
    parts += ["\n## Limits\n\n", table(("metric", "limit", "counts"), [(f"`{metric}`", f"`{limit}`", text) for metric, limit, text in limits()])]
    parts += ["\n## Expressions to start from\n\n", table(("question", "PromQL"), [(question, f"`{text}`") for question, text in EXAMPLES.items()])]
    return "".join(parts)
