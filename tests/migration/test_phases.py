"""How far a migration has got, and who sends and takes what."""

from __future__ import annotations

import pytest
from flow_lines import NOW, flows, migration, seen
from scenarios import ENDED, HANDLED, MOVED, PUBLISHED, RECORDED, SENT_BOTH, SETTINGS

from traced.migration.verdict import assess
from traced.model.migration import Phase
from traced.model.verdict import MigrationReport


def report(*lines: str, shape: str = "two_destinations", **settings: object) -> MigrationReport:
    (one,) = assess([migration(SETTINGS[shape] | settings)], flows(lines), seen(lines), bucket_minutes=1)
    return one


PHASES = {
    "nothing is seen": ((), "two_destinations", Phase.UNKNOWN),
    "only the old is published": (("order sends orders.v1 x9", "billing takes orders.v1 x9"), "two_destinations", Phase.NOT_STARTED),
    "only the old, and nobody takes it": (("order sends orders.v1",), "two_destinations", Phase.NOT_STARTED),
    "both are published, nobody moved": ((*PUBLISHED, "billing takes orders.v1 x9", "shipping takes orders.v1 x9"), "two_destinations", Phase.DUAL_PUBLISH),
    "both are published, nobody is seen": (PUBLISHED, "two_destinations", Phase.DUAL_PUBLISH),
    "one moved": ((*PUBLISHED, "billing takes orders.v2 x9", "shipping takes orders.v1 x9"), "two_destinations", Phase.CONSUMERS_MOVING),
    "one takes both": (
        (*PUBLISHED, "billing takes orders.v2 x9", "billing takes orders.v1 x9", "shipping takes orders.v2"),
        "two_destinations",
        Phase.CONSUMERS_MOVING,
    ),
    "one of the list is not seen": ((*PUBLISHED, "billing takes orders.v2 x9"), "two_destinations", Phase.CONSUMERS_MOVING),
    "all moved": (MOVED, "two_destinations", Phase.CONSUMERS_MOVED),
    "all moved, the last two days ago": ((*MOVED, "billing takes orders.v1 -9d..-2d x20"), "two_destinations", Phase.CONSUMERS_MOVED),
    "all moved, and a ghost is left": ((*MOVED, "ghost takes orders.v1"), "two_destinations", Phase.CONSUMERS_MOVING),
    "nobody publishes the old any more": (ENDED, "two_destinations", Phase.OLD_REMOVED),
    "both are received, and nobody says what becomes of the old": (
        (*SENT_BOTH, *(f"{who} takes orders#{v} x9" for who in ("billing", "shipping") for v in "12")),
        "two_messages",
        Phase.DUAL_PUBLISH,
    ),
    "all ignore the old": (HANDLED, "two_messages", Phase.CONSUMERS_MOVED),
    "all record the new fields": (RECORDED, "one_message", Phase.CONSUMERS_MOVED),
    "one records the old fields": ((*RECORDED, "billing takes orders#1 x9"), "one_message", Phase.CONSUMERS_MOVING),
}


@pytest.mark.parametrize(("lines", "shape", "phase"), PHASES.values(), ids=list(PHASES))
def test_phase(lines: tuple[str, ...], shape: str, phase: Phase) -> None:
    assert report(*lines, shape=shape).phase is phase


def test_without_a_list_those_who_are_seen_are_everybody() -> None:
    assert report(*MOVED, consumers=[]).phase is Phase.CONSUMERS_MOVED


def test_producers_are_counted_by_version() -> None:
    lines = ("a sends orders.v1 x30", "a sends orders.v2 x20", "b sends orders.v1 x5", "c sends orders.v2 x7", "d sends orders.v1.dlq dlq x3")
    told = {one.service: one for one in report(*lines, min_window="30d").producers}
    assert {name: (one.publishes, one.old_messages, one.new_messages, one.both_messages, one.complete) for name, one in told.items()} == {
        "a": ("both", 30, 20, 20, 20 / 30),
        "b": ("old", 5, 0, 0, 0.0),
        "c": ("new", 0, 7, 0, 0.0),
    }


def test_a_producer_without_a_version_is_counted() -> None:
    (one,) = report("a sends orders x5 source=", shape="two_messages", min_window="30d").producers
    assert (one.publishes, one.unknown_messages, one.complete) == ("unknown", 5, None)


def test_consumers_are_counted_by_version_with_when_and_how() -> None:
    lines = ("billing takes orders.v1 x10 -12d..-8d", "billing takes orders.v2 x14 -14d..-0d", "shipping:g takes orders.v2 x4 -3d..-1d")
    told = {(one.consumer, one.side): one.as_dict() for one in report(*lines).consumers}
    assert told["billing", "old"]["messages"] == 10
    assert told["billing", "old"]["trend"] == "gone"
    assert told["billing", "old"]["longest_silence_seconds"] == pytest.approx(8.4 * 86400, abs=61)
    assert told["billing", "new"]["trend"] == "steady"
    assert told["shipping/g", "new"]["trend"] == "begun"
    assert told["shipping/g", "new"]["service"] == "shipping"
    assert told["shipping/g", "new"]["first_seen"] < told["shipping/g", "new"]["last_seen"]


def test_a_report_has_the_shape_that_is_promised() -> None:
    told = report(*MOVED).as_dict()
    assert set(told) >= {"name", "phase", "gates", "producers", "consumers"}
    assert set(told["producers"][0]) >= {"service", "old_messages", "new_messages", "both_messages"}
    assert set(told["consumers"][0]) >= {"service", "message_schema_version", "messages", "first_seen", "last_seen"}
    assert set(told["gates"][0]) >= {"gate", "verdict", "conditions", "next_safe_actions"}
    assert set(told["gates"][0]["conditions"][0]) == {"name", "state", "detail", "examples"}


def test_clock_skew_between_producer_and_consumer_changes_no_verdict() -> None:
    one = migration(SETTINGS["two_destinations"])
    table = flows(MOVED)
    column = table.schema.get_field_index("last_time_unix_nano")
    skewed = table.set_column(column, table.field(column), [[(NOW + 400 * 86400) * 10**9] * table.num_rows])
    first, second = (assess([one], t, seen(MOVED), bucket_minutes=1)[0] for t in (table, skewed))
    assert [g.verdict for g in first.gates] == [g.verdict for g in second.gates]
