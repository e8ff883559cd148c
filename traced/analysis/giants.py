"""Traces of more spans than are analysed of one, and how much of the store one pass reads.

A sender that gives one trace id to everything would have each pass read all that it ever sent. So a trace is counted before it is read: of one that
has too many spans the first are looked at, and for as long as more come these are left out, counted, and the trace is not read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from traced.analysis.settled import IDS, Mask, trace_keys, where
from traced.store.read_schemas import TRACE_SIZES
from traced.store.recent_keys import Keys

MAX_GIANTS: Final = 10_000
"""Giant traces that are remembered, the newest; one that is forgotten is found out anew."""
NO_SIZES: Final = TRACE_SIZES.empty_table()
_SIXTEEN_BITS: Final = np.uint64(48)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of the store for one pass.

    Attributes:
        traces: the traces whose earlier spans are read (IDS).
        since: before the first of these spans arrived (ns).
        put_off: traces that wait for a later pass, because this one would read too much.
        rooms: giant traces to how many of their fresh spans are looked at.
    """

    traces: pa.Table
    since: int
    put_off: Keys
    rooms: Mapping[int, int]


def plan(keys: Keys, asked: pa.Table, sizes: pa.Table, max_spans_per_trace: int, max_spans: int | None) -> Reading:
    """Choose whose earlier spans are read.

    Args:
        keys: the trace of each fresh span.
        asked: traces that were looked at before and are to be looked at again (IDS), each once, the most urgent first.
        sizes: how much of them is stored, with their fresh spans: TRACE_SIZES.
        max_spans_per_trace: how many spans of a trace are looked at.
        max_spans: how many spans are read for one pass; the first trace is read in any case.
    """
    names = trace_keys(asked)
    stored, first = _sizes(names, sizes)
    fresh = _counts(names, keys)
    earlier = np.maximum(0, stored - fresh)
    giant = earlier + fresh > max_spans_per_trace
    # of a giant the earlier spans are read only where there is room beside them
    wanted = (earlier > 0) & (~giant | ((earlier < max_spans_per_trace) & (fresh > 0)))
    off = np.zeros(len(names), bool)
    if max_spans is not None:
        reading = np.cumsum(np.where(wanted, stored, 0))
        off = wanted & (reading > max_spans) & (np.cumsum(wanted) > 1)
    rooms = dict(zip(names[giant & ~off].tolist(), np.maximum(0, max_spans_per_trace - earlier[giant & ~off]).tolist(), strict=True))
    if crowded(keys, max_spans_per_trace):
        traces, counts = np.unique(keys, return_counts=True)
        for key in traces[(counts > max_spans_per_trace) & ~np.isin(traces, names)].tolist():
            rooms[key] = max_spans_per_trace
    read = wanted & ~off
    return Reading(where(asked, read), int(first[read].min()) - 1 if read.any() else 0, names[off], rooms)


def crowded(keys: Keys, limit: int) -> bool:
    """Say whether any trace may have more than `limit` of these rows: quick, and now and then wrong where it says so."""
    return len(keys) > limit and int(np.bincount((keys >> _SIXTEEN_BITS).astype(np.int64)).max()) > limit


def kept(spans: pa.Table, keys: Keys, rooms: Mapping[int, int]) -> Mask:
    """Mark the spans that are looked at: of a giant the earliest by start, as many as there is room for."""
    marks = np.ones(len(keys), bool)
    if not rooms:
        return marks
    giants = np.sort(np.fromiter(rooms, np.uint64, len(rooms)))
    rows = np.flatnonzero(np.isin(keys, giants))
    start, span = (np.asarray(spans.column(name))[rows] for name in ("start_time_unix_nano", "span_id"))
    rows = rows[np.lexsort((span, start, keys[rows]))]
    giant = np.searchsorted(giants, keys[rows])
    sizes = np.bincount(giant, minlength=len(giants))
    position = np.arange(len(rows)) - (np.cumsum(sizes) - sizes)[giant]
    marks[rows] = position < np.array([rooms[key] for key in giants.tolist()])[giant]
    return marks


class Giants:
    """Remembers the giant traces of which spans still come."""

    def __init__(self, quiet_nanos: int) -> None:
        """Start with none; one of which nothing came for `quiet_nanos` (arrival) is forgotten."""
        self._quiet = quiet_nanos
        self._last: dict[int, int] = {}

    def marks(self, keys: Keys) -> Mask:
        """Mark the traces that are giants."""
        marks: Mask = np.isin(keys, self._keys()) if self._last else np.zeros(len(keys), bool)
        return marks

    def more_of(self, spans: pa.Table) -> Mask:
        """Mark the spans that are more of a giant: they came within `quiet_nanos` of those before them."""
        keys = trace_keys(spans)
        marks = self.marks(keys)
        rows = np.flatnonzero(marks)
        if len(rows):
            last = np.array([self._last[key] for key in keys[rows].tolist()], np.int64)
            marks[rows] = np.asarray(spans.column("arrival_time_unix_nano"))[rows] - last <= self._quiet
        return marks

    def note(self, keys: Iterable[int], until: int) -> None:
        """Remember that spans of giants came up to `until` (arrival, ns), and forget those of which none came for long."""
        for key in keys:
            self._last.pop(key, None)
            self._last[key] = until
        while self._last and (len(self._last) > MAX_GIANTS or next(iter(self._last.values())) < until - self._quiet):
            del self._last[next(iter(self._last))]

    def dump(self) -> list[list[int]]:
        """Give what is remembered as JSON values."""
        return [[key, last] for key, last in self._last.items()]

    def load(self, state: Iterable[list[int]]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        self._last = {int(key): int(last) for key, last in state}

    def _keys(self) -> Keys:
        return np.fromiter(self._last, np.uint64, len(self._last))


def _sizes(names: Keys, sizes: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Give, by trace, how many spans are stored, and when the first arrived (0 where there is none)."""
    keys = trace_keys(sizes.select(IDS))
    order = np.argsort(keys)
    place = np.searchsorted(keys[order], names)
    here = np.flatnonzero(np.isin(names, keys))
    stored, first = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    for column, values in (("spans", stored), ("first_arrival", first)):
        values[here] = np.asarray(sizes.column(column))[order[place[here]]]
    return stored, first


def _counts(names: Keys, keys: Keys) -> np.ndarray:
    """Count the rows of each trace."""
    found, numbers = np.unique(keys[np.isin(keys, names)], return_counts=True)
    place = np.minimum(np.searchsorted(found, names), max(0, len(found) - 1))
    if not len(found):
        return np.zeros(len(names), np.int64)
    return np.where(found[place] == names, numbers[place], 0)
