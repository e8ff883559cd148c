"""What is known of absent parents: facts from which the cause may be concluded, one row an orphan."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Mask, Unsigned, ascending, mix
from traced.graph.history import WINDOW_SECONDS
from traced.graph.operations import Kin, Operated, Operation, Operations
from traced.graph.parts import Parts
from traced.graph.places import said_local, said_remote
from traced.graph.relation import Relation
from traced.graph.sampling import Samplers

MAX_ABSENT_IDS: Final = 50_000
MAX_OPERATIONS: Final = 5_000
MAX_ADDRESSES: Final = 256
LEAST_RANDOM_ID: Final = 2**32
"""Smaller span ids were counted up, not drawn: the same one in many traces means nothing."""
MIN_ABSENT_SHARE: Final = 0.1
"""Share of an operation's spans without their parent from which on a sampler may be why, that keeps traces in parts: losses are rarer."""
USUAL: Final = 0.95
"""Share of an operation's parents from which on one of them is the usual one."""

EVIDENCE: Final = pa.schema(
    [
        ("row", pa.int64()),
        ("remote", pa.int8()),
        ("spans", pa.int64()),
        ("present", pa.int64()),
        ("absent", pa.int64()),
        ("local", pa.int64()),
        ("usual_parent", pa.string()),
        ("caller_in_trace", pa.string()),
        ("address_present", pa.int64()),
        ("address_absent", pa.int64()),
        ("sampled", pa.string()),
        ("sampled_by", pa.string()),
        ("traces_with_this_id", pa.int64()),
        ("id_shape", pa.string()),
    ],
)
"""One row an orphan.

`remote`: 1 and 0 as the flags say, -1 where they say nothing. `spans`, `present`, `absent`, `local`: of the orphan's operation, all, those
with a parent here, without, and with one of their own service. `usual_parent`: the service of nearly all parents, or ''. `caller_in_trace`: a
service that usually calls this operation and has spans in this trace. `address_*`: of spans of the operation from the same client address.
`sampled`: 'dropped' where a usual caller that has no span in this trace does not sample it, 'kept' where all of them do, or ''.
`sampled_by`: whether that is known by thresholds, by the order of trace ids in which a caller's traces are cut, or because
traces are kept in parts. `traces_with_this_id`:
traces in which the same absent id is named. `id_shape`: what the absent id is made of, or ''.
"""


@dataclass(frozen=True, slots=True)
class Orphans:
    """The orphans of one pass.

    Attributes:
        made, seen: the pass.
        rows: of the orphans.
        place: of each orphan's operation in `kin`.
        kin: by the operation's number, what is known of it.
        callers: a service that usually calls it and has spans in its trace, or ''.
        elsewhere: those that usually call it and have none.
    """

    made: Relation
    seen: Operated
    rows: Ints
    place: Ints
    kin: dict[int, Kin]
    callers: list[str]
    elsewhere: list[tuple[str, ...]]


