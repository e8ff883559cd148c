"""How often an operation's spans have which children, by outcome and by who recorded them: what a pass adds to `traced.graph.baseline`.

Counted are only traces that are whole and in which nothing failed, and only children of the parent's own process: of the others, pairs of
calls say more. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from traced.graph.columns import Codes, Ints, Mask, ascending, combined, distinct
from traced.graph.operations import Operated, Operation
from traced.graph.relation import Relation
from traced.model.span import StatusCode

SLICE_SPANS: Final = 30
"""Spans of one process that a slice of time holds at least, on average: fewer show no change."""
MAX_SLICES: Final = 8
MAX_TRACES: Final = 8_192
"""Traces of a pass that are counted, the first by the hash of their ids: any sample of so many shows what all of them would."""
MAX_SLOTS: Final = 64
"""Kinds of children looked at of one operation; one that has more is too irregular for anything to be said of it."""

Group = tuple[str, int, str, str]
"""Parents that are compared: an operation, and the response status."""
Unit = tuple[str, str]
"""Who recorded them: service instance and version, either of them empty where it is not known."""

_GOOD: Final = ("", "0", "OK")


@dataclass(slots=True)
class Slot:
    """Parents that have a child of one operation: how many, how long they took in all, and how long all such children did (ns)."""

    parents: int = 0
    nanos: float = 0.0
    children_nanos: float = 0.0


@dataclass(slots=True)
class Count:
    """Parents of one group and unit: how many, the sums of their durations (ns) and of the squares, and their children by operation."""

    spans: int = 0
    nanos: float = 0.0
    squares: float = 0.0
    slots: dict[Operation, Slot] = field(default_factory=dict)

    def add(self, other: Count, sign: int = 1) -> None:
        """Add another's counts, or take them away."""
        self.spans += sign * other.spans
        self.nanos += sign * other.nanos
        self.squares += sign * other.squares
        for operation, more in other.slots.items():
            known = self.slots.setdefault(operation, Slot())
            known.parents += sign * more.parents
            known.nanos += sign * more.nanos
            known.children_nanos += sign * more.children_nanos

    def having(self, slot: Operation) -> int:
        """Count the parents that have such a child."""
        known = self.slots.get(slot)
        return known.parents if known else 0


@dataclass(frozen=True, slots=True)
class Slice:
    """The parents of one group and unit that began within one slice of a pass's time; `rows` are their spans."""

    group: Group
    unit: Unit
    count: Count
    rows: Ints


@dataclass(frozen=True, slots=True)
class Children:
    """What one pass shows: slices in the order of time within each group and unit, and how many operations had too many kinds of children."""

    slices: list[Slice]
    crowded: int = 0


def children(made: Relation, seen: Operated, again: Mask, watched: Iterable[Operation]) -> Children:
    """Count the children of a pass.

    Args:
        made: the spans.
        seen: their operations.
        again: traces (by number) that were looked at before; late spans touched them, so they say nothing of what is usual.
        watched: operations that had children in earlier passes.
    """
    forest, of, width = made.forest, seen.of, len(seen.operations)
    sound = np.asarray(made.pass_traces.column("complete")) & (np.asarray(made.pass_traces.column("roots")) == 1) & ~again & ~_failed(made)
    sound[MAX_TRACES:] = False
    child = np.flatnonzero(sound[forest.trace] & (forest.parent >= 0) & ~forest.receiving)
    child = child[forest.service.of[child] == forest.service.of[forest.parent[child]]]
    child, crowded = _not_crowded(child, of, forest.parent, width)
    known = set(watched)
    wanted = np.array([operation in known for operation in seen.operations] or [False])
    wanted[of[forest.parent[child]]] = True
    wanted[crowded] = False
    rows = np.flatnonzero(wanted[of] & sound[forest.trace])
    if not len(rows):
        return Children([], len(crowded))
    return Children(list(_slices(made, seen, rows, child)), len(crowded))


