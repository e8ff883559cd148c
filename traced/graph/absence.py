"""What is known of absent parents: facts from which the cause may be concluded, one row an orphan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.absent_ids import AbsentIds
from traced.graph.callers import Callers, callers
from traced.graph.causes import BEYOND, MAY_RUN
from traced.graph.client_addresses import ClientAddresses, addresses
from traced.graph.columns import Ints, Mask, Unsigned, mix
from traced.graph.gone import CALLER_GONE, REMAINS, Gap, gap
from traced.graph.operations import Kin, Operated, Operations, operated
from traced.graph.parts import KEPT as PARTS_KEPT
from traced.graph.parts import LOST, RARE, Parts
from traced.graph.parts import PERHAPS as PARTS_PERHAPS
from traced.graph.places import said_local, said_remote
from traced.graph.reach import Answered
from traced.graph.relation import Relation
from traced.graph.sampling import DROPPED, KEPT, PERHAPS, Samplers
from traced.graph.service_keys import name_of

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
        ("running", pa.string()),
        ("decided_in", pa.int64()),
        ("begins", pa.bool_()),
    ],
)
"""One row an orphan.

`remote`: 1 and 0 as the flags say, -1 where they say nothing. `spans`, `present`, `absent`, `local`: of the orphan's operation, all, those
with a parent here, without, and with one of their own service. `usual_parent`: the service of nearly all parents, or ''. `caller_in_trace`: a
service that usually calls this operation and has spans in this trace. `likely_caller`: the one usual caller that the trace leaves
over, of several the usual one, or ''. `address_*`: of spans of the operation from the same client address.
`sampled`: 'dropped' where a usual caller that may have called here, and has no span in this trace, does not sample it; 'perhaps' where that may be so; 'kept'
where all of them sample it, or ''.
`sampled_by`: whether that is known by thresholds, by the order of trace ids in which a caller's traces are cut, or because
traces are kept in parts; `dropped_by`: whose sampler it was, '' where it may be one of several. `traces_with_this_id`:
traces in which the same absent id is named. `id_shape`: what the absent id is made of, or ''.
`elapsed`: how long ago the orphan began, by the clock of arrivals (ns; -1 where all input has come). `parent_lasts`: within how many nanoseconds all
but one in a hundred of the spans end that are usually its parent. `running`: 'may_run' where the parent may still be running by that, 'beyond' where it may,
and its trace is so old that it would not be joined; else ''. `decided_in`: after so long (ns) the one or the other is no longer so; 0 where it is not so now.
`begins`: the service that is usually its parent's also begins its traces.
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
    """Gathers facts over passes; `dropped` counts operations, addresses and services that a limit left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._absent_ids = AbsentIds()
        self._addresses = ClientAddresses()
        self.samplers = Samplers()
        self.parts = Parts()

    @property
    def dropped(self) -> int:
        """Count what a limit left out."""
        return self._addresses.dropped + self.samplers.dropped + self.parts.dropped

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self.samplers.turn(now)
        self.parts.turn(now)
        self._addresses.turn(now)

    # ------------------------------------------------------------------ one pass

    def learn(self, made: Relation, earlier: Relation | None, fresh: Mask, seen: Operated, known: Operations, answered: Answered) -> Orphans:
        """Learn from the spans of a pass, and give its orphans with who usually calls them.

        Args:
            made: the traces of the pass.
            earlier: what was learned of the same traces before.
            fresh: spans that no earlier pass looked at.
            seen: the operations of `made`.
            known: what is known of all operations.
            answered: of a call (service, what it is called, peer name), the services that answered its like.
        """
        self.samplers.learn(made, fresh)
        orphans = np.flatnonzero(made.forest.absent)
        numbers, place = np.unique(seen.of[orphans], return_inverse=True)
        kin = {number: known.of(seen.operations[number]) for number in numbers.tolist()}
        if earlier is not None:
            self._take_back(earlier)
        self._addresses.learn(made, seen)
        found = Orphans(made, seen, orphans, place, kin, callers(made, seen, orphans, kin, known, answered))
        self._learn_gaps(_gaps(found))
        return found

    def learn_calls(self, made: Relation, gaps: Sequence[Gap]) -> None:
        """Learn of the calls of a pass, after its orphans: those of which the callee is gone from the trace as a whole or not, and those that are whole."""
        self._learn_gaps(gaps)
        self.parts.learn_whole(made)

    def _learn_gaps(self, gaps: Sequence[Gap]) -> None:
        self.parts.learn(gaps)
        self.samplers.learn_gone(gaps)

    def _take_back(self, earlier: Relation) -> None:
        """Forget what was learned of traces that are looked at again."""
        traces = np.unique(_trace_keys(earlier, np.arange(earlier.forest.count))).tolist()
        self.parts.take_back(traces)
        self.samplers.take_back(traces)
        self._addresses.learn(earlier, operated(earlier), -1)

    def evidence(self, found: Orphans, known: Operations, until: int, kept_nanos: int) -> pa.Table:
        """Give the facts of each orphan of a pass, rows of EVIDENCE.

        Args:
            found: the orphans.
            known: what is known of all operations.
            until: the clock of arrivals (ns; 0 where all input has come).
            kept_nanos: so long after its first span came a trace can still be joined with a parent that comes late.
        """
        made, seen, orphans, place, kin = found.made, found.seen, found.rows, found.place, found.kin
        if not len(orphans):
            return EVIDENCE.empty_table()
        at_addresses = [self._addresses.of(seen.operations[number]) for number in kin]
        at = [at_addresses[at].get(address, (0, 0)) for at, address in zip(place.tolist(), addresses(made, orphans), strict=True)]
        many = [one.absent >= RARE * one.spans for one in kin.values()]
        sampled = self._sampled(found, [many[at] for at in place.tolist()])
        usual = [_usual(one) for one in kin.values()]
        of_operation = [
            (one.spans, one.present, one.absent, sum(n for parent, n in one.parents.items() if parent[0] == seen.operations[number][0]), name)
            for (number, one), name in zip(kin.items(), usual, strict=True)
        ]
        lasting = np.array([_lasting(one, known) for one in kin.values()], np.int64)[place]
        begins = np.array([_begins(one, known) for one in kin.values()], bool)[place]
        habits = [pa.array(column).take(pa.array(place)) for column in zip(*of_operation, strict=True)]
        elapsed = np.maximum(until - made.forest.start[orphans], 0) if until else np.full(len(orphans), -1)
        columns = [
            orphans,
            np.where(said_remote(made.forest, orphans), 1, np.where(said_local(made.forest, orphans), 0, -1)),
            *habits,
            [here[0] if here else "" for here in found.callers.here],
            [found.callers.likely(at, usual[one]) for at, one in enumerate(place.tolist())],
            *zip(*at, strict=True),
            *zip(*sampled, strict=True),
            self._absent_ids.learn(made.forest, orphans),
            _shapes(made, orphans),
            elapsed,
            lasting,
            *_running(made, orphans, until, lasting, kept_nanos),
            begins,
        ]
        return pa.table([pa.array(column).cast(kind.type) for column, kind in zip(columns, EVIDENCE, strict=True)], schema=EVIDENCE)

    def _sampled(self, found: Orphans, many: list[bool]) -> list[tuple[str, str, str]]:
        """Say of each orphan's trace what the samplers of its usual callers did with it, how that is known, and who dropped it."""
        spans = found.made.forest.spans
        ids = (np.asarray(spans.column(name))[found.rows].tolist() for name in ("trace_id_high", "trace_id_low"))
        states = spans.column("trace_state").take(pa.array(found.rows)).to_pylist()
        called = [name_of(found.seen.operations[number][0]) for number in found.seen.of[found.rows].tolist()]
        facts = zip(called, *ids, states, many, strict=True)
        return [self._verdict(found.callers, at, service, (high, low, state or ""), often) for at, (service, high, low, state, often) in enumerate(facts)]

    def _verdict(self, who: Callers, at: int, called: str, place: tuple[int, int, str], often: bool) -> tuple[str, str, str]:  # noqa: FBT001 - a fact, not a switch
        """Say of one orphan, of a called service and a trace (id, tracestate); `often`: its operation often lacks its parent."""
        gone, each = who.gone(at), []
        own = {service: self.parts.kept(service) for service in who.elsewhere[at]}
        # a caller that is known to lose spans explains the gaps of whom it calls
        pooled = self.parts.kept(called=called) if LOST not in own.values() else ""
        for service, parts in own.items():
            said, by = self.samplers.verdict((service,), *place, gone=True)
            if said != DROPPED and PARTS_KEPT in (parts, pooled):
                said, by = DROPPED if often else PERHAPS, "parts"
            elif said != DROPPED and often and PARTS_PERHAPS in (parts, pooled):
                said, by = PERHAPS, "parts"
            each.append((service, said, by))
        dropped = [(service, by) for service, said, by in each if said == DROPPED and service in gone]
        if dropped:
            # whose sampler keeps the trace, and who has no span in it, did not call; where calls lead to several, any of them may have
            unsure = len(who.called[at]) > 1 or sum(said in (DROPPED, PERHAPS) for service, said, _ in each if service in gone) > 1
            return DROPPED, dropped[0][1], "" if unsure else dropped[0][0]
        if any(said in (DROPPED, PERHAPS) for _, said, _ in each):
            return PERHAPS, "", ""
        kept = bool(each) and not who.here[at] and all(said == KEPT for _, said, _ in each)
        return (KEPT, "threshold", "") if kept else ("", "", "")

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values."""
        return {"samplers": self.samplers.dump(), "addresses": self._addresses.dump(), "absent_ids": self._absent_ids.dump(), "parts": self.parts.dump()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        self.samplers.load(state["samplers"])
        self._addresses.load(state["addresses"])
        self._absent_ids.load(state["absent_ids"])
        self.parts.load(state["parts"])


def _gaps(found: Orphans) -> list[Gap]:
    """Say of each orphan whether who called it is gone from its trace as a whole, or has other spans there; nothing where it may be the one or the other."""
    made, rows = found.made, found.rows
    high, low = (np.asarray(made.forest.spans.column(name))[rows] for name in ("trace_id_high", "trace_id_low"))
    columns = (mix(high, low), high, low, made.forest.start[rows])
    rejoined = np.isin(rows, made.pass_rejoined.column("row"))  # their parent is here, in another part of a cut trace
    gaps = []
    for at, place in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        left = () if rejoined[at] else found.callers.left(at)
        here = [service in found.callers.here[at] for service in left]
        called = name_of(found.seen.operations[found.seen.of[rows[at]]][0])
        if left and len(set(here)) == 1:
            gaps.append(gap(place, REMAINS if here[0] else CALLER_GONE, left[0] if len(left) == 1 else "", called))
    return gaps


def _running(made: Relation, orphans: Ints, until: int, lasting: Ints, kept_nanos: int) -> tuple[list[str], Ints]:
    """Say of each orphan whether its parent may still be running (MAY_RUN, or BEYOND where it would come too late for its trace; else ''), and how long so."""
    forest = made.forest
    came = np.asarray(forest.spans.column("arrival_time_unix_nano")).astype(np.int64)
    first = np.full(forest.traces, np.iinfo(np.int64).max)
    np.minimum.at(first, forest.trace, came)
    ends, beyond = forest.start[orphans] + lasting, first[forest.trace[orphans]] + kept_nanos
    runs = (ends > until) & (until > 0)
    said = [(MAY_RUN if until < limit else BEYOND) if run else "" for run, limit in zip(runs.tolist(), beyond.tolist(), strict=True)]
    return said, np.where(runs & (beyond > until), np.minimum(ends, beyond) - until, 0)


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
