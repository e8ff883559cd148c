"""Which children an operation's spans used to have, over the last one to two hours, by who recorded them; bounded.

New spans of each process are gathered until there are enough of them, held against what the same process recorded before and against what the
others record, and become part of what is known. Counts live in two windows that take turns. Pure: the time is given from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.children import Children, Count, Group, Slice, Slot, Unit
from traced.graph.operations import Operated, Operation
from traced.graph.relation import Relation
from traced.graph.shifts import HAVE, MIN_BEFORE, MIN_HAD, MIN_NOW, NOT_SPENT, Shift, cause_of, chance, discovered, lacking, regular, renamed, table, time_of
from traced.graph.windows import turned

MAX_GROUPS: Final = 2_000
MAX_UNITS: Final = 16
"""Processes told apart of one group; the others of their version count together, under no name."""

MAX_OPEN_SPANS: Final = 2_000
"""Spans of which it could not be told whether the time is still spent, when no more are waited for."""

_Units = dict[Unit, "_Known"]


@dataclass(slots=True)
class _Known:
    """What is known of one unit.

    Attributes:
        before, now: two windows.
        pending, last: spans not looked at yet, and those looked at last.
        gone: children that it had, or that others have, and that it lacks.
        open: of these, what was not told yet, and may be when more spans have shown what became of the time.
    """

    before: Count = field(default_factory=Count)
    now: Count = field(default_factory=Count)
    pending: Count = field(default_factory=Count)
    last: Count = field(default_factory=Count)
    gone: set[Operation] = field(default_factory=set)
    open: dict[Operation, Shift] = field(default_factory=dict)

    @property
    def known(self) -> Count:
        """Sum up both windows."""
        return total((self.before, self.now))

    @property
    def lately(self) -> Count:
        """Sum up the newest spans."""
        return total((self.last, self.pending))


def total(counts: Iterable[Count]) -> Count:
    """Sum up counts."""
    together = Count()
    for count in counts:
        together.add(count)
    return together


class Baseline:
    """What is known of operations' children; `dropped` counts what limits left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._groups: dict[Group, _Units] = {}
        self._turned = 0.0
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if not over:
            return
        for group, units in list(self._groups.items()):
            for unit, known in list(units.items()):
                known.before, known.now = known.now, Count()
                if not known.before.spans:
                    del units[unit]
            if not units:
                del self._groups[group]

    @property
    def watched(self) -> frozenset[Operation]:
        """Name the operations of which anything is known."""
        return frozenset((service, kind, name) for service, kind, name, _ in self._groups)

    def missing(self, made: Relation, seen: Operated, found: Children) -> pa.Table:
        """Learn from a pass; give the children that are gone, each of a unit once; rows of MISSING."""
        shifts, tests = self._learn(found)
        told = []
        for shift in discovered(shifts, tests):
            time = time_of(shift)
            cause = "" if renamed(shift) else cause_of(shift, time)
            if cause:
                told.append((shift, cause, time))
            if cause or renamed(shift) or time == NOT_SPENT or shift.now.spans > MAX_OPEN_SPANS:
                del self._groups[shift.group][shift.unit].open[shift.slot]
        return table(made, seen, told)

    def _learn(self, found: Children) -> tuple[list[Shift], int]:
        """Learn from a pass; give what may have shifted, and how many children were tested."""
        self.dropped += found.crowded
        touched: dict[Group, dict[Unit, list[Slice]]] = {}
        for one in found.slices:
            if one.group not in self._groups and len(self._groups) >= MAX_GROUPS:
                self.dropped += 1
                continue
            units = self._groups.setdefault(one.group, {})
            unit = one.unit if one.unit in units or len(units) < MAX_UNITS else ("", one.unit[1])
            units.setdefault(unit, _Known())
            touched.setdefault(one.group, {}).setdefault(unit, []).append(replace(one, unit=unit))
        shifts: list[Shift] = []
        tests = 0
        for group, slices in touched.items():
            units = self._groups[group]
            tests += _tested(units, slices)
            shifts += [_with_others(shift, units) for unit in slices for shift in units[unit].open.values() if len(shift.rows)]
        return shifts, tests

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give everything as JSON values."""
        groups = [[*group, [[*unit, *_dump(known)] for unit, known in units.items()]] for group, units in self._groups.items()]
        return {"turned": self._turned, "groups": groups}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        groups: dict[Group, _Units] = {}
        for service, kind, name, status, units in state["groups"]:
            groups[str(service), int(kind), str(name), str(status)] = {(str(instance), str(version)): _load(*rest) for instance, version, *rest in units}
        self._turned, self._groups = float(state["turned"]), groups


def _tested(units: _Units, touched: Mapping[Unit, list[Slice]]) -> int:
    """Learn the slices of one group; note what may have shifted, and give how many children were tested."""
    tests = 0
    fresh: dict[Unit, Slice] = {}
    for unit, slices in touched.items():
        for shift in units[unit].open.values():
            shift.rows = shift.rows[:0]  # those of an earlier pass
        for one in slices:
            units[unit].pending.add(one.count)
            if units[unit].pending.spans >= MIN_NOW:
                fresh[unit] = one
                tests += _in_time(units[unit], one)
    if len(units) > 1 and fresh:
        known = {unit: one.known for unit, one in units.items()}
        tests += sum(_beside(units[unit], known, one) for unit, one in fresh.items())
    return tests


def _in_time(known: _Known, one: Slice) -> int:
    """Hold a unit's new spans against its earlier ones, and add them to what is known; give how many children were tested."""
    before, now = known.known, known.pending
    known.pending, known.last = Count(), now
    for slot, shift in list(known.open.items()):
        if lacking(shift.before, now, slot):
            shift.now, shift.rows = total((shift.now, now)), np.concatenate([shift.rows, one.rows])
        else:
            del known.open[slot]
    usual = [slot for slot in regular(before) if slot not in known.gone]
    lost = {slot: Shift(one.group, one.unit, slot, before, True, now, one.rows, had=True) for slot in usual if lacking(before, now, slot)}
    back = {slot for slot in known.gone if now.having(slot) >= HAVE * now.spans}
    known.open.update(lost)
    if lost or back:
        # from here on this is usual: each shift is told once
        known.before, known.now = Count(), Count()
        known.gone = (known.gone - back).union(lost)
    known.now.add(now)
    return len(usual) + len(known.open)


