"""Halves of calls that wait for their other half, across traces and passes; and what was learned to match them by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.analysis.pool import EVER, KEEP_NANOS, LOOKS_AFTER, Place, Pool, ids, places
from traced.analysis.standby import Standby
from traced.graph.columns import Codes, Ints, Mask, Unsigned, close_to, mix
from traced.graph.context_history import context_history
from traced.graph.correlation import says_requests
from traced.graph.delays import Delays
from traced.graph.gone import Gap, of_callers
from traced.graph.halves import HALVES, lonely_callers, lonely_receivers
from traced.graph.identity import Knowledge
from traced.graph.matching import CHANCE, Match, Matching, match
from traced.graph.operations import Operated, Operation, Operations, kin, operated
from traced.graph.relation import Relation
from traced.graph.separation import Separations
from traced.model.span import SpanKind
from traced.telemetry import AnalysisLimit

MAX_WAITING: Final = 50_000
"""Halves that wait, of each side; the longest waiting go first, and those that were not decided yet are counted."""
MAX_ENTRIES: Final = 10_000
"""The newest receivers that are kept though nobody called them in time and their operation has no callers: every trace begins with one."""
REACH_NANOS: Final = 60 * 10**9
"""Such a receiver is looked at again beside callers that began within so long of it."""
RIVALS_NANOS: Final = 15 * 10**9
"""Within so long of a half that is decided begin those that compete with it, clocks that differ by seconds allowed for."""
MAX_UNLEARNED: Final = 4_000
"""Receivers of services of whose calls no delays are known that are matched at a time."""

_MATCH_COLUMNS: Final = {
    "confidence": pa.float64(),
    "service_confidence": pa.float64(),
    "rivals": pa.int64(),
    "chance": pa.float64(),
}
MATCHES: Final = pa.schema(
    [*HALVES, *(pa.field(f"caller_{f.name}", f.type) for f in HALVES), *(pa.field(name, kind) for name, kind in _MATCH_COLUMNS.items())],
)
"""One row a match: the receiver's columns, the caller's, and how sure it is."""
_HABITS: Final = {"named": pa.int64(), "rootless": pa.int64(), "usual_caller": pa.string()}
ROOTLESS: Final = pa.schema([*HALVES, *(pa.field(name, kind) for name, kind in _HABITS.items())])
"""A row of HALVES, a receiver, and of its operation: how many spans named a parent, how many had neither parent, link nor a caller
elsewhere, and who mostly calls."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Halves that were decided before and are decided anew: what was said of them holds no more unless it is said again.

    Attributes:
        callers: those without a receiver.
        receivers: those without a caller.
        matched: receivers that are told of with their caller once more.
    """

    callers: frozenset[Place] = frozenset()
    receivers: frozenset[Place] = frozenset()
    matched: frozenset[Place] = frozenset()


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided of waiting halves.

    Attributes:
        matches: rows of MATCHES: newly matched, matched again because a trace was looked at again, or told of once more.
        lonely: callers (rows of HALVES) for which no receiver was found.
        rootless: receivers (ROOTLESS) for which no caller was found, though spans of their operation had one before.
        revoked: receivers, by trace and span, whose match does not hold any more: their caller was answered after all.
        explained: callers that were lonely and are matched now.
        called: receivers for which no caller was found before, and that are matched now.
        judged: what was decided before and is decided anew.
    """

    matches: pa.Table
    lonely: pa.Table
    rootless: pa.Table
    revoked: frozenset[Place]
    explained: frozenset[Place]
    called: frozenset[Place]
    judged: Judged


NOTHING_DECIDED: Final = Decided(MATCHES.empty_table(), HALVES.empty_table(), ROOTLESS.empty_table(), frozenset(), frozenset(), frozenset(), Judged())


