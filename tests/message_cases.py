"""Messages of one-line spans: what a pass says of them, in few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from looking import NOW, Elsewhere, new_passes
from spans import Spans, spans

from traced.analysis.messages import Messages
from traced.analysis.passes import Passes
from traced.config import StoreSettings
from traced.graph.flows import total
from traced.model.schema_rules import SchemaRules
from traced.store.message_log import MessageLog
from traced.telemetry import Telemetry

NO_RULES = SchemaRules()
Edge = tuple[str, str, str, str]
"""Producer, destination of the consumer, consumer with its group after a slash, and what joined them."""


def passes_of(links: Any = None, rules: SchemaRules = NO_RULES) -> Passes:
    """Give passes without detectors, that know nothing yet."""
    passes = new_passes(links or Elsewhere(), only="")
    passes.messages = Messages(passes._workbench, rules)
    return passes


def look(lines: Spans | Sequence[str], links: Any = None, rules: SchemaRules = NO_RULES) -> tuple[list[dict[str, Any]], pa.Table]:
    """Run one pass; give its message rows, and its flows."""
    read = lines if isinstance(lines, Spans) else spans(*lines)
    outcome = passes_of(links, rules).run(read.settled(), NOW)
    return outcome.messages.to_pylist(), outcome.flows


def taken(flows: pa.Table) -> dict[Edge, int]:
    """Give edges to the number of messages that were taken."""
    result: Counter[Edge] = Counter()
    for row in flows.to_pylist():
        if row["role"] == "consumer":
            who = row["service_name"] + (f"/{row['consumer_group']}" if row["consumer_group"] else "")
            result[row["producer_name"], row["destination"], who, row["joined_by"]] += row["messages"]
    return {edge: number for edge, number in result.items() if number}


def sent(flows: pa.Table) -> dict[tuple[str, str], int]:
    """Give (service, destination) to the number of messages that were published."""
    result: Counter[tuple[str, str]] = Counter()
    for row in flows.to_pylist():
        if row["role"] == "producer":
            result[row["service_name"], row["destination"]] += row["messages"]
    return {edge: number for edge, number in result.items() if number}


class Kept(MessageLog):
    """A log of messages in memory, whose rows are at hand."""

    def __init__(self) -> None:
        super().__init__(StoreSettings(), Telemetry())
        self.rows: list[dict[str, Any]] = []
        self.parts: list[pa.Table] = []

    def add(self, messages: pa.Table, flows: pa.Table) -> None:
        self.rows += messages.to_pylist()
        self.parts.append(flows)

    def taken(self) -> dict[Edge, int]:
        """Give edges to the number of messages that were taken."""
        return taken(total(*self.parts))


def sums(parts: Iterable[pa.Table]) -> set[tuple[Any, ...]]:
    """Give added up flows so that they can be compared: of all minutes, without the examples, and with rounded sums."""
    whole = total(*parts)
    if whole.num_rows:
        whole = total(whole.set_column(0, "minute", pa.array([0] * whole.num_rows, pa.int64())))
    rows = whole.drop_columns(["trace_id_high", "trace_id_low", "span_id", "first_time_unix_nano", "last_time_unix_nano"]).to_pylist()
    return {tuple(round(v, 6) if isinstance(v, float) else tuple(v) if isinstance(v, list) else v for v in row.values()) for row in rows}
