"""Who should have sent an orphan's parent: services that usually call its operation, and which of them its trace shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from traced.graph.columns import Ints, Mask, ascending
from traced.graph.operations import Kin, Operated, Operations
from traced.graph.reach import Answered, Reach
from traced.graph.relation import Relation
from traced.graph.service_keys import name_of

MIN_ONCE: Final = 20
"""Traces of a pass in which a service calls an operation, each time once, from which on it is known to call it once a trace."""
NOBODY: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Callers:
    """Of each orphan, the other services that usually call its operation, by name, the most frequent first.

    Attributes:
        here: those that have spans in its trace.
        open: those that are here, and whose call of this operation is not in the trace, or is one of several.
        doubtful: those that are here with a call of this operation, of which it is not known whether they make more than one.
        elsewhere: those that have no span in its trace, and may have called in it.
        called: those of `elsewhere` that an unanswered call of the trace leads to, at that time.
    """

    here: list[tuple[str, ...]]
    open: list[tuple[str, ...]]
    doubtful: list[tuple[str, ...]]
    elsewhere: list[tuple[str, ...]]
    called: list[tuple[str, ...]]

    def left(self, at: int) -> tuple[str, ...]:
        """Give the callers that an orphan's trace leaves over.

        One that was called there and is gone explains the unanswered call and the orphan; where there is none, whoever may miss a span.
        """
        return self.called[at] or (*self.open[at], *self.doubtful[at], *self.elsewhere[at]) or self.here[at]

    def gone(self, at: int) -> tuple[str, ...]:
        """Give those of them that have no span in the trace; none where one that is here may have called."""
        return self.called[at] or (() if self.open[at] else self.elsewhere[at])

    def likely(self, at: int, usual: str = "") -> str:
        """Name the one caller that an orphan's trace leaves over; of several the usual one, if it is among them, else ''."""
        left = self.left(at)
        return left[0] if len(left) == 1 else usual if usual in left else ""


def callers(made: Relation, seen: Operated, orphans: Ints, kin: dict[int, Kin], known: Operations, answered: Answered) -> Callers:
    """Look for the usual callers of orphans.

    Args:
        made: the traces of a pass.
        seen: the operations of its spans.
        orphans: rows.
        kin: what is known of the orphans' operations, by number.
        known: what is known of all operations.
        answered: of a call (service, what it is called, peer name), the services that answered its like.
    """
    here, open_, doubtful, elsewhere, called = ([NOBODY] * len(orphans) for _ in range(5))
    result = Callers(here, open_, doubtful, elsewhere, called)
    trace = made.forest.trace[orphans]
    calling, reach = _Calling(made, seen, orphans), Reach(made, seen, known, answered)
    for number, one in kin.items():
        mine = np.flatnonzero(seen.of[orphans] == number)
        usual = _usual(one, seen.operations[number][0])
        for service in usual:
            _show(result, service, mine, calling.present(service, trace[mine]), calling.of(number, service, trace[mine]))
        for at in mine.tolist() if len(usual) > 1 else ():
            if result.elsewhere[at]:
                possible, result.called[at] = reach.of(int(orphans[at]), result.elsewhere[at])
                # where none may have called, the call that led to one of them was lost as well
                result.elsewhere[at] = possible or (() if result.here[at] else result.elsewhere[at])
    for lists in (here, open_, doubtful, elsewhere, called):
        lists[:] = [tuple(map(name_of, services)) for services in lists]
    return result


def _show(result: Callers, service: str, mine: Ints, here: Mask, calls: tuple[Mask, bool, bool]) -> None:
    """Note of one usual caller what the traces of some orphans show of it."""
    closed, once, several = calls
    for at, is_here, is_closed in zip(mine.tolist(), here.tolist(), closed.tolist(), strict=True):
        kinds = [result.elsewhere]
        if is_here:
            kinds = [result.here, result.open] if several or not is_closed else [result.here] if once else [result.here, result.doubtful]
        for kind in kinds:
            kind[at] = (*kind[at], service)


class _Calling:
    """Which services the traces of orphans show, and which operations they call there, by the calls of a pass that have both halves."""

    def __init__(self, made: Relation, seen: Operated, orphans: Ints) -> None:
        """Order the calls by the operation that was called."""
        forest = self._forest = made.forest
        client, server = (np.asarray(made.pass_calls.column(name)) for name in ("client_row", "server_row"))
        order = np.argsort(seen.of[server], kind="stable")
        self._client, self._operation = client[order], seen.of[server][order]
        self._codes: dict[str, list[int]] = {}
        for code, key in enumerate(forest.service_keys):
            self._codes.setdefault(key, []).append(code)
        concerned = np.zeros(forest.traces, bool)
        concerned[forest.trace[orphans]] = True
        spans = np.flatnonzero(concerned[forest.trace])
        self._present = ascending(forest.trace[spans] * len(forest.service.texts) + forest.service.of[spans])

    def present(self, service: str, traces: Ints) -> Mask:
        """Mark the traces in which a service has spans."""
        marks = np.zeros(len(traces), bool)
        for code in self._codes.get(service, ()):
            marks |= np.isin(traces * len(self._forest.service.texts) + code, self._present)
        return marks

    def of(self, number: int, service: str, traces: Ints) -> tuple[Mask, bool, bool]:
        """Mark the traces in which a service calls an operation, and say whether it is known to call it once a trace, or more than once."""
        begin, end = np.searchsorted(self._operation, [number, number + 1])
        rows = self._client[begin:end]
        rows = rows[np.isin(self._forest.service.of[rows], self._codes.get(service, []))]
        calling, times = np.unique(self._forest.trace[rows], return_counts=True)
        several = bool((times > 1).any())
        marks: Mask = np.isin(traces, calling)
        return marks, not several and len(calling) >= MIN_ONCE, several


def _usual(kin: Kin, own: str) -> list[str]:
    services: Counter[str] = Counter()
    for parent, times in kin.parents.items():
        if parent[0] != own and times > 0:
            services[parent[0]] += times
    return [service for service, _ in services.most_common()]
