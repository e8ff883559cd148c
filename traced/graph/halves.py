"""Halves of calls that stand alone: callers that nobody answered, and receivers whose caller is not their parent here.

What is matched by `traced.graph.matching`. A half is a row of HALVES, self-contained, so that it can wait for its other half after its
pass is over.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.called import called
from traced.graph.columns import Ints, Mask, used
from traced.graph.operations import Operated, Operations, straight_calls
from traced.graph.relation import Relation, span_columns
from traced.model.span import FLAGS_IS_REMOTE, SpanKind

_TEXTS: Final = (
    "trace_state", "service_namespace", "service_version", "service_instance_id", "host", "telemetry_sdk_language", "name", "peer_name", "server_address",
    "messaging_system", "messaging_destination", "messaging_message_id", "response_status", "error_type", "client_address", "user_agent",
    "http_request_method", "http_route", "url_path", "url_full", "rpc_service", "rpc_method",
)  # fmt: skip

HALVES: Final = pa.schema(
    [
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("parent_span_id", pa.uint64()),
        ("flags", pa.uint32()),
        ("kind", pa.uint8()),
        ("status_code", pa.uint8()),
        ("start_time_unix_nano", pa.int64()),
        ("end_time_unix_nano", pa.int64()),
        ("service_name", pa.string()),
        *((name, pa.string()) for name in _TEXTS),
        ("called", pa.string()),
        ("expected", pa.string()),
        ("again", pa.bool_()),
        ("has_callers", pa.bool_()),
    ],
)
"""One row a half. `called`: what `traced.graph.called` calls a call. `expected`: the service that spans of this operation mostly reach, and
this one did not ('' for one that nobody answered). `again`: its trace was looked at before. `has_callers`, of receivers: spans of this
operation had a parent here before."""

MIN_SPANS: Final = 20
MIN_CALLING_SHARE: Final = 0.5
"""Of an operation that calls a service straight in at least this share of its spans, the others are callers that lost their receiver."""


def lonely_callers(made: Relation, seen: Operated, known: Operations, again: Mask) -> pa.Table:
    """Give the CLIENT and PRODUCER spans that nobody answered, databases left out, and spans that miss a straight call that they usually make."""
    forest, calls = made.forest, made.calls
    whole = ~forest.silenced[forest.trace]
    rows = np.flatnonzero(calls.unanswered & forest.sending & (calls.database == 0) & whole)
    parts = [_halves(made, rows, again, [""] * len(rows))]
    for rows, callee in _missing_straight_calls(made, seen, known):
        kept = rows[whole[rows]]
        parts.append(_halves(made, kept, again, [callee] * len(kept)))
    return pa.concat_tables(parts)


def _missing_straight_calls(made: Relation, seen: Operated, known: Operations) -> list[tuple[Ints, str]]:
    caller, callee = straight_calls(made)
    texts = made.calls.names.texts
    found = []
    for number, operation in enumerate(seen.operations):
        if operation[1] == SpanKind.CLIENT:
            continue
        kin = known.of(operation)
        if kin.spans < MIN_SPANS:
            continue
        for service, calling in kin.callees.items():
            if calling < MIN_CALLING_SHARE * kin.spans or service == operation[0]:
                continue
            have = caller[callee == (texts.index(service) if service in texts else -1)]
            # a PRODUCER that nobody answered is lonely already
            rows = np.flatnonzero((seen.of == number) & ~made.calls.unanswered)
            lack = rows[~np.isin(rows, have)]
            if len(lack):
                found.append((lack, service))
    return found


def lonely_receivers(made: Relation, seen: Operated, known: Operations, again: Mask, *, all_entries: bool = True) -> pa.Table:
    """Give the receiving spans without a parent and without a link, and the spans whose parent, in another process, never arrived.

    Without `all_entries`, of the first only those of operations that had a parent here before.
    """
    forest = made.forest
    entry = forest.root & forest.receiving & ~made.calls.linked & (forest.sender < 0) & ~forest.looped
    remote = (np.asarray(forest.spans.column("flags")) & FLAGS_IS_REMOTE) != 0
    rows = np.flatnonzero((entry & ~forest.silenced[forest.trace]) | (forest.absent & (forest.receiving | remote)))
    operation = seen.of[rows]
    has_callers: Mask = np.zeros(len(seen.operations), bool)
    for number in used(operation):
        has_callers[number] = known.of(seen.operations[number]).present > 0
    if not all_entries:
        rows = rows[has_callers[operation] | forest.absent[rows]]
    return _halves(made, rows, again, [""] * len(rows), has_callers[seen.of[rows]].tolist())


def _halves(made: Relation, rows: Ints, again: Mask, expected: list[str], has_callers: list[bool] | None = None) -> pa.Table:
    spans = span_columns(made.forest, made.calls, rows)
    columns = []
    for name in HALVES.names[: HALVES.get_field_index("called")]:
        column = spans.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        columns.append(column.fill_null("") if pa.types.is_string(column.type) and column.null_count else column)
    names = called(made.forest, rows).column().cast(pa.string())
    return pa.table(
        [*columns, names, pa.array(expected, pa.string()), pa.array(again[rows]), pa.array(has_callers or [False] * len(rows), pa.bool_())], schema=HALVES
    )
