"""What is said of halves of calls once they have waited: matched, left alone, or owed an answer; the tables that their detectors read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import structlog

from traced.analysis.propagation import CONTEXTS, MATCHES, NOTHING_DECIDED, Decided, Propagation
from traced.graph.absence import Absences
from traced.graph.columns import Mask
from traced.graph.history import History
from traced.graph.identity import Knowledge
from traced.graph.operations import Operated
from traced.graph.relation import Relation
from traced.graph.unanswered import LONELY, Callees
from traced.model.occurrence import OccurrenceKey
from traced.telemetry import Telemetry

log = structlog.get_logger(__name__)

TABLES: Final = ("pass_matches", "pass_lonely", "pass_rootless")
"""Tables of halves of calls that waited; detectors that read them look also where no new trace came."""
_BROKEN: Final = "broken_propagation"
_OF_CALLERS: Final = ("missing_server_span", "missing_consumer_span", "silent_service")
_OF_RECEIVERS: Final = ("unexpected_root",)
DETECTORS: Final = frozenset({_BROKEN, *_OF_CALLERS, *_OF_RECEIVERS})
"""Detectors whose earlier claims stay where halves could not be matched."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of halves.

    Attributes:
        tables: what detectors read: `pass_mangled`, `pass_matches`, `pass_lonely`, `pass_rootless`, `context_history`.
        withdrawn: earlier occurrences that a half in another trace refutes.
        failed: detectors that could not look.
    """

    tables: dict[str, pa.Table]
    withdrawn: frozenset[OccurrenceKey]
    failed: frozenset[str]


class Waiting:
    """Lets halves come, and decides those that have waited."""

    def __init__(self, telemetry: Telemetry, history: History, absences: Absences, hold_nanos: int) -> None:
        """Wire it.

        Args:
            telemetry: where failures are counted.
            history: who answers what.
            absences: what is known of samplers.
            hold_nanos: how long a half waits for its other half in another trace.
        """
        self._telemetry = telemetry
        self._history = history
        self._absences = absences
        self._known = Knowledge(history.answered, history.reached)
        self.propagation = Propagation(hold_nanos)
        self.callees = Callees()

    def pass_over(self, made: Relation, seen: Operated, again: Mask, until: int) -> Told:
        """Take the lonely halves of a pass, and decide those that have waited long enough by `until` (arrival, ns)."""
        return self._fenced(until, (made, seen, again))

    def decide(self, until: int) -> Told:
        """Decide those that have waited long enough by `until` (arrival, ns), though nothing new came."""
        return self._fenced(until)

    def _fenced(self, until: int, new: tuple[Relation, Operated, Mask] | None = None) -> Told:
        """Work inside the detectors' fence, since a pass must not learn twice."""
        mangled = MATCHES.empty_table()
        try:
            if new is not None:
                made, seen, again = new
                self.callees.learn(made)
                mangled = self.propagation.come(made, seen, again, until, self._known)
                self._learn_parts()
            decided = self.propagation.decide(until, self._known)
            lonely = self.callees.judge(decided.lonely, self._history, self._absences.samplers, self._absences.parts)
            return Told(_tables(mangled, decided, lonely, self.propagation.contexts()), _withdrawn(decided), frozenset())
        except Exception as error:  # the detector fence
            self._telemetry.detector_errors.labels("matching").inc()
            log.exception("matching_failed", error=repr(error))
            return Told(_tables(mangled, NOTHING_DECIDED, LONELY.empty_table(), CONTEXTS.empty_table()), frozenset(), DETECTORS)

    def _learn_parts(self) -> None:
        """Tell of the callers that came just now whether their callee is gone from their trace as a whole."""
        for service, callee_gone in self.propagation.came.items():
            gone, remains = callee_gone
            self._absences.parts.learn(callee_gone=[service] * gone, remains=[service] * remains)

    @property
    def dropped(self) -> int:
        """Count what limits left out of what was learned."""
        return self.propagation.operations.dropped + self.propagation.delays.dropped + self.callees.dropped

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values; what waits is not kept."""
        return self.propagation.dump()

    def load(self, state: Any) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        self.propagation.load(state)


def _tables(mangled: pa.Table, decided: Decided, lonely: pa.Table, contexts: pa.Table) -> dict[str, pa.Table]:
    return {"pass_mangled": mangled, "pass_matches": decided.matches, "pass_lonely": lonely, "pass_rootless": decided.rootless, "context_history": contexts}


def _withdrawn(decided: Decided) -> frozenset[OccurrenceKey]:
    revoked = {(_BROKEN, *place) for place in decided.revoked}
    answered = {(detector, *place) for detector in _OF_CALLERS for place in decided.explained}
    called = {(detector, *place) for detector in _OF_RECEIVERS for place in decided.called}
    return frozenset(revoked | answered | called)
