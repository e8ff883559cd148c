"""Verdicts out of the message log: when they are made, what is remembered, and what files say."""

from __future__ import annotations

from typing import Any

import pytest
from flow_lines import DAY, NOW, flows, migration, services

from traced.analysis.migration_counts import MAX_VERSIONS, OTHER, MigrationCounts
from traced.analysis.migrations import REFRESH_SECONDS, Known, Migrations
from traced.errors import NotFoundError, StoreError
from traced.graph.flows import less
from traced.model.capture import Capture, Interval
from traced.model.message_reads import EVERYTHING, MessageFilter, Window
from traced.model.migration import Gate, Verdict

SETTINGS = {"name": "orders", "old": {"destination": "orders.v1"}, "new": {"destination": "orders.v2"}, "consumers": ["billing", "shipping"]}
PUBLISHED = ("order sends orders.v1 x450", "order sends orders.v2 x450")
MOVED = (*PUBLISHED, "billing takes orders.v2 x450", "shipping takes orders.v2 x450")
STRAGGLER = (*MOVED, "shipping takes orders.v1 -1h")


class Log:
    """A message log of some lines, which counts how often it is asked."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self.lines = lines
        self.asked: list[tuple[Window, int]] = []
        self.unreadable = False

    def flows(self, window: Window, seconds: int = 0, wanted: MessageFilter = EVERYTHING, *, histograms: bool = True) -> Any:
        assert wanted is EVERYTHING
        assert not histograms, "they are half of the work"
        if self.unreadable:
            raise StoreError("the message log cannot be read")
        self.asked.append((window, seconds))
        return flows(self.lines)


class State(dict[str, Any]):
    """What is kept over a restart."""

    def save_state(self, name: str, state: Any) -> None:
        self[name] = state

    def load_state(self, name: str) -> Any | None:
        return self.get(name)


class World:
    """A daemon's migrations over a log that changes, and a clock."""

    def __init__(self, lines: tuple[str, ...], state: State | None = None, settings: dict[str, Any] = SETTINGS) -> None:
        self.log, self.until, self.state = Log(lines), float(NOW), state if state is not None else State()
        self.migrations = Migrations(
            [migration(settings)], self.log, Known(lambda: Capture((Interval(NOW - 400.0 * DAY, self.until),)), lambda: self.until), self.state
        )
        self.migrations.restore()
        self.learn()

    def learn(self) -> None:
        self.migrations.learn(flows(()), services(self.log.lines), frozenset)


def verdict(world: World) -> Verdict:
    return world.migrations.check("orders", Gate.STOP_PUBLISH).verdict


def test_a_check_is_made_anew_and_what_is_shown_is_a_minute_old_at_most():
    world = World(MOVED)
    assert [report.gate(Gate.STOP_PUBLISH).verdict for report in world.migrations.reports()] == [Verdict.SAFE]
    world.log.lines = STRAGGLER
    assert [report.gate(Gate.STOP_PUBLISH).verdict for report in world.migrations.reports()] == [Verdict.SAFE]
    assert verdict(world) is Verdict.NOT_SAFE
    assert world.migrations.report("orders").gate(Gate.STOP_PUBLISH).verdict is Verdict.NOT_SAFE
    world.until += REFRESH_SECONDS
    assert [report.gate(Gate.STOP_PUBLISH).verdict for report in world.migrations.reports()] == [Verdict.NOT_SAFE]


def test_before_anything_was_looked_at_there_is_nothing_to_show_and_no_safe():
    world = World(MOVED)
    world.until = 0.0
    assert world.migrations.reports() == ()
    assert verdict(world) is Verdict.NOT_ENOUGH_EVIDENCE


def test_a_verdict_that_changes_is_remembered_though_nobody_asked_and_one_that_stays_is_not():
    world = World(MOVED)
    for lines in (MOVED, MOVED, STRAGGLER, MOVED):
        world.log.lines = lines
        world.migrations.turn()
        world.until += REFRESH_SECONDS
    told = [(one.gate, one.verdict, one.explicit) for one in world.migrations.history("orders") if one.gate is Gate.STOP_PUBLISH]
    assert told == [(Gate.STOP_PUBLISH, verdict, False) for verdict in (Verdict.SAFE, Verdict.NOT_SAFE, Verdict.SAFE)]


