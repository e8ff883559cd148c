"""Where operations spend time that nothing explains, over the last one to two hours: bounded, and told only where it lasts.

Counts live in two windows that take turns. Pure: the time is given from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph import places
from traced.graph.columns import Ints
from traced.graph.gaps import MAX_PLACES, Gaps, Place
from traced.graph.operations import Operation
from traced.graph.relation import Relation
from traced.graph.windows import turned

MIN_TRACES: Final = 10
MIN_SEAM_SHARE: Final = 0.8
"""Of the places where the child before is followed by something, or the child after preceded, so many must be this one: else
something usually lies between the two, and is what is missing."""
MIN_SHARE_OF_OPERATION: Final = 0.05
"""Of the operation's time. Pauses that hit any span now and then hide less."""
MAX_ODD_SHARE: Final = 0.05
MAX_OPERATIONS: Final = 5_000
SHOWN: Final = 200
"""Spans of one place that a pass gives, those with the longest stretch."""

_FACTS: Final = ("traces", "hidden_nanos", "roots_nanos", "rank", "places")

BLIND: Final = pa.schema(
    [
        *places.PLACE,
        ("before", pa.string()),
        ("after", pa.string()),
        ("gap_nanos", pa.int64()),
        ("root_nanos", pa.int64()),
        *((name, pa.int64()) for name in _FACTS),
    ],
)
"""One row a trace and place, at the span with the longest stretch: `gap_nanos` of the `root_nanos` that the trace took. Of the place, over
all that is remembered: `traces`, time hidden in them, what they took in all; and its `rank` by time hidden, among so many `places`."""


@dataclass(slots=True)
class _Seam:
    """What is known of one place between two children: how often they were neighbours, and of traces in which time was hidden there."""

    seams: int = 0
    traces: int = 0
    hidden: int = 0
    roots: int = 0

    def add(self, other: _Seam, sign: int = 1) -> None:
        self.seams += sign * other.seams
        self.traces += sign * other.traces
        self.hidden += sign * other.hidden
        self.roots += sign * other.roots


@dataclass(slots=True)
class _Known:
    """What is known of one operation: its spans, the odd ones, the time of the others, and its places by the children before and after."""

    spans: int = 0
    odd: int = 0
    nanos: int = 0
    crowded: bool = False
    seams: dict[tuple[str, str], _Seam] = field(default_factory=dict)

    def add(self, other: _Known, sign: int = 1) -> None:
        self.spans += sign * other.spans
        self.odd += sign * other.odd
        self.nanos += sign * other.nanos
        self.crowded |= other.crowded
        for where, more in other.seams.items():
            if where not in self.seams and len(self.seams) >= MAX_PLACES:
                self.crowded = True
            else:
                self.seams.setdefault(where, _Seam()).add(more, sign)

    def blind(self) -> Iterator[tuple[tuple[str, str], _Seam]]:
        """Give the places where time is hidden often enough, and nothing else usually lies."""
        if self.crowded or self.odd > MAX_ODD_SHARE * self.spans:
            return
        following, preceding = Counter[str](), Counter[str]()
        for (before, after), seam in self.seams.items():
            following[before] += seam.seams
            preceding[after] += seam.seams
        for (before, after), seam in self.seams.items():
            usual = seam.seams >= MIN_SEAM_SHARE * min(following[before], preceding[after])
            if usual and seam.traces >= MIN_TRACES and seam.hidden >= MIN_SHARE_OF_OPERATION * self.nanos:
                yield (before, after), seam


