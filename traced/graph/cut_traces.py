"""Calls between a trace and the one that was cut off it, under half of its id: whose parent lies in the other, and which callers are answered there.

Both are analysed as one where that matters: no such parent is missing, and no such caller lacks an answer. Nothing is rewritten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Unsigned, mix, numbers
from traced.graph.forest import Forest
from traced.graph.trace_ids import RecentTraceIds, halves_among, paired
from traced.model.span import SpanKind

MAX_REMEMBERED: Final = 20_000
"""Orphans with their parents elsewhere, callers answered elsewhere, and orphans of cut traces whose whole trace may still come; of each."""
MAX_LOOKED_UP: Final = 10_000
"""Parents that are looked for in the store in one pass."""

Place = tuple[int, int, int]
"""Trace id (high, low) and span id."""
Lookup = Callable[[pa.Table], pa.Table]
"""Gives the spans of the store by (trace_id_high, trace_id_low, span_id): SPAN_BY_ID."""


class Parent(NamedTuple):
    """Where an orphan's parent is: the trace, and whose span it is."""

    trace_id_high: int
    trace_id_low: int
    service: str


REJOINED: Final = pa.schema([("row", pa.int64()), ("trace_id_high", pa.uint64()), ("trace_id_low", pa.uint64()), ("parent_service", pa.string())])
"""One row an orphan whose parent is in another part of its trace: its row, the parent's trace, and whose span the parent is."""


