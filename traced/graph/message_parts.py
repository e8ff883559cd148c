"""Spans of a pass that may say something of messages, their links, and the spans elsewhere that these lead to: what `message_facts.sql` is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Mask
from traced.graph.relation import Relation
from traced.graph.routes import routed
from traced.model.schema import ATTRIBUTE
from traced.model.schema_rules import SchemaRules
from traced.model.span import SpanKind

_COPIED: Final = (
    ("name", pa.string()),
    ("message_attributes", pa.list_(ATTRIBUTE)),
    ("messaging_system", pa.string()),
    ("messaging_destination", pa.string()),
    ("messaging_operation", pa.string()),
    ("messaging_message_id", pa.string()),
    ("server_address", pa.string()),
    ("rpc_method", pa.string()),
)
PARTS: Final = pa.schema(
    [("number", pa.int64()), ("kind", pa.uint8()), ("is_link", pa.bool_()), ("owner", pa.int64()), ("call_rule", pa.int64()), *_COPIED],
)
"""What is asked about. `owner`: of a link the span that has it, else itself. `call_rule`: the rule of a span that answers, or makes, a call of a contract."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pass asks about.

    Attributes:
        rows: rows of the spans that may say something of messages; their numbers are 0 … len(rows) - 1.
        calls: which of them are asked about as halves of calls.
        links: of those links (rows of the relation's) that count, places in it; their numbers follow.
        outside: of links whose target is elsewhere, places in the relation's links; their numbers follow.
        table: rows of PARTS.
        routes: of each of the spans the configured route that its call goes to; null where there is none.
        systems: of each rule, by its number, the system that it is of.
    """

    rows: Ints
    calls: Mask
    links: Ints
    outside: Ints
    table: pa.Table
    routes: pa.Array
    systems: tuple[str, ...]

    @property
    def first_link(self) -> int:
        """Give the number of the first link."""
        return len(self.rows)

    @property
    def first_outside(self) -> int:
        """Give the number of the first span elsewhere."""
        return len(self.rows) + len(self.links)


def parts(made: Relation, rules: SchemaRules) -> Parts:
    """Choose what may say something of messages, or is a half of a call of a contract that migrates."""
    forest = made.forest
    said = forest.spans.column("message_attributes")
    chosen = (forest.kind == SpanKind.PRODUCER) | (forest.kind == SpanKind.CONSUMER) | made.calls.messaging
    if said.null_count < len(said):
        chosen |= np.asarray(said.is_valid())
    call_rule, route = routed(made, rules)
    chosen |= call_rule >= 0
    # a span that stands twice, under two names of one service, is one
    rows = np.flatnonzero(chosen & (forest.same_side < 0))
    calls = call_rule[rows] >= 0
    place = np.full(forest.count, -1)
    place[rows] = np.arange(len(rows))
    links = made.links
    of_row = np.asarray(links.column("row"))
    linked = np.flatnonzero(place[of_row] >= 0) if links.num_rows else np.zeros(0, np.int64)
    outside = linked[(np.asarray(links.column("target"))[linked] < 0) & (np.asarray(links.column("kind"))[linked] != 0)]
    count = len(rows) + len(linked) + len(outside)
    rule = np.concatenate([call_rule[rows], np.full(count - len(rows), -1)])
    owner = np.arange(count)
    owner[len(rows) : len(rows) + len(linked)] = place[of_row[linked]]
    first = {
        "number": pa.array(np.arange(count)),
        "kind": pa.array(np.concatenate([forest.kind[rows], np.zeros(len(linked), np.int64), np.asarray(links.column("kind"))[outside]]).astype(np.uint8)),
        "is_link": pa.array((np.arange(count) >= len(rows)) & (np.arange(count) < len(rows) + len(linked))),
        "owner": pa.array(owner),
        "call_rule": pa.array(rule, mask=rule < 0),
    }
    spans = forest.spans.select([name for name, _ in _COPIED]).take(pa.array(rows))
    of_links = pa.table({"message_attributes": links.column("attributes").take(pa.array(linked))})
    elsewhere = links.select(["name", "message_attributes"]).take(pa.array(outside))
    copied = {name: _stacked(name, kind, spans, of_links, elsewhere) for name, kind in _COPIED}
    routes = pa.array(route.texts, pa.string()).take(pa.array(route.of[rows], mask=~calls))
    return Parts(rows, calls, linked, outside, pa.table(first | copied, schema=PARTS), routes, ("", *(rule.system for rule in rules.rules)))


def _stacked(name: str, kind: pa.DataType, *tables: pa.Table) -> pa.ChunkedArray:
    """Put a column of several tables together, null where one lacks it."""
    chunks: list[pa.Array] = []
    for table in tables:
        if name in table.column_names:
            chunks += table.column(name).cast(kind).chunks
        else:
            chunks.append(pa.nulls(table.num_rows, kind))
    return pa.chunked_array(chunks, kind)
