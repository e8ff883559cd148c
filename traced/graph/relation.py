"""The joined relation: spans with what their trees and calls say of them. Built once a pass; every detector reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.called import called
from traced.graph.calls import CONNECTION_TYPES, Calls, Naming
from traced.graph.clocks import slice_numbers
from traced.graph.columns import Codes, Ints, Mask, combined
from traced.graph.contexts import crowds, leaks
from traced.graph.cut_traces import REJOINED, CutTraces
from traced.graph.floods import floods
from traced.graph.forest import Forest, trace_summary
from traced.graph.responses import outcomes
from traced.graph.service_keys import name_of, shown
from traced.graph.trace_ids import RecentTraceIds, truncated
from traced.graph.trace_state import samplings
from traced.model.schema import ATTRIBUTE
from traced.model.span import UNKNOWN_SERVICE, SpanKind, StatusCode

NO_LINKS = pa.table(
    {
        "row": pa.array([], pa.int64()),
        "target": pa.array([], pa.int64()),
        "service_name": pa.array([], pa.string()),
        "service_namespace": pa.array([], pa.string()),
        "kind": pa.array([], pa.uint8()),
        "end_time_unix_nano": pa.array([], pa.int64()),
        "trace_id_high": pa.array([], pa.uint64()),
        "trace_id_low": pa.array([], pa.uint64()),
        "span_id": pa.array([], pa.uint64()),
        "position": pa.array([], pa.int64()),
        "flags": pa.array([], pa.uint32()),
        "attributes": pa.array([], pa.list_(ATTRIBUTE)),
        "name": pa.array([], pa.string()),
        "message_attributes": pa.array([], pa.list_(ATTRIBUTE)),
    },
)
"""Span links: of which row, to which row (`target`, -1 where it is not here), the `position` among its span's, and, for a target that is elsewhere in the
store, who it is (`kind` 0 where it is nowhere) and what it says of messages."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One pass over settled traces.

    Attributes:
        forest, calls, links: what the tables were made from.
        pass_calls: one row a call with two halves here.
        pass_traces: one row a trace (`trace_summary`).
        pass_rejoined: orphans whose parent is in another part of their trace (REJOINED).
    """

    forest: Forest
    calls: Calls
    links: pa.Table
    pass_calls: pa.Table
    pass_traces: pa.Table
    pass_rejoined: pa.Table


def build(forest: Forest, naming: Naming, links: pa.Table = NO_LINKS, cut: CutTraces | None = None) -> Relation:
    """Resolve calls and put everything into tables; `cut` knows what lies in other parts of traces."""
    calls = Calls(forest, naming, links)
    if cut is not None:
        calls.answer(cut.answered(forest))
    rejoined = cut.rejoined(forest) if cut is not None else REJOINED.empty_table()
    return Relation(forest, calls, links, call_columns(forest, calls), trace_summary(forest), rejoined)


def tables(made: Relation, again: Mask, repeats: pa.Table, recent: RecentTraceIds | None = None) -> dict[str, pa.Table]:
    """Give everything that detectors read, by name.

    `pass_suspects` are the spans that are out of the ordinary in some way, with what their trees and calls say of them: mostly few, so
    that no detector need scan all spans. `pass_twins` are spans with another one of the same id on the same side; `pass_repeats` came
    again, beside what is stored. `recent` are the trace ids of earlier passes; those of this one are added.
    """
    suspects = np.flatnonzero(_suspects(made))
    first_rows = np.asarray(made.pass_traces.column("row"))
    return {
        "pass_suspects": span_columns(made.forest, made.calls, suspects).append_column("again", pa.array(again[suspects])),
        "pass_calls": made.pass_calls.append_column("again", pa.array(again[np.asarray(made.pass_calls.column("client_row"))])),
        "pass_traces": made.pass_traces,
        "pass_twins": _twins(made),
        "pass_repeats": _beside_stored(made.forest, repeats),
        "pass_leaks": leaks(made.forest, made.calls),
        "pass_crowds": crowds(made.forest, made.calls),
        "pass_rejoined": made.pass_rejoined,
        "pass_truncated": truncated(made.forest, first_rows, recent or RecentTraceIds()),
        "pass_samplings": samplings(made.forest),
        "pass_floods": floods(made.forest),
    }


def _suspects(made: Relation) -> Mask:
    forest, calls = made.forest, made.calls
    client_root = forest.root & (forest.kind == SpanKind.CLIENT)
    roots = np.bincount(forest.trace[forest.root], minlength=forest.traces)
    second_root = forest.root & forest.receiving & (roots > 1)[forest.trace]
    suspects: Mask = forest.absent | forest.looped | client_root | second_root | calls.unanswered
    return suspects


def _twins(made: Relation) -> pa.Table:
    """Give spans whose id another span of their side bears, beside that span (`first_…`), whether they say the same (`same`), and have a sender."""
    rows = np.flatnonzero(made.forest.same_side >= 0)
    ids = ["trace_id_high", "trace_id_low", "span_id"]
    content = ["service_name", "service_instance_id", "name", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "status_code"]
    own = span_columns(made.forest, made.calls, rows).select([*ids, *content])
    first = span_columns(made.forest, made.calls, made.forest.same_side[rows]).select(content)
    for name in first.column_names:
        own = own.append_column(f"first_{name}", first.column(name))
    same = np.ones(len(rows), bool)
    for name in content[2:]:
        same &= np.asarray(pc.equal(own.column(name), first.column(name)))
    return own.append_column("same", pa.array(same)).append_column("has_sender", pa.array(made.forest.sender[rows] >= 0))


def _beside_stored(forest: Forest, repeats: pa.Table) -> pa.Table:
    """Give repeats with name and times of the stored span of the same trace, span id and kind (null where it is not here), and whether that has a sender.

    One without a service's name belongs to the service of that stored span, which an ancestor may have named.
    """
    ids = [np.asarray(repeats.column(n)) for n in ("trace_id_high", "trace_id_low", "span_id", "kind")]
    row = forest.find(*ids)
    stored = forest.spans.select(["name", "start_time_unix_nano", "end_time_unix_nano"]).take(pa.array(row, mask=row < 0))
    for name in stored.column_names:
        repeats = repeats.append_column(f"stored_{name}", stored.column(name))
    repeats = repeats.append_column("has_sender", pa.array((row >= 0) & (forest.sender[row] >= 0) if forest.count else np.zeros(len(row), bool)))
    services = [
        name or (forest.service.texts[forest.service.of[at]] if at >= 0 else UNKNOWN_SERVICE)
        for name, at in zip(repeats.column("service_name").to_pylist(), row.tolist(), strict=True)
    ]
    return repeats.set_column(repeats.schema.get_field_index("service_name"), "service_name", pa.array(services, pa.string()))


def slots(made: Relation) -> list[dict[str, Any]]:
    """Count calls by what makes them alike: service, span name, peer, outcome, and who answered ('' for nobody); services by their keys.

    Calls are only compared with calls of the same outcome: a refused one is never answered, and nothing is missing then.
    """
    forest, calls = made.forest, made.calls
    rows = np.flatnonzero((forest.kind == SpanKind.CLIENT) & (calls.database == 0) & ~calls.messaging & ~calls.outer)
    peer, status, error = (forest.codes[column].at(rows) for column in ("peer_name", "response_status", "error_type"))
    name = called(forest, rows)
    code = np.asarray(forest.spans.column("status_code"))[rows]
    failed = (code == StatusCode.ERROR).astype(np.int64)
    callee = calls.callee[rows]
    group, first = combined(forest.service.of[rows], name.of, peer.of, failed, status.of, error.of, callee)
    numbers = np.bincount(group)
    ended = outcomes(pa.array(code[first]), status.at(first).column().cast(pa.string()), error.at(first).column().cast(pa.string())).to_pylist()
    result = []
    for at, number, outcome in zip(first.tolist(), numbers.tolist(), ended, strict=True):
        result.append(
            {
                "service": forest.service_keys[forest.service.of[rows[at]]],
                "name": name.texts[name.of[at]],
                "peer": peer.texts[peer.of[at]],
                "outcome": outcome,
                "callee": calls.callees.texts[callee[at]],
                "calls": number,
            },
        )
    return result


def with_examples(made: Relation, slices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to one slice of each pair of clocks the ids and the start of the span that shows their offset best: the earliest, seen from its caller."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for one in slices:
        pair = (one["client_clock"], one["server_clock"])
        if pair not in best or one["uppers"][0] < best[pair]["uppers"][0]:
            best[pair] = one
    for one in best.values():
        for name in ("trace_id_high", "trace_id_low", "span_id", "start_time_unix_nano"):
            one[name] = made.forest.spans.column(name)[one["row"]].as_py()
    return slices


def spans_by_instance(forest: Forest, fresh: Mask) -> dict[tuple[str, str], int]:
    """Count fresh spans by (service, instance)."""
    instance = forest.codes["service_instance_id"]
    group, first = combined(forest.service.of[fresh], instance.of[fresh])
    rows, numbers = np.flatnonzero(fresh)[first], np.bincount(group)
    names = [(forest.service.texts[forest.service.of[r]], instance.texts[instance.of[r]]) for r in rows]
    return dict(zip(names, numbers.tolist(), strict=True))


def repeats_by_instance(repeats: pa.Table) -> dict[tuple[str, str], int]:
    """Count rows of `pass_repeats` by (service, instance)."""
    pairs = zip(repeats.column("service_name").to_pylist(), repeats.column("service_instance_id").to_pylist(), strict=True)
    return dict(Counter((service, instance or "") for service, instance in pairs))


def instances(*tables: pa.Table) -> set[tuple[str, str]]:
    """Name the (service, instance) that occur in `pass_repeats` and `pass_twins`."""
    pairs = (zip(*(table.column(name).to_pylist() for name in ("service_name", "service_instance_id")), strict=True) for table in tables)
    return {(service, instance or "") for some in pairs for service, instance in some}


def span_columns(forest: Forest, calls: Calls, rows: Ints) -> pa.Table:
    """Give some spans: the columns of `queries/analysis/staged_spans.sql`, and resolved ones; rows are numbered from 0, -1 is none."""
    spans = forest.spans.drop_columns(["service_name", "service_namespace", "links", "message_attributes"]).take(pa.array(rows))
    resolved = {
        "trace": forest.trace,
        "parent_row": forest.parent,
        "parent_absent": forest.absent,
        "looped": forest.looped,
        "root": forest.root,
        "shared": forest.shared,
        "same_side_row": forest.same_side,
        "answers": calls.answers,
        "outer_client": calls.outer,
        "unanswered": calls.unanswered,
        "linked": calls.linked,
        "nearest_row": calls.nearest,
    }
    for name, values in resolved.items():
        spans = spans.append_column(name, pa.array(values[rows]))
    spans = spans.append_column("row", pa.array(rows)).append_column("silenced", pa.array(forest.silenced[forest.trace[rows]]))
    spans = spans.append_column("service_name", forest.service.at(rows).column())
    spans = spans.append_column("service_namespace", Codes(forest.service.of[rows], forest.namespaces).column())
    return spans.append_column("callee", Codes(calls.callee[rows], [name_of(key) for key in calls.callees.texts]).column())


def call_columns(forest: Forest, calls: Calls) -> pa.Table:
    """Give the calls whose two halves are spans here, with both intervals and clocks."""
    both = np.flatnonzero((calls.client_row >= 0) & (calls.server_row >= 0))
    client, server = calls.client_row[both], calls.server_row[both]
    hosts = _clocks(forest)
    status = np.asarray(forest.spans.column("status_code"))
    return pa.table(
        {
            "client_row": client,
            "server_row": server,
            "client_service": Codes(calls.client[both], calls.names.texts).column(),
            "server_service": Codes(calls.server[both], calls.names.texts).column(),
            "client_clock": Codes(hosts.of[client], hosts.texts).column(),
            "server_clock": Codes(hosts.of[server], hosts.texts).column(),
            "slice": slice_numbers(forest.start[client]),
            "client_kind": forest.kind[client],
            "client_start": forest.start[client],
            "client_end": forest.end[client],
            "server_start": forest.start[server],
            "server_end": forest.end[server],
            "client_status": status[client],
            "answers": calls.answers[client],
            "connection_type": Codes(calls.connection[both], [str(c) for c in CONNECTION_TYPES]).column(),
        },
    )


def _clocks(forest: Forest) -> Codes:
    """Name each span's clock: its host, or, where the resource names none, its service (then several hosts may share the name)."""
    hosts = forest.codes["host"]
    texts = [*hosts.texts, *(f"service {shown(key)}" for key in forest.service_keys)]
    unnamed = np.array([not t for t in hosts.texts] or [True])[hosts.of] if forest.count else np.zeros(0, bool)
    return Codes(np.where(unnamed, len(hosts.texts) + forest.service.of, hosts.of), texts)
