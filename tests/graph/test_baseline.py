"""What is remembered of operations' children, and the statistics by which they are held to be gone."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact
from spans import many, spans

from traced.graph import baseline, children
from traced.graph.baseline import Baseline
from traced.graph.calls import Naming
from traced.graph.children import Children, Count, Slot
from traced.graph.forest import Forest
from traced.graph.operations import operated
from traced.graph.relation import Relation, build
from traced.graph.shifts import Shift, chance, discovered, lacking, regular
from traced.graph.windows import WINDOW_SECONDS

QUERY = ("web", 3, "query")


def related(*lines: str) -> Relation:
    return build(Forest(spans(*lines).staged()), Naming())


def counted(made: Relation, *again: int) -> Children:
    marks = np.zeros(made.forest.traces, bool)
    marks[list(again)] = True
    return children.children(made, operated(made), marks, ())


def a_count(spans: int, having: int) -> Count:
    return Count(spans, 0.0, 0.0, {QUERY: Slot(having)})


# ---------------------------------------------------------------------- counting


def test_a_parent_counts_once_however_many_such_children_it_has() -> None:
    made = related(*many(3, "web SERVER a ~100ms", *(f"web CLIENT q{n}<a +{n}ms ~10ms name=query" for n in range(4))))
    (one,) = counted(made).slices
    assert (one.count.spans, one.count.nanos) == (3, 3e8)
    assert one.count.slots == {QUERY: Slot(3, 3e8, 12e7)}


def test_parents_without_any_child_count_as_well() -> None:
    made = related(*many(2, "web SERVER a ~100ms", "web CLIENT q<a ~10ms name=query"), "web SERVER x:a ~100ms")
    (one,) = counted(made).slices
    assert (one.count.spans, one.count.having(QUERY)) == (3, 2)


def test_traces_that_late_spans_touched_do_not_count() -> None:
    made = related(*many(4, "web SERVER a ~100ms", "web CLIENT q<a ~10ms name=query"))
    assert sum(one.count.spans for one in counted(made, 0, 2).slices) == 2


def test_slices_follow_each_other_in_time_and_leave_nothing_out() -> None:
    made = related(*(line for n in range(100) for line in (f"web SERVER t{n}:a +{n * n}ms ~9ms", f"web CLIENT t{n}:q<a +{n * n}ms ~1ms name=query")))
    slices = counted(made).slices
    assert len(slices) == 3
    assert sorted(row for one in slices for row in one.rows.tolist()) == np.flatnonzero(made.forest.root).tolist()
    assert all(made.forest.start[one.rows].max() < made.forest.start[other.rows].min() for one, other in pairwise(slices))


def test_more_traces_than_a_pass_counts_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_TRACES", 7)
    made = related(*many(10, "web SERVER a ~100ms", "web CLIENT q<a ~10ms name=query"))
    assert sum(one.count.spans for one in counted(made).slices) == 7


def test_an_operation_with_very_many_kinds_of_children_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_SLOTS", 3)
    made = related(
        "web SERVER a ~100ms", *(f"web CLIENT q{n}<a ~1ms name=query{n}" for n in range(4)), *many(2, "web SERVER b name=b", "web CLIENT q<b name=query")
    )
    found = counted(made)
    assert [one.group[2] for one in found.slices] == ["b"]
    assert found.crowded == 1


# ---------------------------------------------------------------------- statistics


@pytest.mark.parametrize(("before", "now"), [((100, 100), (30, 15)), ((60, 59), (20, 0)), ((500, 480), (40, 39)), ((90, 0), (30, 0)), ((77, 70), (33, 33))])
def test_the_chance_is_that_of_fishers_exact_test(before: tuple[int, int], now: tuple[int, int]) -> None:
    table = [[now[1], now[0] - now[1]], [before[1], before[0] - before[1]]]
    assert chance(a_count(*before), a_count(*now), QUERY) == pytest.approx(fisher_exact(table, alternative="less").pvalue)


def test_a_child_is_regular_from_so_many_spans_on_and_while_hardly_one_lacks_it() -> None:
    assert [list(regular(a_count(*one))) for one in ((59, 59), (60, 60), (60, 59), (200, 197), (200, 190))] == [[], [QUERY], [], [QUERY], []]


def test_a_share_that_both_samples_leave_in_doubt_did_not_fall() -> None:
    assert not lacking(a_count(100, 100), a_count(20, 17), QUERY)
    assert lacking(a_count(100, 100), a_count(200, 140), QUERY)
    assert not lacking(a_count(1000, 1000), a_count(1000, 930), QUERY)


def test_what_so_many_tests_show_by_chance_is_left_out() -> None:
    def shift(of: float) -> Shift:
        return Shift(("web", 2, "get", ""), ("", str(of)), QUERY, a_count(100, 100), True, a_count(20, 10), np.zeros(0, np.int64), chance=of)

    given = [shift(of) for of in (0.004, 1e-9, 0.0015, 0.5)]
    assert [one.chance for one in discovered(given, 4)] == [1e-9, 0.0015, 0.004]
    assert [one.chance for one in discovered(given, 100)] == [1e-9]
    assert discovered([], 0) == []


# ---------------------------------------------------------------------- what is remembered


def learned(count: int, known: Baseline, first: int = 0, child: str = "web CLIENT q<a +0ms ~40ms name=query") -> list[dict[str, Any]]:
    made = related(*(line.replace(" m", f" r{first}-") for line in many(count, "web SERVER a +0ms ~100ms name=get", child)))
    return known.missing(made, operated(made), counted(made)).to_pylist()


OTHER = "web INTERNAL o<a +0ms ~1ms name=other"


def test_what_is_known_is_forgotten_after_two_windows() -> None:
    told = []
    for windows in (1, 2):
        known = Baseline()
        known.turn(1.0)
        assert learned(90, known) == []
        for turns in range(windows):
            known.turn(1.0 + (turns + 1) * WINDOW_SECONDS)
        told.append(len(known.watched))
    assert told == [1, 0]


def test_what_was_learned_outlives_a_restart() -> None:
    one, other = Baseline(), Baseline()
    learned(90, one)
    other.load(json.loads(json.dumps(one.dump())))
    assert other.dump() == one.dump()
    lost = ["web SERVER l{}:a +0ms ~100ms name=get", "web SERVER k{}:a +0ms ~100ms name=get"]
    rows = []
    for known in (one, other):
        made = related(*(line.format(n) for n in range(20) for line in lost))
        rows.append(known.missing(made, operated(made), children.children(made, operated(made), np.zeros(40, bool), known.watched)).to_pylist())
    assert len(rows[0]) == 1
    assert rows[0] == rows[1]


@pytest.mark.parametrize("state", [{}, {"turned": 1.0}, {"turned": 1.0, "groups": [["web", 2]]}, {"turned": 1.0, "groups": [["web", 2, "a", "", [["", ""]]]]}])
def test_a_state_that_is_none_is_refused_whole(state: dict[str, Any]) -> None:
    known = Baseline()
    learned(30, known)
    before = known.dump()
    with pytest.raises((KeyError, ValueError, TypeError)):
        known.load(state)
    assert known.dump() == before


def test_operations_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MAX_GROUPS", 1)
    known = Baseline()
    made = related(
        *many(2, "web SERVER a name=one", "web CLIENT q<a name=query"), *(line.replace(" m", " n") for line in many(2, "web SERVER a name=two", OTHER))
    )
    known.missing(made, operated(made), counted(made))
    assert (len(known.watched), known.dropped) == (1, 1)


def test_instances_beyond_the_limit_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MAX_UNITS", 2)
    known = Baseline()
    made = related(
        *(line for n in range(6) for line in (f"web SERVER t{n}:a instance=i{n} version=1", f"web CLIENT t{n}:q<a name=query instance=i{n} version=1"))
    )
    known.missing(made, operated(made), counted(made))
    (group,) = known.dump()["groups"]
    assert [unit[:2] for unit in group[4]] == [["i0", "1"], ["i1", "1"], ["", "1"]]
