"""When the instances of services ended spans lately, and which spans of theirs are absent that others name as their parent: where holes and bursts show."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np

from traced.graph.columns import Ints, Mask, Unsigned, distinct, mix
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
    """Spans that ended: the number of the instance, when, and a number of the trace (in each pass others)."""

    instance: Ints
    end: Ints
    trace: Ints


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
        self._ends = _Ends(none, none, none)
        self._parents = _Parents(none, none, keys, np.zeros(0, bool))
        self._numbers: OrderedDict[Instance, int] = OrderedDict()
        self._lives: dict[Instance, Life] = {}
        self._next = self._passes = 0
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
        own = np.array([self._numbers[instance] for instance in numbers], np.int64)[number]
        new = fresh[rows]
        self._live(numbers, number[new], forest.start[rows[new]], forest.end[rows[new]])
        self._passes += 1
        self._add_ends(_Ends(own[new], forest.end[rows[new]], (self._passes << 32) + forest.trace[rows[new]]))
        self._add_parents(_parents(forest, rows, own), again=not new.all())

    def _live(self, numbers: list[Instance], number: Ints, start: Ints, end: Ints) -> None:
        """Note when instances (by their place in `numbers`) began their first span, and ended their last."""
        none = np.iinfo(np.int64)
        first, last = np.full(len(numbers), none.max), np.full(len(numbers), none.min)
        np.minimum.at(first, number, start)
        np.maximum.at(last, number, end)
        for instance, began, ended in zip(numbers, first.tolist(), last.tolist(), strict=True):
            if began != none.max:
                known = self._lives.get(instance, Life(began, ended))
                self._lives[instance] = Life(min(known.first, began), max(known.last, ended))

    def _number(self, forest: Forest, rows: Ints) -> tuple[Ints, list[Instance]]:
        instances = forest.codes["service_instance_id"]
        code = forest.service.of[rows] * len(instances.texts) + instances.of[rows]
        present, place = distinct(code, len(forest.service.texts) * len(instances.texts))
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

    def _add_parents(self, more: _Parents, *, again: bool) -> None:
        # a trace that is looked at again says anew whether they are absent
        known = ~np.isin(self._parents.key, more.key) if again else np.ones(len(self._parents.key), bool)
        kept = np.flatnonzero(known)[-MAX_ENDS // 2 :]
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


def _parents(forest: Forest, rows: Ints, instance: Ints) -> _Parents:
    """Give the spans that others of their process name as their parent, by what some rows with their instances say."""
    parent = forest.parent[rows]
    local = (parent >= 0) & (forest.service.of[parent] == forest.service.of[rows]) & ~forest.receiving[rows]
    last = np.full(forest.count, np.iinfo(np.int64).min)
    np.maximum.at(last, parent[local], forest.end[rows[local]])
    owner = np.zeros(forest.count, np.int64)
    owner[parent[local]] = instance[local]
    here = np.flatnonzero(last != np.iinfo(np.int64).min)
    orphans = np.flatnonzero(forest.absent[rows])
    gone = orphans[said_local(forest, rows[orphans]) | (~said_remote(forest, rows[orphans]) & ~forest.receiving[rows[orphans]])]
    # of one absent parent the child that ended last
    gone = gone[np.argsort(-forest.end[rows[gone]], kind="stable")]
    _, first = np.unique(mix(forest.trace[rows[gone]].astype(np.uint64), forest.parent_id[rows[gone]]), return_index=True)
    gone = gone[first]
    ids = [np.asarray(forest.spans.column(name)) for name in ("trace_id_high", "trace_id_low")]
    places = np.concatenate([here, rows[gone]])
    names = np.concatenate([forest.span_id[here], forest.parent_id[rows[gone]]])
    return _Parents(
        np.concatenate([owner[here], instance[gone]]),
        np.concatenate([last[here], forest.end[rows[gone]]]),
        mix(*(half[places] for half in ids), names),
        np.arange(len(places)) >= len(here),
    )
