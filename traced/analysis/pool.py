"""Halves of calls of one side as they wait: since when, how often each was decided, and when it is next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Mask, Unsigned, mix
from traced.graph.halves import HALVES

KEEP_NANOS: Final = 600 * 10**9
"""How long a half is kept for another one that comes late."""
LOOKS_AFTER: Final = (60 * 10**9, KEEP_NANOS)
"""How long after it came what was decided of a half is decided anew, with what is known by then: the first ones come before habits are known."""
EVER: Final = 2**62
_NEVER: Final = 2**63 - 1

Place = tuple[int, int, int]
"""Trace id (high, low) and span id."""


@dataclass(slots=True)
class Pool:
    """One side's halves: rows of HALVES; since when each waits; how often it was decided, and when it is next; the key of its other half (0 for none)."""

    rows: pa.Table = field(default_factory=HALVES.empty_table)
    since: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    looks: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    next: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    partner: Unsigned = field(default_factory=lambda: np.zeros(0, np.uint64))

    def keep(self, mask: Mask) -> None:
        """Forget the others."""
        if not mask.all():
            self.rows = self.rows.filter(pa.array(mask))
            self.since, self.looks, self.next, self.partner = self.since[mask], self.looks[mask], self.next[mask], self.partner[mask]

    def add(self, rows: pa.Table, now: int, hold: int) -> None:
        """Let halves come at an arrival time (ns): they are decided after `hold`, those of traces that were looked at before at once."""
        if rows.num_rows:
            self.rows = pa.concat_tables([self.rows, rows]).combine_chunks()
            again = np.asarray(rows.column("again")).astype(bool)
            self.since = np.concatenate([self.since, np.full(rows.num_rows, now)])
            self.looks = np.concatenate([self.looks, np.zeros(rows.num_rows, np.int64)])
            self.next = np.concatenate([self.next, np.where(again, -EVER, now + hold)])
            self.partner = np.concatenate([self.partner, np.zeros(rows.num_rows, np.uint64)])

    def forget(self, halves: frozenset[Place]) -> None:
        """Forget some."""
        if halves:
            self.keep(np.array([place not in halves for place in places(self.rows)], bool))

    def looked_at(self, due: Mask) -> None:
        """Note that halves were decided, and when they are decided anew."""
        for times, later in enumerate((*LOOKS_AFTER, None)):
            these = due & (self.looks == times)
            self.next[these] = _NEVER if later is None else self.since[these] + later
        self.looks[due] += 1

    @property
    def decided(self) -> Mask:
        """Mark those that were decided."""
        return self.looks > 0

    @property
    def has_callers(self) -> Mask:
        """Mark those of operations that named a parent before they came."""
        return np.asarray(self.rows.column("has_callers")).astype(bool)

    @property
    def traces(self) -> Unsigned:
        """Give the keys of their traces."""
        return mix(*ids(self.rows)[:2])

    @property
    def keys(self) -> Unsigned:
        """Give their own keys."""
        return mix(*ids(self.rows))


def ids(rows: pa.Table) -> tuple[Unsigned, Unsigned, Unsigned]:
    """Give the ids of rows of HALVES: high and low half of the trace id, span id."""
    high, low, span = (np.asarray(rows.column(name)) for name in ("trace_id_high", "trace_id_low", "span_id"))
    return high, low, span


def places(rows: pa.Table) -> list[Place]:
    """Give them row by row."""
    return list(zip(*(rows.column(name).to_pylist() for name in ("trace_id_high", "trace_id_low", "span_id")), strict=True))
