"""Collects how migrations stand; the message log is asked at most once a minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from traced.errors import StoreError
from traced.metrics.series import Labels, SeriesLimit, clean_label
from traced.model.migration import Gate, Phase, Verdict
from traced.model.verdict import MigrationReport
from traced.model.views import CaptureView, MigrationView


class MigrationCollector(Collector):
    """Collects verdicts of migrations, and when the daemon missed something; names from senders are cleaned, and limited as all others are."""

    def __init__(self, migrations: MigrationView, captured: CaptureView, max_series: int) -> None:
        """Collect from views."""
        self._migrations = migrations
        self._captured = captured
        self._max_series = max_series

    def describe(self) -> Iterable[Metric]:
        """Name the families without asking the views."""
        return list(_migration_families().values())

    def collect(self) -> Iterable[Metric]:
        """Give every family, also those without a sample."""
        families = _migration_families()
        try:
            reports = self._migrations.reports()
        except StoreError:
            reports = ()  # a scrape says what else there is to say
        for report in reports:
            self._answers(report, families)
            self._services(report, families)
        latest: dict[str, float] = {}
        for missed in self._captured.capture().gaps:
            latest[str(missed.reason)] = max(latest.get(str(missed.reason), 0.0), missed.until_unix_seconds)
        for reason, until in latest.items():
            families[_GAP].add_metric([reason], until)
        return list(families.values())

    def _answers(self, report: MigrationReport, families: Mapping[str, GaugeMetricFamily]) -> None:
        """Add what is said of a migration as a whole."""
        name = clean_label(report.name)
        for phase in Phase:
            families[_PHASE].add_metric([name, str(phase)], report.phase is phase)
        for gate in report.gates:
            for verdict in Verdict:
                families[_VERDICT].add_metric([name, str(gate.gate), str(verdict)], gate.verdict is verdict)

    def _services(self, report: MigrationReport, families: Mapping[str, GaugeMetricFamily]) -> None:
        """Add what is said of each service that takes its messages."""
        asked = report.gate(Gate.STOP_PUBLISH).consumers
        values: dict[str, Mapping[Labels, float]] = {
            _SEEN: {(one.service, one.message_schema_version): one.last_seen_unix_nano / 1e9 for one in report.consumers},
            _OLD: {(one.service,): one.last_seen_unix_nano / 1e9 for one in report.consumers if one.side == "old"},
            _SHARE: {(one.consumer,): one.unseen_share for one in asked if one.unseen_share is not None},
            _UNKNOWN: _unknown_ratios(report),
        }
        for family, of_services in values.items():
            for labels, value in self._limited(of_services):
                families[family].add_metric([clean_label(report.name), *labels], value)

    def _limited(self, values: Mapping[Labels, float]) -> Iterable[tuple[Labels, float]]:
        cleaned: dict[Labels, float] = {}
        for labels, value in values.items():
            shown = tuple(clean_label(text) for text in labels)
            cleaned[shown] = max(cleaned.get(shown, value), value)
        return SeriesLimit(self._max_series).apply(cleaned, max)[0].items()


def _unknown_ratios(report: MigrationReport) -> dict[Labels, float]:
    taken: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for one in report.consumers:
        taken[one.service] = taken.get(one.service, 0) + one.messages
        unknown[one.service] = unknown.get(one.service, 0) + one.messages * (one.side == "unknown")
    return {(service,): unknown[service] / count for service, count in taken.items() if count}


_VERDICT: Final = "traced_migration_verdict"
_PHASE: Final = "traced_migration_phase"
_SEEN: Final = "traced_migration_last_seen_seconds"
_OLD: Final = "traced_migration_old_last_seen_seconds"
_SHARE: Final = "traced_migration_unseen_share_upper_bound"
_UNKNOWN: Final = "traced_migration_unknown_version_ratio"
_GAP: Final = "traced_capture_last_gap_timestamp_seconds"
_FAMILIES: Final = (
    (_VERDICT, "1 for the verdict that a gate has, 0 for the two others.", ("migration", "gate", "verdict")),
    (_PHASE, "1 for the phase that a migration is in, 0 for the others.", ("migration", "phase")),
    (_SEEN, "When a service last took a version, in unix seconds.", ("migration", "service", "message_schema_version")),
    (_OLD, "When a service last took the old schema in the window, in unix seconds.", ("migration", "service")),
    (_SHARE, "The largest share of old use of a consumer that is still possible, at the migration's confidence.", ("migration", "service")),
    (_UNKNOWN, "Share of the messages that a service took of which the version is not known.", ("migration", "service")),
    (_GAP, "When something that was sent was last missed, in unix seconds, by why.", ("reason",)),
)


def _migration_families() -> dict[str, GaugeMetricFamily]:
    return {name: GaugeMetricFamily(name, text, labels=labels) for name, text, labels in _FAMILIES}
