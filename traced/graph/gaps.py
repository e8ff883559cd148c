"""Time inside a span during which none of its children runs, and which of it a trace waited for.

Only looked for where one clock and one process decide: in spans that work for a request, all of whose children are of their own process.
Pure; what several passes found is put together by `traced.graph.gap_history`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from traced.graph import places
from traced.graph.calls import POLLS
from traced.graph.columns import Ints, Mask, combined
from traced.graph.critical_path import on_critical_path
from traced.graph.operations import Operated, Operation
from traced.graph.relation import Relation
from traced.graph.responses import SWITCHED
from traced.model.span import SpanKind

MIN_GAP_NANOS: Final = 20_000_000
MIN_SHARE_OF_ROOT: Final = 0.2
MAX_SPAN_NANOS: Final = 3600 * 10**9
"""A span that runs longer serves no request that anybody waits for; the bound also lets times of many spans be packed into one number."""
MAX_SPANS: Final = 2**20
"""Spans looked into in one pass, for the same reason; the others are counted."""

MAX_PLACES: Final = 64
"""Places between children looked at of one operation: one that has more is crowded, and too irregular for anything to be said of it."""
UNNAMED: Final = "(unnamed)"

_OWN_WORK: Final = (SpanKind.UNSPECIFIED, SpanKind.INTERNAL)
_NOBODY: Final = np.zeros(0, np.int64)


Floats = npt.NDArray[np.float64]
Place = tuple[Operation, str, str]
"""An operation, and the names of the children before and after; the empty text where the span itself begins or ends."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was seen of one operation's spans: how many, those that do not count (`odd`), how long the others took, and `crowded`: too many places."""

    spans: int
    odd: int
    nanos: int
    crowded: bool


@dataclass(frozen=True, slots=True)
class Gaps:
    """The stretches between neighbouring children of some spans, in no order, those of crowded operations left out.

    Attributes (one value a stretch):
        row: the span in which it lies.
        nanos: how long it is; 0 where one child begins as the other ends.
        hidden: it is the longest of its span, long enough, and its trace waited for it.
        root_nanos: how long its trace's root is.
        place: between which children of which operation, as a number in `places`.
    Attributes (of all):
        places: what the numbers mean.
        operations: what was seen of each operation.
        skipped: spans that a limit left out.
    """

    row: Ints
    nanos: Ints
    hidden: Mask
    root_nanos: Ints
    place: Ints
    places: list[Place]
    operations: dict[Operation, Told]
    skipped: int = 0


_NONE: Final = Gaps(_NOBODY, _NOBODY, _NOBODY.astype(bool), _NOBODY, _NOBODY, [], {})


def gaps(made: Relation, seen: Operated, watched: Iterable[Operation]) -> Gaps:
    """Find the stretches of all spans of operations that are watched, or of which a span may have one that is long enough.

    Args:
        made: the spans.
        seen: their operations.
        watched: operations of which earlier passes had some.
    """
    forest = made.forest
    root_nanos = _roots(made)
    # of a trace that is not known to be whole, no span is long enough
    least = np.where(root_nanos > 0, np.maximum(MIN_GAP_NANOS, MIN_SHARE_OF_ROOT * root_nanos), np.inf)
    lasts = forest.end - forest.start
    long = np.flatnonzero(lasts >= least[forest.trace])
    known = set(watched)
    wanted = np.array([operation in known for operation in seen.operations] or [False])
    wanted[seen.of[_open(made, long, lasts, least)]] = True
    if not wanted.any():
        return _NONE
    has_children = np.zeros(forest.count + 1, bool)
    has_children[forest.parent] = True  # those without a parent mark the last place, which is no row's
    rows = np.flatnonzero(wanted[seen.of] & has_children[:-1] & (root_nanos > 0)[forest.trace])
    parents = rows[_eligible(made, rows)]
    return _within(made, seen, parents[:MAX_SPANS], root_nanos, max(0, len(parents) - MAX_SPANS))


