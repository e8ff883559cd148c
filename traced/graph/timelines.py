"""When the instances of services ended spans lately, and which spans of theirs are absent that others name as their parent: where holes and bursts show."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np

from traced.graph.columns import Ints, Mask, Unsigned, mix
from traced.graph.forest import Forest
from traced.graph.places import said_local, said_remote, timed

MAX_ENDS: Final = 200_000
"""The newest ends of spans that are remembered of earlier passes, of all instances together; of parents of their own process half as many."""
MAX_INSTANCES: Final = 5_000

Instance = tuple[str, str]
"""Service and `service.instance.id`."""


@dataclass(slots=True)
class Life:
    """When an instance began its first span and ended its last one that is known (unix ns)."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Ends:
    """Spans that ended: the number of the instance, when, and the key of the trace."""

    instance: Ints
    end: Ints
    trace: Unsigned


@dataclass(frozen=True, slots=True)
class _Parents:
    """Spans that others of their process name as their parent: the instance, when the last of those ended, their keys, and whether they are absent."""

    instance: Ints
    end: Ints
    key: Unsigned
    absent: Mask


class Timelines:
    """Remembers the newest; `dropped` counts instances that a limit made be forgotten."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        none, keys = np.zeros(0, np.int64), np.zeros(0, np.uint64)
        self._ends = _Ends(none, none, keys)
        self._parents = _Parents(none, none, keys, np.zeros(0, bool))
        self._numbers: OrderedDict[Instance, int] = OrderedDict()
        self._lives: dict[Instance, Life] = {}
        self._next = 0
        self.dropped = 0

    def learn(self, forest: Forest, fresh: Mask) -> None:
        """Take the spans of a pass: of spans that no earlier one looked at when they ended, and of all their parents whether they are here."""
        instances = forest.codes["service_instance_id"]
        named = np.array([bool(text) for text in instances.texts] or [False])[instances.of] & ~forest.nameless
        rows = np.flatnonzero(named)
        rows = rows[timed(forest, rows)]
        if not len(rows):
            return
        number, numbers = self._number(forest, rows)
        trace = mix(*(np.asarray(forest.spans.column(name))[rows] for name in ("trace_id_high", "trace_id_low")))
        new = fresh[rows]
        for code, instance in enumerate(numbers):
            mine = rows[(number == code) & new]
            if len(mine):
                life = self._lives.setdefault(instance, Life(int(forest.start[mine].min()), int(forest.end[mine].max())))
                life.first, life.last = min(life.first, int(forest.start[mine].min())), max(life.last, int(forest.end[mine].max()))
        own = np.array([self._numbers[instance] for instance in numbers], np.int64)[number]
        self._add_ends(_Ends(own[new], forest.end[rows][new], trace[new]))
        local = np.flatnonzero(_local(forest, rows))
        # of one parent the child that ended last
        local = local[np.argsort(-forest.end[rows[local]], kind="stable")]
        keys, first = np.unique(mix(trace[local], forest.parent_id[rows[local]]), return_index=True)
        local = local[first]
        self._add_parents(_Parents(own[local], forest.end[rows[local]], keys, forest.absent[rows[local]]))

    def _number(self, forest: Forest, rows: Ints) -> tuple[Ints, list[Instance]]:
        instances = forest.codes["service_instance_id"]
        code = forest.service.of[rows] * len(instances.texts) + instances.of[rows]
        present, place = np.unique(code, return_inverse=True)
        found = [(forest.service.texts[c // len(instances.texts)], instances.texts[c % len(instances.texts)]) for c in present.tolist()]
        for instance in found:
            if instance not in self._numbers:
                self._numbers[instance] = self._next
                self._next += 1
            self._numbers.move_to_end(instance)
        while len(self._numbers) > max(MAX_INSTANCES, len(found)):
            gone, _ = self._numbers.popitem(last=False)
            self._lives.pop(gone, None)
            self.dropped += 1
        return place, found

    def _add_ends(self, more: _Ends) -> None:
        pairs = ((getattr(self._ends, name)[-MAX_ENDS:], getattr(more, name)) for name in ("instance", "end", "trace"))
        self._ends = _Ends(*(np.concatenate(pair) for pair in pairs))

    def _add_parents(self, more: _Parents) -> None:
        # a trace that is looked at again says anew whether they are absent
        kept = np.flatnonzero(~np.isin(self._parents.key, more.key))[-MAX_ENDS // 2 :]
        pairs = ((getattr(self._parents, name)[kept], getattr(more, name)) for name in ("instance", "end", "key", "absent"))
        self._parents = _Parents(*(np.concatenate(pair) for pair in pairs))

    # ------------------------------------------------------------------ what is known

    def life(self, instance: Instance) -> Life | None:
        """Give the first and the last that is known of an instance."""
        return self._lives.get(instance)

    def of_service(self, service: str) -> list[Instance]:
        """Name the instances of a service."""
        return [instance for instance in self._lives if instance[0] == service]

    def ends(self, instance: Instance) -> Ints:
        """Give when an instance ended spans, in ascending order."""
        return np.sort(self._ends.end[self._ends.instance == self._numbers.get(instance, -1)])

    def turns(self, instance: Instance) -> Ints:
        """Give when an instance ended the last span of each trace, in ascending order: its spans of one trace end together, its traces apart."""
        mine = np.flatnonzero(self._ends.instance == self._numbers.get(instance, -1))
        order = mine[np.lexsort((self._ends.end[mine], self._ends.trace[mine]))]
        last = np.ones(len(order), bool)
        last[:-1] = self._ends.trace[order][1:] != self._ends.trace[order][:-1]
        return np.sort(self._ends.end[order[last]])

    def others(self, instance: Instance, since: int, until: int) -> int:
        """Count the spans that other instances ended in a stretch of time."""
        within = (self._ends.end > since) & (self._ends.end < until) & (self._ends.instance != self._numbers.get(instance, -1))
        return int(np.count_nonzero(within))

    def parents(self, instance: Instance) -> tuple[Ints, Mask]:
        """Give, of an instance's spans with children of its own, when the last child ended, in ascending order, and which of them are absent."""
        mine = np.flatnonzero(self._parents.instance == self._numbers.get(instance, -1))
        mine = mine[np.argsort(self._parents.end[mine], kind="stable")]
        return self._parents.end[mine], self._parents.absent[mine]


def _local(forest: Forest, rows: Ints) -> Mask:
    """Mark the spans whose parent is of their own process: by where it is, else by their flags, else by their kind."""
    parent = forest.parent[rows]
    own = (parent >= 0) & (forest.service.of[parent] == forest.service.of[rows]) & ~forest.receiving[rows]
    gone = forest.absent[rows] & (said_local(forest, rows) | (~said_remote(forest, rows) & ~forest.receiving[rows]))
    marks: Mask = own | gone
    return marks
