"""The messages of a pass: publications and consumptions as rows, joined by links and parents; and calls of contracts that migrate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints, Mask, combined
from traced.graph.consumptions import consumptions
from traced.graph.message_calls import calls
from traced.graph.message_facts import Facts
from traced.graph.message_rows import ROWS, RowBuilder
from traced.graph.message_spans import MessageSpans, publications
from traced.graph.relation import Relation

_CONSUMER: Final = (
    "environment",
    "service_namespace",
    "service_name",
    "consumer_group",
    "system",
    "destination",
    "message_schema_version",
    "identity_kind",
    "identity",
)
"""Rows of one trace that say these alike are attempts at one message; the two messages of a dual publish share a business key, and have two versions."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one look found.

    Attributes:
        rows: rows of ROWS.
        spans, builder: what they were made of; None where nothing was there.
    """

    rows: pa.Table
    spans: MessageSpans | None = None
    builder: RowBuilder | None = None

    def targets(self, high: Any, low: Any, span_id: Any) -> tuple[dict[int, int], pa.Table, Mask]:
        """Look for spans that links of earlier passes named.

        Returns:
            Which of them is which row of the second, rows of the spans that publish, and which of them take messages themselves.
        """
        takes = np.zeros(len(span_id), bool)
        if self.spans is None or self.builder is None or not len(span_id):
            return {}, ROWS.empty_table(), takes
        spans = self.spans
        place = np.full(spans.forest.count, -1)
        place[spans.rows] = np.arange(spans.count)
        row = spans.forest.find(high, low, span_id)
        number = np.where((row >= 0) & (span_id != 0), place[row], -1)
        known = np.flatnonzero(number >= 0)
        publishes = known[spans.publishes[number[known]]]
        takes[known] = spans.consumes[number[known]]
        return {int(at): to for to, at in enumerate(publishes)}, self.builder.published(number[publishes]), takes


NOTHING: Final = Found(ROWS.empty_table())


def messages(made: Relation, facts: Facts) -> Found:
    """Find the messages of a pass."""
    spans = MessageSpans(made, facts)
    published = publications(spans)
    builder = RowBuilder(made, spans, published, consumptions(spans, published))
    rows = pa.concat_tables([builder.published(), _counted_once(builder.taken()), calls(made, spans, builder)])
    return Found(rows, spans, builder)


def _counted_once(rows: pa.Table) -> pa.Table:
    """Count a message once that one consumer took several times in one trace; the other rows are attempts, and stand for none.

    Who processes it counts before who received it; then the last time that did not fail, else the last. Where only the producer's span tells which message it
    is, each time that did not fail counts: a whole batch may have been sent by one span.
    """
    named = (np.asarray(rows.column("messages")) == 1) & np.asarray(pc.not_equal(rows.column("identity"), ""))
    if not named.any():
        return rows
    at = np.flatnonzero(named)
    some = rows.take(pa.array(at))
    ids = (np.unique(np.asarray(some.column(name)), return_inverse=True)[1] for name in ("trace_id_high", "trace_id_low"))
    group, _ = combined(*ids, *(Codes.from_column(some.column(name)).of for name in _CONSUMER))
    failed, received = (np.asarray(some.column(name)) for name in ("error", "received"))
    order: Ints = np.lexsort([*(np.asarray(some.column(name)) for name in ("link_position", "span_id", "time_unix_nano")), ~failed, ~received, group])
    last = np.zeros(len(order), bool)
    last[order[np.append(group[order][1:] != group[order][:-1], True)]] = True
    processed = np.bincount(group, weights=~received) > 0
    by_span = np.asarray(pc.equal(some.column("identity_kind"), "span"))
    counts = last | (by_span & ~failed & ~(received & processed[group]))
    messages_ = np.asarray(rows.column("messages")).copy()
    messages_[at[~counts]] = 0
    return rows.set_column(rows.schema.get_field_index("messages"), rows.schema.field("messages"), pa.array(messages_))
