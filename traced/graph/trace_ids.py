"""Trace ids of which only one half arrived, and the whole ones that they were cut from."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph import places
from traced.graph.columns import Ints, Mask, Unsigned, numbers
from traced.graph.forest import Forest

TRUNCATED: Final = pa.schema(
    [
        *places.PLACE,
        ("whole_trace_id_high", pa.uint64()),
        ("whole_trace_id_low", pa.uint64()),
        ("upper_half_lost", pa.bool_()),
        ("orphan_span_id", pa.uint64()),
        ("parent_span_id", pa.uint64()),
        ("parent_service", pa.string()),
        ("whole_is_below", pa.bool_()),
    ],
)
"""One row a trace with half an id, at its earliest span, beside the whole id that it was cut from.

`orphan_span_id` is a span of one of the two whose absent parent is a span of the other (`whole_is_below`: an orphan of the whole one), and
`parent_span_id` that parent; both are 0 where there is none.
"""

MAX_RECENT: Final = 100_000
"""Whole trace ids that are remembered of earlier passes."""
MAX_SAVED: Final = 20_000
"""Of them the newest are kept across a restart: 0.4 MB; all would make saving five times as long."""
_PIECE: Final = 2_000
_SMALL: Final = np.uint64(2**32)
"""Ids below it are counted up, not drawn: that two of them agree means nothing."""
_MAX_WHOLES: Final = 8
"""Whole ids that are looked at of one half."""
_MAX_ORPHANS: Final = 16
"""Orphans that are looked at of one trace: those that begin first."""
_SECONDS_BEFORE, _SECONDS_AFTER = 366 * 86_400, 86_400
"""How far from a span's start an id's first four bytes may be to be taken for the time."""


class RecentTraceIds:
    """The newest whole trace ids of earlier passes: a cut trace may settle later than the one that it belongs to."""

    def __init__(self) -> None:
        """Start with none."""
        self._passes: deque[tuple[Unsigned, Unsigned]] = deque()
        self._number = 0

    def remember(self, high: Unsigned, low: Unsigned) -> None:
        """Add the ids of a pass; forget the oldest passes where there are too many."""
        self._passes.append((high[-MAX_RECENT:], low[-MAX_RECENT:]))
        self._number += len(self._passes[-1][0])
        while self._number > MAX_RECENT:
            self._number -= len(self._passes.popleft()[0])

    def ids(self) -> tuple[Unsigned, Unsigned]:
        """Give (high, low) of all; an id may be there more than once."""
        nothing = np.zeros(0, np.uint64)
        return np.concatenate([nothing, *(high for high, _ in self._passes)]), np.concatenate([nothing, *(low for _, low in self._passes)])

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[str]:
        """Give the newest MAX_SAVED as JSON values: base64 of both halves, little endian, a piece for every _PIECE ids."""
        ids = np.stack(self.ids(), axis=1)[-MAX_SAVED:].astype("<u8")
        return [b64encode(ids[begin : begin + _PIECE].tobytes()).decode() for begin in range(0, len(ids), _PIECE)]

    def load(self, state: Sequence[str]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        pieces = [np.frombuffer(b64decode(piece, validate=True), "<u8").reshape(-1, 2).astype(np.uint64) for piece in state]
        self._passes.clear()
        self._number = 0
        for piece in pieces:
            self.remember(piece[:, 0], piece[:, 1])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Traces with half an id (by number), each beside a whole id and the number of that trace (-1 where it is not here).

    `orphan` and `parent` are rows of a span and of its parent in the other trace; -1 where there are none.
    """

    half: Ints
    high: Unsigned
    low: Unsigned
    whole: Ints
    orphan: Ints
    parent: Ints

    def at(self, chosen: Ints | Mask) -> Pairs:
        """Give some of them."""
        return Pairs(self.half[chosen], self.high[chosen], self.low[chosen], self.whole[chosen], self.orphan[chosen], self.parent[chosen])


def truncated(forest: Forest, first_rows: Ints, recent: RecentTraceIds) -> pa.Table:
    """Find traces whose id is half of another's, which is here or was seen lately; rows of TRUNCATED.

    Args:
        forest: the trees.
        first_rows: a row of each trace.
        recent: ids of earlier passes; those of this one are added.
    """
    high, low = (numbers(forest.spans, name)[first_rows] for name in ("trace_id_high", "trace_id_low"))
    half = halves_among(high, low)
    whole = np.flatnonzero((high != 0) & (low != 0))
    earlier_high, earlier_low = recent.ids() if len(half) else (high[:0], low[:0])
    recent.remember(high[whole], low[whole])
    wholes = (np.concatenate([high[whole], earlier_high]), np.concatenate([low[whole], earlier_low]))
    number = np.concatenate([whole, np.full(len(earlier_high), -1)])
    if not len(half) or not len(number):
        return TRUNCATED.empty_table()
    pairs = paired(half, high[half], low[half], wholes, number)
    if not len(pairs.half):
        return TRUNCATED.empty_table()
    return _told(forest, _with_parents(forest, pairs, high, low), high)


def halves_among(high: Unsigned, low: Unsigned) -> Ints:
    """Give the places of ids of which only one half is there."""
    return np.flatnonzero(((high == 0) & (low >= _SMALL)) | ((low == 0) & (high >= _SMALL)))


