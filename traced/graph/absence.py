"""What is known of absent parents: facts from which the cause may be concluded, one row an orphan."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.callers import Callers, callers
from traced.graph.columns import Codes, Ints, Mask, Unsigned, among, distinct, mix
from traced.graph.operations import Kin, Operated, Operation, Operations, operated
from traced.graph.parts import CALLER_GONE, REMAINS, Parts
from traced.graph.places import said_local, said_remote
from traced.graph.relation import Relation
from traced.graph.sampling import Samplers
from traced.graph.service_keys import name_of
from traced.graph.windows import turned

MAX_ABSENT_IDS: Final = 50_000
MAX_OPERATIONS: Final = 5_000
MAX_ADDRESSES: Final = 256
LEAST_RANDOM_ID: Final = 2**32
"""Smaller span ids were counted up, not drawn: the same one in many traces means nothing."""
MIN_ABSENT_SHARE: Final = 0.1
"""Share of an operation's spans without their parent from which on a sampler may be why, that keeps traces in parts: losses are rarer."""
OFTEN: Final = 0.05
MAX_CLIMB: Final = 16
"""Levels of usual parents that are climbed to see where traces begin."""
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
        ("likely_caller", pa.string()),
        ("address_present", pa.int64()),
        ("address_absent", pa.int64()),
        ("sampled", pa.string()),
        ("sampled_by", pa.string()),
        ("dropped_by", pa.string()),
        ("traces_with_this_id", pa.int64()),
        ("id_shape", pa.string()),
        ("elapsed", pa.int64()),
        ("parent_lasts", pa.int64()),
        ("begins", pa.bool_()),
    ],
)
"""One row an orphan.

`remote`: 1 and 0 as the flags say, -1 where they say nothing. `spans`, `present`, `absent`, `local`: of the orphan's operation, all, those
with a parent here, without, and with one of their own service. `usual_parent`: the service of nearly all parents, or ''. `caller_in_trace`: a
service that usually calls this operation and has spans in this trace. `likely_caller`: the one usual caller that the trace leaves
over, or ''. `address_*`: of spans of the operation from the same client address.
`sampled`: 'dropped' where a usual caller that has no span in this trace does not sample it, 'kept' where all of them do, or ''.
`sampled_by`: whether that is known by thresholds, by the order of trace ids in which a caller's traces are cut, or because
traces are kept in parts; `dropped_by`: whose sampler it was. `traces_with_this_id`:
traces in which the same absent id is named. `id_shape`: what the absent id is made of, or ''.
`elapsed`: how long ago the orphan began, by the clock of arrivals (ns; -1 where all input has come). `parent_lasts`: within how many nanoseconds all
but one in a hundred of the spans end that are usually its parent. `begins`: the service that is usually its parent's also begins its traces.
"""


