"""Calls of HTTP and RPC whose contract migrates: who answers is the schema's producer, who calls its consumer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from traced.graph.message_rows import ROWS, RowBuilder
from traced.graph.message_spans import MessageSpans
from traced.graph.relation import Relation
from traced.model.messages import Role
from traced.model.span import SpanKind


def calls(made: Relation, spans: MessageSpans, builder: RowBuilder) -> pa.Table:
    """Give, for each call that a service of a migrating contract answered, a row of its producer and one of its consumer, nameless where nobody is known.

    Calls that nobody answered have a consumer only.
    """
    kind = made.forest.kind[spans.rows]
    answers = np.flatnonzero(spans.parts.calls & (kind == SpanKind.SERVER))
    lonely = np.flatnonzero(spans.parts.calls & (kind == SpanKind.CLIENT) & made.calls.unanswered[spans.rows])
    if not len(answers) and not len(lonely):
        return ROWS.empty_table()
    caller = made.calls.caller[spans.rows[answers]]
    place = np.full(made.forest.count + 1, -1)  # the last stands for no caller
    place[spans.rows] = np.arange(spans.count)
    sides = [builder.of_calls(answers, place[caller], role) for role in Role]
    return pa.concat_tables([*sides, builder.of_calls(lonely, lonely, Role.CONSUMER, answered=False)])
