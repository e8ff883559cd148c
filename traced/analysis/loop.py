"""The thread that runs passes, keeps up, and remembers across restarts where it was."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import structlog

from traced.analysis.edge_history import EdgeHistory
from traced.analysis.inbox import Inbox
from traced.analysis.left_out import LeftOut
from traced.analysis.listening import Listening
from traced.analysis.message_history import NO_MESSAGES, MessageHistory
from traced.analysis.migrations import Known, Migrations
from traced.analysis.outcome import Outcome
from traced.analysis.passes import Passes
from traced.analysis.revisits import Revisits
from traced.analysis.settling import Settling
from traced.analysis.slices import Slices
from traced.config import AnalysisSettings, GraphSettings
from traced.detectors import detectors
from traced.findings.ledger import Ledger
from traced.model.capture import GapReason
from traced.model.losses import ServiceAccount
from traced.model.migration import Migration
from traced.model.views import Tallies
from traced.store.store import Store
from traced.store.workbench import Workbench
from traced.telemetry import AnalysisLimit, Telemetry

log = structlog.get_logger(__name__)

_SAVES_SHARE: Final = 20
"""Saving takes at most such a part of the time: after each pass where there is little, more rarely where there is much."""
_MAX_FAILURES: Final = 10
_ATTEMPTS: Final = 3
"""So often a pass, or a part of telling what it found, may fail before it is given up."""
_MAX_SERVICES: Final = 10_000
_MAX_ACCOUNTS: Final = 100
"""Instances whose own counts the status shows."""
_STATE: Final = "analysis"
_STATE_VERSION: Final = 5
_EMPTY_LEDGER: Final[dict[str, Any]] = {"findings": [], "occurrences": [], "tallies": [], "withdrawn": [], "missing": []}


class Analysis:
    """Takes settled traces in order of arrival."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        edge_history: EdgeHistory,
        settings: AnalysisSettings,
        graph: GraphSettings,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.time,
        workbench: Workbench | None = None,
    ) -> None:
        """Wire the loop; `start` begins. Without a workbench it has one that puts nothing on disk."""
        self._store = store
        self._ledger = ledger
        self._edges = edge_history
        self._settings = settings
        self._telemetry = telemetry
        self._clock = clock
        self._workbench = workbench or Workbench()
        late, opened = int(settings.late_window_seconds * 1e9), int(settings.max_open_seconds * 1e9)
        self._settling = Settling(store, self._workbench, late, settings.late_window_traces, opened, settings.max_spans_per_pass, settings.max_spans_per_trace)
        hold = int(settings.settle_seconds * 1e9)
        self._passes = Passes(self._workbench, store, detectors(), graph, telemetry, settings, hold_nanos=hold)
        self.messages = MessageHistory(graph.max_edges, graph.history_minutes)
        """The message graph."""
        self._revisits = Revisits()
        self._due: list[tuple[int, int]] = []
        self.inbox = Inbox()
        self._message_log = store.message_log
        self.listening = Listening(store, self._message_log)
        self.watch(())
        self._settle_nanos = int(settings.settle_seconds * 1e9)
        self._slices = Slices(settings.max_spans_per_pass, lambda since, until: len(store.trace_ids_between(since, until)[0]))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)
        self._saved_at = self._save_takes = 0.0
        self._unsaved = False
        self._tallies = Tallies()
        self._failures = self._attempts = 0
        self._untold: deque[Callable[[], None]] = deque()
        """What is left to be done with what the last pass found, in this order. A pass learns, so it is never run again once it came to its end."""
        self._left_out = LeftOut(telemetry)
        self._spans: Counter[str] = Counter()
        self._looked: dict[str, float] = {}
        self.traces_analyzed = 0
        self.accounts: tuple[ServiceAccount, ...] = ()
        """What services say of their own spans, those that lost most first."""

    # ------------------------------------------------------------------ life

    def watch(self, migrations: Iterable[Migration]) -> None:
        """Judge migrations, and read the versions of messages as they say; to be called before `restore` and `start`."""
        self.migrations = Migrations(migrations, self._message_log, Known(self.listening.capture, lambda: self.analyzed_until), self._store)
        self._passes.migrate(self.migrations.configured)

    def start(self) -> None:
        """Take up where an earlier run stopped, and start the thread."""
        self.restore()
        self._thread.start()

    def restore(self) -> None:
        """Take up where an earlier run stopped; without a trace of one, or with one that cannot be read, at the first arrival.

        Raises:
            StoreError: what is kept of messages cannot be brought to where the analysis goes on.
        """
        self.listening.begin(self._clock())
        self.migrations.restore()
        state = self._store.load_state(_STATE)
        taken_up = state is not None and self._take_up(state)
        manifest = state.get("message_log") if isinstance(state, dict) else None
        # what is analysed again must not count twice, and what is not is all that there is of it
        again_after = self._settling.cut or self._store.first_arrival_after(0)
        self._message_log.restore(manifest, None if taken_up and manifest is not None else again_after)

    def _take_up(self, state: Any) -> bool:
        try:
            self._load(state)
            self._tallies = self._counted()
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            # what is stored can be looked at again; findings and counters begin anew
            log.warning("analysis_state_unreadable", error=repr(error))
            self._ledger.load(_EMPTY_LEDGER)
            self._edges.load([])
            self.messages.load(NO_MESSAGES)
            self._spans.clear()
            self.traces_analyzed = 0
            return False
        return True

    def _load(self, state: Any) -> None:
        if state["version"] != _STATE_VERSION:
            raise ValueError(f"state of version {state['version']}")
        self._ledger.load(state["ledger"])
        self._edges.load(state["edges"])
        if "messages" in state:
            self.messages.load(state["messages"])
        self._spans = Counter({str(name): int(number) for name, number in state["spans"].items()})
        self.traces_analyzed = int(state.get("traces", 0))
        self.migrations.counts.load(state.get("migrations", ()))
        self._passes.restore(state["learned"])
        self.accounts = self._passes.losses.accounts(_MAX_ACCOUNTS)
        self._edges.explain(self._passes.meaning())
        # halves of calls that waited come again with their traces, once what else was under way has settled
        self._revisits.load(state.get("revisits", ()), state.get("unfinished", ()), self._clock() + self._settings.settle_seconds)
        # last: from here on the cut counts
        self._settling.restore(state["settling"])

    def close(self) -> None:
        """Stop after the pass at hand and remember where."""
        self._closing.set()
        self._thread.join()
        self._save()
        self._workbench.close()

    @property
    def alive(self) -> bool:
        """Whether the thread runs and passes succeed."""
        return self._thread.is_alive() and self._failures < _MAX_FAILURES

    def _run(self) -> None:
        while not self._closing.is_set():
            behind = self.turn()
            self._unsaved |= self._message_log.changed
            if self._unsaved and not self._untold and time.monotonic() - self._saved_at > _SAVES_SHARE * self._save_takes:
                self._save()
            self.migrations.turn()
            self._passes.habits = self.migrations.habits
            if not behind:
                self._closing.wait(self._settings.interval_seconds)

    def turn(self) -> bool:
        """Run one pass inside the thread's fence; say whether more waits already.

        What a failed pass was to look at is looked at again, in a smaller slice; after some failures it is given up and counted. Where the pass was
        run, and telling what it found failed, only the part that failed, and those after it, are done again.
        """
        try:
            self.listening.turn(self._clock())
            behind = self.step()
        except Exception as error:
            self._failures += 1
            self._telemetry.analysis_errors.inc()
            log.exception("analysis_pass_failed", error=repr(error))
            self._try_again_or_give_up()
            return False
        self._failures = self._attempts = 0
        return behind

    def _give_up(self) -> None:
        self._telemetry.leave_out(AnalysisLimit.FAILED_PASS)
        self.listening.missed(self._settling.looked_at_until, self._settling.cut, GapReason.FAILED_PASS)

    def _try_again_or_give_up(self) -> None:
        self._attempts = (self._attempts + 1) % _ATTEMPTS
        if self._untold:
            if not self._attempts:
                self._give_up()
                self._untold.popleft()
            return
        self._slices.shorten()
        if self._attempts:
            self._settling.undo()
        elif self._settling.pending:
            self._give_up()
            self._settling.commit()
            self._revisits.looked_at(self._due)

    # ------------------------------------------------------------------ passes

    def step(self) -> bool:
        """Run one pass; say whether more waits already."""
        self._tell_rest()
        now = self._clock()
        self._learn_losses(now)
        target = min(int(now * 1e9), self._store.visible_until) - self._settle_nanos
        cut = self._settling.cut
        first = self._store.first_arrival_after(cut)
        self._telemetry.analysis_lag.set(_behind(cut, first, target))
        if target < cut or (target == cut and not self._settling.put_off):
            return False
        self._due = self._revisits.due(now)
        self._settling.revisit(self._due)
        if first is None and not self._settling.holds and not self._due:
            self._settling.skip_to(target)
            self._decide_waiting(now, target)
            return False
        until = self._slices.until(cut, target if first is None else first, target) if target > cut else cut
        with self._telemetry.analysis_pass_seconds.time():
            settled = self._settling.advance(until, until + self._settle_nanos)
            outcome = self._passes.run(settled, now, until)
        self._revisits.looked_at(trace for trace in self._due if trace not in self._settling.not_revisited)
        self._publish(outcome, now, until)
        visible = min(int(self._clock() * 1e9), self._store.visible_until)
        self._telemetry.analysis_lag.set(max(0.0, (visible - self._settle_nanos - until) / 1e9))
        return until < target or self._settling.put_off > 0

    def _learn_losses(self, now: float) -> None:
        """Take what SDKs have counted of their spans since the last turn."""
        losses = self._passes.losses
        losses.turn(now)
        points = self.inbox.take()
        if points:
            losses.learn(points)
            self.accounts = losses.accounts(_MAX_ACCOUNTS)
            self._unsaved = True

    def _decide_waiting(self, now: float, until: int) -> None:
        """Decide halves of calls that have waited long enough, though nothing else came."""
        if self._passes.waiting.due(until):
            self._publish(self._passes.waited(until), now, until)

    def _publish(self, outcome: Outcome, now: float, until: int) -> None:
        """Tell what a pass found, and then take what it looked at as looked at; each part is done once, also where a later one fails."""
        self._attempts = 0
        since = self._settling.looked_at_until
        self._untold.extend(
            (
                lambda: self._message_log.add(outcome.messages, outcome.flows),
                lambda: self.migrations.learn(outcome.flows, self._passes.reporting, self._passes.absences.parts.in_parts),
                lambda: self._edges.add(outcome.edges, until / 1e9, outcome.minutes),
                lambda: self._edges.explain(self._passes.meaning()),
                lambda: self.messages.add(outcome.messages, outcome.flows),
                lambda: self._ledger.record(outcome.occurrences, outcome.again, outcome.failed, now, outcome.withdrawn, outcome.judged),
                lambda: self._resolve(outcome.services, now),
                lambda: self._count(outcome),
                lambda: self._revisits.note(outcome.undecided | outcome.early, now, outcome.later),
                self._settling.commit,
                lambda: self._tell_dropped(since, until),
            ),
        )
        self._tell_rest()

    def _tell_rest(self) -> None:
        while self._untold:
            self._untold[0]()
            self._untold.popleft()
            self._attempts = 0
            self._unsaved = True

    def _resolve(self, services: frozenset[str], now: float) -> None:
        for service in services:
            self._looked[service] = now
        if len(self._looked) > _MAX_SERVICES:
            self._looked = dict(sorted(self._looked.items(), key=lambda item: -item[1])[: _MAX_SERVICES // 2])
        self._ledger.resolve(now, self._looked)

    def _count(self, outcome: Outcome) -> None:
        for service, number in outcome.spans_by_service.items():
            self._spans[service if service in self._spans or len(self._spans) < _MAX_SERVICES else "__other__"] += number
        self.traces_analyzed += outcome.complete + outcome.incomplete
        telemetry = self._telemetry
        telemetry.traces_analyzed.labels("true").inc(outcome.complete)
        telemetry.traces_analyzed.labels("false").inc(outcome.incomplete)
        telemetry.traces_reanalyzed.inc(len(outcome.again))
        telemetry.traces_truncated.inc(outcome.truncated)

    def _tell_dropped(self, since: int, until: int) -> None:
        """Tell what limits left out, of arrivals of a time (ns)."""
        if missing := self._left_out.tell(self._passes, self._settling, self._revisits, self._edges, self.messages):
            self.listening.missed(since, until, GapReason.DROPPED, missing)

    # ------------------------------------------------------------------ views

    def tallies(self) -> Tallies:
        """Give the counters as they were when they were saved last (TallyView).

        After a crash the analysis goes on from there: what was shown, and not saved, would be a counter that falls.
        """
        return self._tallies

    def _counted(self) -> Tallies:
        lost, migrated = dict(self._passes.losses.counted), dict(self.migrations.counts.shown)
        counted, edges = self.spans_analyzed(), self._edges.totals()
        return replace(self._ledger.tallies(), spans_analyzed=counted, edges=edges, reported_losses=lost, migration_messages=migrated)

    def spans_analyzed(self) -> dict[str, int]:
        """Give spans analysed by service, each once."""
        return dict(self._spans)

    @property
    def view(self) -> str:
        """Say whether all of the system is seen: complete or partial."""
        return self._passes.view.name

    @property
    def analyzed_until(self) -> float | None:
        """Say up to which arrival (unix seconds) everything was looked at, or is held; None before the first look."""
        return self._settling.looked_at_until / 1e9 or None

    @property
    def waiting_traces(self) -> int:
        """Count traces that are not quiet yet, among those the loop has reached."""
        return self._settling.waiting_traces

    def _save(self) -> None:
        """Keep the state, inside the thread's fence; not while a pass is told of in part: a restart looks at it again then."""
        if self._untold:
            return
        started = time.monotonic()
        counted = self._tallies
        try:
            counted = self._counted()
            self._store.save_state(_STATE, {**self._dump(), "message_log": self._message_log.flush()})
            self._message_log.saved()
        except Exception as error:
            # the last state that could be kept stays: after a restart more is looked at again
            self._telemetry.analysis_errors.inc()
            log.warning("analysis_state_not_saved", error=repr(error), exc_info=not isinstance(error, OSError))
        # also where it could not be kept: a counter that stands still is worse than one that may fall
        self._tallies = counted
        self._unsaved = False
        self._saved_at = time.monotonic()
        self._save_takes = self._saved_at - started
        self.listening.keep()

    def _dump(self) -> dict[str, Any]:
        return {
            "version": _STATE_VERSION,
            "settling": self._settling.dump(),
            "spans": dict(self._spans),
            "traces": self.traces_analyzed,
            "revisits": self._revisits.dump(),
            "unfinished": self._passes.waiting.unfinished(),
            "learned": self._passes.dump(),
            "ledger": self._ledger.dump(),
            "edges": self._edges.dump(),
            "messages": self.messages.dump(),
            "migrations": self.migrations.counts.dump(),
        }


def _behind(cut: int, first: int | None, target: int) -> float:
    """Give for how many seconds settled data has waited; where the clock was set back, how long it will until the clock has caught up."""
    if first is None:
        return 0.0
    return (cut - target if target < cut else max(0, target - max(first, cut))) / 1e9
