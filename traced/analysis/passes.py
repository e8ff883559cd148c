"""One pass over settled traces: graph, history, detectors. The same for the daemon and for `traced analyze`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import pyarrow as pa
import structlog

from traced.analysis.concluding import conclude
from traced.analysis.dangling import SpanSource
from traced.analysis.edge_history import Meaning
from traced.analysis.hasty import HastyClaims
from traced.analysis.late_links import LateLinks
from traced.analysis.link_targets import LinkTargets
from traced.analysis.messages import Messages
from traced.analysis.outcome import Outcome
from traced.analysis.pool import EVER
from traced.analysis.settled import Settled
from traced.analysis.structure import Structure
from traced.analysis.waiting import TABLES as WAITED
from traced.analysis.waiting import Told, Waiting
from traced.config import AnalysisSettings, GraphSettings
from traced.detectors import Detector
from traced.errors import ConfigurationError
from traced.graph import relation
from traced.graph.absence import Absences
from traced.graph.calls import Naming
from traced.graph.causes import LOCAL_LOSS, with_causes
from traced.graph.columns import Mask, used
from traced.graph.forest import Forest
from traced.graph.history import History
from traced.graph.losses import LossLedger
from traced.graph.service_graph import ByMinute, difference, edges, total
from traced.graph.timelines import Timelines
from traced.graph.trace_ids import RecentTraceIds
from traced.graph.view import View
from traced.graph.weights import weighed
from traced.migration.sided import MIGRATING, NO_HABITS, migrating
from traced.model.migration import Migration
from traced.model.occurrence import Occurrence
from traced.model.schema_rules import SchemaRules
from traced.store.queries import NamedQuery, load_folder
from traced.store.workbench import Workbench
from traced.telemetry import FindingsLimit, Telemetry

log = structlog.get_logger(__name__)

MAX_ROWS_PER_DETECTOR: Final = 100_000
JOINED_SHARE: Final = 0.75
"""Of `late_window_seconds`: a trace is looked at for the last time so long after its first span, while all of it is still within reach."""
_THREADS: Final = 2
_ORPHAN: Final = "orphan_span"
_MESSAGES: Final = "messages"
_MIGRATIONS: Final = "migrations"
_MINUTE_NANOS: Final = 60_000_000_000


class Passes:
    """Runs passes; keeps what is learned from one to the next."""

    def __init__(
        self,
        workbench: Workbench,
        links: SpanSource,
        detectors: tuple[Detector, ...],
        graph: GraphSettings,
        telemetry: Telemetry,
        settings: AnalysisSettings,
        max_rows_per_detector: int | None = MAX_ROWS_PER_DETECTOR,
        hold_nanos: int = 0,
    ) -> None:
        """Wire the passes.

        Args:
            workbench: where the queries run.
            links: where linked spans are found that are not among those of a pass.
            detectors: what looks.
            graph: how virtual nodes are named.
            telemetry: where failures and what limits drop are counted.
            settings: whether all spans of the system come here.
            max_rows_per_detector: None keeps every row (for files, where nothing may be left out).
            hold_nanos: how long half of a call waits for its other half in another trace.

        Raises:
            ConfigurationError: a detector has no query of its name.
        """
        self._workbench = workbench
        self._threads = ThreadPoolExecutor(_THREADS, "analysis-columns")
        self._links = LinkTargets(workbench, links, telemetry)
        self._detectors = detectors
        self._graph = graph
        self._telemetry = telemetry
        self._kept_nanos = int(settings.late_window_seconds * 1e9 * JOINED_SHARE)
        self._max_rows = max_rows_per_detector
        self._analysis_queries = load_folder("analysis")
        self._queries = load_folder("detectors")
        without = [detector.id for detector in detectors if detector.id not in self._queries]
        if without:
            raise ConfigurationError(f"no query of this name: {', '.join(without)}", next_safe_actions=("Add it to queries/detectors.",))
        self.history = History()
        self.late_links = LateLinks()
        self.messages = Messages(workbench)
        self.migrations: tuple[Migration, ...] = ()
        """What `pass_migrating` says of messages; see `migrate`."""
        self.habits = NO_HABITS
        """What the latest reports of the migrations say, for detectors that have to know of more than a pass."""
        self.absences = Absences()
        self.trace_ids = RecentTraceIds()
        self.waiting = Waiting(telemetry, links, self.trace_ids, self.history, self.absences, hold_nanos)
        self.propagation = self.waiting.propagation
        self.losses = LossLedger()
        self.timelines = Timelines()
        self.structure = Structure()
        self.view = View(settings.view)
        self._waited: dict[str, pa.Table] = {}
        self.hasty = HastyClaims()
        self._time = 0.0
        self.reporting: dict[str, float] = {}

    def migrate(self, migrations: tuple[Migration, ...]) -> None:
        """Read versions as migrations say, and show detectors which messages are theirs; to be called before the first pass."""
        self.migrations, self.messages = migrations, Messages(self._workbench, SchemaRules.of(migrations))

    def run(self, settled: Settled, now: float, until: int = 0, *, learn_only: bool = False) -> Outcome:
        """Look at settled traces.

        Args:
            settled: what to look at.
            now: unix seconds, for the history's windows.
            until: up to which arrival (ns) everything was handed out: the clock by which halves of calls wait.
            learn_only: only add to the history (a first round over files).
        """
        if not settled.spans.num_rows and not settled.repeats.num_rows:
            outcome = self.waited(until)
            outcome.truncated = settled.truncated
            return outcome
        outcome = Outcome(truncated=settled.truncated)
        self._time = now
        forest = Forest(settled.spans, self._threads.map)
        forest.silence(np.bincount(forest.trace[settled.unsettled], minlength=forest.traces) > 0)
        self._learn_names(forest, now)
        made = self._relate(forest)
        earlier = self._relate(Forest(settled.before, self._threads.map)) if settled.before.num_rows else None
        counted = self._threads.submit(_edges, made, earlier)
        tables = relation.tables(made, settled.again, settled.repeats, self.trace_ids)
        self._workbench.register(tables)
        clocks = self._workbench.rows(self._analysis_queries["clock_pairs"])
        outcome.minutes = counted.result()
        # what may fail is behind us: a pass that is tried again must not learn twice
        self.history.turn(now)
        self.absences.turn(now)
        self.view.turn(now)
        self.view.learn(made, settled.fresh)
        self.history.learn_clocks(relation.with_examples(made, clocks))
        repeats = relation.repeats_by_instance(tables["pass_repeats"].filter(pa.array(~settled.repeats_before)))
        self.history.learn_instances(relation.spans_by_instance(forest, settled.fresh), repeats)
        self._learn_slots(made, earlier)
        seen = self.propagation.learn(made, earlier, settled.fresh, now)
        self._workbench.register(self.structure.tables(made, earlier, seen, now, learn_only=learn_only))
        if learn_only:
            return outcome
        self.timelines.learn(forest, settled.fresh)
        known = self.history.tables(relation.instances(tables["pass_repeats"], tables["pass_twins"]))
        orphans = self.absences.learn(made, earlier, settled.fresh, seen, self.propagation.operations, self.history.answered)
        self._tell(outcome, self.waiting.pass_over(made, seen, settled.again, settled.fresh, until, now))
        evidence = self.absences.evidence(orphans, self.propagation.operations, until, self._kept_nanos)
        self._workbench.register({"orphan_evidence": evidence, **known})
        self._find_messages(outcome, made, earlier, settled.fresh)
        self._withdraw_hasty(outcome)
        self._conclude(outcome, forest)
        self._detect(outcome, self._detectors, forest)
        self._count(outcome, forest, settled, made.pass_traces)
        messages = self.late_links.come(forest, settled.fresh)
        if messages:
            outcome.minutes[until // _MINUTE_NANOS] = total([outcome.minutes.get(until // _MINUTE_NANOS, {}), messages])
        outcome.edges = total(outcome.minutes.values())
        self.late_links.wait(made, settled.fresh)
        return outcome

    def finish(self) -> Outcome:
        """Decide all halves of calls that still wait: nothing comes any more."""
        return self.waited(EVER)

    def waited(self, until: int) -> Outcome:
        """Decide the halves of calls that have waited long enough by `until` (arrival, ns), without any new trace."""
        outcome = Outcome()
        if self.waiting.due(until):
            self._workbench.register(self.history.tables())
            self._tell(outcome, self.waiting.decide(until))
            self._detect(outcome, tuple(d for d in self._detectors if any(table in self._queries[d.id].driven_by for table in WAITED)))
        return outcome

    def _find_messages(self, outcome: Outcome, made: relation.Relation, earlier: relation.Relation | None, fresh: Mask) -> None:
        try:
            outcome.messages, outcome.flows = self.messages.look(made, earlier, fresh)
        except Exception as error:  # the detector fence: by now the pass has learned, and must not be run again
            self._telemetry.detector_errors.labels(_MESSAGES).inc()
            self.messages.unread += made.forest.count
            log.exception("messages_failed", error=repr(error))
        table = MIGRATING.empty_table()
        try:
            whole = np.asarray(made.pass_traces.column("complete"))[made.forest.trace[self.messages.seen_at]]
            table = migrating(self.migrations, self.messages.seen, whole, self.habits)
        except Exception as error:  # the detector fence, for those of migrations
            self._telemetry.detector_errors.labels(_MIGRATIONS).inc()
            log.exception("migrations_failed", error=repr(error))
        self._workbench.register({"pass_migrating": table})

    def _conclude(self, outcome: Outcome, forest: Forest) -> None:
        """Say why the parents of orphans are absent."""
        causes = self.view.told(with_causes(self._workbench.run(self._analysis_queries["orphan_facts"])))
        concluded = conclude(causes, forest, self.losses, self.timelines)
        self._workbench.register(concluded.tables)
        outcome.undecided, outcome.early, outcome.later = concluded.undecided, concluded.early, concluded.later
        outcome.undecided |= self.waiting.cut_traces.take_again()

    def _tell(self, outcome: Outcome, told: Told) -> None:
        self._workbench.register(told.tables)
        self._waited = told.tables
        outcome.withdrawn, outcome.judged, outcome.failed = told.withdrawn, told.judged, told.failed

    def meaning(self) -> Meaning:
        """Give what is known by now of far ends that were only names."""
        return Meaning({name: service for name, service in self.history.aliases().items() if service}, frozenset(self.reporting))

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values."""
        return {
            "history": self.history.dump(),
            "late_links": self.late_links.dump(),
            "messages": self.messages.dump(),
            "propagation": self.waiting.dump(),
            "structure": self.structure.dump(),
            "reporting": dict(self.reporting),
            "losses": self.losses.dump(),
            "view": self.view.dump(),
            "absences": self.absences.dump(),
            "trace_ids": self.trace_ids.dump(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        self.history.load(state["history"])
        self.late_links.load(state["late_links"])
        if "messages" in state:
            self.messages.load(state["messages"])
        self.waiting.load(state["propagation"])
        if "losses" in state:
            self.losses.load(state["losses"])
        self.structure.load(state.get("structure", {}))
        self.view.load(state["view"])
        # a state of before they were kept: until samplers are learned again the cause is unknown, and decided anew
        if "absences" in state:
            self.absences.load(state["absences"])
        self.trace_ids.load(state.get("trace_ids", ()))
        self.reporting = {str(name): float(seen) for name, seen in state["reporting"].items()}

    # ------------------------------------------------------------------ parts of a pass

    def _relate(self, forest: Forest) -> relation.Relation:
        naming = Naming(self._graph.virtual_callers, self._graph.virtual_callees, frozenset(self.reporting), self.history.aliases())
        self.waiting.cut_traces.join(forest)
        return relation.build(forest, naming, self._links.resolve(forest), self.waiting.cut_traces)

    def _learn_names(self, forest: Forest, now: float) -> None:
        for code in used(forest.service.of[~forest.nameless]):
            self.reporting[forest.service.texts[code]] = now
        if len(self.reporting) > 10_000:
            oldest = sorted(self.reporting, key=self.reporting.__getitem__)[:1000]
            for name in oldest:
                del self.reporting[name]

    def _learn_slots(self, made: relation.Relation, earlier: relation.Relation | None) -> None:
        self.history.learn_slots(relation.slots(made))
        if earlier is not None:
            self.history.learn_slots(relation.slots(earlier), -1)

    def _detect(self, outcome: Outcome, chosen: tuple[Detector, ...], forest: Forest | None = None) -> None:
        failed = {detector.id for detector in self._detectors if detector.lasting} | outcome.failed
        for detector in chosen:
            if detector.whole_view and self.view.partial:
                continue
            started = time.perf_counter()
            try:
                outcome.occurrences.extend(self._fenced(detector, self._queries[detector.id]))
            except Exception as error:  # the detector fence: one that fails must not stop the others
                failed.add(detector.id)
                self._telemetry.detector_errors.labels(detector.id).inc()
                log.exception("detector_failed", detector=detector.id, error=repr(error))
            self._telemetry.detector_seconds.labels(detector.id).inc(time.perf_counter() - started)
        outcome.failed = frozenset(failed)
        outcome.occurrences = weighed(outcome.occurrences, forest, self._waited)
        if self.view.unsure:
            whole = {detector.id for detector in chosen if detector.whole_view or detector.id == _ORPHAN}
            self.hasty.note((o.key for o in outcome.occurrences if o.id in whole and o.cause != LOCAL_LOSS), self._time)

    def _withdraw_hasty(self, outcome: Outcome) -> None:
        """Take back what was called missing before it could be told that others' spans do not come here."""
        if not self.view.unsure:
            taken = self.hasty.take()
            outcome.withdrawn |= taken if self.view.partial else frozenset()

    def _fenced(self, detector: Detector, query: NamedQuery) -> list[Occurrence]:
        rows = self._workbench.rows(query)
        if self._max_rows is not None and len(rows) > self._max_rows:
            self._telemetry.drop_findings(FindingsLimit.MAX_ROWS_PER_DETECTOR, len(rows) - self._max_rows)
            del rows[self._max_rows :]
        found: dict[tuple[str, int, int, int], Occurrence] = {}
        for occurrence in detector.detect(rows):
            if occurrence.id != detector.id:
                raise ValueError(f"{detector.id} claims in the name of {occurrence.id}")
            # two spans may bear one id (one service under two names): one line for both, the same in any order of arrival
            known = found.setdefault(occurrence.key, occurrence)
            if (occurrence.service, occurrence.signal_name) < (known.service, known.signal_name):
                found[occurrence.key] = occurrence
        return list(found.values())

    def _count(self, outcome: Outcome, forest: Forest, settled: Settled, traces: pa.Table) -> None:
        texts = forest.service.texts
        seen = np.bincount(forest.service.of, minlength=len(texts))
        fresh = np.bincount(forest.service.of[settled.fresh], minlength=len(texts))
        outcome.services = frozenset(text for text, n in zip(texts, seen, strict=True) if n)
        for text, number in zip(texts, fresh.tolist(), strict=True):
            if number:
                outcome.spans_by_service[text] += number
        first = np.asarray(traces.column("row"))
        old = settled.again[first]
        complete = np.asarray(traces.column("complete"))
        outcome.complete, outcome.incomplete = int((complete & ~old).sum()), int((~complete & ~old).sum())
        # of a silenced trace nothing is withdrawn: not all of it could be looked at
        outcome.again = _ids(forest, first[old & ~forest.silenced])


def _ids(forest: Forest, rows: np.ndarray[Any, Any]) -> frozenset[tuple[int, int]]:
    """Give the trace ids of some rows."""
    ids = forest.spans.select(["trace_id_high", "trace_id_low"]).take(pa.array(rows))
    return frozenset(zip(ids.column(0).to_pylist(), ids.column(1).to_pylist(), strict=True))


def _edges(made: relation.Relation, earlier: relation.Relation | None) -> ByMinute:
    """Give the edges of a pass, less those that an earlier one counted of the same traces."""
    return edges(made.calls) if earlier is None else difference(edges(made.calls), edges(earlier.calls))
