"""One pass over lines of spans, and what it said, by the names of the lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from spans import EPOCH, Spans, shared_workbench, span_id, spans, trace_id, window_row

from traced.analysis.outcome import Outcome
from traced.analysis.passes import Passes
from traced.config import AnalysisSettings, GraphSettings
from traced.config.migrations import MigrationSettings
from traced.detectors import detectors
from traced.migration.sided import Habits
from traced.model.occurrence import Occurrence
from traced.store.read_schemas import SPAN_BY_ID
from traced.telemetry import Telemetry

NOW = EPOCH / 1e9
MIGRATIONS = tuple(
    MigrationSettings.model_validate(one).noun(())
    for one in (
        {
            "name": "moving",
            "old": {"destination": "moving.old"},
            "new": {"destination": "moving.new"},
            "consumers": ["bill", {"service": "mirror", "role": "relay"}, {"service": "loadgen", "excluded": "tests"}],
        },
        {"name": "moving-on", "shape": "two_messages", "old": {"destination": "moving", "version": "1"}, "new": {"version": "2"}, "other_versions": ["cart.7"]},
        {"name": "moved", "old": {"destination": "moved.old"}, "new": {"destination": "moved.new"}, "cutoff": datetime.fromtimestamp(NOW + 5, UTC)},
        {"name": "both", "shape": "one_message", "old": {"destination": "both", "version": "1"}, "new": {"version": "2"}},
    )
)
"""What every pass of the tests is told of: migrations of destinations that no other test uses."""
HABITS = Habits(frozenset({("moving", "calm")}), frozenset({("moving", "stuck")}))
"""Who had no old use for a window, and who never sends the new."""
Edges = dict[tuple[str, str, str], tuple[int, int]]


class Elsewhere:
    """The rest of the store, where links may lead: spans that are not among those of the pass."""

    def __init__(self, *lines: str) -> None:
        self.spans = spans(*lines)

    def spans_by_id(self, ids: pa.Table) -> pa.Table:
        """Give SPAN_BY_ID rows."""
        wanted = set(zip(*(ids.column(n).to_pylist() for n in ("trace_id_high", "trace_id_low", "span_id")), strict=True))
        rows = [
            {
                "trace_id_high": trace_id(line.trace)[0],
                "trace_id_low": trace_id(line.trace)[1],
                "span_id": span_id(line.span),
                "service_name": line.service,
                "service_namespace": line.namespace,
                "kind": int(line.kind),
                "end_time_unix_nano": EPOCH + (line.start or 0) + (line.duration or 0),
                "name": line.name,
                "message_attributes": window_row(line)["message_attributes"],
            }
            for line in self.spans.lines
            if (*trace_id(line.trace), span_id(line.span)) in wanted
        ]
        return pa.Table.from_pylist(rows, schema=SPAN_BY_ID)


@dataclass(frozen=True)
class Seen:
    """What a pass said; places are `span`, or `trace:span` outside the trace `t`."""

    outcome: Outcome
    spans: Spans
    passes: Passes

    def found(self, detector: str) -> dict[str, Occurrence]:
        """Give a detector's occurrences by place."""
        return {place(self.spans, o): o for o in self.outcome.occurrences if o.id == detector}

    @property
    def ids(self) -> set[str]:
        """Name the detectors that found something."""
        return {o.id for o in self.outcome.occurrences}

    @property
    def edges(self) -> Edges:
        """Give (client, server, connection type) to (calls, errors), edges of unpaired spans left out."""
        return {(k.client, k.server, str(k.connection_type)): (c.calls, c.errors) for k, c in self.outcome.edges.items() if c.calls}

    @property
    def unpaired(self) -> dict[tuple[str, str], int]:
        """Give (client, server), one of them empty, to the spans that found no other half."""
        return {(k.client, k.server): c.unpaired for k, c in self.outcome.edges.items() if c.unpaired}


def place(given: Spans, occurrence: Occurrence) -> str:
    """Name where an occurrence is."""
    traces = {trace_id(line.trace): line.trace for line in given.lines}
    trace, span = traces[occurrence.trace_id], given.names()[occurrence.span_id]
    return span if trace == "t" else f"{trace}:{span}"


def new_passes(links: Any = None, only: str | None = None, hold_nanos: int = 0, analysis: dict[str, Any] | None = None, **graph: Any) -> Passes:
    """Give passes that know nothing yet, with all detectors or only one; `analysis` and `graph` are settings of the rooms."""
    chosen = tuple(d for d in detectors() if only in (None, d.id))
    settings = AnalysisSettings().model_copy(update=analysis or {})
    passes = Passes(shared_workbench(), links or Elsewhere(), chosen, GraphSettings(**graph), Telemetry(), settings, hold_nanos=hold_nanos)
    passes.migrate(MIGRATIONS)
    passes.habits = HABITS
    return passes


def look(given: Spans | Sequence[str], links: Any = None, **settings: Any) -> Seen:
    """Run one pass over spans, or lines of spans; settings are those of `new_passes`."""
    read = given if isinstance(given, Spans) else spans(*given)
    passes = new_passes(links, **settings)
    most = (settings.get("analysis") or {}).get("max_spans_per_trace", AnalysisSettings().max_spans_per_trace)
    return Seen(passes.run(read.settled(most), NOW), read, passes)
