"""Halves of calls that stand alone: callers that nobody answered, and receivers whose caller is not their parent here.

What is matched by `traced.graph.matching`. A half is a row of HALVES, self-contained, so that it can wait for its other half after its
pass is over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.called import called
from traced.graph.columns import Codes, Ints, Mask, ascending, used
from traced.graph.forest import Forest
from traced.graph.identity import Knowledge
from traced.graph.operations import Operated, Operations, straight_calls
from traced.graph.places import said_local, said_remote
from traced.graph.relation import Relation, span_columns
from traced.graph.responses import outcomes
from traced.graph.service_keys import name_of
from traced.model.span import FLAGS_IS_REMOTE, SpanKind

_TEXTS: Final = (
    "trace_state", "service_namespace", "service_version", "service_instance_id", "host", "telemetry_sdk_language", "name", "peer_name", "server_address",
    "messaging_system", "messaging_destination", "messaging_message_id", "response_status", "error_type", "client_address", "user_agent",
    "http_request_method", "http_route", "url_path", "url_full", "rpc_service", "rpc_method", "correlation_id",
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
        ("service_key", pa.string()),
        ("outcome", pa.string()),
        ("expected", pa.string()),
        ("again", pa.bool_()),
        ("has_callers", pa.bool_()),
        ("second", pa.bool_()),
        ("without", pa.string()),
        ("consumed_by", pa.string()),
    ],
)
"""One row a half. `called`: what `traced.graph.called` calls a call, or the operation that serves it. `service_key`: `traced.graph.service_keys`.
`outcome`: how it ended (`traced.graph.responses`). `expected`: the service that spans of this operation mostly reach, and this one did not ('' for
one that nobody answered). `again`: its trace was looked at before. `has_callers`, of receivers: spans of this operation named a parent before.
`second`, of receivers: its trace has another root, which began before it. `without`, of callers: the one service that answers such calls, where it
has no span at all in this trace; else ''. `consumed_by`, of PRODUCERs that miss a consumer: a service that takes such messages and has spans in this
trace, later ones, whose parent was in its own process and is absent; else ''."""

MIN_SPANS: Final = 20
MIN_CALLING_SHARE: Final = 0.5
"""Of an operation that calls a service straight in at least this share of its spans, the others are callers that lost their receiver."""


def lonely_callers(made: Relation, seen: Operated, known: Operations, again: Mask, names: Knowledge) -> pa.Table:
    """Give the CLIENT and PRODUCER spans that nobody answered, databases left out, and spans that miss a straight call that they usually make."""
    forest, calls = made.forest, made.calls
    whole = ~forest.silenced[forest.trace]
    rows = np.flatnonzero(calls.unanswered & forest.sending & (calls.database == 0) & whole)
    alone = halves(made, rows, again)
    without = pa.array(_without(made, rows, alone, names), pa.string())
    callees = {number: known.of(seen.operations[number]).callees.keys() for number in used(seen.of[rows])}
    takers = [callees[number] for number in seen.of[rows].tolist()]
    parts = [_set(_set(alone, "without", without), "consumed_by", _consumed_by(made, rows, takers))]
    for rows, callee in _missing_straight_calls(made, seen, known):
        kept = rows[whole[rows]]
        expecting = _set(halves(made, kept, again), "expected", pa.array([name_of(callee)] * len(kept), pa.string()))
        parts.append(_set(expecting, "consumed_by", _consumed_by(made, kept, [{callee}] * len(kept))))
    return pa.concat_tables(parts)


def _consumed_by(made: Relation, rows: Ints, takers: Sequence[Collection[str]]) -> pa.Array:
    """Name, for each PRODUCER, a service that usually takes its messages and has left spans in its trace that lack their parent."""
    forest = made.forest
    found = [""] * len(rows)
    producers = np.flatnonzero(forest.kind[rows] == SpanKind.PRODUCER)
    if len(producers):
        orphans = np.flatnonzero(forest.absent)
        local = orphans[said_local(forest, orphans) | (~said_remote(forest, orphans) & ~forest.receiving[orphans])]
        local = local[np.isin(forest.trace[local], forest.trace[rows[producers]])]
        left: dict[int, list[tuple[str, int]]] = {}
        for row in local.tolist():
            left.setdefault(int(forest.trace[row]), []).append((forest.service_keys[forest.service.of[row]], int(forest.start[row])))
        for at in producers.tolist():
            row = int(rows[at])
            later = (service for service, start in left.get(int(forest.trace[row]), ()) if start >= forest.start[row] and service in takers[at])
            found[at] = name_of(min(later, default=""))
    return pa.array(found, pa.string())


def _without(made: Relation, rows: Ints, halves: pa.Table, names: Knowledge) -> list[str]:
    """Name, for each caller, the one service that answers its like, where that service has no span in the caller's trace."""
    forest = made.forest
    codes = {key: code for code, key in enumerate(forest.service_keys)}
    calls = list(zip(*(halves.column(name).to_pylist() for name in ("service_key", "called", "peer_name")), strict=True))
    services: dict[tuple[str, str, str], str] = {}
    for call in dict.fromkeys(calls):
        answering = names.answered(call)
        services[call] = next(iter(answering)) if len(answering) == 1 else ""
    result = [services[call] for call in calls]
    if not any(services.values()):
        return result
    concerned = np.zeros(forest.traces, bool)
    concerned[forest.trace[rows]] = True
    spans = np.flatnonzero(concerned[forest.trace])
    present = ascending(forest.trace[spans] * len(codes) + forest.service.of[spans])
    known = np.array([codes.get(service, -1) for service in result], np.int64)
    here = np.isin(forest.trace[rows] * len(codes) + known, present) & (known >= 0)
    return ["" if is_here else name_of(service) for service, is_here in zip(result, here.tolist(), strict=True)]