def _open(made: Relation, long: Ints, lasts: Ints, least: Floats) -> Ints:
    """Of long spans, give those that may have a stretch that is long enough: it is no longer than the span without its longest child.

    The mean child is not longer than the longest one, and quicker to find.
    """
    forest = made.forest
    if not len(long):
        return long
    below = np.zeros(forest.count, bool)
    below[long] = True
    child = np.flatnonzero((forest.parent >= 0) & below[forest.parent])
    above = forest.parent[child]
    children = np.bincount(above, minlength=forest.count)[long]
    covered = np.bincount(above, weights=np.minimum(lasts[child], lasts[above]), minlength=forest.count)[long]
    long, covered, children = long[children > 0], covered[children > 0], children[children > 0]
    long = long[lasts[long] - covered / children >= least[forest.trace[long]]]
    return long[_eligible(made, long)]


def _roots(made: Relation) -> Ints:
    """Give how long each trace's root is; 0 where the trace is not known to be whole, or its root's times cannot be believed."""
    forest, traces = made.forest, made.pass_traces
    whole = np.asarray(traces.column("complete")) & (np.asarray(traces.column("roots")) == 1)
    rows = np.flatnonzero(forest.root)
    rows = rows[whole[forest.trace[rows]] & places.timed(forest, rows)]
    lasts = np.zeros(forest.traces, np.int64)
    lasts[forest.trace[rows]] = forest.end[rows] - forest.start[rows]
    return lasts


def _eligible(made: Relation, rows: Ints) -> Mask:
    """Mark the spans that work for a request or a message: entries but polls and WebSockets, and INTERNAL spans straight below entries."""
    forest = made.forest
    entry = forest.receiving[rows]
    inside = np.isin(forest.kind[rows], _OWN_WORK)
    above = made.calls.nearest[rows]
    inside &= (above >= 0) & forest.receiving[above] & (forest.service.of[above] == forest.service.of[rows])
    lasts = forest.end[rows] - forest.start[rows]
    marks: Mask = (entry | inside) & places.timed(forest, rows) & (lasts <= MAX_SPAN_NANOS)
    serving = np.where(entry, rows, above)
    # what happens during a WebSocket, its two ends decide
    for column, texts in (("messaging_operation", POLLS), ("response_status", (SWITCHED,))):
        marks &= ~forest.codes[column].at(serving).among(*texts)
    return marks


def _within(made: Relation, seen: Operated, parents: Ints, root_nanos: Ints, skipped: int) -> Gaps:
    """Look into some spans."""
    forest = made.forest
    number = np.full(forest.count, -1)
    number[parents] = np.arange(len(parents))
    child = np.flatnonzero(forest.parent >= 0)
    child = child[number[forest.parent[child]] >= 0]
    odd = _outlives(made, parents)
    odd[number[forest.parent[child[_elsewhere(made, child)]]]] = True
    sound = ~odd[number[forest.parent[child]]]
    child = child[sound & (forest.start[child] < forest.end[forest.parent[child]])]
    of, left, right, nanos = _stretches(made, parents, child, number)
    roots = root_nanos[forest.trace[parents[of]]]
    hidden = _longest(of, nanos) & (nanos >= np.maximum(MIN_GAP_NANOS, MIN_SHARE_OF_ROOT * roots))
    candidates = np.flatnonzero(hidden)
    hidden[candidates] = on_critical_path(forest, parents[of[candidates]])
    place, crowded, names = _places(made, seen, parents[of], left, right)
    kept = place >= 0
    told = _operations(made, seen, parents, odd, crowded)
    return Gaps(parents[of][kept], nanos[kept], hidden[kept], roots[kept], place[kept], names, told, skipped)


def _places(made: Relation, seen: Operated, row: Ints, left: Ints, right: Ints) -> tuple[Ints, Ints, list[Place]]:
    """Number the places of some stretches (-1 in crowded operations); give the numbers, the crowded operations, and what the numbers mean."""
    name = made.forest.codes["name"]
    before, after = (np.where(rows < 0, 0, name.of[rows] + 1) for rows in (left, right))
    group, first = combined(seen.of[row], before, after)
    operation = seen.of[row[first]]
    count = np.bincount(operation, minlength=len(seen.operations))
    kept = count[operation] <= MAX_PLACES
    renumbered = np.where(kept, np.cumsum(kept) - 1, -1)
    texts = ["", *(text or UNNAMED for text in name.texts)]
    names = [
        (seen.operations[one], texts[here], texts[there])
        for one, here, there in zip(operation[kept].tolist(), before[first[kept]].tolist(), after[first[kept]].tolist(), strict=True)
    ]
    return renumbered[group], np.flatnonzero(count > MAX_PLACES), names


