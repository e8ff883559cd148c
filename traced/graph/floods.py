"""Spans in such numbers that a trace cannot be read for them: counted by trace and service."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph import places
from traced.graph.columns import Ints, Mask, combined
from traced.graph.forest import Forest
from traced.model.span import SpanKind

INTERNAL_SPANS: Final = "internal_spans"
SHORT_SPANS: Final = "short_spans"
SIBLINGS: Final = "siblings"

MAX_INTERNAL: Final = 10
"""INTERNAL spans of a service in a trace that Instrumentation Score's SPA-001 allows."""
MAX_SHORT: Final = 20
"""Spans under SHORT_NANOS of a service in a trace that SPA-005 allows."""
SHORT_NANOS: Final = 5_000_000
MIN_SIBLINGS: Final = 100
"""Spans of one name and service under one parent from which on they are a flood."""

_NOBODY: Final = np.zeros(0, np.int64)

FLOODS: Final = pa.schema([*places.PLACE, ("flood", pa.string()), ("spans", pa.int64()), ("names", pa.int64()), ("of_this_name", pa.int64())])
"""One row a trace, service and kind of flood, at a span of the name that most of its spans have."""


def floods(forest: Forest) -> pa.Table:
    """Find floods; rows of FLOODS."""
    spans = np.bincount(forest.trace, minlength=forest.traces)
    longest = int(spans.max(initial=0))
    found, used = [], np.zeros(forest.count, bool)
    for flood, flooding, least in (
        (SIBLINGS, _siblings, MIN_SIBLINGS + 1),
        (INTERNAL_SPANS, _internal, MAX_INTERNAL + 1),
        (SHORT_SPANS, _short, MAX_SHORT + 1),
    ):
        rows = flooding(forest, spans) if longest >= least else _NOBODY
        if len(rows):
            found.append(_told(forest, flood, rows, used))
    return pa.concat_tables(found) if found else FLOODS.empty_table()


def _internal(forest: Forest, _spans: Ints) -> Ints:
    """Give the INTERNAL spans of traces and services that have very many; one that shares its id is a piece of that other span, without its kind."""
    return _full(forest, np.flatnonzero((forest.kind == SpanKind.INTERNAL) & ~forest.shared), MAX_INTERNAL + 1)


def _short(forest: Forest, _spans: Ints) -> Ints:
    """Give the short spans of traces and services that have very many; one of no duration is one of which the end is not known."""
    lasts = forest.end - forest.start
    return _full(forest, np.flatnonzero((lasts > 0) & (lasts < SHORT_NANOS) & (forest.start > 0)), MAX_SHORT + 1)


def _full(forest: Forest, rows: Ints, least: int) -> Ints:
    """Of some spans, give those of traces and services that have at least so many of them."""
    trace = forest.trace[rows]
    enough = (np.bincount(trace, minlength=forest.traces) >= least)[trace]
    return _of_large(rows[enough], least, trace[enough], forest.service.of[rows[enough]])


def _siblings(forest: Forest, spans: Ints) -> Ints:
    """Give the spans that are one of very many of their name under their parent; `spans` are the numbers of spans of each trace.

    Left out are entries, whose number their callers decide, and queries, whose repetition is a matter of its own.
    """
    rows = np.flatnonzero((spans > MIN_SIBLINGS)[forest.trace])
    rows = rows[(forest.parent[rows] >= 0) & ~forest.receiving[rows]]
    rows = rows[np.bincount(forest.parent[rows], minlength=forest.count)[forest.parent[rows]] >= MIN_SIBLINGS]
    database = forest.codes["database_name"]
    empty = np.array([not text for text in database.texts] or [True])
    rows = rows[empty[database.of[rows]]]
    return _of_large(rows, MIN_SIBLINGS, forest.parent[rows], forest.service.of[rows], forest.codes["name"].of[rows])


def _of_large(rows: Ints, least: int, *parts: Ints) -> Ints:
    """Give the rows that share their combination of numbers with so many others, or more."""
    if not len(rows):
        return rows
    group, _ = combined(*parts)
    large: Ints = rows[np.bincount(group)[group] >= least]
    return large


def _told(forest: Forest, flood: str, rows: Ints, used: Mask) -> pa.Table:
    """Give each flood of some spans, at its earliest span of its most frequent name that speaks for no other flood; mark that one as used."""
    group, groups = combined(forest.trace[rows], forest.service.of[rows])
    alike, kinds = combined(group, forest.codes["name"].of[rows])
    spans, same = np.bincount(group), np.bincount(alike)
    names = np.bincount(group[kinds])
    order = np.lexsort((forest.span_id[rows], forest.start[rows], -same[alike], used[rows], group))
    first = order[np.unique(group[order], return_index=True)[1]]
    used[rows[first]] = True
    kind = pa.array([flood] * len(groups))
    return places.table(forest, rows[first], FLOODS, flood=kind, spans=spans[group[first]], names=names[group[first]], of_this_name=same[alike[first]])