class Absences:
    """Gathers facts over passes; `dropped` counts operations that a limit left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._traces_of_id: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._addresses: dict[Operation, dict[str, list[int]]] = {}
        self._addresses_before: dict[Operation, dict[str, list[int]]] = {}
        self._turned = 0.0
        self.samplers = Samplers()
        self.parts = Parts()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Count operations, addresses and services that a limit left out."""
        return self._dropped + self.samplers.dropped + self.parts.dropped

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self.samplers.turn(now)
        self.parts.turn(now)
        if not self._turned:
            self._turned = now
        if now - self._turned >= WINDOW_SECONDS:
            self._addresses, self._addresses_before, self._turned = {}, self._addresses, now

    # ------------------------------------------------------------------ one pass

    def learn(self, made: Relation, seen: Operated, known: Operations) -> Orphans:
        """Learn from the spans of a pass, and give its orphans with who usually calls them."""
        self.samplers.learn(made)
        orphans = np.flatnonzero(made.forest.absent)
        numbers, place = np.unique(seen.of[orphans], return_inverse=True)
        kin = {number: known.of(seen.operations[number]) for number in numbers.tolist()}
        for number in kin:
            self._learn_addresses(made, seen, number)
        found = Orphans(made, seen, orphans, place, kin, *self._callers_in_traces(made, seen, orphans, kin))
        # where some that usually call are here and others not, it may be either's span that is missing
        gone = [service for caller, others in zip(found.callers, found.elsewhere, strict=True) if not caller for service in others]
        remains = [caller for caller, others in zip(found.callers, found.elsewhere, strict=True) if not others]
        self.parts.learn(caller_gone=gone, remains=filter(None, remains))
        return found

    def evidence(self, found: Orphans) -> pa.Table:
        """Give the facts of each orphan of a pass, rows of EVIDENCE."""
        made, seen, orphans, place, kin = found.made, found.seen, found.rows, found.place, found.kin
        if not len(orphans):
            return EVIDENCE.empty_table()
        at_addresses = [self._at_addresses(seen.operations[number]) for number in kin]
        addresses = [at_addresses[at].get(address, (0, 0)) for at, address in zip(place.tolist(), _addresses(made, orphans), strict=True)]
        many = [one.absent >= MIN_ABSENT_SHARE * one.spans for one in kin.values()]
        sampled = self._sampled(made, orphans, found.callers, found.elsewhere, [many[at] for at in place.tolist()])
        of_operation = [
            (one.spans, one.present, one.absent, sum(n for parent, n in one.parents.items() if parent[0] == seen.operations[number][0]), _usual(one))
            for number, one in kin.items()
        ]
        habits = [pa.array(column).take(pa.array(place)) for column in zip(*of_operation, strict=True)]
        columns = [
            orphans,
            np.where(said_remote(made.forest, orphans), 1, np.where(said_local(made.forest, orphans), 0, -1)),
            *habits,
            found.callers,
            *zip(*addresses, strict=True),
            *zip(*sampled, strict=True),
            self._traces_with_ids(made, orphans),
            _shapes(made, orphans),
        ]
        return pa.table([pa.array(column).cast(kind.type) for column, kind in zip(columns, EVIDENCE, strict=True)], schema=EVIDENCE)

    def _sampled(self, made: Relation, orphans: Ints, callers: list[str], elsewhere: list[tuple[str, ...]], many: list[bool]) -> list[tuple[str, str]]:
        spans = made.forest.spans
        ids = (np.asarray(spans.column(name))[orphans].tolist() for name in ("trace_id_high", "trace_id_low"))
        states = spans.column("trace_state").take(pa.array(orphans)).to_pylist()
        verdicts = []
        for caller, others, high, low, state, often in zip(callers, elsewhere, *ids, states, many, strict=True):
            said, by = self.samplers.verdict(others, high, low, state or "") if others else ("", "")
            if said != "dropped" and often and any(self.parts.kept(service) for service in others):
                said, by = "dropped", "parts"
            verdicts.append(("", "") if caller and said == "kept" else (said, by))
        return verdicts

    # ------------------------------------------------------------------ sampling

    def _learn_addresses(self, made: Relation, seen: Operated, number: int) -> None:
        """Count the spans of an operation with their parent here, and without, by who called."""
        forest = made.forest
        operation = seen.operations[number]
        known = self._addresses.get(operation)
        if known is None:
            if len(self._addresses) >= MAX_OPERATIONS:
                self._dropped += 1
                return
            known = self._addresses[operation] = {}
        rows = np.flatnonzero((seen.of == number) & (forest.absent | (forest.parent >= 0)))
        for address, gone in zip(_addresses(made, rows), forest.absent[rows].tolist(), strict=True):
            if address and (address in known or len(known) < MAX_ADDRESSES):
                known.setdefault(address, [0, 0])[gone] += 1
            elif address:
                self._dropped += 1

    def _at_addresses(self, operation: Operation) -> dict[str, tuple[int, int]]:
        """Give, by client address, how many spans of an operation had their parent here, and how many had not, in both windows."""
        now, before = self._addresses.get(operation, {}), self._addresses_before.get(operation, {})
        nothing = [0, 0]
        return {at: (now.get(at, nothing)[0] + before.get(at, nothing)[0], now.get(at, nothing)[1] + before.get(at, nothing)[1]) for at in {**before, **now}}

    # ------------------------------------------------------------------ ids and callers

    def _traces_with_ids(self, made: Relation, orphans: Ints) -> list[int]:
        """Count, for each orphan, the traces in which its absent parent's id is named, and is nowhere a span's."""
        forest = made.forest
        ids, traces = forest.parent_id[orphans], mix(*(np.asarray(forest.spans.column(n))[orphans] for n in ("trace_id_high", "trace_id_low")))
        drawn = (ids >= LEAST_RANDOM_ID) & ~np.isin(ids, forest.span_id)
        for span, trace in set(zip(ids[drawn].tolist(), traces[drawn].tolist(), strict=True)):
            known = self._traces_of_id.get(span)
            if known is None:
                self._traces_of_id[span] = (trace, 1)
            elif known[0] != trace:
                self._traces_of_id[span] = (trace, known[1] + 1)
        while len(self._traces_of_id) > MAX_ABSENT_IDS:
            self._traces_of_id.popitem(last=False)
        return [self._traces_of_id.get(span, (0, 1))[1] if random else 1 for span, random in zip(ids.tolist(), drawn.tolist(), strict=True)]

    def _callers_in_traces(self, made: Relation, seen: Operated, orphans: Ints, kin: dict[int, Kin]) -> tuple[list[str], list[tuple[str, ...]]]:
        """Name, for each orphan, a service that usually calls its operation and has spans in its trace, and those that have none."""
        forest, texts = made.forest, made.forest.service.texts
        width = len(texts)
        concerned = np.zeros(forest.traces, bool)
        concerned[forest.trace[orphans]] = True
        spans = np.flatnonzero(concerned[forest.trace])
        present = ascending(forest.trace[spans] * width + forest.service.of[spans])
        found = [""] * len(orphans)
        elsewhere: list[tuple[str, ...]] = [()] * len(orphans)
        numbers = {text: code for code, text in enumerate(texts)}
        for number, one in kin.items():
            mine = np.flatnonzero(seen.of[orphans] == number)
            for service in _callers(one, seen.operations[number][0]):
                here: Mask = np.zeros(len(mine), bool)
                if service in numbers:
                    here = np.isin(forest.trace[orphans[mine]] * width + numbers[service], present)
                for at, is_here in zip(mine.tolist(), here.tolist(), strict=True):
                    if is_here:
                        found[at] = found[at] or service
                    else:
                        elsewhere[at] = (*elsewhere[at], service)
        return found, elsewhere


def _callers(kin: Kin, own: str) -> list[str]:
    """Name the other services that call an operation, the most frequent first."""
    services: Counter[str] = Counter()
    for parent, times in kin.parents.items():
        if parent[0] != own and times > 0:
            services[parent[0]] += times
    return [service for service, _ in services.most_common()]


def _usual(kin: Kin) -> str:
    services: Counter[str] = Counter()
    for parent, number in kin.parents.items():
        services[parent[0]] += number
    if not services:
        return ""
    service, number = services.most_common(1)[0]
    return service if number >= USUAL * services.total() else ""


def _addresses(made: Relation, rows: Ints) -> list[str]:
    column = made.forest.spans.column("client_address").take(pa.array(rows))
    return [text or "" for text in column.to_pylist()]


def _shapes(made: Relation, orphans: Ints) -> list[str]:
    """Say of each absent id whether it is half of the trace id."""
    forest = made.forest
    high, low = (np.asarray(forest.spans.column(name))[orphans] for name in ("trace_id_high", "trace_id_low"))
    ids: Unsigned = forest.parent_id[orphans]
    halves: Any = ((ids == high) | (ids == low)).tolist()
    return ["half of the trace id" if half else "" for half in halves]