class CutTraces:
    """Remembers of the newest cut traces what lies in which part; `dropped` counts what was not looked up."""

    def __init__(self, recent: RecentTraceIds, lookup: Lookup) -> None:
        """Start with nothing.

        Args:
            recent: the whole trace ids of earlier passes.
            lookup: where their spans are.
        """
        self._recent, self._lookup = recent, lookup
        self._parents: OrderedDict[int, Parent] = OrderedDict()
        self._answered: OrderedDict[int, str] = OrderedDict()
        self._alone: OrderedDict[tuple[int, int, int], tuple[bool, str]] = OrderedDict()
        """Orphans of cut traces by trace and absent parent: whether they receive, and whose they are."""
        self._explained: set[Place] = set()
        self._again: set[tuple[int, int]] = set()
        self.dropped = 0

    def join(self, forest: Forest) -> None:
        """Find the parents that the orphans of cut traces, and of the traces that they were cut off, have in the other part."""
        high, low = (numbers(forest.spans, name) for name in ("trace_id_high", "trace_id_low"))
        if not forest.count or not (self._alone or ((high == 0) | (low == 0)).any()):
            return
        first = np.zeros(forest.traces, np.int64)
        first[forest.trace[::-1]] = np.arange(forest.count)[::-1]
        high, low = high[first], low[first]
        half, whole = halves_among(high, low), np.flatnonzero((high != 0) & (low != 0))
        self._meet(forest, high, low, whole)
        if not len(half):
            return
        earlier = self._recent.ids()
        wholes = (np.concatenate([high[whole], earlier[0]]), np.concatenate([low[whole], earlier[1]]))
        if not len(wholes[0]):
            return
        pairs = paired(half, high[half], low[half], wholes, np.concatenate([whole, np.full(len(earlier[0]), -1)]))
        here = pairs.whole >= 0
        self._parents_here(forest, pairs.half[here], pairs.high[here], pairs.low[here])
        self._parents_here(forest, pairs.whole[here], high[pairs.half[here]], low[pairs.half[here]])
        self._parents_stored(forest, pairs.half[~here], pairs.high[~here], pairs.low[~here])
        self._wait(forest, half, high, low)
        for known in (self._parents, self._answered, self._alone):
            while len(known) > MAX_REMEMBERED:
                known.popitem(last=False)

    def _orphans(self, forest: Forest, traces: Ints) -> tuple[Ints, Ints]:
        """Give (place in `traces`, row) of the orphans of some traces whose parent is known of no other part yet; a trace may be named more than once."""
        wanted = np.zeros(forest.traces, bool)
        wanted[traces] = True
        rows = np.flatnonzero(forest.dangling & wanted[forest.trace])
        rows = rows[np.argsort(forest.trace[rows], kind="stable")]
        number = np.bincount(forest.trace[rows], minlength=forest.traces)
        begin, each = (np.cumsum(number) - number)[traces], number[traces]
        at = np.repeat(np.arange(len(traces)), each)
        return at, rows[begin[at] + np.arange(len(at)) - (np.cumsum(each) - each)[at]]

    def _parents_here(self, forest: Forest, below: Ints, high: Unsigned, low: Unsigned) -> None:
        """Note the parents that the orphans of some traces have in others of this pass, by these ids."""
        at, rows = self._orphans(forest, below)
        found = forest.find(high[at], low[at], forest.parent_id[rows])
        for place, row, parent in zip(at[found >= 0].tolist(), rows[found >= 0].tolist(), found[found >= 0].tolist(), strict=True):
            name = forest.service.texts[forest.service.of[parent]]
            self._note(forest, row, Parent(int(high[place]), int(low[place]), name), calls=_calls(forest, row, int(forest.kind[parent]), name))

    def _parents_stored(self, forest: Forest, below: Ints, high: Unsigned, low: Unsigned) -> None:
        """Note the parents that orphans have in traces of earlier passes."""
        at, rows = self._orphans(forest, below)
        unknown = np.array([key not in self._parents for key in _parent_keys(forest, rows)], bool)
        at, rows = at[unknown], rows[unknown]
        self.dropped += max(0, len(rows) - MAX_LOOKED_UP)
        at, rows = at[:MAX_LOOKED_UP], rows[:MAX_LOOKED_UP]
        if not len(rows):
            return
        ids = {"trace_id_high": high[at], "trace_id_low": low[at], "span_id": forest.parent_id[rows]}
        stored = self._lookup(pa.table(ids)).select([*ids, "service_name", "kind"])
        known = {(*row[:3],): row[3:] for row in zip(*(column.to_pylist() for column in stored.columns), strict=True)}
        for row, place in zip(rows.tolist(), zip(*(column.tolist() for column in ids.values()), strict=True), strict=True):
            if place in known:
                service, kind = known[place]
                calls = _calls(forest, row, kind, service or "")
                if calls:
                    self._explained.add(place)
                self._note(forest, row, Parent(place[0], place[1], service or ""), calls=calls)

    def _note(self, forest: Forest, row: int, parent: Parent, *, calls: bool) -> None:
        [key] = _parent_keys(forest, np.array([row]))
        self._parents[key] = parent
        if calls:
            span = int(forest.parent_id[row])
            self._answered[_key(parent.trace_id_high, parent.trace_id_low, span)] = forest.service_keys[forest.service.of[row]]

    # ------------------------------------------------------------------ cut traces that settle before the whole one

    def _wait(self, forest: Forest, half: Ints, high: Unsigned, low: Unsigned) -> None:
        """Remember the orphans of cut traces whose parents are not found."""
        _, rows = self._orphans(forest, half)
        for row, key in zip(rows.tolist(), _parent_keys(forest, rows), strict=True):
            if key not in self._parents:
                trace = forest.trace[row]
                place = (int(high[trace]), int(low[trace]), int(forest.parent_id[row]))
                self._alone[place] = (bool(forest.receiving[row]), forest.service_keys[forest.service.of[row]])

    def _meet(self, forest: Forest, high: Unsigned, low: Unsigned, whole: Ints) -> None:
        """Find the parents of waiting orphans in whole traces that come now: their callers are answered, and their traces are to be looked at again."""
        if not self._alone or not len(whole):
            return
        waiting = list(self._alone)
        highs, lows, spans = (np.array([place[at] for place in waiting], np.uint64) for at in range(3))
        for kept, theirs in ((lows, low[whole]), (highs, high[whole])):
            order = np.argsort(theirs)
            at = np.minimum(np.searchsorted(theirs[order], kept), len(whole) - 1)
            trace = whole[order[at]]
            hit = np.flatnonzero((theirs[order[at]] == kept) & (kept != 0))
            found = forest.find(high[trace[hit]], low[trace[hit]], spans[hit])
            for place, row in zip(hit[found >= 0].tolist(), found[found >= 0].tolist(), strict=True):
                receives, service = self._alone.pop(waiting[place])
                whole_id = int(high[trace[place]]), int(low[trace[place]])
                cut_high, cut_low, span = waiting[place]
                self._parents[_key(cut_high, cut_low, span)] = Parent(*whole_id, forest.service.texts[forest.service.of[row]])
                if receives and (forest.sending[row] or forest.service_keys[forest.service.of[row]] != service):
                    self._answered[_key(*whole_id, span)] = service
                self._again.add((cut_high, cut_low))

    # ------------------------------------------------------------------ what is known

    def rejoined(self, forest: Forest) -> pa.Table:
        """Give the orphans of a pass whose parent is in another part of their trace (REJOINED)."""
        rows = np.flatnonzero(forest.absent) if self._parents else np.zeros(0, np.int64)
        known = [(row, *self._parents[key]) for row, key in zip(rows.tolist(), _parent_keys(forest, rows), strict=True) if key in self._parents]
        columns = list(zip(*known, strict=True)) if known else [()] * len(REJOINED)
        return pa.table([pa.array(column, kind.type) for column, kind in zip(columns, REJOINED, strict=True)], schema=REJOINED)

    def answered(self, forest: Forest) -> dict[int, str]:
        """Give the rows of the callers that are answered in another part of their trace, with the key of the service that answers."""
        if not self._answered:
            return {}
        keys = mix(*(numbers(forest.spans, name) for name in ("trace_id_high", "trace_id_low")), forest.span_id)
        rows = np.flatnonzero(np.isin(keys, np.array(list(self._answered), np.uint64)))
        return {row: self._answered[key] for row, key in zip(rows.tolist(), keys[rows].tolist(), strict=True)}

    def take_explained(self) -> frozenset[Place]:
        """Give the callers of earlier passes that were found to be answered, once."""
        taken, self._explained = frozenset(self._explained), set()
        return taken

    def take_again(self) -> frozenset[tuple[int, int]]:
        """Give the cut traces of earlier passes whose whole one came, once: they are to be looked at again."""
        taken, self._again = frozenset(self._again), set()
        return taken


def _calls(forest: Forest, orphan: int, kind: int, service: str) -> bool:
    """Say whether an orphan answers its parent, of this kind and service: a caller, or a span of another service that calls without one."""
    sends = kind in (SpanKind.CLIENT, SpanKind.PRODUCER)
    return bool(forest.receiving[orphan]) and (sends or service != forest.service.texts[forest.service.of[orphan]])


def _parent_keys(forest: Forest, orphans: Ints) -> list[int]:
    """Give a key of each orphan's trace and absent parent."""
    keys: list[int] = mix(*(numbers(forest.spans, name)[orphans] for name in ("trace_id_high", "trace_id_low")), forest.parent_id[orphans]).tolist()
    return keys


def _key(high: int, low: int, span: int) -> int:
    return int(mix(*(np.array([part], np.uint64) for part in (high, low, span)))[0])