def test_what_was_known_survives_a_restart_and_what_cannot_be_read_is_left_out():
    world = World(STRAGGLER)
    assert verdict(world) is Verdict.NOT_SAFE
    world.state["verdicts"].append({"migration": "orders", "gate": "unheard of"})
    (one,) = World(MOVED, world.state).migrations.history("orders")
    assert (one.verdict, one.explicit, one.as_of_unix_seconds) == (Verdict.NOT_SAFE, True, float(NOW))


def test_a_log_that_cannot_be_read_is_no_verdict_and_ends_nothing():
    world = World(MOVED)
    world.log.unreadable = True
    world.migrations.turn()
    with pytest.raises(StoreError):
        verdict(world)
    assert world.migrations.history("orders") == ()


def test_a_state_that_cannot_be_kept_costs_no_verdict():
    class Full(State):
        def save_state(self, name: str, state: Any) -> None:  # noqa: ARG002 - the protocol
            raise OSError("no space left on the device")

    assert verdict(World(MOVED, Full())) is Verdict.SAFE


def test_long_windows_are_read_by_the_hour_and_short_ones_by_the_minute():
    world = World(MOVED)
    verdict(world)
    assert world.log.asked == [(Window(0.0, NOW + 1), 3600)]
    short = World(MOVED, settings=SETTINGS | {"min_window": "1h"})
    verdict(short)
    ((window, seconds),) = short.log.asked
    assert (seconds, window.until) == (60, NOW + 1)
    assert window.until - window.since < 3 * DAY


def test_the_log_is_read_once_for_all_migrations_that_are_judged_alike_and_each_keeps_its_place():
    log = Log(MOVED)
    named = [("b", "14d"), ("a", "1h"), ("c", "14d")]
    configured = [migration(SETTINGS | {"name": name, "min_window": window}) for name, window in named]
    migrations = Migrations(configured, log, Known(Capture, lambda: float(NOW)))
    assert [report.name for report in migrations.reports()] == ["b", "a", "c"]
    # and once more for those that nobody configured
    assert sorted(seconds for _, seconds in log.asked) == [0, 60, 3600]


def test_a_name_that_is_not_configured_is_not_found_and_the_others_are_named():
    world = World(MOVED)
    for ask in (
        lambda: world.migrations.report("other"),
        lambda: world.migrations.history("other"),
        lambda: world.migrations.check("other", Gate.STOP_PUBLISH),
    ):
        with pytest.raises(NotFoundError) as refused:
            ask()
        assert "orders" in refused.value.next_safe_actions[0]


def test_messages_are_counted_by_migration_role_service_and_version_and_a_correction_lowers_no_counter():
    counts = MigrationCounts([migration(SETTINGS)])
    counts.add(flows(("order sends orders.v1 x3", "billing takes orders.v2#2 x5", "billing takes elsewhere x7")))
    assert counts.shown == {("orders", "producer", "order", ""): 3, ("orders", "consumer", "billing", "2"): 5}
    counts.add(less(flows(("billing takes orders.v2#2 x5",))))
    counts.add(flows(("billing takes orders.v2#3 x5",)))
    assert counts.shown["orders", "consumer", "billing", "2"] == 5
    counts.add(flows(("billing takes orders.v2#2 x6",)))
    assert counts.shown["orders", "consumer", "billing", "2"] == 6
    again = MigrationCounts([migration(SETTINGS)])
    again.load(counts.dump())
    assert again.shown == counts.shown
    gone = MigrationCounts([migration(SETTINGS | {"name": "another"})])
    gone.load(counts.dump())
    assert gone.shown == {}


def test_versions_without_end_are_counted_as_one_beyond_the_limit():
    counts = MigrationCounts([migration(SETTINGS)])
    counts.add(flows(tuple(f"billing takes orders.v2#v{n} x2" for n in range(MAX_VERSIONS + 5))))
    assert len(counts.shown) == MAX_VERSIONS + 1
    assert counts.shown["orders", "consumer", "billing", OTHER] == 10
