"""What `/metrics` says of migrations and of what was not captured."""

from __future__ import annotations

from fake_migrations import MOVED, STRAGGLER, FakeMigrations
from fake_views import FakeViews
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from traced.errors import StoreError
from traced.metrics.exposition import expose
from traced.model.capture import Capture, Gap, GapReason
from traced.model.verdict import MigrationReport


class Captured:
    """A daemon that missed something."""

    def capture(self) -> Capture:
        return Capture(gaps=(Gap(10, 20, GapReason.REFUSED), Gap(30, 45, GapReason.REFUSED), Gap(5, 6, GapReason.STOPPED)))


def samples(migrations: FakeMigrations) -> dict[tuple[str, ...], float]:
    views = FakeViews()
    body, _ = expose(CollectorRegistry(), views, views, views, migrations, Captured(), max_series=10, version="1").negotiate("")
    families = text_string_to_metric_families(body.decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples if s.name.startswith(("traced_migration", "traced_capture"))}


def test_each_gate_has_one_verdict_of_three_and_the_migration_one_phase():
    said = samples(FakeMigrations(STRAGGLER))
    verdicts = {key: value for key, value in said.items() if key[0] == "traced_migration_verdict"}
    assert len(verdicts) == 6
    assert {key for key, value in verdicts.items() if value} == {
        ("traced_migration_verdict", gate, "orders", "NOT_SAFE") for gate in ("stop-publish", "remove-schema")
    }
    assert [key[-1] for key, value in said.items() if key[0] == "traced_migration_phase" and value] == ["consumers_moving"]


def test_who_takes_the_old_schema_is_named_with_when():
    assert [key for key in samples(FakeMigrations(STRAGGLER)) if key[0] == "traced_migration_old_last_seen_seconds"] == [
        ("traced_migration_old_last_seen_seconds", "orders", "shipping"),
    ]
    moved = samples(FakeMigrations(MOVED))
    assert not [key for key in moved if key[0] == "traced_migration_old_last_seen_seconds"]
    assert 0 < moved["traced_migration_unseen_share_upper_bound", "orders", "billing"] < 0.01
    assert moved["traced_migration_unknown_version_ratio", "orders", "billing"] == 0


def test_the_end_of_the_last_gap_is_said_by_reason():
    said = samples(FakeMigrations(()))
    assert said["traced_capture_last_gap_timestamp_seconds", "refused"] == 45
    assert said["traced_capture_last_gap_timestamp_seconds", "stopped"] == 6


def test_a_log_that_cannot_be_read_does_not_end_the_scrape():
    class Unreadable(FakeMigrations):
        def reports(self) -> tuple[MigrationReport, ...]:
            raise StoreError("the message log cannot be read")

    assert set(samples(Unreadable())) == {("traced_capture_last_gap_timestamp_seconds", reason) for reason in ("refused", "stopped")}
