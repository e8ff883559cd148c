"""What an operation's spans usually have above and below them: who calls it, and whom it calls; over the last one to two hours.

An operation is (service, span kind, span name). Where the name of a span that serves a request is only HTTP's verb, the shape of the route or path is
added. Counts live in two windows that take turns. Pure: the time is given from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from traced.graph.called import operation_names
from traced.graph.calls import CONNECTION_TYPES
from traced.graph.columns import Ints, distinct
from traced.graph.relation import Relation
from traced.graph.service_keys import name_of
from traced.graph.windows import turned
from traced.model.edge import ConnectionType
from traced.model.span import SpanKind

Operation = tuple[str, int, str]
"""Service (its key: `traced.graph.service_keys`), span kind, name (`called.operation_names`)."""

MAX_OPERATIONS: Final = 20_000
MAX_RELATIVES: Final = 64
ALL_BUT: Final = 0.99
"""Parents, and callees, remembered of one operation."""

_BITS: Final = 65
_CALL: Final = CONNECTION_TYPES.index(ConnectionType.CALL)
_MESSAGE: Final = CONNECTION_TYPES.index(ConnectionType.MESSAGING_SYSTEM)


@dataclass(slots=True)
class Kin:
    """How often an operation's spans were seen with what.

    Attributes:
        spans: how many there were.
        roots: without a parent and without a span link.
        linked: without a parent, with a link.
        absent: with a parent that never arrived.
        parents: by the parent's operation.
        callees: how many of the spans reached a service by `straight_calls`, by that service's key.
        rejoined: of the roots, those whose caller was found in another trace, by its service's key.
        durations: the spans' durations, by the number of bits of their nanoseconds.
    """

    spans: int = 0
    roots: int = 0
    linked: int = 0
    absent: int = 0
    parents: Counter[Operation] = field(default_factory=Counter)
    callees: Counter[str] = field(default_factory=Counter)
    rejoined: Counter[str] = field(default_factory=Counter)
    durations: Counter[int] = field(default_factory=Counter)

    def add(self, other: Kin, sign: int = 1) -> int:
        """Add another's counts, or take them back; give how many relatives a limit left out."""
        self.spans += sign * other.spans
        self.roots += sign * other.roots
        self.linked += sign * other.linked
        self.absent += sign * other.absent
        for bits, number in other.durations.items():
            self.durations[bits] += sign * number
        relatives = ((self.parents, other.parents), (self.callees, other.callees), (self.rejoined, other.rejoined))
        return sum(_add(mine, theirs, sign) for mine, theirs in relatives)

    @property
    def longest_nanos(self) -> int:
        """Bound the duration that all but one in a hundred of the spans keep within, to a power of two; 0 of none."""
        rest = self.durations.total() * ALL_BUT
        for bits in sorted(self.durations):
            rest -= self.durations[bits]
            if rest <= 0:
                return 1 << bits
        return 0

    @property
    def usual_caller(self) -> str:
        """Name the service whose operation is most often the parent; '' where there is none."""
        return next((name_of(parent[0]) for parent, number in self.parents.most_common(1) if number > 0), "")

    @property
    def present(self) -> int:
        """Count the spans whose parent is here."""
        return self.parents.total()


def _add(to: Counter[Any], more: Counter[Any], sign: int) -> int:
    dropped = 0
    for key, number in more.items():
        if key in to or len(to) < MAX_RELATIVES:
            to[key] += sign * number
        else:
            dropped += 1
    return dropped


@dataclass(frozen=True, slots=True)
class Operated:
    """The operations of one pass: each span's as a number, and what the numbers mean."""

    of: Ints
    operations: list[Operation]


