"""Messages of a pass by their migrations, and what reports teach about who takes and sends what."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from flow_lines import flows, migration, rows, seen
from scenarios import MOVED, SETTINGS

from traced.migration.sided import MIGRATING, Habits, habits, migrating
from traced.migration.verdict import assess
from traced.model.messages import MESSAGES
from traced.model.migration import Migration

ONE = migration(SETTINGS["two_destinations"] | {"consumers": ["billing", {"service": "mirror", "role": "relay"}], "cutoff": "2026-11-10T00:00:00Z"})
MORE = {"name": "take", "service_version": "", "message_id": "", "partition": "", "time_unix_nano": 5, "link_position": 0}


def messages(*lines: str) -> pa.Table:
    one_each = [{name: (row | {"at_least": False}).get(name, MORE.get(name)) for name in MESSAGES.names} for line in lines for row in rows(line)]
    return pa.Table.from_pylist(one_each, schema=pa.schema(MESSAGES)).cast(MESSAGES)


def sided(*lines: str, migrations: tuple[Migration, ...] = (ONE,), known: Habits | None = None) -> list[dict]:
    table = messages(*lines)
    found = migrating(migrations, table, np.ones(table.num_rows, bool), known or Habits())
    assert found.schema == MIGRATING
    return found.to_pylist()


def test_each_message_has_its_side_and_what_it_proves():
    told = sided("order sends orders.v1", "billing takes orders.v2", "mirror takes orders.v1", "billing takes orders.v1 ignored", "web takes other")
    assert [(row["service_name"], row["side"], row["proof"], row["counts"]) for row in told] == [
        ("order", "old", "", True),
        ("billing", "new", "used", True),
        ("mirror", "old", "used", False),
        ("billing", "old", "not_used", True),
    ]
    assert {row["cutoff_unix_nano"] for row in told} == {1_794_268_800 * 10**9}


def test_a_message_may_be_of_two_migrations():
    other = migration({"name": "next", "old": {"destination": "orders.v2"}, "new": {"destination": "orders.v3"}})
    assert [(row["migration"], row["side"]) for row in sided("order sends orders.v2", migrations=(ONE, other))] == [("m", "new"), ("next", "old")]


def test_without_migrations_or_messages_there_is_nothing():
    assert sided("order sends orders.v1", migrations=()) == sided() == []


def test_what_is_known_of_more_than_a_pass_is_told():
    known = Habits(frozenset({("m", "billing")}), frozenset({("m", "order")}))
    told = sided("order sends orders.v1", "billing takes orders.v1", "web takes orders.v1", known=known)
    assert [(row["was_quiet"], row["sends_only_old"]) for row in told] == [(False, True), (True, False), (False, False)]


def test_reports_teach_who_is_quiet_and_who_never_sends_the_new():
    lines = (*MOVED, "late takes orders.v1 x3", "late takes orders.v2 x3", "stuck sends orders.v1 x30", "small sends orders.v1 x5")
    one = migration(SETTINGS["two_destinations"])
    learned = habits(assess([one], flows(lines), seen(lines), bucket_minutes=1))
    assert learned.quiet == {("m", "billing"), ("m", "shipping")}
    assert learned.only_old == {("m", "stuck")}


def test_who_was_not_listened_to_for_long_is_not_quiet():
    lines = tuple(f"{line} -2d..-0d" for line in MOVED)
    learned = habits(assess([migration(SETTINGS["two_destinations"])], flows(lines), seen(lines, capture=type(seen(lines).capture)()), bucket_minutes=1))
    assert learned.quiet == frozenset()