def _missing_straight_calls(made: Relation, seen: Operated, known: Operations) -> list[tuple[Ints, str]]:
    caller, callee = straight_calls(made)
    keys = made.forest.service_keys
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
            have = caller[callee == (keys.index(service) if service in keys else -1)]
            # a PRODUCER that nobody answered is lonely already
            rows = np.flatnonzero((seen.of == number) & ~made.calls.unanswered)
            # nor does one lack it that is answered in another part of its trace
            lack = rows[~np.isin(rows, have) & ~made.calls.elsewhere[rows]]
            if len(lack):
                found.append((lack, service))
    return found


def lonely_receivers(made: Relation, seen: Operated, known: Operations, again: Mask, *, all_entries: bool = True) -> pa.Table:
    """Give the receiving spans without a parent and without a link, and the spans whose parent, in another process, never arrived.

    Without `all_entries`, of the first only those of operations that named a parent before.
    """
    forest = made.forest
    entry = forest.root & forest.receiving & ~made.calls.linked & (forest.sender < 0) & ~forest.looped
    remote = (np.asarray(forest.spans.column("flags")) & FLAGS_IS_REMOTE) != 0
    rows = np.flatnonzero((entry & ~forest.silenced[forest.trace]) | (forest.absent & (forest.receiving | remote)))
    operation = seen.of[rows]
    has_callers: Mask = np.zeros(len(seen.operations), bool)
    for number in used(operation):
        kin = known.of(seen.operations[number])
        has_callers[number] = kin.present + kin.absent > 0
    if not all_entries:
        rows = rows[has_callers[operation] | forest.absent[rows]]
    alone = _set(halves(made, rows, again), "has_callers", pa.array(has_callers[seen.of[rows]]))
    return _set(alone, "second", pa.array(_second_roots(forest)[rows]))


def _second_roots(forest: Forest) -> Mask:
    """Mark the roots before which another root of their trace began."""
    roots = np.flatnonzero(forest.root)
    first = np.full(forest.traces, np.iinfo(np.int64).max)
    np.minimum.at(first, forest.trace[roots], forest.start[roots])
    marks: Mask = forest.root & (forest.start > first[forest.trace])
    return marks


def halves(made: Relation, rows: Ints, again: Mask) -> pa.Table:
    """Give some spans as rows of HALVES."""
    spans = span_columns(made.forest, made.calls, rows)
    columns = []
    for name in HALVES.names[: HALVES.get_field_index("called")]:
        column = spans.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        columns.append(column.fill_null("") if pa.types.is_string(column.type) and column.null_count else column)
    names = called(made.forest, rows).column().cast(pa.string())
    keys = Codes(made.forest.service.of[rows], made.forest.service_keys).column().cast(pa.string())
    status, error = (spans.column(name).cast(pa.string()).fill_null("") for name in ("response_status", "error_type"))
    ended = outcomes(spans.column("status_code"), status, error)
    none, no = pa.array([""] * len(rows), pa.string()), pa.array(np.zeros(len(rows), bool))
    return pa.table([*columns, names, keys, ended, none, pa.array(again[rows]), no, no, none, none], schema=HALVES)


def _set(halves: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return halves.set_column(HALVES.get_field_index(name), HALVES.field(name), values)
