"""Collects how migrations stand; the message log is asked at most once a minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from traced.errors import StoreError
from traced.metrics.series import OTHER, Labels, clean_label
from traced.model.migration import Gate, Verdict
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
        return _migration_families()

    def collect(self) -> Iterable[Metric]:
        """Give every family, also those without a sample."""
        families = verdict, seen, share, unknown, gap = _migration_families()
        try:
            reports = self._migrations.reports()
        except StoreError:
            reports = ()  # a scrape says what else there is to say
        for report in reports:
            name = clean_label(report.name)
            for gate in report.gates:
                for one in Verdict:
                    verdict.add_metric([name, str(gate.gate), str(one)], gate.verdict is one)
            for labels, value in self._limited({(one.service, one.message_schema_version): one.last_seen_unix_nano / 1e9 for one in report.consumers}):
                seen.add_metric([name, *labels], value)
            asked = report.gate(Gate.STOP_PUBLISH).consumers
            for labels, value in self._limited({(one.consumer,): one.unseen_share for one in asked if one.unseen_share is not None}):
                share.add_metric([name, *labels], value)
            for labels, value in self._limited(_unknown_ratios(report)):
                unknown.add_metric([name, *labels], value)
        latest: dict[str, float] = {}
        for missed in self._captured.capture().gaps:
            latest[str(missed.reason)] = max(latest.get(str(missed.reason), 0.0), missed.until_unix_seconds)
        for reason, until in latest.items():
            gap.add_metric([reason], until)
        return families

    def _limited(self, values: Mapping[Labels, float]) -> Iterable[tuple[Labels, float]]:
        cleaned: dict[Labels, float] = {}
        for labels, value in values.items():
            shown = tuple(clean_label(text) for text in labels)
            shown = shown if shown in cleaned or len(cleaned) < self._max_series else (OTHER,) * len(shown)
            cleaned[shown] = max(cleaned.get(shown, value), value)
        return cleaned.items()


def _unknown_ratios(report: MigrationReport) -> dict[Labels, float]:
    taken: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for one in report.consumers:
        taken[one.service] = taken.get(one.service, 0) + one.messages
        unknown[one.service] = unknown.get(one.service, 0) + one.messages * (one.side == "unknown")
    return {(service,): unknown[service] / count for service, count in taken.items() if count}


def _migration_families() -> Sequence[GaugeMetricFamily]:
    of = "migration"
    return (
        GaugeMetricFamily("traced_migration_verdict", "1 for the verdict that a gate has, 0 for the two others.", labels=(of, "gate", "verdict")),
        GaugeMetricFamily(
            "traced_migration_last_seen_seconds",
            "When a service last took a version, in unix seconds.",
            labels=(of, "service", "message_schema_version"),
        ),
        GaugeMetricFamily(
            "traced_migration_unseen_share_upper_bound",
            "The largest share of old use of a consumer that is still possible, at the migration's confidence.",
            labels=(of, "service"),
        ),
        GaugeMetricFamily(
            "traced_migration_unknown_version_ratio",
            "Share of the messages that a service took of which the version is not known.",
            labels=(of, "service"),
        ),
        GaugeMetricFamily(
            "traced_capture_last_gap_timestamp_seconds",
            "When something that was sent was last missed, in unix seconds, by why.",
            labels=("reason",),
        ),
    )
