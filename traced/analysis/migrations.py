"""How migrations stand: asks the message log what was seen, and remembers the verdicts that were given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from traced.analysis.migration_counts import MigrationCounts
from traced.errors import NotFoundError, StoreError
from traced.graph.flows import flows
from traced.migration.case import Seen
from traced.migration.found import found
from traced.migration.kinds import kinds
from traced.migration.sided import NO_HABITS, habits
from traced.migration.verdict import assess
from traced.model.capture import Capture, Interval
from traced.model.message_reads import EVERYTHING, MessageFilter, Window
from traced.model.migration import Gate, Migration, VerdictRecord, recorded
from traced.model.verdict import Acceptance, FoundMigration, GateVerdict, MigrationReport

log = structlog.get_logger(__name__)

REFRESH_SECONDS: Final = 60.0
"""How old what is shown may be before it is made anew; a check is always made anew."""
FOUND_SECONDS: Final = 7 * 86_400.0
"""How far back migrations are looked for that nobody configured."""
FINE_SECONDS: Final = 6 * 3_600.0
"""A migration with a window up to so long is judged by the minute, over FINE_WINDOWS of them; others by the hour, over all that is kept."""
FINE_WINDOWS: Final = 8
_MINUTE: Final = 60
_HOUR: Final = 3_600
_STATE: Final = "verdicts"


class FlowSource(Protocol):
    """What is asked of the message log."""

    def flows(self, window: Window, seconds: int = 0, wanted: MessageFilter = EVERYTHING, *, histograms: bool = True) -> pa.Table:
        """Give FLOWS of a window in stretches of so many seconds; without histograms of delays it takes half the time and a third of the memory."""


class StateKeeper(Protocol):
    """What keeps small values over a restart."""

    def save_state(self, name: str, state: Any) -> None:
        """Keep a JSON value."""

    def load_state(self, name: str) -> Any | None:
        """Give what was kept, or None."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the message log; both may be asked from any thread.

    Attributes:
        capture: when the daemon listened.
        until: up to which arrival (unix seconds) everything was looked at; None before the first look.
    """

    capture: Callable[[], Capture]
    until: Callable[[], float | None]


class Migrations:
    """Reports and verdicts of the configured migrations, and others that were found (MigrationView); safe from any thread, and may read files."""

    def __init__(self, migrations: Iterable[Migration], flows: FlowSource, known: Known, state: StateKeeper | None = None) -> None:
        """Keep what to ask; without a state verdicts are forgotten at the end."""
        self.configured = tuple(migrations)
        self._flows = flows
        self._known = known
        self._state = state
        self.counts = MigrationCounts(self.configured)
        self._services: Mapping[str, float] = {}
        self._tail_sampled: frozenset[str] = frozenset()
        self._guard = threading.Lock()
        self._reports: tuple[MigrationReport, ...] = ()
        self.habits = NO_HABITS
        """What the latest reports say of who takes and sends what, for the detectors."""
        self._found: tuple[FoundMigration, ...] = ()
        self._made_at = 0.0
        self._history: dict[tuple[str, Gate], tuple[VerdictRecord, ...]] = {}

    def restore(self) -> None:
        """Take up the verdicts that an earlier run gave; what cannot be read is left out."""
        stored = self._state.load_state(_STATE) if self._state is not None else None
        for one in stored if isinstance(stored, list) else ():
            try:
                record = VerdictRecord.from_dict(one)
            except (ValueError, KeyError, TypeError) as error:
                log.warning("verdict_unreadable", error=repr(error))
                continue
            key = (record.migration, record.gate)
            self._history[key] = (*self._history.get(key, ()), record)

    def learn(self, yielded: pa.Table, services: Mapping[str, float], tail_sampled: Callable[[], frozenset[str]]) -> None:
        """Take what a pass yielded; by the thread of the analysis.

        Args:
            yielded: how many messages there were of a kind, as FLOWS.
            services: when each service sent its last span (unix seconds).
            tail_sampled: names those whose traces are kept in parts, or by their outcome; not asked where no migration is configured.
        """
        if self.configured:
            self.counts.add(yielded)
            self._services, self._tail_sampled = dict(services), tail_sampled()

    # ------------------------------------------------------------------ what is asked

    def reports(self) -> tuple[MigrationReport, ...]:
        """Give how each configured migration stands, at most REFRESH_SECONDS old."""
        with self._guard:
            self._refresh()
            return self._reports

    def found(self) -> tuple[FoundMigration, ...]:
        """Give schemas that flow side by side without configuration, at most REFRESH_SECONDS old."""
        with self._guard:
            self._refresh()
            return self._found

    def report(self, name: str) -> MigrationReport:
        """Give how one migration stands now.

        Raises:
            NotFoundError: no migration of this name is configured.
            StoreError: the message log cannot be read at present.
        """
        return self._assess((self._named(name),), self._until())[0]

    def check(self, name: str, gate: Gate, accepted: Sequence[Acceptance] = ()) -> GateVerdict:
        """Give the verdict of one gate now, and remember that it was asked for.

        Raises:
            NotFoundError: no migration of this name is configured.
            StoreError: the message log cannot be read at present.
        """
        verdict = self._assess((self._named(name),), self._until(), accepted)[0].gate(gate)
        with self._guard:
            self._record((verdict,), explicit=True)
        return verdict

    def history(self, name: str) -> tuple[VerdictRecord, ...]:
        """Give the verdicts of one migration that are remembered, the oldest first.

        Raises:
            NotFoundError: no migration of this name is configured.
        """
        self._named(name)
        with self._guard:
            records = [record for gate in Gate for record in self._history.get((name, gate), ())]
        return tuple(sorted(records, key=lambda record: record.as_of_unix_seconds))

    def turn(self) -> None:
        """Judge anew where it is time, so that a verdict that changes is remembered though nobody asks."""
        if not self.configured:
            return
        try:
            self.reports()
        except StoreError as error:
            log.warning("migrations_not_judged", error=error.message)

    # ------------------------------------------------------------------ how it is made

    def _until(self) -> float:
        return self._known.until() or 0.0

    def _refresh(self) -> None:
        until = self._until()
        if not until or until - self._made_at < REFRESH_SECONDS:
            return
        self._reports = self._assess(self.configured, until)
        self.habits = habits(self._reports)
        lately = self._flows.flows(Window(until - FOUND_SECONDS, until + 1), histograms=False)
        self._found, _ = found(kinds(lately, int(FOUND_SECONDS // _MINUTE)), self.configured)
        self._made_at = until
        self._record((gate for report in self._reports for gate in report.gates), explicit=False)

    def _assess(self, migrations: Sequence[Migration], until: float, accepted: Sequence[Acceptance] = ()) -> tuple[MigrationReport, ...]:
        """Judge migrations; the log is read once for all that are judged by the minute, and once for all others."""
        seen = Seen(self._known.capture(), self._services, until, self._tail_sampled)
        made: dict[str, MigrationReport] = {}
        for fine in (True, False):
            alike = [migration for migration in migrations if (migration.min_window_seconds <= FINE_SECONDS) is fine]
            if alike:
                since, seconds = (max(0.0, until - FINE_WINDOWS * FINE_SECONDS), _MINUTE) if fine else (0.0, _HOUR)
                counted = self._flows.flows(Window(since, until + 1), seconds, histograms=False)
                made |= {one.name: one for one in assess(alike, counted, seen, accepted=accepted, bucket_minutes=seconds // _MINUTE)}
        return tuple(made[migration.name] for migration in migrations)

    def _named(self, name: str) -> Migration:
        for migration in self.configured:
            if migration.name == name:
                return migration
        names = ", ".join(migration.name for migration in self.configured)
        raise NotFoundError(
            f"no migration {name[:100]!r} is configured",
            error_code="migration_not_found",
            next_safe_actions=(f"Use one of: {names}." if names else "Add it under `migrations:` in the configuration file.",),
        )

    def _record(self, verdicts: Iterable[GateVerdict], *, explicit: bool) -> None:
        changed = False
        for verdict in verdicts:
            key = (verdict.migration, verdict.gate)
            before = self._history.get(key, ())
            self._history[key] = recorded(before, verdict.record(explicit=explicit))
            changed |= self._history[key] != before
        if changed and self._state is not None:
            try:
                self._state.save_state(_STATE, [record.as_dict() for records in self._history.values() for record in records])
            except OSError as error:
                log.warning("verdicts_not_saved", error=str(error))


def judge_messages(rows: pa.Table, migrations: Sequence[Migration], services: Iterable[str]) -> tuple[tuple[MigrationReport, ...], tuple[FoundMigration, ...]]:
    """Judge migrations by the messages of files, which say nothing of when anybody listened: what lies between the first and the last message counts as whole.

    Args:
        rows: of MESSAGES; each counts when it was sent or taken, not when it was read.
        migrations: as they were configured.
        services: names of all that sent spans.

    Returns:
        How the migrations stand as of the last message, and others that were found.
    """
    place = rows.schema.get_field_index("arrival_time_unix_nano")
    counted = flows(rows.set_column(place, rows.schema.field(place), rows.column("time_unix_nano")))
    times = pc.min_max(rows.column("time_unix_nano")).as_py()
    first, last = ((times[end] or 0) / 1e9 for end in ("min", "max"))
    # the last message is within the window
    seen = Seen(Capture((Interval(first, last + 1),)), dict.fromkeys(services, last), last + 1)
    return assess(migrations, counted, seen, bucket_minutes=1), found(kinds(counted, 1), migrations)[0]