@dataclass(frozen=True, slots=True)
class Orphans:
    """The orphans of one pass.

    Attributes:
        made, seen: the pass.
        rows: of the orphans.
        place: of each orphan's operation in `kin`.
        kin: by the operation's number, what is known of it.
        callers: who should have sent their parents.
    """

    made: Relation
    seen: Operated
    rows: Ints
    place: Ints
    kin: dict[int, Kin]
    callers: Callers


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
        self._turned, over = turned(self._turned, now)
        if over:
            self._addresses, self._addresses_before = {}, self._addresses

    # ------------------------------------------------------------------ one pass

    def learn(self, made: Relation, earlier: Relation | None, fresh: Mask, seen: Operated, known: Operations) -> Orphans:
        """Learn from the spans of a pass, and give its orphans with who usually calls them; `earlier` is what was learned of the same traces before."""
        self.samplers.learn(made, fresh)
        orphans = np.flatnonzero(made.forest.absent)
        numbers, place = np.unique(seen.of[orphans], return_inverse=True)
        kin = {number: known.of(seen.operations[number]) for number in numbers.tolist()}
        if earlier is not None:
            self._take_back(earlier)
        self._learn_addresses(made, seen)
        found = Orphans(made, seen, orphans, place, kin, callers(made, seen, orphans, kin))
        # where some that usually call are here and others not, it may be either's span that is missing
        rejoined = np.isin(orphans, made.pass_rejoined.column("row")).tolist()
        for trace, here, elsewhere, in_other_part in zip(
            _trace_keys(made, orphans).tolist(), found.callers.here, found.callers.elsewhere, rejoined, strict=True
        ):
            if in_other_part:
                continue
            if not here:
                self.parts.learn((trace, CALLER_GONE, service) for service in elsewhere)
            elif not elsewhere:
                self.parts.learn([(trace, REMAINS, here[0])])
        return found

    def _take_back(self, earlier: Relation) -> None:
        """Forget what was learned of traces that are looked at again."""
        self.parts.take_back(np.unique(_trace_keys(earlier, np.arange(earlier.forest.count))).tolist())
        self._learn_addresses(earlier, operated(earlier), -1)

    def evidence(self, found: Orphans, known: Operations, until: int) -> pa.Table:
        """Give the facts of each orphan of a pass, rows of EVIDENCE; `until` is the clock of arrivals (ns; 0 where all input has come)."""
        made, seen, orphans, place, kin = found.made, found.seen, found.rows, found.place, found.kin
        if not len(orphans):
            return EVIDENCE.empty_table()
        at_addresses = [self._at_addresses(seen.operations[number]) for number in kin]
        addresses = [at_addresses[at].get(address, (0, 0)) for at, address in zip(place.tolist(), _addresses(made, orphans), strict=True)]
        many = [one.absent >= MIN_ABSENT_SHARE * one.spans for one in kin.values()]
        sampled = self._sampled(found, [many[at] for at in place.tolist()])
        of_operation = [
            (one.spans, one.present, one.absent, sum(n for parent, n in one.parents.items() if parent[0] == seen.operations[number][0]), _usual(one))
            for number, one in kin.items()
        ]
        lasting = np.array([_lasting(one, known) for one in kin.values()], np.int64)[place]
        begins = np.array([_begins(one, known) for one in kin.values()], bool)[place]
        habits = [pa.array(column).take(pa.array(place)) for column in zip(*of_operation, strict=True)]
        columns = [
            orphans,
            np.where(said_remote(made.forest, orphans), 1, np.where(said_local(made.forest, orphans), 0, -1)),
            *habits,
            [here[0] if here else "" for here in found.callers.here],
            [found.callers.likely(at) for at in range(len(orphans))],
            *zip(*addresses, strict=True),
            *zip(*sampled, strict=True),
            self._traces_with_ids(made, orphans),
            _shapes(made, orphans),
            np.maximum(until - made.forest.start[orphans], 0) if until else np.full(len(orphans), -1),
            lasting,
            begins,
        ]
        return pa.table([pa.array(column).cast(kind.type) for column, kind in zip(columns, EVIDENCE, strict=True)], schema=EVIDENCE)

    def _sampled(self, found: Orphans, many: list[bool]) -> list[tuple[str, str, str]]:
        """Say of each orphan's trace what the samplers of its usual callers did with it, how that is known, and who dropped it."""
        spans = found.made.forest.spans
        ids = (np.asarray(spans.column(name))[found.rows].tolist() for name in ("trace_id_high", "trace_id_low"))
        states = spans.column("trace_state").take(pa.array(found.rows)).to_pylist()
        verdicts = []
        for here, elsewhere, high, low, state, often in zip(found.callers.here, found.callers.elsewhere, *ids, states, many, strict=True):
            each = [(service, *self.samplers.verdict((service,), high, low, state or "")) for service in elsewhere]
            dropped = [(said, by, service) for service, said, by in each if said == "dropped"]
            dropped += [("dropped", "parts", service) for service in elsewhere if often and not dropped and self.parts.kept(service)]
            kept = bool(each) and not here and all(said == "kept" for _, said, _ in each)
            verdicts.append(dropped[0] if dropped else ("kept", "threshold", "") if kept else ("", "", ""))
        return verdicts

    # ------------------------------------------------------------------ sampling

    def _learn_addresses(self, made: Relation, seen: Operated, sign: int = 1) -> None:
        """Count the called spans of each operation with their parent here, and without, by who called; with sign -1 take it back."""
        forest = made.forest
        rows = np.flatnonzero(forest.receiving & (forest.absent | (forest.parent >= 0)))
        address = Codes.from_column(forest.spans.column("client_address").take(pa.array(rows)))
        width = 2 * len(address.texts)
        codes, place = distinct(seen.of[rows] * width + 2 * address.of + forest.absent[rows], max(1, len(seen.operations) * width))
        for code, times in zip(codes.tolist(), np.bincount(place, minlength=len(codes)).tolist(), strict=True):
            text = address.texts[code % width // 2]
            known = self._addresses_of(seen.operations[code // width]) if text else None
            if known is not None and (text in known or len(known) < MAX_ADDRESSES):
                counts = known.setdefault(text, [0, 0])
                counts[code % 2] = max(0, counts[code % 2] + sign * times)
            elif text:
                self._dropped += 1

    def _addresses_of(self, operation: Operation) -> dict[str, list[int]] | None:
        if operation not in self._addresses and len(self._addresses) >= MAX_OPERATIONS:
            return None
        return self._addresses.setdefault(operation, {})

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
        drawn = (ids >= LEAST_RANDOM_ID) & ~among(ids, forest.span_id)
        for span, trace in set(zip(ids[drawn].tolist(), traces[drawn].tolist(), strict=True)):
            known = self._traces_of_id.get(span)
            if known is None:
                self._traces_of_id[span] = (trace, 1)
            elif known[0] != trace:
                self._traces_of_id[span] = (trace, known[1] + 1)
        while len(self._traces_of_id) > MAX_ABSENT_IDS:
            self._traces_of_id.popitem(last=False)
        return [self._traces_of_id.get(span, (0, 1))[1] if random else 1 for span, random in zip(ids.tolist(), drawn.tolist(), strict=True)]


def _usual(kin: Kin) -> str:
    services: Counter[str] = Counter()
    for parent, number in kin.parents.items():
        services[parent[0]] += number
    if not services:
        return ""
    service, number = services.most_common(1)[0]
    return name_of(service) if number >= USUAL * services.total() else ""


def _lasting(kin: Kin, known: Operations) -> int:
    """Bound how long the spans last that are usually the parent of an operation's."""
    often = [parent for parent, number in kin.parents.items() if number >= OFTEN * kin.present]
    return max((known.of(parent).longest_nanos for parent in often), default=0)


def _begins(kin: Kin, known: Operations) -> bool:
    """Say whether the service of an operation's usual parent also begins its traces: from there up nothing is another's."""
    services = set()
    for _ in range(MAX_CLIMB):
        if not kin.present:
            return False
        parent = max(kin.parents, key=lambda one: (kin.parents[one], one))
        services.add(parent[0])
        if len(services) > 1:
            return False
        kin = known.of(parent)
        if kin.spans and 2 * (kin.roots + kin.linked) >= kin.spans:
            return True
    return False


def _addresses(made: Relation, rows: Ints) -> list[str]:
    column = made.forest.spans.column("client_address").take(pa.array(rows))
    return [text or "" for text in column.to_pylist()]


def _trace_keys(made: Relation, rows: Ints) -> Unsigned:
    keys: Unsigned = mix(*(np.asarray(made.forest.spans.column(name))[rows] for name in ("trace_id_high", "trace_id_low")))
    return keys


def _shapes(made: Relation, orphans: Ints) -> list[str]:
    """Say of each absent id whether it is half of the trace id.

    Zipkin's and Jaeger's tracers take the lower half for the root's own id: there the absent span is the root. Only beside roots of which none does so, and in
    trace ids of full width, the lower half says anything.
    """
    forest = made.forest
    high, low = (np.asarray(forest.spans.column(name)) for name in ("trace_id_high", "trace_id_low"))
    random = forest.root.any() and not (forest.root & (forest.span_id == low)).any()
    ids: Unsigned = forest.parent_id[orphans]
    halves: Any = ((ids == high[orphans]) | ((ids == low[orphans]) & (high[orphans] != 0) & random)).tolist()
    return ["half of the trace id" if half else "" for half in halves]