def _beside(mine: _Known, units: Mapping[Unit, Count], one: Slice) -> int:
    """Hold a unit's newest spans against what those units record that have a child; give how many children were tested.

    Units that lack it as well are no measure of it; where it had none before, and they are of its version, half of all must have it.
    """
    tests = 0
    now = mine.last
    for slot in {slot for count in units.values() for slot in count.slots}:
        having = {unit: count for unit, count in units.items() if unit != one.unit and count.spans and count.having(slot) >= HAVE * count.spans}
        if sum(count.spans for count in having.values()) < MIN_BEFORE:
            continue
        tests += 1
        if now.having(slot) >= HAVE * now.spans:
            mine.gone.discard(slot)
            continue
        had = units[one.unit].having(slot) - now.having(slot) >= MIN_HAD
        other_version = one.unit[1] not in {unit[1] for unit in having}
        if slot in mine.gone or not (had or other_version or 2 * len(having) >= len(units)):
            continue
        before = total(having.values())
        if slot in regular(before) and lacking(before, now, slot):
            mine.gone.add(slot)
            mine.open[slot] = Shift(one.group, one.unit, slot, before, False, now, one.rows, had)
    return tests


def _with_others(shift: Shift, units: _Units) -> Shift:
    """Note how little chance explains, what the other units have lately, and which of them have the child."""
    shift.chance = chance(shift.before, shift.now, shift.slot)
    others = {unit: known for unit, known in units.items() if unit != shift.unit}
    shift.others = total(known.lately for known in others.values())
    having = [unit for unit, known in others.items() if (count := known.known).having(shift.slot) >= HAVE * count.spans]
    shift.alike = sum(version == shift.unit[1] for _, version in having)
    shift.versions = frozenset(version for _, version in having) | ({shift.unit[1]} if shift.had else set())
    return shift


def _dump(known: _Known) -> list[Any]:
    return [[_dump_count(count) for count in (known.before, known.now, known.pending, known.last)], [list(slot) for slot in sorted(known.gone)]]


def _dump_count(count: Count) -> list[Any]:
    slots = [[*operation, slot.parents, slot.nanos, slot.children_nanos] for operation, slot in count.slots.items()]
    return [count.spans, count.nanos, count.squares, slots]


def _load(counts: list[Any], gone: list[Any]) -> _Known:
    before, now, pending, last = map(_load_count, counts)
    return _Known(before, now, pending, last, {(str(service), int(kind), str(name)) for service, kind, name in gone})


def _load_count(values: list[Any]) -> Count:
    spans, nanos, squares, slots = values
    known = {(str(s), int(k), str(n)): Slot(int(parents), float(own), float(theirs)) for s, k, n, parents, own, theirs in slots}
    return Count(int(spans), float(nanos), float(squares), known)
