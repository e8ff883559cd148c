"""The graph over time: what is shown, what only grows, what limits drop."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.analysis.edge_history import EdgeHistory, Meaning
from traced.model.edge import ConnectionType, Durations, EdgeCounts, EdgeKey

CALL, GHOST = EdgeKey("web", "cart"), EdgeKey("web", "10.0.0.7", ConnectionType.VIRTUAL_NODE)
DATABASE = EdgeKey("web", "cart", ConnectionType.DATABASE)
ONE = EdgeCounts(1, 1, 0, server_seconds=Durations(1, 0.3, (0, 0, 1, 0, 0, 0, 0, 0, 0)))


def shown(history: EdgeHistory, start: float | None = None, end: float | None = None) -> dict[EdgeKey, int]:
    """Give calls by edge."""
    return {e.key: e.counts.calls for e in history.edges(start, end)}


def grown(history: EdgeHistory) -> dict[EdgeKey, EdgeCounts]:
    """Give what Prometheus gets."""
    return {e.key: e.counts for e in history.totals()}


def test_counts_add_up_and_a_time_range_shows_its_minutes() -> None:
    history = EdgeHistory(100, 60)
    for minute in range(5):
        history.add({CALL: ONE}, minute * 60 + 5)
    assert shown(history) == {CALL: 5}
    assert shown(history, 60, 179) == {CALL: 2}
    assert shown(history, 240, None) == {CALL: 1}
    assert shown(history, None, 59) == {CALL: 1}
    assert shown(history, 1000, 2000) == {}


def test_what_is_taken_back_is_no_longer_shown_but_a_counter_does_not_fall() -> None:
    history = EdgeHistory(100, 60)
    history.add({GHOST: ONE}, 0)
    history.add({GHOST: EdgeCounts().plus(ONE, -1), CALL: ONE}, 60)
    assert shown(history) == {CALL: 1}
    assert {k: c.calls for k, c in grown(history).items()} == {GHOST: 1, CALL: 1}


def test_a_duration_that_moves_to_another_bucket_makes_no_bucket_fall() -> None:
    history = EdgeHistory(100, 60)
    history.add({CALL: ONE}, 0)
    later = EdgeCounts(server_seconds=Durations(0, 0.5, (0, 0, -1, 1, 0, 0, 0, 0, 0)))
    history.add({CALL: later}, 60)
    assert grown(history)[CALL].server_seconds == Durations(2, 0.8, (0, 0, 1, 1, 0, 0, 0, 0, 0))
    (edge,) = history.edges(None, None)
    assert edge.counts.server_seconds.buckets == (0, 0, 0, 1, 0, 0, 0, 0, 0)


def test_an_address_that_is_known_by_now_is_shown_as_its_service_also_for_what_was_before() -> None:
    history = EdgeHistory(100, 60)
    history.add({GHOST: ONE, CALL: ONE, DATABASE: ONE}, 0)
    assert shown(history) == {CALL: 1, GHOST: 1, DATABASE: 1}
    history.explain(Meaning({"10.0.0.7": "cart"}, frozenset({"web", "cart"})))
    assert shown(history) == shown(history, 0, 60) == {CALL: 3}
    history.explain(Meaning({}, frozenset({"web"})))
    assert shown(history) == {CALL: 1, GHOST: 1, DATABASE: 1}


def test_an_alias_does_not_rename_a_database_nor_a_call() -> None:
    meaning = Meaning({"cart": "basket"}, frozenset({"web", "basket"}))
    assert meaning.of(DATABASE) == DATABASE
    assert meaning.of(CALL) == CALL
    assert meaning.of(EdgeKey("user", "web", ConnectionType.VIRTUAL_NODE)).connection_type is ConnectionType.VIRTUAL_NODE


def test_edges_above_the_limit_are_counted_as_dropped() -> None:
    history = EdgeHistory(10, 60)
    history.add({EdgeKey("web", f"s{n}"): ONE for n in range(15)}, 0)
    assert len(shown(history)) == 10
    assert history.dropped == 5
    history.add({EdgeKey("web", "s0"): ONE}, 0)
    assert shown(history)[EdgeKey("web", "s0")] == 2


def test_a_full_graph_forgets_what_nothing_was_seen_on_for_long_also_across_a_restart() -> None:
    history = EdgeHistory(3, 60)
    history.add({EdgeKey("web", "old"): ONE, EdgeKey("web", "busy"): ONE}, 0)
    history.add({EdgeKey("web", "busy"): ONE, EdgeKey("web", "s0"): ONE}, 50 * 60)
    history.add({EdgeKey("web", "new"): ONE}, 59 * 60)
    assert history.dropped == 1
    other = EdgeHistory(3, 60)
    other.load(json.loads(json.dumps(history.dump())))
    for one in (history, other):
        dropped = one.dropped
        one.add({EdgeKey("web", "new"): ONE}, 61 * 60)
        assert {key.server: calls for key, calls in shown(one).items()} == {"busy": 2, "s0": 1, "new": 1}
        assert {key.server for key in grown(one)} == {"busy", "s0", "new"}
        assert one.dropped == dropped


def test_a_virtual_node_makes_room_for_a_service_and_not_the_other_way_round() -> None:
    history = EdgeHistory(3, 60)
    ghosts = [EdgeKey("web", f"10.0.0.{n}", ConnectionType.VIRTUAL_NODE) for n in range(5)]
    history.add(dict.fromkeys(ghosts[:3], ONE), 0)
    history.add({ghosts[0]: ONE}, 60)
    history.add({ghosts[4]: ONE}, 60)
    assert history.dropped == 1
    history.add({CALL: ONE}, 60)
    assert set(shown(history)) == {CALL, ghosts[0], ghosts[2]}
    history.add({EdgeKey("web", "a"): ONE, EdgeKey("web", "b"): ONE, EdgeKey("web", "c"): ONE, ghosts[0]: ONE}, 60)
    assert set(shown(history)) == {CALL, EdgeKey("web", "a"), EdgeKey("web", "b")}
    assert history.dropped == 3


def test_minutes_beyond_the_history_are_forgotten_the_total_is_not() -> None:
    history = EdgeHistory(100, 10)
    for minute in range(30):
        history.add({CALL: ONE}, minute * 60)
    assert shown(history, 0, 10**9) == {CALL: 11}
    assert shown(history) == {CALL: 30}


def test_minutes_are_bounded_in_entries_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traced.analysis.edge_history._MAX_ENTRIES", 50)
    history = EdgeHistory(100, 10_000)
    for minute in range(30):
        history.add({EdgeKey("web", f"s{n}"): ONE for n in range(10)}, minute * 60)
    assert sum(shown(history, 0, 10**9).values()) == 50
    assert sum(shown(history).values()) == 300


def test_what_is_taken_back_is_taken_from_the_minute_in_which_it_was_counted() -> None:
    history = EdgeHistory(100, 60)
    history.add({CALL: ONE.plus(ONE)}, 5, {0: {CALL: ONE.plus(ONE)}})
    history.add({CALL: ONE, GHOST: ONE}, 125, {2: {CALL: ONE, GHOST: ONE}})
    no_error_but_another_call = EdgeCounts(1, -1)
    history.add({CALL: no_error_but_another_call}, 185, {0: {CALL: EdgeCounts(0, -1)}, 3: {CALL: EdgeCounts(1, 0)}})
    history.add({GHOST: EdgeCounts().plus(ONE, -1), CALL: ONE}, 245, {2: {GHOST: EdgeCounts().plus(ONE, -1), CALL: ONE}})
    by_minute = {minute: {e.key: (e.counts.calls, e.counts.errors) for e in history.edges(60 * minute, 60 * minute + 59)} for minute in range(5)}
    assert by_minute == {0: {CALL: (2, 1)}, 1: {}, 2: {CALL: (2, 2)}, 3: {CALL: (1, 0)}, 4: {}}
    assert history.edges(0, 299) == history.edges(None, None)


def test_what_belongs_to_a_minute_that_was_let_go_changes_the_total_alone() -> None:
    history = EdgeHistory(100, 10)
    history.add({CALL: ONE}, 0, {0: {CALL: ONE}})
    history.add({CALL: ONE}, 1200, {20: {CALL: ONE}})
    history.add({CALL: EdgeCounts().plus(ONE, -1)}, 1200, {0: {CALL: EdgeCounts().plus(ONE, -1)}})
    assert shown(history, 0, 10**9) == {CALL: 1}
    assert shown(history) == {CALL: 1}
    history.add({CALL: ONE}, 1200, {0: {CALL: ONE}})
    assert shown(history, 0, 10**9) == {CALL: 1}


def test_the_last_minute_is_let_go_too_when_nothing_new_is_booked() -> None:
    history = EdgeHistory(100, 10)
    history.add({CALL: ONE}, 0)
    history.add({}, 1200, {})
    assert shown(history, 0, 10**9) == {}


def test_counts_go_on_after_a_restart() -> None:
    history = EdgeHistory(100, 60)
    history.add({GHOST: ONE, CALL: ONE, EdgeKey("web", ""): EdgeCounts(unpaired=3)}, 0)
    history.add({GHOST: EdgeCounts().plus(ONE, -1)}, 60)
    other = EdgeHistory(100, 60)
    other.load(json.loads(json.dumps(history.dump())))
    assert other.edges(None, None) == history.edges(None, None)
    assert grown(other) == grown(history)
    assert grown(other)[EdgeKey("web", "")].unpaired == 3


def test_a_state_of_another_form_takes_nothing() -> None:
    history = EdgeHistory(100, 60)
    history.add({CALL: ONE}, 0)
    with pytest.raises((KeyError, IndexError, ValueError, TypeError)):
        history.load([[["web"], [1], [1]]])
    assert shown(history) == {CALL: 1}


NUMBERS = st.integers(-3, 5)
DURATIONS = st.builds(lambda b, s: Durations(sum(b), s, tuple(b)), st.lists(NUMBERS, min_size=9, max_size=9), st.floats(-5, 5))
COUNTS = st.builds(EdgeCounts, NUMBERS, NUMBERS, NUMBERS, DURATIONS, DURATIONS, DURATIONS)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from([CALL, GHOST, DATABASE]), COUNTS), max_size=8))
def test_whatever_changes_no_counter_ever_falls_and_histograms_agree_with_themselves(changes: list[dict[EdgeKey, EdgeCounts]]) -> None:
    history, before = EdgeHistory(100, 60), dict[EdgeKey, list[float]]()
    for change in changes:
        history.add(change, 0)
        for key, counts in grown(history).items():
            numbers: list[float] = [counts.calls, counts.errors, counts.unpaired]
            for d in (counts.client_seconds, counts.server_seconds, counts.messaging_seconds):
                assert d.count == sum(d.buckets)
                numbers += [d.sum_seconds, *d.buckets]
            assert all(n >= b for n, b in zip(numbers, before.get(key, numbers), strict=True))
            before[key] = numbers


RANGES = st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.one_of(st.none(), st.integers(0, 4)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.dictionaries(st.sampled_from([CALL, GHOST, DATABASE]), COUNTS)), max_size=8), RANGES)
def test_whatever_is_taken_back_in_another_minute_no_answer_is_below_zero(
    changes: list[tuple[int, dict[EdgeKey, EdgeCounts]]], minutes: tuple[int | None, int | None]
) -> None:
    history = EdgeHistory(100, 60)
    for minute, change in changes:
        history.add(change, 60 * minute)
    start, end = (None if minute is None else 60 * minute for minute in minutes)
    for edge in (*history.edges(start, end), *history.edges(None, None)):
        c = edge.counts
        assert 0 <= c.errors <= c.calls
        assert min(c.unpaired, *(n for d in (c.client_seconds, c.server_seconds, c.messaging_seconds) for n in (d.sum_seconds, *d.buckets))) >= 0
    assert shown(history, 0, 10**9) == shown(history)
