"""What is said of halves of calls once they have waited: matched, left alone, or owed an answer; the tables that their detectors read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import structlog

from traced.analysis import dangling
from traced.analysis.dangling import DanglingLinks, SpanSource
from traced.analysis.pool import Place
from traced.analysis.propagation import MATCHES, NOTHING_DECIDED, Decided, Judged, Propagation
from traced.graph.absence import Absences
from traced.graph.columns import Mask
from traced.graph.context_history import CONTEXTS, with_proxies
from traced.graph.cut_traces import CutTraces
from traced.graph.history import History
from traced.graph.identity import Knowledge
from traced.graph.operations import Operated
from traced.graph.relation import Relation
from traced.graph.trace_ids import RecentTraceIds
from traced.graph.unanswered import LONELY, Callees
from traced.model.occurrence import OccurrenceKey
from traced.telemetry import Telemetry

log = structlog.get_logger(__name__)

TABLES: Final = ("pass_matches", "pass_lonely", "pass_rootless", "pass_dangling")
"""Tables of halves of calls, and links, that waited; detectors that read them look also where no new trace came."""
MAX_UNFINISHED: Final = 5_000
"""Traces that are looked at again after a restart, because something of them waited."""
_BROKEN: Final = "broken_propagation"
_OF_CALLERS: Final = ("missing_server_span", "missing_consumer_span", "silent_service")
_OF_RECEIVERS: Final = ("unexpected_root",)
DETECTORS: Final = frozenset({_BROKEN, *_OF_CALLERS, *_OF_RECEIVERS, dangling.DETECTOR})
"""Detectors that could not look where halves could not be matched: their earlier claims stay, and it is counted as an error of each."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of halves.

    Attributes:
        tables: what detectors read: `pass_mangled`, TABLES, `context_history`.
        withdrawn: earlier occurrences that a half in another trace refutes.
        judged: earlier occurrences that hold no more unless a detector finds them again.
        failed: detectors that could not look.
    """

    tables: dict[str, pa.Table]
    withdrawn: frozenset[OccurrenceKey]
    judged: frozenset[OccurrenceKey]
    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class _New:
    made: Relation
    seen: Operated
    again: Mask
    fresh: Mask
    now: float


class Waiting:
    """Lets halves come, and decides those that have waited."""

    def __init__(self, telemetry: Telemetry, store: SpanSource, trace_ids: RecentTraceIds, history: History, absences: Absences, hold_nanos: int) -> None:
        """Wire it.

        Args:
            telemetry: where failures are counted.
            store: where spans are that no pass looked at yet.
            trace_ids: of the traces that came lately.
            history: who answers what.
            absences: what is known of samplers.
            hold_nanos: how long a half waits for its other half in another trace.
        """
        self._store, self._trace_ids = store, trace_ids
        self.links = DanglingLinks(hold_nanos)
        self.cut_traces = CutTraces(trace_ids, store.spans_by_id)
        self._telemetry = telemetry
        self._history = history
        self._absences = absences
        self._known = Knowledge(history.answered, history.reached)
        self.propagation = Propagation(hold_nanos)
        self.callees = Callees()

    def due(self, until: int) -> bool:
        """Say whether anything is to be decided, or decided anew, by `until` (arrival, ns)."""
        return self.propagation.due(until) or self.links.due(until)

    def pass_over(self, made: Relation, seen: Operated, again: Mask, fresh: Mask, until: int, now: float) -> Told:
        """Take the lonely halves of a pass, and decide those that have waited long enough by `until` (arrival, ns); `now` in unix seconds."""
        return self._fenced(until, _New(made, seen, again, fresh, now))

    def decide(self, until: int) -> Told:
        """Decide those that have waited long enough by `until` (arrival, ns), though nothing new came."""
        return self._fenced(until)

    def _fenced(self, until: int, new: _New | None = None) -> Told:
        """Work inside the detectors' fence, since a pass must not learn twice."""
        mangled, answered = MATCHES.empty_table(), self.cut_traces.take_explained()
        try:
            self.propagation.callers.forget(answered)
            if new is not None:
                self.callees.learn(new.made, new.now)
                self.links.come(new.made, new.again, new.fresh, until, new.now)
                mangled = self.propagation.come(new.made, new.seen, new.again, until, self._known)
                self._absences.learn_calls(new.made, self.propagation.came)
            decided = self.propagation.decide(until, self._known)
            if new is not None:
                self.propagation.separations.learn_intact(new.made, new.fresh, *self.propagation.waiting_services())
            lonely = self.callees.judge(decided.lonely, self._history, self._absences.samplers, self._absences.parts)
            links = self.links.decide(until, self._store, self._trace_ids, self._absences.samplers)
            tables = _tables(mangled, decided, lonely, self.propagation.contexts(), links.rows)
            tables["pass_matches"] = with_proxies(tables["pass_matches"], self._known.reached)
            return Told(tables, _withdrawn(decided, answered) | links.withdrawn, _judged(decided.judged) | links.judged, frozenset())
        except Exception as error:  # the detector fence
            for detector in DETECTORS:
                self._telemetry.detector_errors.labels(detector).inc()
            log.exception("matching_failed", error=repr(error))
            tables = _tables(mangled, NOTHING_DECIDED, LONELY.empty_table(), CONTEXTS.empty_table(), dangling.DANGLING.empty_table())
            tables["pass_matches"] = with_proxies(tables["pass_matches"], self._known.reached)
            return Told(tables, frozenset(), frozenset(), DETECTORS)

    @property
    def dropped(self) -> int:
        """Count what limits left out of what was learned."""
        return (
            self.propagation.operations.dropped
            + self.propagation.delays.dropped
            + self.propagation.separations.dropped
            + self.callees.dropped
            + self.links.dropped
            + self.cut_traces.dropped
        )

    # ------------------------------------------------------------------ across restarts

    def unfinished(self) -> list[list[int]]:
        """Name traces (high, low) of halves and links that wait for another one, the newest: to be looked at again after a restart."""
        traces = dict.fromkeys((*self.links.unfinished(), *self.propagation.unfinished()))
        return [list(trace) for trace in list(traces)[:MAX_UNFINISHED]]

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values; what waits is not kept."""
        return {**self.propagation.dump(), "links": self.links.dump()}

    def load(self, state: Any) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        self.propagation.load(state)
        self.links.load(state["links"])


def _tables(mangled: pa.Table, decided: Decided, lonely: pa.Table, contexts: pa.Table, links: pa.Table) -> dict[str, pa.Table]:
    waited = (decided.matches, lonely, decided.rootless, links)
    return {"pass_mangled": mangled, "context_history": contexts, **dict(zip(TABLES, waited, strict=True))}


def _withdrawn(decided: Decided, elsewhere: frozenset[Place]) -> frozenset[OccurrenceKey]:
    revoked = {(_BROKEN, *place) for place in decided.revoked}
    answered = {(detector, *place) for detector in _OF_CALLERS for place in decided.explained | elsewhere}
    called = {(detector, *place) for detector in _OF_RECEIVERS for place in decided.called}
    return frozenset(revoked | answered | called)


def _judged(anew: Judged) -> frozenset[OccurrenceKey]:
    sides = ((_OF_CALLERS, anew.callers), (_OF_RECEIVERS, anew.receivers), ((_BROKEN,), anew.matched))
    return frozenset((detector, *place) for detectors, places in sides for detector in detectors for place in places)
