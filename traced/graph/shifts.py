"""What it means that spans lack a child which others of their kind have: by chance, by another name, not needed any more, or lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph import places
from traced.graph.causes import CHANGED, LOCAL_LOSS, UNKNOWN
from traced.graph.children import Count, Group, Slot, Unit
from traced.graph.columns import Ints
from traced.graph.operations import Operated, Operation
from traced.graph.relation import Relation
from traced.graph.shares import least_share, so_few_by_chance

MIN_NOW: Final = 20
"""Spans of a process that are held against what is known."""
MIN_BEFORE: Final = 60
REGULAR: Final = 0.95
"""A child is regular where the lower bound of its share is at least this: others depend on caches, flags and what was asked for."""
EFFECT: Final = 0.1
HAVE: Final = 0.9
"""A process has a child if so many of its spans do."""
MIN_HAD: Final = 10
FALSE_DISCOVERIES: Final = 0.01
_RENAMED_SHARE: Final = 0.5
_NEW_SHARE: Final = 0.05
_FEW_OTHERS: Final = 5
_SIGMAS: Final = 2.0
_HALF: Final = 0.5

SPENT: Final = "spent"
NOT_SPENT: Final = "not spent"

MISSING: Final = pa.schema(
    [
        *places.PLACE,
        ("child_name", pa.string()),
        ("cause", pa.string()),
        ("instance", pa.string()),
        ("version", pa.string()),
        ("own", pa.bool_()),
        ("spans_before", pa.int64()),
        ("having_before", pa.int64()),
        ("spans_now", pa.int64()),
        ("having_now", pa.int64()),
        ("spans_of_others", pa.int64()),
        ("having_of_others", pa.int64()),
        ("chance", pa.float64()),
        ("time", pa.string()),
    ],
)
"""One row a child that is gone, at a span that lacks it: what an `instance` recorded before (`own`) or else what the others did; what it
records now; what the others do; the chance of that if nothing had changed; and whether the `time` that the child took is still spent
(SPENT, NOT_SPENT, or '' where it cannot be told)."""


@dataclass(slots=True)
class Shift:
    """A child that the spans of one unit lack now.

    Attributes:
        group, unit, slot: whose spans, and which child.
        before: what that is held against; `own`: recorded by the same unit.
        now: what the unit records now.
        rows: spans of this pass of which some lack it.
        had: the unit itself recorded some before.
        versions: of the units that have it.
        alike: other units of the same version that have it.
        others: what all other units record now.
        chance: that so few have it, if nothing had changed.
    """

    group: Group
    unit: Unit
    slot: Operation
    before: Count
    own: bool
    now: Count
    rows: Ints
    had: bool = False
    versions: frozenset[str] = frozenset()
    alike: int = 0
    others: Count = field(default_factory=Count)
    chance: float = 1.0


def regular(before: Count) -> Iterator[Operation]:
    """Name the children that nearly all parents have."""
    if before.spans >= MIN_BEFORE:
        for slot, known in before.slots.items():
            if least_share(known.parents, before.spans) >= REGULAR:
                yield slot


def lacking(before: Count, now: Count, slot: Operation) -> bool:
    """Say whether the share that has a child fell by more than both samples leave in doubt, and by more than EFFECT."""
    most = 1 - least_share(now.spans - now.having(slot), now.spans)
    return most < least_share(before.having(slot), before.spans) - EFFECT


def chance(before: Count, now: Count, slot: Operation) -> float:
    """Give the chance that so few have it now if nothing had changed (Fisher's exact test, one-sided)."""
    having, had = now.having(slot), before.having(slot)
    return so_few_by_chance(having, now.spans - having, had, before.spans - had)


def discovered(shifts: Iterable[Shift], tests: int) -> list[Shift]:
    """Leave out what so many tests may show by chance (Benjamini and Hochberg, at FALSE_DISCOVERIES)."""
    ordered = sorted(shifts, key=lambda shift: (shift.chance, shift.group, shift.unit, shift.slot))
    last = max((rank for rank, shift in enumerate(ordered, 1) if shift.chance <= FALSE_DISCOVERIES * rank / max(1, tests)), default=0)
    return ordered[:last]


def renamed(shift: Shift) -> bool:
    """Say whether the spans that lack the child have one that was hardly ever seen before: it has another name now."""
    lack = shift.now.spans - shift.now.having(shift.slot)
    fresh = (now.parents for slot, now in shift.now.slots.items() if shift.before.having(slot) < _NEW_SHARE * shift.before.spans)
    return any(parents >= _RENAMED_SHARE * lack for parents in fresh)


def time_of(shift: Shift) -> str:
    """Say whether spans without the child took less time than those with it, by what the child took."""
    with_it = shift.before.slots.get(shift.slot, Slot())
    without = shift.now.spans - shift.now.having(shift.slot)
    if not with_it.parents or not without:
        return ""
    child = with_it.children_nanos / with_it.parents
    left = shift.now.nanos - shift.now.slots.get(shift.slot, Slot()).nanos
    shorter = with_it.nanos / with_it.parents - left / without
    doubt = _SIGMAS * sqrt(_variance(shift.before) / with_it.parents + _variance(shift.now) / without)
    if shorter > max(_HALF * child, doubt):
        return NOT_SPENT
    return SPENT if shorter < _HALF * child and child - shorter > doubt else ""


def _variance(count: Count) -> float:
    return max(0.0, count.squares / count.spans - (count.nanos / count.spans) ** 2)


def cause_of(shift: Shift, time: str) -> str:
    """Say why a child is gone; '' where nothing may be said.

    What a new version does not record, it may have ceased to do. Of all else only the time says that the work is still done: it is spent, and
    nothing shows on what. That others have the child says where it is lost.
    """
    instance, version = shift.unit
    if version and version not in shift.versions:
        return CHANGED
    if time != SPENT:
        return ""
    spans, having = shift.others.spans, shift.others.having(shift.slot)
    alone = instance and spans >= _FEW_OTHERS and having >= HAVE * spans and shift.alike > 0
    return LOCAL_LOSS if alone and (shift.had or shift.alike > 1) else UNKNOWN


def table(made: Relation, seen: Operated, shifts: Sequence[tuple[Shift, str, str]]) -> pa.Table:
    """Give shifts with their causes and what became of the time as rows of MISSING, each at a span of its own."""
    used: set[int] = set()
    rows, kept = [], []
    for shift, cause, time in shifts:
        row = next((row for row in reversed(_without(made, seen, shift).tolist()) if row not in used), None)
        if row is not None:
            used.add(row)
            rows.append(row)
            kept.append((shift, cause, time))
    facts = [_facts(shift, cause, time) for shift, cause, time in kept]
    columns = {name: pa.array([fact[name] for fact in facts], MISSING.field(name).type) for name in MISSING.names[len(places.PLACE) :]}
    return places.table(made.forest, np.array(rows, np.int64), MISSING, **columns)


def _without(made: Relation, seen: Operated, shift: Shift) -> Ints:
    """Give the spans of a shift that lack its child, the earliest first."""
    forest = made.forest
    child = np.flatnonzero((forest.parent >= 0) & (seen.of == seen.operations.index(shift.slot))) if shift.slot in seen.operations else shift.rows[:0]
    rows = shift.rows[~np.isin(shift.rows, forest.parent[child])]
    return rows[np.lexsort((forest.span_id[rows], forest.start[rows]))]


def _facts(shift: Shift, cause: str, time: str) -> dict[str, object]:
    return {
        "child_name": shift.slot[2],
        "cause": cause,
        "instance": shift.unit[0],
        "version": shift.unit[1],
        "own": shift.own,
        "spans_before": shift.before.spans,
        "having_before": shift.before.having(shift.slot),
        "spans_now": shift.now.spans,
        "having_now": shift.now.having(shift.slot),
        "spans_of_others": shift.others.spans,
        "having_of_others": shift.others.having(shift.slot),
        "chance": shift.chance,
        "time": time,
    }