def paired(half: Ints, high: Unsigned, low: Unsigned, wholes: tuple[Unsigned, Unsigned], number: Ints) -> Pairs:
    """Pair each half with the whole ids that have it on the same side; where there are very many, with some."""
    halves, ids = [], []
    for lost, kept, theirs in ((high, low, wholes[1]), (low, high, wholes[0])):
        mine = np.flatnonzero(lost == 0)
        if len(mine):
            mine = mine[np.argsort(kept[mine])]
            place = np.minimum(np.searchsorted(kept[mine], theirs), len(mine) - 1)
            equal = np.flatnonzero(kept[mine][place] == theirs)
            halves.append(half[mine[place[equal]]])
            ids.append(equal)
    nobody = np.zeros(0, np.int64)
    mine, at = np.concatenate([nobody, *halves]), np.concatenate([nobody, *ids])
    none = np.full(len(mine), -1)
    pairs = Pairs(mine, wholes[0][at], wholes[1][at], number[at], none, none)
    # those that are here first: of them more is known
    pairs = pairs.at(np.lexsort((pairs.low, pairs.high, pairs.whole < 0, pairs.half)))
    return pairs.at(_rank(pairs.half) < _MAX_WHOLES)


def _with_parents(forest: Forest, pairs: Pairs, high: Unsigned, low: Unsigned) -> Pairs:
    """Find in each pair the first span of one trace whose absent parent is a span of the other; one of the cut trace, if there is one."""
    here = np.flatnonzero(pairs.whole >= 0)
    half, whole = pairs.half[here], pairs.whole[here]
    orphan, parent = pairs.orphan.copy(), pairs.parent.copy()
    for below, above_high, above_low in ((whole, high[half], low[half]), (half, pairs.high[here], pairs.low[here])):
        at, row = _orphans(forest, below)
        found = forest.find(above_high[at], above_low[at], forest.parent_id[row])
        # backwards, so that the earliest one of each stays
        hit = np.flatnonzero(found >= 0)[::-1]
        orphan[here[at[hit]]], parent[here[at[hit]]] = row[hit], found[hit]
    return Pairs(pairs.half, pairs.high, pairs.low, pairs.whole, orphan, parent)


def _orphans(forest: Forest, traces: Ints) -> tuple[Ints, Ints]:
    """Give (place in `traces`, row) of the first orphans of each of some traces."""
    wanted = np.zeros(forest.traces, bool)
    wanted[traces] = True
    rows = np.flatnonzero(forest.dangling & wanted[forest.trace])
    rows = rows[np.lexsort((forest.span_id[rows], forest.start[rows], forest.trace[rows]))]
    rows = rows[_rank(forest.trace[rows]) < _MAX_ORPHANS]
    number = np.bincount(forest.trace[rows], minlength=forest.traces)
    begin, each = (np.cumsum(number) - number)[traces], number[traces]
    at = np.repeat(np.arange(len(traces)), each)
    return at, rows[begin[at] + np.arange(len(at)) - (np.cumsum(each) - each)[at]]


def _told(forest: Forest, pairs: Pairs, high: Unsigned) -> pa.Table:
    """Give of each half the pair that says most, at the half's earliest span."""
    earliest = _earliest(forest, pairs.half)
    seconds = forest.start[earliest] // 10**9
    prefix = (pairs.high >> np.uint64(32)).astype(np.int64)
    # the upper halves of ids that begin with the time agree too easily; some vendors' have nothing but the time there, and a good lower half
    by_time = (prefix >= seconds - _SECONDS_BEFORE) & (prefix <= seconds + _SECONDS_AFTER)
    only_time = (pairs.high & np.uint64(2**32 - 1)) == 0
    doubtful = by_time & ~(only_time & (high[pairs.half] == 0)) & (pairs.orphan < 0)
    pairs, earliest = pairs.at(~doubtful), earliest[~doubtful]
    order = np.lexsort((pairs.orphan < 0, pairs.half))
    best = order[_rank(pairs.half[order]) == 0]
    pairs, earliest = pairs.at(best), earliest[best]
    known = pairs.orphan >= 0
    return places.table(
        forest,
        earliest,
        TRUNCATED,
        whole_trace_id_high=pairs.high,
        whole_trace_id_low=pairs.low,
        upper_half_lost=high[pairs.half] == 0,
        orphan_span_id=np.where(known, forest.span_id[pairs.orphan], np.uint64(0)),
        parent_span_id=np.where(known, forest.span_id[pairs.parent], np.uint64(0)),
        parent_service=places.services(forest, pairs.parent),
        whole_is_below=known & (forest.trace[pairs.orphan] == pairs.whole),
    )


def _earliest(forest: Forest, traces: Ints) -> Ints:
    """Give the earliest row of each of some traces; by id where several begin at once."""
    wanted = np.zeros(forest.traces, bool)
    wanted[traces] = True
    rows = np.flatnonzero(wanted[forest.trace])
    rows = rows[np.lexsort((forest.span_id[rows], forest.start[rows], forest.trace[rows]))]
    first = np.full(forest.traces, -1)
    begins = rows[_rank(forest.trace[rows]) == 0]
    first[forest.trace[begins]] = begins
    earliest: Ints = first[traces]
    return earliest


def _rank(ordered: Ints) -> Ints:
    """Number the members of each run of equal values from 0."""
    starts = np.ones(len(ordered), bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    begin = np.flatnonzero(starts)
    rank: Ints = np.arange(len(ordered)) - begin[np.cumsum(starts) - 1] if len(ordered) else np.zeros(0, np.int64)
    return rank
