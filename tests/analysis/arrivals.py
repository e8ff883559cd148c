"""A store in memory whose spans arrive when their lines say, and an analysis on it under a clock that tests set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from spans import EPOCH, Spans, repeat_row, spans, window_row

from traced.analysis.edge_history import EdgeHistory
from traced.analysis.loop import Analysis
from traced.analysis.wording import wording
from traced.config import AnalysisSettings, FindingsSettings, GraphSettings, StoreSettings
from traced.findings.ledger import Ledger
from traced.model.schema import REPEATS
from traced.model.views import Tallies
from traced.store.message_log import MessageLog
from traced.store.read_schemas import SPAN_BY_ID, TRACE_SIZES, WINDOW_SCHEMA
from traced.telemetry import Telemetry

Keys = npt.NDArray[np.uint64]


class Arrivals:
    """What `Analysis` asks of the store, over lines of spans; nothing of later than `now` can be seen."""

    def __init__(self, given: Spans, other_arrivals: Iterable[float] = ()) -> None:
        """Take spans; `other_arrivals` are seconds at which something came that is no span (logs)."""
        kept, repeats = given.stored()
        self._spans = pa.Table.from_pylist([window_row(line) for line in kept], schema=WINDOW_SCHEMA)
        rows = [repeat_row(line, differs) for line, differs in repeats]
        self._repeats = pa.Table.from_pylist(rows, schema=REPEATS)
        self._others = [EPOCH + round(s * 1e9) for s in other_arrivals]
        self.now = 0.0
        self.states: dict[str, str] = {}
        self.windows: list[int] = []
        self.reread: list[int] = []
        self.message_log = MessageLog(StoreSettings(), Telemetry())

    @property
    def visible_until(self) -> int:
        return EPOCH + round(self.now * 1e9)

    def first_arrival_after(self, since: int) -> int | None:
        arrivals = [*self._spans.column("arrival_time_unix_nano").to_pylist(), *self._repeats.column("arrival_time_unix_nano").to_pylist(), *self._others]
        return min((a - 1 for a in arrivals if since < a <= self.visible_until), default=None)

    def window(self, since: int, until: int) -> pa.Table:
        rows = self._between(self._spans, since, until)
        self.windows.append(rows.num_rows)
        return rows

    def trace_ids_between(self, since: int, until: int) -> tuple[Keys, Keys]:
        rows = self._between(self._spans, since, until)
        return np.asarray(rows.column("trace_id_high")), np.asarray(rows.column("trace_id_low"))

    def trace_sizes(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        rows = (
            self._of_traces(traces, since, until).group_by(["trace_id_high", "trace_id_low"]).aggregate([([], "count_all"), ("arrival_time_unix_nano", "min")])
        )
        return rows.rename_columns(TRACE_SIZES.names)

    def window_of_traces(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        rows = self._of_traces(traces, since, until)
        self.reread.append(rows.num_rows)
        return rows

    def _of_traces(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        wanted = set(zip(traces.column("trace_id_high").to_pylist(), traces.column("trace_id_low").to_pylist(), strict=True))
        rows = self._between(self._spans, since, until)
        pairs = zip(rows.column("trace_id_high").to_pylist(), rows.column("trace_id_low").to_pylist(), strict=True)
        return rows.filter(pa.array([pair in wanted for pair in pairs], pa.bool_()))

    def repeats(self, since: int, until: int) -> pa.Table:
        return self._between(self._repeats, since, until)

    def spans_by_id(self, ids: pa.Table) -> pa.Table:
        wanted = set(zip(*(ids.column(n).to_pylist() for n in ("trace_id_high", "trace_id_low", "span_id")), strict=True))
        rows = self._between(self._spans, 0, self.visible_until).select(SPAN_BY_ID.names).to_pylist()
        return pa.Table.from_pylist([r for r in rows if (r["trace_id_high"], r["trace_id_low"], r["span_id"]) in wanted], schema=SPAN_BY_ID)

    def save_state(self, name: str, state: Any) -> None:
        self.states[name] = json.dumps(state)

    def load_state(self, name: str) -> Any | None:
        return json.loads(self.states[name]) if name in self.states else None

    def _between(self, rows: pa.Table, since: int, until: int) -> pa.Table:
        assert until <= self.visible_until or since >= until, "nobody may look into the future"
        arrival = np.asarray(rows.column("arrival_time_unix_nano"))
        return rows.filter(pa.array((arrival > since) & (arrival <= until)))


@dataclass
class Watched:
    """An analysis whose clock is set by hand.

    Attributes:
        now: seconds after EPOCH; the store's clock too.
    """

    store: Arrivals
    settings: AnalysisSettings = field(default_factory=AnalysisSettings)
    findings_settings: FindingsSettings = field(default_factory=FindingsSettings)
    now: float = 0.0

    def __post_init__(self) -> None:
        """Begin the first run."""
        self.begin()

    def begin(self) -> None:
        """Begin a run: a fresh analysis that takes up where the saved state says."""
        self.telemetry = Telemetry()
        self.ledger = Ledger(self.findings_settings, self.telemetry, wording())
        self.edges = EdgeHistory(1000, 60)
        clock = lambda: EPOCH / 1e9 + self.now  # noqa: E731
        self.analysis = Analysis(self.store, self.ledger, self.edges, self.settings, GraphSettings(), self.telemetry, clock)  # type: ignore[arg-type]
        self.analysis.restore()

    def restart(self) -> None:
        """End the run in order, and begin another one."""
        self.analysis._save()
        self.crash()

    def crash(self) -> None:
        """End the run without saving, and begin another one."""
        self.analysis._workbench.close()
        self.begin()

    def at(self, seconds: float) -> int:
        """Set the clock and run passes until nothing waits; give their number."""
        self.now = self.store.now = seconds
        passes = 1
        while self.analysis.turn():
            passes += 1
            assert passes < 10_000
        return passes

    # ------------------------------------------------------------------ what came of it

    def counts(self) -> dict[str, int]:
        """Give open occurrences by detector."""
        result: dict[str, int] = {}
        for finding in self.ledger.findings():
            result[finding.id] = result.get(finding.id, 0) + finding.count
        return result

    def findings(self) -> set[tuple[Any, ...]]:
        """Give the open findings, by what people see of them."""
        return {
            (f.id, str(f.level), f.cause, f.service, f.peer, f.signal_name, f.count, f.first_seen_unix_nano, f.last_seen_unix_nano)
            for f in self.ledger.findings()
        }

    def graph(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Give the edges with calls and errors."""
        return {(e.key.client, e.key.server, str(e.key.connection_type)): (e.counts.calls, e.counts.errors) for e in self.edges.edges(None, None)}

    def counters(self) -> dict[Any, float]:
        """Give everything that may only grow within a run."""
        return _numbers(self.analysis._counted()) | {"traces": self.analysis.traces_analyzed}

    def shown(self) -> dict[Any, float]:
        """Give everything that Prometheus sees, which may only grow over restarts and crashes too."""
        return _numbers(self.analysis.tallies())

    def counter(self, name: str, **labels: str) -> float:
        """Give one of the daemon's own counters."""
        metrics = {m.name: m for m in self.telemetry.own_families()}
        return sum(s.value for s in metrics[name].samples if s.name.endswith("_total") and labels.items() <= s.labels.items())

    @property
    def lag(self) -> float:
        """Give the lag gauge."""
        return float(self.telemetry.analysis_lag._value.get())


def watched(*lines: str, other_arrivals: Sequence[float] = (), max_findings: int | None = None, **settings: Any) -> Watched:
    """Give an analysis of lines; settings are AnalysisSettings."""
    findings = FindingsSettings() if max_findings is None else FindingsSettings(max_findings=max_findings)
    return Watched(Arrivals(spans(*lines), other_arrivals), AnalysisSettings(**settings), findings)


def _numbers(tallies: Tallies) -> dict[Any, float]:
    result: dict[Any, float] = {("found", *k): n for k, n in tallies.occurrences.items()}
    result |= {("withdrawn", *k): n for k, n in tallies.withdrawn.items()} | {("missing", *k): n for k, n in tallies.missing_spans.items()}
    result |= {("spans", s): n for s, n in tallies.spans_analyzed.items()}
    for edge in tallies.edges:
        c = edge.counts
        numbers = [c.calls, c.errors, c.unpaired]
        for d in (c.client_seconds, c.server_seconds, c.messaging_seconds):
            assert d.count == sum(d.buckets)
            numbers += [d.count, d.sum_seconds, *d.buckets]
        result |= {("edge", edge.key, n): value for n, value in enumerate(numbers)}
    return result
