"""A trace as indented rows: absent parents are rows of their own; iterative, because input decides the depth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from traced.model.occurrence import Occurrence
from traced.model.span import UNKNOWN_SERVICE, SpanKind, StatusCode, span_id_hex

MAX_SPANS = 10_000
"""Spans of a trace that are read; of more the earliest."""
MAX_ROWS = 2_000
MAX_INDENT = 24
"""Deeper rows are not moved further right; their depth is written out."""

COLUMNS = ("span_id", "parent_span_id", "name", "kind", "service_name", "start_time_unix_nano", "end_time_unix_nano", "status_code", "status_message")
_ANSWERING = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
_ASKING = frozenset({SpanKind.CLIENT, SpanKind.PRODUCER})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree.

    Attributes:
        depth: 0 for a root.
        missing: an absent parent; only `span_id` says anything of it.
        looped: its chain of parents ends in itself, so it stands in for a root.
        cut: its parent is stored, but was not read, so it stands in for a root.
        offset: where its bar begins, 0 to 100 within the trace.
        extent: how long its bar is, 0 to 100.
        occurrences: the findings on this span.
    """

    depth: int
    span_id: str
    name: str = ""
    service: str = ""
    kind: str = ""
    duration_nano: int = 0
    failed: bool = False
    status_message: str = ""
    missing: bool = False
    looped: bool = False
    cut: bool = False
    offset: float = 0.0
    extent: float = 0.0
    occurrences: tuple[Occurrence, ...] = ()

    @property
    def indent(self) -> int:
        """How far right the row begins."""
        return min(self.depth, MAX_INDENT)


@dataclass(frozen=True, slots=True)
class Tree:
    """The rows that are shown, of how many there are, and what else is known of the trace."""

    rows: tuple[Row, ...]
    total_rows: int
    spans: int
    missing: int
    services: int
    complete: bool
    duration_nano: int


def tree_of(spans: pa.Table, occurrences: Iterable[Occurrence], beyond: Collection[int] = (), *, has_root: bool = False) -> Tree:
    """Build the rows of a trace.

    Args:
        spans: rows of schema `traced.model.schema.SPANS`, of one trace.
        occurrences: what was found on it.
        beyond: parents of these that are stored, but not among them (StoredTrace).
        has_root: a root is stored, though it may not be among them.
    """
    rows: list[dict[str, Any]] = spans.select(COLUMNS).to_pylist()
    rows.sort(key=lambda r: (r["start_time_unix_nano"], r["span_id"], r["kind"]))
    absent, children = _families(rows, beyond)
    order = _walk(rows, absent, children)
    begin = min((r["start_time_unix_nano"] for r in rows), default=0)
    end = max((r["end_time_unix_nano"] for r in rows), default=0)
    found = _by_span(occurrences)
    shown = tuple(_row(entry, rows, (begin, max(end - begin, 1)), found, beyond) for entry in order[:MAX_ROWS])
    has_root = has_root or any(r["parent_span_id"] == 0 for r in rows)
    services = len({r["service_name"] or UNKNOWN_SERVICE for r in rows})
    return Tree(shown, len(order), len(rows), len(absent), services, has_root and not absent, max(end - begin, 0))


def _by_span(occurrences: Iterable[Occurrence]) -> dict[int, list[Occurrence]]:
    found: dict[int, list[Occurrence]] = defaultdict(list)
    for occurrence in occurrences:
        found[occurrence.span_id].append(occurrence)
    return found


Place = int | tuple[int]
"""A row number, or (span id,) for a span that is absent."""
Children = dict[Place | None, list[int]]
"""Row numbers by parent; None for roots."""


def _families(rows: Sequence[dict[str, Any]], beyond: Collection[int]) -> tuple[list[int], Children]:
    """Give the absent parents' ids, and the children by parent; those of parents that are beyond are taken for roots.

    Where both halves of a call share a span id, the answering half hangs under the asking one, and children hang under
    the answering half.
    """
    asking: dict[int, int] = {}
    answering: dict[int, int] = {}
    first: dict[int, int] = {}
    for number, row in enumerate(rows):
        halves = asking if row["kind"] in _ASKING else answering if row["kind"] in _ANSWERING else first
        halves.setdefault(row["span_id"], number)
    holder = {**first, **asking, **answering}
    children: Children = defaultdict(list)
    absent: dict[int, None] = {}
    for number, row in enumerate(rows):
        parent = row["parent_span_id"]
        if row["kind"] in _ANSWERING and row["span_id"] in asking:
            children[asking[row["span_id"]]].append(number)
        elif parent == 0 or parent in beyond:
            children[None].append(number)
        elif parent in holder:
            children[holder[parent]].append(number)
        else:
            absent[parent] = None
            children[(parent,)].append(number)
    return list(absent), children


Entry = tuple[int, Place, bool]
"""(depth, what stands there, whether a loop was cut here)."""


def _walk(rows: Sequence[dict[str, Any]], absent: list[int], children: Children) -> list[Entry]:
    """Order all rows depth first: roots, then absent parents, then what only hangs on itself."""
    order: list[Entry] = []
    seen = [False] * len(rows)
    starts: list[Entry] = [(0, number, False) for number in children.get(None, ())]
    starts += [(0, (span_id,), False) for span_id in absent]
    _descend(starts, children, seen, order)
    for number, was_seen in enumerate(seen):  # `seen` changes meanwhile, and the loop sees that
        if not was_seen:
            _descend([(0, number, True)], children, seen, order)
    return order


def _descend(starts: list[Entry], children: Children, seen: list[bool], order: list[Entry]) -> None:
    stack = starts[::-1]
    while stack:
        entry = stack.pop()
        depth, place, _ = entry
        if isinstance(place, int):
            if seen[place]:
                continue
            seen[place] = True
        order.append(entry)
        stack += [(depth + 1, child, False) for child in reversed(children.get(place, ()))]


def _row(entry: Entry, rows: Sequence[dict[str, Any]], extent: tuple[int, int], found: dict[int, list[Occurrence]], beyond: Collection[int]) -> Row:
    depth, place, looped = entry
    if isinstance(place, tuple):
        return Row(depth, span_id_hex(place[0]), missing=True)
    row = rows[place]
    begin, length = extent
    start, nanos = row["start_time_unix_nano"], row["end_time_unix_nano"] - row["start_time_unix_nano"]
    offset = 100 * (start - begin) / length
    try:
        kind = SpanKind(row["kind"]).name
    except ValueError:
        kind = str(row["kind"])
    return Row(
        depth=depth,
        span_id=span_id_hex(row["span_id"]),
        name=row["name"] or "",
        service=row["service_name"] or UNKNOWN_SERVICE,
        kind=kind,
        duration_nano=nanos,
        failed=row["status_code"] == StatusCode.ERROR,
        status_message=row["status_message"] or "",
        looped=looped,
        cut=row["parent_span_id"] in beyond,
        offset=min(offset, 99.5),
        extent=max(0.5, min(100 * max(nanos, 0) / length, 100 - min(offset, 99.5))),
        occurrences=tuple(found.get(row["span_id"], ())),
    )
