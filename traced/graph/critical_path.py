"""Which spans a trace waited for: the path from its root to the child that ended last, and on from that one's start to the one that ended before it."""

from __future__ import annotations

from typing import Final

import numpy as np

from traced.graph.columns import Ints, Mask, ascending
from traced.graph.forest import Forest

MAX_DEPTH: Final = 64
"""Spans further below their root are not said to be on its path."""


def on_critical_path(forest: Forest, rows: Ints) -> Mask:
    """Mark those of some spans that their traces' roots waited for.

    A child is waited for where it lies within its parent; one that ends later is not. Of those, the last to end is on the path, then the
    last to end before that one began, and so on. Only the siblings of what lies above the given spans are looked at.
    """
    waited = _waited_for(forest, _above(forest, rows))
    marks, at = np.ones(len(rows), bool), rows
    for _ in range(MAX_DEPTH):
        below = forest.parent[at] >= 0
        if not below.any():
            break
        marks &= ~below | waited[at]
        at = np.where(below, forest.parent[at], at)
    return marks & forest.root[at]


def _above(forest: Forest, rows: Ints) -> Mask:
    """Mark what lies above some spans."""
    above = np.zeros(forest.count, bool)
    at = rows
    for _ in range(MAX_DEPTH):
        parent = forest.parent[at]
        at = ascending(parent[(parent >= 0) & ~above[parent]])
        if not len(at):
            break
        above[at] = True
    return above


def _waited_for(forest: Forest, parents: Mask) -> Mask:
    """Mark the children of some spans that are on the path from there."""
    marks = np.zeros(forest.count, bool)
    if not parents.any():
        return marks
    rows = np.flatnonzero(forest.parent >= 0)
    rows = rows[parents[forest.parent[rows]]]
    above = forest.parent[rows]
    rows = rows[(forest.start[rows] >= forest.start[above]) & (forest.end[rows] <= forest.end[above]) & (forest.end[rows] >= forest.start[rows])]
    only = np.bincount(forest.parent[rows], minlength=forest.count)[forest.parent[rows]] == 1
    marks[rows[only]] = True
    rows = rows[~only]
    rows = rows[np.lexsort((forest.span_id[rows], forest.end[rows], forest.parent[rows]))]
    marks[rows[_last_first(forest.parent[rows], forest.start[rows], forest.end[rows])]] = True
    return marks


def _last_first(parent: Ints, start: Ints, end: Ints) -> Mask:
    """Of children in the order of (parent, end), mark each parent's last, the last that ended before that one began, and so on."""
    marks = np.zeros(len(parent), bool)
    if not len(parent):
        return marks
    before = _ended_before(parent, start, end)
    before = np.where(before >= np.searchsorted(parent, parent), before, -1)
    marks[np.append(parent[1:] != parent[:-1], True)] = True
    # after k rounds everything within 2**k steps of a last child is marked; a step leads to an earlier place, so this ends
    while True:
        reached = before[np.flatnonzero(marks & (before >= 0))]
        if marks[reached].all():
            return marks
        marks[reached] = True
        before = np.where(before >= 0, before[before], -1)


def _ended_before(parent: Ints, start: Ints, end: Ints) -> Ints:
    """Give, for each child, the place of the last one that had ended when it began; it may be one of another parent."""
    count = len(parent)
    begins = np.repeat((0, 1), count)
    order = np.lexsort((begins, np.concatenate([end, start]), np.concatenate([parent, parent])))
    before = np.empty(2 * count, np.int64)
    before[order] = np.cumsum(begins[order] == 0) - 1
    # one of no duration ends when it begins: it does not come before itself
    return np.minimum(before[count:], np.arange(count) - 1)
