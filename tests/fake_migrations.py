"""A view of migrations over flows that are written as lines (see flow_lines.py), judged by the real rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow_lines import NOW, flows, migration, seen

from traced.errors import NotFoundError
from traced.migration.found import found
from traced.migration.kinds import kinds
from traced.migration.verdict import assess
from traced.model.migration import Gate, VerdictRecord, recorded
from traced.model.verdict import Acceptance, FoundMigration, GateVerdict, MigrationReport

SETTINGS = {"name": "orders", "old": {"destination": "orders.v1"}, "new": {"destination": "orders.v2"}, "consumers": ["billing", "shipping"]}
PUBLISHED = ("order sends orders.v1 x450", "order sends orders.v2 x450")
MOVED = (*PUBLISHED, "billing takes orders.v2 x450", "shipping takes orders.v2 x450")
STRAGGLER = (*PUBLISHED, "billing takes orders.v2 x450", "shipping takes orders.v1 x450")
SILENT = (*PUBLISHED, "billing takes orders.v2 x450")


class FakeMigrations:
    """Judges flows anew at each question (MigrationView)."""

    def __init__(self, lines: Sequence[str] = (), settings: Sequence[dict[str, Any]] = (SETTINGS,)) -> None:
        self.lines = tuple(lines)
        self.settings = tuple(settings)
        self.asked: list[tuple[str, Gate, tuple[Acceptance, ...]]] = []
        self._records: tuple[VerdictRecord, ...] = ()

    def reports(self) -> tuple[MigrationReport, ...]:
        return self._assess(())

    def found(self) -> tuple[FoundMigration, ...]:
        return found(kinds(flows(self.lines)), [migration(one) for one in self.settings])[0]

    def report(self, name: str) -> MigrationReport:
        return self._named(name, ())

    def check(self, name: str, gate: Gate, accepted: Sequence[Acceptance]) -> GateVerdict:
        self.asked.append((name, gate, tuple(accepted)))
        verdict = self._named(name, accepted).gate(gate)
        self._records = recorded(self._records, verdict.record(explicit=True))
        return verdict

    def history(self, name: str) -> tuple[VerdictRecord, ...]:
        self._named(name, ())
        return self._records

    def _assess(self, accepted: Sequence[Acceptance]) -> tuple[MigrationReport, ...]:
        migrations = [migration(one) for one in self.settings]
        return assess(migrations, flows(self.lines), seen(self.lines), accepted=accepted)

    def _named(self, name: str, accepted: Sequence[Acceptance]) -> MigrationReport:
        for report in self._assess(accepted):
            if report.name == name:
                return report
        raise NotFoundError(f"no migration {name!r} is configured", error_code="migration_not_found", next_safe_actions=("Use one of: orders.",))


__all__ = ["MOVED", "NOW", "PUBLISHED", "SETTINGS", "SILENT", "STRAGGLER", "FakeMigrations"]