class GapHistory:
    """What is known of operations; `dropped` counts what limits left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now: dict[Operation, _Known] = {}
        self._before: dict[Operation, _Known] = {}
        self._turned = 0.0
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now

    @property
    def watched(self) -> frozenset[Operation]:
        """Name the operations of which anything is known."""
        return frozenset({**self._before, **self._now})

    def learn(self, made: Relation, found: Gaps, sign: int = 1) -> None:
        """Add what `gaps` found; with sign -1 take back what was learned of traces that are looked at again."""
        self.dropped += found.skipped
        for operation, more in _counted(made, found).items():
            known = self._now.get(operation)
            if known is None:
                if len(self._now) >= MAX_OPERATIONS:
                    self.dropped += 1
                    continue
                known = self._now[operation] = _Known()
            known.add(more, sign)

    def blind(self, made: Relation, found: Gaps) -> pa.Table:
        """Give what is worth telling of a pass that was learned; rows of BLIND."""
        told = self._ranked()
        numbers = [told.get(place) for place in found.places]
        wanted = np.array([fact is not None for fact in numbers] or [False])
        at = _once(made, found)
        at = at[wanted[found.place[at]]] if len(at) else at
        at = at[_first(found.place[at], SHOWN)]
        facts = [fact for n in found.place[at].tolist() if (fact := numbers[n]) is not None]
        columns: dict[str, Any] = {name: pa.array([fact[name] for fact in facts], pa.int64()) for name in _FACTS}
        for side, name in enumerate(("before", "after"), 1):
            columns[name] = pa.array([found.places[n][side] for n in found.place[at].tolist()], pa.string())
        return places.table(made.forest, found.row[at], BLIND, gap_nanos=found.nanos[at], root_nanos=found.root_nanos[at], **columns)

    def _ranked(self) -> dict[Place, dict[str, int]]:
        """Give the facts of each place that is told, by how much time it hides."""
        blind: list[tuple[int, Place, _Seam]] = []
        for operation in self.watched:
            together = _Known()
            for window in (self._before, self._now):
                if operation in window:
                    together.add(window[operation])
            blind += [(-seam.hidden, (operation, *where), seam) for where, seam in together.blind()]
        blind.sort(key=lambda one: one[:2])
        return {
            place: dict(zip(_FACTS, (seam.traces, seam.hidden, seam.roots, rank, len(blind)), strict=True)) for rank, (_, place, seam) in enumerate(blind, 1)
        }

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give both windows as JSON values."""
        return {"turned": self._turned, "windows": [_dump(window) for window in (self._before, self._now)]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = (_load(window) for window in state["windows"])
        self._turned, self._before, self._now = float(state["turned"]), before, now


def _counted(made: Relation, found: Gaps) -> dict[Operation, _Known]:
    """Sum up what was found, by operation; of a trace with several spans that hide time at one place, only the longest counts."""
    width = len(found.places)
    seams = np.bincount(found.place, minlength=width)
    at = _once(made, found)
    of = found.place[at]
    traces, hidden, roots = (np.bincount(of, weights=weights, minlength=width) for weights in (None, found.nanos[at], found.root_nanos[at]))
    result = {operation: _Known(told.spans, told.odd, told.nanos, told.crowded) for operation, told in found.operations.items()}
    for (operation, *where), *numbers in zip(found.places, *(column.tolist() for column in (seams, traces, hidden, roots)), strict=True):
        result[operation].seams[where[0], where[1]] = _Seam(*map(int, numbers))
    return result


def _once(made: Relation, found: Gaps) -> Ints:
    """Give the hiding stretches, of each trace and place the longest, the longest first."""
    at = np.flatnonzero(found.hidden)
    at = at[np.lexsort((made.forest.span_id[found.row[at]], -found.nanos[at]))]
    trace = made.forest.trace[found.row[at]]
    _, first = np.unique(trace * (len(found.places) + 1) + found.place[at], return_index=True)
    once: Ints = at[np.sort(first)]
    return once


def _first(group: Ints, most: int) -> Ints:
    """Of rows, give the first so many of each group, in their order."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    place = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return np.sort(order[place < most])


def _dump(window: Mapping[Operation, _Known]) -> list[Any]:
    return [
        [*operation, k.spans, k.odd, k.nanos, k.crowded, [[*where, s.seams, s.traces, s.hidden, s.roots] for where, s in k.seams.items()]]
        for operation, k in window.items()
    ]


def _load(rows: list[Any]) -> dict[Operation, _Known]:
    window = {}
    for service, kind, name, spans, odd, nanos, crowded, seams in rows:
        known = {(str(before), str(after)): _Seam(*map(int, numbers)) for before, after, *numbers in seams}
        window[str(service), int(kind), str(name)] = _Known(int(spans), int(odd), int(nanos), bool(crowded), known)
    return window
