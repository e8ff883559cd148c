"""What the page of migrations shows: of each its phase, both verdicts, and the matrix of services and versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from traced.model.migration import Phase
from traced.model.verdict import ConsumerCount, GateVerdict, MigrationReport, ProducerCount
from traced.model.views import MigrationView

MAX_MIGRATIONS: Final = 50
MAX_ROWS: Final = 200
SIDES: Final = ("old", "new", "unknown")
STEPS: Final = (
    (Phase.NOT_STARTED, "add the new schema"),
    (Phase.DUAL_PUBLISH, "publish both"),
    (Phase.CONSUMERS_MOVING, "move consumers"),
    (Phase.CONSUMERS_MOVED, "verify, stop publishing the old"),
    (Phase.OLD_REMOVED, "drain and remove"),
)
_TRENDS: Final = {"begun": "new", "growing": "rising", "steady": "steady", "shrinking": "falling", "gone": "stopped", "none": ""}
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Cell:
    """How many messages a service sent or took of one side of a migration, and when last; `trend` in a word."""

    messages: int
    last_seen_unix_nano: int
    trend: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One service in the matrix; `note` says what its cells do not."""

    role: str
    service: str
    cells: dict[str, Cell] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One migration as the page shows it; `step` is the place of its phase in STEPS, from 1, or 0 where that is unknown."""

    report: MigrationReport
    step: int
    rows: list[Row]
    total_rows: int


def migrations_page(view: MigrationView) -> dict[str, Any]:
    """Give the template's values."""
    reports = view.reports()
    shown = [show(report) for report in reports[:MAX_MIGRATIONS]]
    return {"migrations": shown, "total_migrations": len(reports), "found": view.found(), "steps": [words for _, words in STEPS], "sides": SIDES}


def show(report: MigrationReport) -> Shown:
    """Put one report into the form that the page shows."""
    rows = matrix(report)
    step = next((place for place, (phase, _) in enumerate(STEPS, 1) if phase is report.phase), 0)
    return Shown(report, step, rows[:MAX_ROWS], len(rows))


def matrix(report: MigrationReport) -> list[Row]:
    """Give a row for each producer, each consumer that was seen, and each that is listed and was not; who still uses the old schema comes first."""
    consumers = [_consumer(name, counts) for name, counts in _by_name(report.consumers).items()]
    seen = {count.service for count in report.consumers} | {count.consumer for count in report.consumers}
    absent = [name for name in _inventory(report.gates) if name not in seen and name.split("/")[-1] not in seen]
    consumers += [Row("consumer", name, note="listed, and not seen") for name in absent]
    consumers.sort(key=lambda row: (not row.cells.get("old"), not row.note, row.service))
    return [*(_producer(one) for one in report.producers), *consumers]


def _producer(one: ProducerCount) -> Row:
    last = 0 if one.last_old_unix_seconds is None else round(one.last_old_unix_seconds) * _NANOS
    counts = {"old": one.old_messages, "new": one.new_messages, "unknown": one.unknown_messages}
    note = "" if one.complete is None or one.publishes != "both" else f"{one.complete:.1%} of its messages go out in both"
    return Row("producer", one.service, {side: Cell(number, last if side == "old" else 0) for side, number in counts.items() if number}, note)


def _consumer(name: str, counts: list[ConsumerCount]) -> Row:
    cells: dict[str, Cell] = {}
    for one in counts:
        side = one.side if one.side in SIDES else "unknown"
        before = cells.get(side, Cell(0, 0))
        cells[side] = Cell(before.messages + one.messages, max(before.last_seen_unix_nano, one.last_seen_unix_nano), _TRENDS.get(one.trend, one.trend))
    return Row("consumer", name, cells)


def _by_name(counts: Iterable[ConsumerCount]) -> dict[str, list[ConsumerCount]]:
    found: dict[str, list[ConsumerCount]] = {}
    for one in counts:
        found.setdefault(one.consumer, []).append(one)
    return found


def _inventory(gates: Iterable[GateVerdict]) -> list[str]:
    return list(dict.fromkeys(one.consumer for gate in gates for one in gate.consumers))
