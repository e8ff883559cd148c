"""Contexts that outlived the work that they belong to: entries that hang under what was over before they began.

A process keeps the context of the span that runs. Where it is not put back, the next request finds it and becomes a part of a trace that
is over. Nothing is said of processes without a name: their spans may come from several machines, and then times do not compare.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph import places
from traced.graph.calls import POLLS, Calls
from traced.graph.columns import Codes, Ints, Mask, combined
from traced.graph.forest import Forest
from traced.graph.responses import SWITCHED
from traced.model.span import SpanKind

MARGIN_NANOS: Final = 1_000_000
"""What a clock may be wrong by. Not granted where flags say that the parent is local: what an open entry hands on begins long before its end.

A loop that leaks takes its next message within microseconds: of generated leaks a fifth begin within the margin.
"""
MIN_ENTRIES: Final = 20
MIN_SPREAD_NANOS: Final = 1_000_000_000
SPREAD_FACTOR: Final = 10
"""Entries of one operation in one trace that are spread over so many times its 99th percentile, and a second, are no one request."""

LEAKS: Final = pa.schema(
    [
        *places.PLACE,
        ("kind", pa.uint8()),
        ("above_span_id", pa.uint64()),
        ("above_name", pa.string()),
        ("above_kind", pa.uint8()),
        ("late_nanos", pa.int64()),
        ("said_local", pa.bool_()),
        ("instance", pa.string()),
        ("host", pa.string()),
    ],
)
"""One row an entry that began after the work `above` it in the same process was over."""

CROWDS: Final = pa.schema([*places.PLACE, ("entries", pa.int64()), ("spread_nanos", pa.int64()), ("p99_nanos", pa.int64())])
"""One row an operation that one trace entered many times, at its first entry."""


# ---------------------------------------------------------------------- under what was over


def leaks(forest: Forest, calls: Calls) -> pa.Table:
    """Find SERVER and CONSUMER spans that began after the work above them, in the same process, was over; rows of LEAKS."""
    rows, top, late = _late(forest, calls, _within_process(forest, _late_at_first_sight(forest, calls)))
    told = _belongs_elsewhere(forest, calls, rows, top)
    rows, top, late = rows[told], top[told], late[told]
    spans, taken = forest.spans, pa.array(rows)
    return places.table(
        forest,
        rows,
        LEAKS,
        kind=forest.kind[rows],
        above_span_id=forest.span_id[top],
        above_name=spans.column("name").take(pa.array(top)),
        above_kind=forest.kind[top],
        late_nanos=late,
        said_local=places.said_local(forest, rows),
        instance=spans.column("service_instance_id").take(taken),
        host=spans.column("host").take(taken),
    )


def _late_at_first_sight(forest: Forest, calls: Calls) -> Ints:
    """Give receiving spans that may have begun late under a span of their service: of a sound system none, so that no more is asked of it."""
    rows = np.flatnonzero(forest.receiving & (forest.parent >= 0) & (forest.sender < 0))
    rows = rows[forest.service.of[forest.parent[rows]] == forest.service.of[rows]]
    top = np.where(calls.nearest[rows] >= 0, calls.nearest[rows], forest.parent[rows])
    late: Ints = rows[(forest.start[rows] > forest.end[top]) | _polls(forest, top)]
    return late


def _within_process(forest: Forest, rows: Ints) -> Ints:
    """Of some spans, give those whose parent is of the same process, by resources that name it, and not said to be of another one."""
    process = places.process(forest, rows)
    rows = rows[(process >= 0) & (process == places.process(forest, forest.parent[rows]))]
    rows = rows[places.timed(forest, rows) & places.timed(forest, forest.parent[rows])]
    return rows[~places.said_remote(forest, rows)]


def _late(forest: Forest, calls: Calls, rows: Ints) -> tuple[Ints, Ints, Ints]:
    """Of entries, give those that began late; with the entry above each, past INTERNAL spans and polls, and how much later than its end.

    Late is: after the parent's end as well. A CONSUMER below one of its own name is late also where what lies between still runs: work
    that was started and not waited for does not consume the next message.
    """
    parent = forest.parent[rows]
    top = np.where(calls.nearest[rows] >= 0, calls.nearest[rows], parent)
    for _ in range(2):
        higher = calls.nearest[top]
        top = np.where(_polls(forest, top) & (higher >= 0), higher, top)
    start, name = forest.start[rows], forest.codes["name"].of
    late, margin = start - forest.end[top], np.where(places.said_local(forest, rows), 0, MARGIN_NANOS)
    chained = (forest.kind[rows] == SpanKind.CONSUMER) & (forest.kind[top] == SpanKind.CONSUMER) & (name[rows] == name[top])
    began_late = (late > margin) & (chained | (start - forest.end[parent] > margin))
    return rows[began_late], top[began_late], late[began_late]


def _belongs_elsewhere(forest: Forest, calls: Calls, rows: Ints, top: Ints) -> Mask:
    """Of late entries, mark those that what is above them cannot have asked for.

    A caller asks for what comes later (a queue of its own, a call to itself), and so does a batch that was received for what processes
    it; through a WebSocket more may come. A job without an entry of its own may hand out messages.
    """
    if not len(rows):
        return np.zeros(0, bool)
    kind, consumer = forest.kind[top], forest.kind[rows] == SpanKind.CONSUMER
    name, operation, status = (forest.codes[column] for column in ("name", "messaging_operation", "response_status"))
    server = (kind == SpanKind.SERVER) & ~status.at(top).among(SWITCHED)
    # an operation that is named, and is no receiving, processes; of an unnamed one it cannot be told
    processes = ~operation.at(top).among("") | (name.of[top] == name.of[rows])
    consumes = (kind == SpanKind.CONSUMER) & ~_polls(forest, top) & (~consumer | processes)
    job = (calls.nearest[rows] < 0) & (kind == SpanKind.INTERNAL) & (~consumer | places.said_local(forest, rows))
    same = places.process(forest, top) == places.process(forest, rows)
    marks: Mask = (server | consumes | job) & same & places.timed(forest, top)
    return marks


def _polls(forest: Forest, rows: Ints) -> Mask:
    """Mark the spans that receive messages for others to process."""
    kind = forest.kind[rows]
    marks: Mask = forest.codes["messaging_operation"].at(rows).among(*POLLS) & ((kind == SpanKind.CLIENT) | (kind == SpanKind.CONSUMER))
    return marks


# ---------------------------------------------------------------------- many entries of one trace


def crowds(forest: Forest, calls: Calls) -> pa.Table:
    """Find operations that one trace enters again and again, over much longer than one request of theirs takes; rows of CROWDS.

    An entry is a SERVER or CONSUMER without parent and link, or a SERVER whose absent parent is said to be of its own process.
    """
    rows = _entries(forest, calls)
    if not len(rows):
        return CROWDS.empty_table()
    route = Codes.from_column(forest.spans.column("http_route").take(pa.array(rows)))
    kind = forest.kind[rows].astype(np.int64)
    group, operations = combined(forest.trace[rows], forest.service.of[rows], kind, forest.codes["name"].of[rows], route.of)
    groups = len(operations)
    process = places.process(forest, rows)
    believed = (process >= 0) & places.timed(forest, rows)
    first, last = np.full(groups, 2**63 - 1), np.zeros(groups, np.int64)
    np.minimum.at(first, group, forest.start[rows])
    np.maximum.at(last, group, forest.start[rows])
    # a context does not leak from one process to another: what came to several was sent to them
    lowest, highest = np.full(groups, 2**63 - 1), np.full(groups, -1)
    np.minimum.at(lowest, group, process)
    np.maximum.at(highest, group, process)
    count, doubted = np.bincount(group, minlength=groups), np.bincount(group[~believed], minlength=groups)
    p99, earliest = _percentile(forest.end[rows] - forest.start[rows], group, count), _earliest(forest, rows, group)
    spread = last - first
    told = (count >= MIN_ENTRIES) & (doubted == 0) & (lowest == highest) & (spread >= MIN_SPREAD_NANOS) & (spread // SPREAD_FACTOR > p99)
    return places.table(forest, rows[earliest[told]], CROWDS, entries=count[told], spread_nanos=spread[told], p99_nanos=p99[told])


def _entries(forest: Forest, calls: Calls) -> Ints:
    """Give the entries of traces that have many."""
    alone = forest.root & forest.receiving & ~calls.linked
    # not only absent for certain: a trace that grows for ever is never whole
    rows = np.flatnonzero(alone | (forest.dangling & (forest.kind == SpanKind.SERVER)))
    rows = rows[np.bincount(forest.trace[rows], minlength=forest.traces)[forest.trace[rows]] >= MIN_ENTRIES]
    return rows[alone[rows] | places.said_local(forest, rows)]


def _percentile(values: Ints, group: Ints, count: Ints) -> Ints:
    """Give each group's 99th percentile: the smallest value that is not below 99 % of its values."""
    ordered = values[np.lexsort((values, group))]
    percentile: Ints = ordered[np.cumsum(count) - count + (count * 99 - 1) // 100]
    return percentile


def _earliest(forest: Forest, rows: Ints, group: Ints) -> Ints:
    """Give of each group the place in `rows` of its earliest span; by id where several begin at once."""
    order = np.lexsort((forest.span_id[rows], forest.start[rows], group))
    _, first = np.unique(group[order], return_index=True)
    earliest: Ints = order[first]
    return earliest
