"""Habits of consumers that take messages by span links: how often their links lead to a span, and whose; over the last one to two hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Mask
from traced.graph.relation import Relation
from traced.graph.windows import turned
from traced.model.span import SpanKind

MAX_OPERATIONS: Final = 5_000
MAX_DESTINATIONS: Final = 5_000
MAX_PRODUCERS: Final = 64
USUAL: Final = 0.95


@dataclass(slots=True)
class LinkKin:
    """Of one consuming operation: links that lead to a span, by that span's service, and links that do not."""

    found: int = 0
    absent: int = 0
    producers: Counter[str] = field(default_factory=Counter)

    def add(self, other: LinkKin) -> None:
        """Add another's counts."""
        self.found += other.found
        self.absent += other.absent
        self.producers.update(other.producers)

    @property
    def usual_producer(self) -> str:
        """Name the service of nearly all spans that links lead to, or ''."""
        if not self.producers:
            return ""
        service, number = self.producers.most_common(1)[0]
        return service if number >= USUAL * self.producers.total() else ""


@dataclass(slots=True)
class _Window:
    operations: dict[tuple[str, str], LinkKin] = field(default_factory=dict)
    produced: set[tuple[str, str]] = field(default_factory=set)


class LinkHabits:
    """Counts in two windows that take turns; `dropped` counts what a limit left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now, self._before = _Window(), _Window()
        self._turned = 0.0
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = _Window(), self._now

    def learn(self, made: Relation, fresh: Mask) -> None:
        """Learn where messages are sent, and where the links of fresh consumers lead."""
        forest = made.forest
        sent = pa.array(np.flatnonzero(fresh & (forest.kind == SpanKind.PRODUCER)))
        places = (
            forest.spans.select(["messaging_system", "messaging_destination"]).take(sent).group_by(["messaging_system", "messaging_destination"]).aggregate([])
        )
        for place in zip(*(column.to_pylist() for column in places.columns), strict=True):
            if place not in self._now.produced and len(self._now.produced) >= MAX_DESTINATIONS:
                self.dropped += 1
            else:
                self._now.produced.add(place)
        rows, target = np.asarray(made.links.column("row")), np.asarray(made.links.column("target"))
        kind, elsewhere = np.asarray(made.links.column("kind")), made.links.column("service_name")
        name = forest.codes["name"]
        for at in np.flatnonzero(((target >= 0) | (kind != 0)) & fresh[rows] & (forest.kind[rows] == SpanKind.CONSUMER)).tolist():
            row, to = int(rows[at]), int(target[at])
            producer = forest.service.texts[forest.service.of[to]] if to >= 0 else elsewhere[at].as_py()
            self.count(forest.service_keys[forest.service.of[row]], name.texts[name.of[row]], found=1, producer=producer)

    def count(self, service: str, name: str, *, found: int = 0, absent: int = 0, producer: str = "") -> None:
        """Count links of an operation: the key of a service, and a span's name; `producer` is a service's name."""
        operation = (service, name)
        if operation not in self._now.operations and len(self._now.operations) >= MAX_OPERATIONS:
            self.dropped += 1
            return
        known = self._now.operations.setdefault(operation, LinkKin())
        known.found += found
        known.absent += absent
        if producer and (producer in known.producers or len(known.producers) < MAX_PRODUCERS):
            known.producers[producer] += found

    def of(self, service: str, name: str) -> LinkKin:
        """Give what both windows show of an operation."""
        together = LinkKin()
        for window in (self._before, self._now):
            if (service, name) in window.operations:
                together.add(window.operations[service, name])
        return together

    def produced(self, system: str, destination: str) -> bool:
        """Say whether PRODUCER spans to a destination came."""
        return (system, destination) in self._now.produced or (system, destination) in self._before.produced

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


def _dump(window: _Window) -> dict[str, Any]:
    operations = [[*operation, kin.found, kin.absent, dict(kin.producers)] for operation, kin in window.operations.items()]
    return {"operations": operations, "produced": sorted(map(list, window.produced))}


def _load(state: Mapping[str, Any]) -> _Window:
    operations = {
        (str(service), str(name)): LinkKin(int(found), int(absent), Counter(producers)) for service, name, found, absent, producers in state["operations"]
    }
    return _Window(operations, {(str(system), str(destination)) for system, destination in state["produced"]})
