"""Whether a service that a trace does not show may have called in it: something that is there must have called it, or it began the trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from traced.graph.called import called
from traced.graph.columns import Ints, used
from traced.graph.operations import Kin, Operated, Operation, Operations
from traced.graph.relation import Relation
from traced.model.span import SpanKind

Answered = Callable[[tuple[str, str, str]], frozenset[str]]
"""Gives the keys of the services that answered the like of a call: (the caller's key, what it is called, peer name)."""

MAX_CLIMBED: Final = 256
"""Operations that are looked at above an orphan, in the order of their distance."""
BEGINS: Final = 0.05
"""Share of an operation's spans without a parent from which on it may begin a trace."""

_SENDING: Final = (SpanKind.CLIENT, SpanKind.PRODUCER)
_ANYBODY: Final = ""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What of a trace decides: its operations and their services, whether a root is there, and the unanswered calls as (operation, who answers its like)."""

    operations: frozenset[Operation]
    services: frozenset[str]
    rooted: bool
    unanswered: frozenset[tuple[Operation, str]]


@dataclass(frozen=True, slots=True)
class _Unanswered:
    operation: Operation
    callees: frozenset[str]
    start: int
    end: int


class Reach:
    """Answers for the traces of one pass."""

    def __init__(self, made: Relation, seen: Operated, known: Operations, answered: Answered) -> None:
        """Take the traces of a pass with their operations, what is known of all operations, and who answers what; nothing is looked at until it is asked."""
        self._made, self._seen, self._known, self._answered = made, seen, known, answered
        self._kin: dict[Operation, Kin] = {}
        self._shapes: dict[int, _Shape] = {}
        self._found: dict[tuple[Operation, str, _Shape], tuple[bool, frozenset[tuple[Operation, str]]]] = {}

    def of(self, orphan: int, services: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give, of services (keys) without a span in an orphan's trace that usually call it, those that may have, and those an unanswered call leads to."""
        forest = self._made.forest
        trace, operation = int(forest.trace[orphan]), self._seen.operations[self._seen.of[orphan]]
        shape = self._shape(trace)
        possible, called_there = [], []
        for service in services:
            key = (operation, service, shape)
            if key not in self._found:
                self._found[key] = self._leads(operation, service, shape)
            otherwise, calls = self._found[key]
            if any(self._was_under_way(trace, *call, int(forest.start[orphan])) for call in calls):
                called_there.append(service)
            if otherwise or calls:
                possible.append(service)
        return tuple(possible), tuple(called_there)

    def _leads(self, operation: Operation, service: str, shape: _Shape) -> tuple[bool, frozenset[tuple[Operation, str]]]:
        """Climb from a service's calls of an operation to what the trace shows: whether it may stand above or below that, and below which unanswered calls."""
        climbed = dict.fromkeys(parent for parent, number in self._of(operation).parents.items() if parent[0] == service and number > 0)
        otherwise, calls = False, set[tuple[Operation, str]]()
        waiting = list(climbed)
        while waiting:
            at = waiting.pop(0)
            known = self._of(at)
            otherwise |= not shape.rooted and known.spans > 0 and known.roots + known.linked >= BEGINS * known.spans
            for above, number in known.parents.items():
                if number <= 0:
                    continue
                if above[0] not in shape.services:
                    if above not in climbed and len(climbed) < MAX_CLIMBED:
                        climbed[above] = None
                        waiting.append(above)
                elif above[1] not in _SENDING:
                    otherwise |= above in shape.operations
                else:
                    calls |= {(above, callee) for callee in (at[0], _ANYBODY)} & shape.unanswered
        return otherwise, frozenset(calls)

    def _of(self, operation: Operation) -> Kin:
        if operation not in self._kin:
            self._kin[operation] = self._known.of(operation)
        return self._kin[operation]

    def _was_under_way(self, trace: int, operation: Operation, callee: str, start: int) -> bool:
        """Say whether such an unanswered call of a trace was under way when a span began; a message may be taken any time after it was sent.

        Where clocks differ by more than the call leaves, it seems not to have been: then it is only possible, and nothing is concluded from it.
        """
        return any(
            call.start <= start and (operation[1] == SpanKind.PRODUCER or start <= call.end)
            for call in self._calls.get(trace, ())
            if call.operation == operation and callee in call.callees
        )

    def _shape(self, trace: int) -> _Shape:
        if trace not in self._shapes:
            order, begin = self._by_trace
            rows = order[begin[trace] : begin[trace + 1]]
            operations = frozenset(self._seen.operations[number] for number in used(self._seen.of[rows]))
            unanswered = frozenset((call.operation, callee) for call in self._calls.get(trace, ()) for callee in call.callees)
            rooted = bool(self._made.forest.root[rows].any())
            self._shapes[trace] = _Shape(operations, frozenset(operation[0] for operation in operations), rooted, unanswered)
        return self._shapes[trace]

    @cached_property
    def _by_trace(self) -> tuple[Ints, Ints]:
        """Give the rows trace by trace, and where each trace begins among them."""
        forest = self._made.forest
        order = np.argsort(forest.trace, kind="stable")
        return order, np.searchsorted(forest.trace[order], np.arange(forest.traces + 1))

    @cached_property
    def _calls(self) -> dict[int, list[_Unanswered]]:
        """Give the unanswered calls of the traces that have orphans, with who answers their like; of messages nobody knows that here."""
        made, forest = self._made, self._made.forest
        concerned = np.zeros(forest.traces, bool)
        concerned[forest.trace[forest.absent]] = True
        rows = np.flatnonzero(made.calls.unanswered & forest.sending & (made.calls.database == 0) & concerned[forest.trace])
        names, peers = called(forest, rows), forest.codes["peer_name"]
        found: dict[int, list[_Unanswered]] = {}
        for at, row in enumerate(rows.tolist()):
            operation = self._seen.operations[self._seen.of[row]]
            call = (operation[0], names.texts[names.of[at]], peers.texts[peers.of[row]])
            callees = frozenset({_ANYBODY}) if operation[1] == SpanKind.PRODUCER else self._answered(call)
            if callees:
                found.setdefault(int(forest.trace[row]), []).append(_Unanswered(operation, callees, int(forest.start[row]), int(forest.end[row])))
        return found