def operated(made: Relation) -> Operated:
    """Number the operations of a relation's spans."""
    forest = made.forest
    name = operation_names(forest)
    code = (forest.service.of * len(name.texts) + name.of) * 8 + forest.kind
    present, of = distinct(code, len(forest.service.texts) * len(name.texts) * 8)
    operations = [(forest.service_keys[c // 8 // len(name.texts)], int(c % 8), name.texts[c // 8 % len(name.texts)]) for c in present.tolist()]
    return Operated(of, operations)


def kin(made: Relation, seen: Operated) -> dict[Operation, Kin]:
    """Count what the spans of one pass have above and below them."""
    forest, of, operations = made.forest, seen.of, seen.operations
    count = len(operations)
    rootless = forest.root & ~made.calls.linked
    numbers = [np.bincount(of[mask], minlength=count).tolist() for mask in (slice(None), rootless, forest.root & made.calls.linked, forest.absent)]
    result = {operation: Kin(*values) for operation, *values in zip(operations, *numbers, strict=True)}
    lasted = np.frexp(np.maximum(forest.end - forest.start, 0).astype(np.float64))[1].astype(np.int64)
    for at, bits, number in _pairs(of, lasted, _BITS):
        result[operations[at]].durations[bits] += number
    child = np.flatnonzero(forest.parent >= 0)
    for below, above, number in _pairs(of[child], of[forest.parent[child]], count):
        result[operations[below]].parents[operations[above]] += number
    caller, callee = straight_calls(made)
    keys = forest.service_keys
    for above, service, number in _pairs(of[caller], callee, len(keys)):
        result[operations[above]].callees[keys[service]] += number
    return result


def straight_calls(made: Relation) -> tuple[Ints, Ints]:
    """Give the spans that reach services by habit, and such a service (a code in `Forest.service`), each pair once.

    They are spans that called a service without a CLIENT between, and PRODUCERs, whose message several services may take.
    """
    calls, forest = made.calls, made.forest
    both = np.flatnonzero((calls.client_row >= 0) & (calls.server_row >= 0))
    caller = calls.client_row[both]
    message = (calls.connection[both] == _MESSAGE) & (forest.kind[caller] == SpanKind.PRODUCER)
    both = both[message | ((calls.connection[both] == _CALL) & ~forest.sending[caller])]
    width = max(1, len(forest.service_keys))
    pairs, _ = distinct(calls.client_row[both] * width + forest.service.of[calls.server_row[both]], max(1, forest.count * width))
    return pairs // width, pairs % width


def _pairs(one: Ints, other: Ints, width: int) -> Iterable[tuple[int, int, int]]:
    present, place = distinct(one * width + other, max(1, (int(one.max(initial=0)) + 1) * width))
    numbers = np.bincount(place, minlength=len(present))
    return zip((present // width).tolist(), (present % width).tolist(), numbers.tolist(), strict=True)


class Operations:
    """What is known of operations; `dropped` counts what a limit left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now: dict[Operation, Kin] = {}
        self._before: dict[Operation, Kin] = {}
        self._turned = 0.0
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now

    def learn(self, seen: Mapping[Operation, Kin], sign: int = 1) -> None:
        """Add what `kin` counted; with sign -1 take back what was learned of traces that are looked at again."""
        for operation, more in seen.items():
            known = self._now.get(operation)
            if known is None:
                if len(self._now) >= MAX_OPERATIONS:
                    self.dropped += 1
                    continue
                known = self._now[operation] = Kin()
            self.dropped += known.add(more, sign)

    def of(self, operation: Operation) -> Kin:
        """Give what is known of an operation in both windows."""
        together = Kin()
        for window in (self._before, self._now):
            if operation in window:
                together.add(window[operation])
        return together

    def rejoin(self, operation: Operation, caller: str, number: int) -> None:
        """Count roots whose caller was found in another trace; a negative number takes them back."""
        self.learn({operation: Kin(rejoined=Counter({caller: number}))})

    def rejoined(self) -> Counter[tuple[str, str]]:
        """Count the calls whose context did not arrive, by the keys of (client service, server service)."""
        broken: Counter[tuple[str, str]] = Counter()
        for window in (self._before, self._now):
            for operation, kin in window.items():
                for caller, number in kin.rejoined.items():
                    broken[caller, operation[0]] += number
        return +broken

    def known(self) -> Iterable[Operation]:
        """Give the operations that anything is known of."""
        return {**self._before, **self._now}.keys()

    def contexts(self) -> Counter[tuple[str, str]]:
        """Count the calls whose context arrived, by the keys of (client service, server service)."""
        arrived: Counter[tuple[str, str]] = Counter()
        for operation in self.known():
            if operation[1] not in (SpanKind.SERVER, SpanKind.CONSUMER):
                continue
            for (service, kind, _), number in self.of(operation).parents.items():
                if number > 0 and (service != operation[0] or kind in (SpanKind.CLIENT, SpanKind.PRODUCER)):
                    arrived[service, operation[0]] += number
        return arrived

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


def _dump(window: Mapping[Operation, Kin]) -> list[Any]:
    return [
        [
            *operation,
            k.spans,
            k.roots,
            k.linked,
            k.absent,
            [[*parent, n] for parent, n in k.parents.items()],
            dict(k.callees),
            dict(k.rejoined),
            list(k.durations.items()),
        ]
        for operation, k in window.items()
    ]


def _load(rows: list[Any]) -> dict[Operation, Kin]:
    window = {}
    for service, kind, name, spans, roots, linked, absent, parents, callees, rejoined, durations in rows:
        above = Counter({(p_service, p_kind, p_name): n for p_service, p_kind, p_name, n in parents})
        window[service, kind, name] = Kin(spans, roots, linked, absent, above, Counter(callees), Counter(rejoined), Counter(dict(durations)))
    return window
