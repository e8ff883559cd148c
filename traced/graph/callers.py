"""Who should have sent an orphan's parent: services that usually call its operation, and which of them its trace shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from traced.graph.columns import Ints, Mask, Unsigned, ascending
from traced.graph.operations import Kin, Operated
from traced.graph.relation import Relation
from traced.graph.service_keys import name_of


@dataclass(frozen=True, slots=True)
class Callers:
    """Of each orphan, the other services that usually call its operation, the most frequent first.

    Attributes:
        here: those that have spans in its trace.
        elsewhere: those that have none.
        open: those that are here and have no call of this operation with both halves in the trace.
    """

    here: list[tuple[str, ...]]
    elsewhere: list[tuple[str, ...]]
    open: list[tuple[str, ...]]

    def likely(self, at: int) -> str:
        """Name the one caller that an orphan's trace leaves over; '' where it leaves several, or none."""
        for some in (self.open[at], self.here[at], self.elsewhere[at]):
            if some:
                return some[0] if len(some) == 1 else ""
        return ""


def callers(made: Relation, seen: Operated, orphans: Ints, kin: dict[int, Kin]) -> Callers:
    """Look for the usual callers of orphans; `kin` is what is known of their operations, by number."""
    forest = made.forest
    numbers = {key: code for code, key in enumerate(forest.service_keys)}
    width = len(numbers)
    concerned = np.zeros(forest.traces, bool)
    concerned[forest.trace[orphans]] = True
    spans = np.flatnonzero(concerned[forest.trace])
    present = ascending(forest.trace[spans] * width + forest.service.of[spans])
    result = Callers([()] * len(orphans), [()] * len(orphans), [()] * len(orphans))
    for number, one in kin.items():
        mine = np.flatnonzero(seen.of[orphans] == number)
        calling = _calling(made, seen, number, concerned)
        for service in _usual(one, seen.operations[number][0]):
            code = numbers.get(service)
            keys = forest.trace[orphans[mine]] * width + (code if code is not None else 0)
            here: Mask = np.isin(keys, present) if code is not None else np.zeros(len(mine), bool)
            closed = np.isin(keys, calling) & here
            for at, is_here, is_closed in zip(mine.tolist(), here.tolist(), closed.tolist(), strict=True):
                kinds = (result.here if is_here else result.elsewhere, *((result.open,) if is_here and not is_closed else ()))
                for found in kinds:
                    found[at] = (*found[at], name_of(service))
    return result


def _calling(made: Relation, seen: Operated, number: int, concerned: Mask) -> Ints | Unsigned:
    """Give trace and calling service of the calls of an operation that have both halves, as keys."""
    forest = made.forest
    client, server = (np.asarray(made.pass_calls.column(name)) for name in ("client_row", "server_row"))
    rows = client[(seen.of[server] == number) & concerned[forest.trace[client]]]
    keys: Ints = forest.trace[rows] * len(forest.service.texts) + forest.service.of[rows]
    return keys


def _usual(kin: Kin, own: str) -> list[str]:
    services: Counter[str] = Counter()
    for parent, times in kin.parents.items():
        if parent[0] != own and times > 0:
            services[parent[0]] += times
    return [service for service, _ in services.most_common()]