class Propagation:
    """Waits, learns, and decides; `dropped` counts what limits left out, by limit."""

    def __init__(self, hold_nanos: int) -> None:
        """Start with nothing.

        Args:
            hold_nanos: how long a half waits at least, so that the traces on both sides can settle.
        """
        self._hold = hold_nanos
        self.callers = self._callers = Pool()
        self._receivers, self._standby = Pool(), Standby()
        self._learned: dict[str, bool] = {}
        self._freed: dict[Place, int] = {}
        self._found: dict[int, Match] = {}
        """Matches by their receiver's key, for as long as it is kept."""
        self.came: list[Gap] = []
        """Of the callers that came last: whether their callee is gone from their trace as a whole."""
        self.operations, self.delays, self.separations = Operations(), Delays(), Separations()
        self.dropped: Counter[AnalysisLimit] = Counter()

    # ------------------------------------------------------------------ learning

    def learn(self, made: Relation, earlier: Relation | None, fresh: Mask, now: float) -> Operated:
        """Learn from the traces of a pass; `earlier` is what was learned of the same traces before."""
        self.operations.turn(now)
        self.separations.turn(now)
        seen = operated(made)
        self.operations.learn(kin(made, seen))
        if earlier is not None:
            self.operations.learn(kin(earlier, operated(earlier)), -1)
        self.delays.learn(made, fresh)
        return seen

    # ------------------------------------------------------------------ waiting

    def come(self, made: Relation, seen: Operated, again: Mask, until: int, known: Knowledge) -> pa.Table:
        """Take the lonely halves of a pass; those of traces looked at before replace what waited of these traces.

        Give, as rows of MATCHES, the receivers that name an absent parent and whose caller is in their own trace: a context was changed.
        """
        callers = lonely_callers(made, seen, self.operations, again, known)
        # where no caller stands alone anywhere, entries that never had one are what they seem: most systems have thousands a minute
        sought = bool(callers.num_rows or self._callers.rows.num_rows) or says_requests(made.forest)
        receivers = lonely_receivers(made, seen, self.operations, again, all_entries=sought)
        dangling = np.asarray(receivers.column("parent_span_id")) != 0
        entries = receivers.filter(pa.array(~dangling))
        if again.any():
            self._renew(made, again)
        mangled, taken = self._within(callers, receivers.filter(pa.array(dangling)), known)
        callers = callers.filter(pa.array(~taken))
        self.came = of_callers(callers, known.answered)
        straight = self._standby.come(made, again, pa.concat_tables([entries, self._receivers.rows]))
        self.dropped[AnalysisLimit.STANDBY] = self._standby.dropped
        self._callers.add(pa.concat_tables([callers, straight]), until, self._hold)
        self._receivers.add(entries, until, self._hold)
        self._bound(until)
        return mangled

    def _within(self, callers: pa.Table, dangling: pa.Table, known: Knowledge) -> tuple[pa.Table, Mask]:
        """Match receivers whose parent is absent with callers of the same trace; mark the callers that have their receiver so."""
        traces = np.unique(mix(*ids(dangling)[:2]))
        near = np.flatnonzero(np.isin(mix(*ids(callers)[:2]), traces))
        rows = callers.take(pa.array(near))
        found = [m for m in self._matched(rows, dangling, known).matches if sure(m)]
        taken = np.zeros(callers.num_rows, bool)
        taken[near[[m.caller for m in found]]] = True
        return _table(found, rows, dangling), taken

    def _renew(self, made: Relation, again: Mask) -> None:
        """Forget what waited of traces that are looked at again, and free the other halves: they are matched anew, with what is known now."""
        ids = [np.asarray(made.forest.spans.column(name))[again] for name in ("trace_id_high", "trace_id_low")]
        traces = np.unique(mix(*ids))
        self._part(traces)
        for mine, others in ((self._callers, self._receivers), (self._receivers, self._callers)):
            gone = np.isin(mine.traces, traces)
            freed = np.isin(others.partner, mine.keys[gone]) & (others.partner != 0)
            if mine is self._callers:
                for place, partner in zip(places(others.rows.filter(pa.array(freed))), others.partner[freed].tolist(), strict=True):
                    self._freed[place] = partner
            others.looks[freed] = 0
            others.next[freed] = -EVER
            others.partner[freed] = 0
        for pool in (self._callers, self._receivers):
            pool.keep(~np.isin(pool.traces, traces))

    def _part(self, traces: Unsigned) -> None:
        """Take back what was counted of the pairs of which a half lies in some traces."""
        paired = np.flatnonzero(self._receivers.partner != 0)
        callers = {key: at for at, key in enumerate(self._callers.keys.tolist())} if len(paired) else {}
        of_receivers, of_callers = (np.isin(pool.traces, traces) for pool in (self._receivers, self._callers))
        pairs = [(at, callers.get(partner)) for at, partner in zip(paired.tolist(), self._receivers.partner[paired].tolist(), strict=True)]
        gone = [(at, caller) for at, caller in pairs if caller is not None and (of_receivers[at] or of_callers[caller])]
        self._rejoin([at for at, _ in gone], [caller for _, caller in gone], -1)

    def _rejoin(self, receivers: list[int], callers: list[int], sign: int = 1) -> None:
        """Count pairs of halves, by their rows, with the habits of what was called."""
        called = self._receivers.rows.select(["service_key", "kind", "called"]).take(pa.array(receivers, pa.int64()))
        calling = self._callers.rows.column("service_key").take(pa.array(callers, pa.int64()))
        for (service, kind, name, caller), number in Counter(zip(*(column.to_pylist() for column in (*called.columns, calling)), strict=True)).items():
            self.operations.rejoin((service, kind, name), caller, sign * number)

    def _bound(self, until: int) -> None:
        # an entry point that nobody called in time is mostly none of ours; its caller may come late
        entries = np.flatnonzero(self._entries())[:-MAX_ENTRIES]
        kept = np.ones(self._receivers.rows.num_rows, bool)
        kept[entries] = False
        self._receivers.keep(kept)
        for pool in (self._callers, self._receivers):
            pool.keep((pool.since > until - KEEP_NANOS) | (pool.looks <= len(LOOKS_AFTER)))
            surplus = pool.rows.num_rows - MAX_WAITING
            if surplus > 0:
                mask = np.ones(pool.rows.num_rows, bool)
                # first those that were decided and are only kept for a half that comes late
                gone = np.lexsort((pool.since, pool.has_callers, ~pool.decided))[:surplus]
                mask[gone] = False
                self.dropped[AnalysisLimit.WAITING_HALVES] += int(np.count_nonzero(~pool.decided[gone]))
                pool.keep(mask)
        if len(self._found) > np.count_nonzero(self._receivers.partner):
            matched = set(self._receivers.keys[self._receivers.partner != 0].tolist())
            self._found = {key: one for key, one in self._found.items() if key in matched}

    # ------------------------------------------------------------------ deciding

    def due(self, until: int) -> bool:
        """Say whether any half is to be decided, or decided anew, by `until` (arrival, ns)."""
        return bool((self._callers.next <= until).any() or (self._receivers.next <= until).any())

    def decide(self, until: int, known: Knowledge) -> Decided:
        """Decide what has waited long enough by `until` (arrival, ns; EVER: everything)."""
        due_callers, due_receivers = self._callers.next <= until, self._receivers.next <= until
        matches, explained, called = MATCHES.empty_table(), frozenset[Place](), frozenset[Place]()
        matched_before = self._receivers.partner != 0
        if due_callers.any() or due_receivers.any():
            free_callers = np.flatnonzero(self._callers.partner == 0)
            matches, explained, called = self._pair(free_callers, self._free_receivers(due_callers, due_receivers), known)
        told = self._told_again(due_receivers & matched_before)
        alone = self._callers.rows.filter(pa.array(due_callers & (self._callers.partner == 0) & self._calls()))
        rootless = self._with_habits(self._receivers.rows.filter(pa.array(due_receivers & (self._receivers.partner == 0))))
        anew = [pool.rows.filter(pa.array(due & pool.decided & (pool.partner == 0))) for pool, due in self._sides(due_callers & self._calls(), due_receivers)]
        judged = Judged(*(frozenset(places(rows)) for rows in (*anew, told)))
        for pool, due in self._sides(due_callers, due_receivers):
            pool.looked_at(due)
        return Decided(pa.concat_tables([matches, told]), alone, rootless, self._revoked(), explained, called, judged)

    def _calls(self) -> Mask:
        """Mark the callers that called for certain: a SERVER that nobody was seen to miss may only turn out to be one."""
        kind, expected = np.asarray(self._callers.rows.column("kind")), self._callers.rows.column("expected")
        certain: Mask = (kind != SpanKind.SERVER) | np.asarray(pc.not_equal(expected, "")).astype(bool)
        return certain

    def _entries(self) -> Mask:
        """Mark the receivers that were decided, have no caller, and are of an operation that had none when they came."""
        entries: Mask = self._receivers.decided & (self._receivers.partner == 0) & ~self._receivers.has_callers
        return entries

    def _free_receivers(self, due_callers: Mask, due_receivers: Mask) -> Ints:
        """Choose the receivers that may be matched: where delays are known, those near a half that is to be decided, as its own or its rivals.

        Where they are not, the newest of all take part, since they are learned from what fits; of entries that were left alone, those near a
        caller that is to be decided.
        """
        starts = [np.asarray(pool.rows.column("start_time_unix_nano")) for pool in (self._callers, self._receivers)]
        sought = np.sort(starts[0][due_callers & (self._callers.partner == 0)])
        near = close_to(starts[1], sought, REACH_NANOS) | ~self._entries()
        unlearned = np.flatnonzero(near & ~self._of_learned())
        chosen: Mask = due_receivers | (near & close_to(starts[1], np.sort(np.concatenate([sought, starts[1][due_receivers]])), RIVALS_NANOS))
        chosen[unlearned[np.argsort(starts[1][unlearned], kind="stable")[-MAX_UNLEARNED:]]] = True
        self.dropped[AnalysisLimit.MATCH_UNLEARNED] += max(0, len(unlearned) - MAX_UNLEARNED)
        return np.flatnonzero(chosen & (self._receivers.partner == 0))

    def _of_learned(self) -> Mask:
        """Mark the receivers of services the delays of whose edges were all known when they were matched last."""
        services = pa.array([service for service, known in self._learned.items() if known], pa.string())
        return np.asarray(pc.is_in(self._receivers.rows.column("service_name"), services)).astype(bool)

    def _sides(self, callers: Mask, receivers: Mask) -> tuple[tuple[Pool, Mask], tuple[Pool, Mask]]:
        return (self._callers, callers), (self._receivers, receivers)

    def _told_again(self, due: Mask) -> pa.Table:
        """Give the matches of some receivers, as they were found: what is known of their services may be more by now."""
        rows = np.flatnonzero(due)
        callers = {key: at for at, key in enumerate(self._callers.keys.tolist())} if len(rows) else {}
        found = [(self._found.get(key), callers.get(partner), at) for key, partner, at in zip(*self._known_pairs(rows), rows.tolist(), strict=True)]
        matches = [replace(match, caller=caller, receiver=at) for match, caller, at in found if match is not None and caller is not None]
        return _table(matches, self._callers.rows, self._receivers.rows)

    def _known_pairs(self, receivers: Ints) -> tuple[list[int], list[int]]:
        return self._receivers.keys[receivers].tolist(), self._receivers.partner[receivers].tolist()

    def _with_habits(self, receivers: pa.Table) -> pa.Table:
        """Give receivers without a caller as rows of ROOTLESS; those of operations that nobody calls are what they seem."""
        service, name = (Codes.from_column(receivers.column(column)) for column in ("service_key", "called"))
        kind = np.asarray(receivers.column("kind")).astype(np.int64)
        code = (service.of * len(name.texts) + name.of) * 256 + kind
        present, place = np.unique(code, return_inverse=True)
        habits = [self._habits((service.texts[c // 256 // len(name.texts)], c % 256, name.texts[c // 256 % len(name.texts)])) for c in present.tolist()]
        named = np.array([habit[0] for habit in habits], np.int64)
        rows = np.flatnonzero(named[place] > 0)
        columns = [pa.array([habit[at] for habit in habits], type_).take(pa.array(place[rows])) for at, type_ in enumerate(_HABITS.values())]
        return pa.table([*receivers.take(pa.array(rows)).columns, *columns], schema=ROOTLESS)

    def _habits(self, operation: Operation) -> tuple[int, int, str]:
        known = self.operations.of(operation)
        return known.present + known.absent, known.roots - known.rejoined.total(), known.usual_caller

    def _revoked(self) -> frozenset[Place]:
        """Name the receivers that were freed and have now another caller, or none."""
        if not self._freed:
            return frozenset()
        now = dict(zip(places(self._receivers.rows), self._receivers.partner.tolist(), strict=True))
        revoked = frozenset(place for place, partner in self._freed.items() if now.get(place) != partner)
        self._freed.clear()
        return revoked

    def _pair(self, callers: Ints, receivers: Ints, known: Knowledge) -> tuple[pa.Table, frozenset[Place], frozenset[Place]]:
        near, far = self._callers.rows.take(pa.array(callers)), self._receivers.rows.take(pa.array(receivers))
        found = [m for m in self._matched(near, far, known).matches if sure(m)]
        caller_keys, receiver_keys = self._callers.keys, self._receivers.keys
        decided = self._callers.decided[callers], self._receivers.decided[receivers]
        told, told_roots = [m.caller for m in found if decided[0][m.caller]], [m.receiver for m in found if decided[1][m.receiver]]
        certain = self._calls()  # the others may have called more than one
        for one in found:
            caller, receiver = int(callers[one.caller]), int(receivers[one.receiver])
            if certain[caller]:
                self._callers.partner[caller] = receiver_keys[receiver]
            self._receivers.partner[receiver] = caller_keys[caller]
            self._found[int(receiver_keys[receiver])] = one
        self._rejoin([int(receivers[m.receiver]) for m in found], [int(callers[m.caller]) for m in found])
        mine, theirs = near.take(pa.array([m.caller for m in found], pa.int64())), far.take(pa.array([m.receiver for m in found], pa.int64()))
        self.delays.learn_matches(mine, theirs)
        self.separations.learn_broken(mine, theirs)
        explained, called = (frozenset(places(side.take(pa.array(rows, pa.int64())))) for side, rows in ((near, told), (far, told_roots)))
        return _table(found, near, far), explained, called

    def _matched(self, callers: pa.Table, receivers: pa.Table, known: Knowledge) -> Matching:
        if not callers.num_rows or not receivers.num_rows:
            return Matching()
        matching = match(callers, receivers, known, self.delays.of)
        self.dropped.update({AnalysisLimit(f"match_{limit}"): number for limit, number in matching.skipped.items()})
        if len(self._learned) > MAX_UNLEARNED:
            self._learned.clear()
        self._learned.update(matching.learned)
        return matching

    def waiting_services(self) -> tuple[list[str], list[str]]:
        """Name the services of callers, and of receivers whose like have callers, that are without their other half."""
        sought = (self._callers, self._callers.partner == 0), (self._receivers, (self._receivers.partner == 0) & self._receivers.has_callers)
        callers, receivers = (pc.unique(pool.rows.column("service_name").filter(pa.array(mask))).to_pylist() for pool, mask in sought)
        return callers, receivers

    def contexts(self) -> pa.Table:
        """Give what is known of each pair of services with a broken call."""
        return context_history(self.operations, self.separations)

    # ------------------------------------------------------------------ across restarts

    def unfinished(self) -> list[tuple[int, int]]:
        """Name the traces of halves without another one: of callers, of receivers whose operation has callers, and of entries that wait, the newest first."""
        free = [(pool, pool.partner == 0) for pool in (self._callers, self._receivers)]
        entries = self._receivers.decided | self._receivers.has_callers
        chosen = (free[0], (self._receivers, free[1][1] & self._receivers.has_callers), (self._receivers, free[1][1] & ~entries))
        return [place[:2] for pool, mask in chosen for place in reversed(places(pool.rows.filter(pa.array(mask))))]

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values; what waits is not kept."""
        return {"operations": self.operations.dump(), "delays": self.delays.dump(), "separations": self.separations.dump()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        self.operations.load(state["operations"])
        self.delays.load(state["delays"])
        if "separations" in state:
            self.separations.load(state["separations"])


def _table(found: list[Match], callers: pa.Table, receivers: pa.Table) -> pa.Table:
    theirs = receivers.take(pa.array([m.receiver for m in found], pa.int64()))
    mine = callers.take(pa.array([m.caller for m in found], pa.int64()))
    facts = [pa.array([getattr(m, name) for m in found], kind) for name, kind in _MATCH_COLUMNS.items()]
    return pa.table([*theirs.columns, *mine.columns, *facts], schema=MATCHES)


def sure(found: Match) -> bool:
    """Say whether a match may be told: fits that chance does not make, and either the pair or at least the service is clear."""
    return found.chance <= CHANCE and (found.confidence >= _PAIR or found.service_confidence >= _SERVICE)


_PAIR: Final = 0.5
_SERVICE: Final = 0.9