def _failed(made: Relation) -> Mask:
    """Mark the traces in which something failed: what comes after is another path."""
    forest, status = made.forest, made.forest.codes["response_status"]
    bad = np.array([not (text in _GOOD or (len(text) == 3 and text[0] in "123")) for text in status.texts] or [False])
    failed = bad[status.of] | (np.asarray(forest.spans.column("status_code")) == StatusCode.ERROR)
    marks: Mask = np.bincount(forest.trace[failed], minlength=forest.traces) > 0
    return marks


def _not_crowded(child: Ints, of: Ints, parent: Ints, width: int) -> tuple[Ints, Ints]:
    """Leave out the children of operations that have very many kinds of them; give the others, and these operations."""
    above = of[parent[child]]
    kinds, _ = distinct(above * width + of[child], max(1, width * width))
    crowded = np.bincount(kinds // width, minlength=width) > MAX_SLOTS
    return child[~crowded[above]], np.flatnonzero(crowded)


def _slices(made: Relation, seen: Operated, rows: Ints, child: Ints) -> Iterator[Slice]:
    """Divide parents by group, unit and time, and count their children."""
    forest, width = made.forest, len(seen.operations)
    cell, first = _cells(made, seen, rows)
    lasts = (forest.end - forest.start).astype(np.float64)
    spans, nanos, squares = (np.bincount(cell, weights=w, minlength=len(first)) for w in (None, lasts[rows], lasts[rows] ** 2))
    of_row = np.full(forest.count, -1)
    of_row[rows] = cell
    child = child[of_row[forest.parent[child]] >= 0]
    bound = max(1, len(first) * width)
    codes, place = distinct(of_row[forest.parent[child]] * width + seen.of[child], bound)
    took = np.bincount(place, weights=lasts[child], minlength=len(codes))
    once = ascending(forest.parent[child] * width + seen.of[child])
    at = np.searchsorted(codes, of_row[once // width] * width + once % width)
    parents, parents_nanos = (np.bincount(at, weights=w, minlength=len(codes)) for w in (None, lasts[once // width]))
    counts = [Count(*one) for one in zip(spans.tolist(), nanos.tolist(), squares.tolist(), strict=True)]
    for code, *numbers in zip(codes.tolist(), parents.tolist(), parents_nanos.tolist(), took.tolist(), strict=True):
        counts[code // width].slots[seen.operations[code % width]] = Slot(*numbers)
    ordered = rows[np.argsort(cell, kind="stable")]
    ends = np.cumsum(spans).tolist()
    for count, named, end in zip(counts, _named(made, seen, rows[first]), ends, strict=True):
        yield Slice(*named, count, ordered[end - count.spans : end])


def _cells(made: Relation, seen: Operated, rows: Ints) -> tuple[Ints, Ints]:
    """Number the slices of some parents: those of one group and unit follow each other in time; give also a row of each."""
    forest = made.forest
    parts = (forest.codes["response_status"].of, forest.codes["service_instance_id"].of)
    version = Codes.from_column(forest.spans.column("service_version"))
    unit, first = combined(seen.of[rows], *(part[rows] for part in parts), version.of[rows])
    start = forest.start[rows]
    begin, end = start[first], start[first]
    np.minimum.at(begin, unit, start)
    np.maximum.at(end, unit, start)
    slices = np.clip(np.bincount(unit, minlength=len(first)) // SLICE_SPANS, 1, MAX_SLICES)
    # by floating point, since times lie anywhere; rounding moves a span to the slice beside, no more
    share = (start - begin[unit]) / np.maximum(1.0, (end - begin)[unit].astype(np.float64))
    at = np.minimum((share * slices[unit]).astype(np.int64), slices[unit] - 1)
    return combined(unit * MAX_SLICES + at)


def _named(made: Relation, seen: Operated, rows: Ints) -> list[tuple[Group, Unit]]:
    """Name the group and unit of some parents."""
    forest = made.forest
    status, instance = forest.codes["response_status"], forest.codes["service_instance_id"]
    versions = [text or "" for text in forest.spans.column("service_version").take(rows).to_pylist()]
    return [
        ((*seen.operations[seen.of[row]], status.texts[status.of[row]]), (instance.texts[instance.of[row]], version))
        for row, version in zip(rows.tolist(), versions, strict=True)
    ]