def _operations(made: Relation, seen: Operated, parents: Ints, odd: Mask, crowded: Ints) -> dict[Operation, Told]:
    """Sum up the spans that were looked into, by operation."""
    of, width, lasts = seen.of[parents], len(seen.operations), made.forest.end[parents] - made.forest.start[parents]
    spans, odds = np.bincount(of, minlength=width), np.bincount(of[odd], minlength=width)
    nanos = np.bincount(of[~odd], weights=lasts[~odd], minlength=width)
    full = set(crowded.tolist())
    return {seen.operations[n]: Told(int(spans[n]), int(odds[n]), int(nanos[n]), n in full) for n in np.flatnonzero(spans).tolist()}


def _outlives(made: Relation, rows: Ints) -> Mask:
    """Mark the entries that end after the call which they answer: streams, calls that were given up, or clocks that differ."""
    forest, caller = made.forest, made.calls.caller[rows]
    marks: Mask = forest.receiving[rows] & (caller >= 0) & (forest.end[rows] > forest.end[caller])
    return marks


def _elsewhere(made: Relation, child: Ints) -> Mask:
    """Mark the children that another process may have timed, or whose times do not fit their parent's."""
    forest, parent = made.forest, made.forest.parent[child]
    one, other = places.process(forest, child), places.process(forest, parent)
    marks: Mask = (forest.service.of[child] != forest.service.of[parent]) | ((one >= 0) & (other >= 0) & (one != other))
    marks |= (forest.receiving[child] & ((one < 0) | (forest.kind[child] == SpanKind.CONSUMER))) | places.said_remote(forest, child)
    return marks | (forest.start[child] < forest.start[parent]) | (forest.end[child] < forest.start[child])


def _stretches(made: Relation, parents: Ints, child: Ints, number: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Give (the span by its number, the child before, the child after, length) of each stretch that no child covers, and of each seam."""
    forest = made.forest
    of = number[forest.parent[child]]
    child = child[np.lexsort((forest.span_id[child], forest.end[child], forest.start[child], of))]
    of = number[forest.parent[child]]
    if not len(child):
        return _NOBODY, _NOBODY, _NOBODY, _NOBODY
    begin, lasts = forest.start[parents][of], (forest.end - forest.start)[parents][of]
    start, end = forest.start[child] - begin, np.minimum(forest.end[child] - begin, lasts)
    head = np.append(True, of[1:] != of[:-1])
    tail = np.append(head[1:], True)
    # times of one span lie above those of the span before it, so that the latest end so far is one running maximum
    base = of * (MAX_SPAN_NANOS + 1)
    latest = np.maximum.accumulate(base + end)
    later = head | (base + end > np.append(-1, latest[:-1]))
    newest = np.maximum.accumulate(np.where(later, np.arange(len(child)), 0))
    before = np.where(head, -1, child[np.append(0, newest[:-1])])
    nanos = start - np.where(head, 0, np.append(0, latest[:-1]) - base)
    # children that overlap have neither a stretch nor a seam between them
    apart = nanos >= 0
    last = lasts[tail] - (latest[tail] - base[tail])
    return (
        np.concatenate([of[apart], of[tail]]),
        np.concatenate([before[apart], child[newest[tail]]]),
        np.concatenate([child[apart], np.full(len(last), -1)]),
        np.concatenate([nanos[apart], last]),
    )


def _longest(of: Ints, nanos: Ints) -> Mask:
    """Mark the longest stretch of each span, of equal ones one."""
    order = np.lexsort((np.arange(len(of)), -nanos, of))
    marks = np.zeros(len(of), bool)
    marks[order[np.append(True, of[order][1:] != of[order][:-1])] if len(of) else order] = True
    return marks
