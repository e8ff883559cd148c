"""Stretches that no child covers, held against counting milliseconds; and what is remembered of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spans import many, spans

from traced.graph import gap_history, gaps
from traced.graph.calls import Naming
from traced.graph.forest import Forest
from traced.graph.gap_history import GapHistory
from traced.graph.operations import operated
from traced.graph.relation import Relation, build
from traced.graph.windows import WINDOW_SECONDS

GAP = ["web SERVER a ~200ms name=buy", "web CLIENT b<a +0ms ~50ms name=one", "web CLIENT c<a +120ms ~80ms name=two"]


def related(*lines: str) -> Relation:
    return build(Forest(spans(*lines).staged()), Naming())


def found_in(made: Relation, *watched: tuple[str, int, str]) -> gaps.Gaps:
    return gaps.gaps(made, operated(made), watched)


def told(history: GapHistory, made: Relation) -> list[dict[str, Any]]:
    return history.blind(made, found_in(made)).to_pylist()


@st.composite
def children(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Draw (start, end) in whole milliseconds of children that begin within 100 ms."""
    return [(start, start + draw(st.integers(0, 60))) for start in draw(st.lists(st.integers(0, 99), min_size=1, max_size=8))]


@settings(deadline=None)
@given(children())
def test_the_longest_stretch_is_the_one_that_counting_finds(times: list[tuple[int, int]]) -> None:
    made = related("web SERVER a ~100ms", *(f"web INTERNAL c{n}<a +{start}ms ~{end - start}ms" for n, (start, end) in enumerate(times)))
    covered = [any(start <= at < end for start, end in times) for at in range(100)]
    # an instant within a stretch divides it, though it covers nothing
    edges = sorted({0, 100, *(at for at in range(1, 100) if covered[at] != covered[at - 1]), *(start for start, end in times if start == end)})
    longest = max((there - here for here, there in pairwise(edges) if not covered[here]), default=0)
    stretches = found_in(made, ("web", 2, "web server"))
    assert max(stretches.nanos.tolist()) == longest * 10**6
    assert int(stretches.hidden.sum()) == (longest >= 20)


def test_an_operation_that_is_watched_is_looked_at_even_where_it_hides_nothing() -> None:
    made = related("web SERVER a ~100ms name=buy", "web CLIENT b<a +0ms ~100ms name=one")
    assert found_in(made).places == []
    assert sorted(found_in(made, ("web", 2, "buy")).places) == [(("web", 2, "buy"), "", "one"), (("web", 2, "buy"), "one", "")]


def test_more_spans_than_a_pass_looks_into_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "MAX_SPANS", 7)
    found = found_in(related(*many(10, *GAP)))
    assert (int(found.hidden.sum()), found.skipped) == (7, 3)


# ---------------------------------------------------------------------- what is remembered


def test_what_was_learned_of_traces_that_are_looked_at_again_is_taken_back() -> None:
    history = GapHistory()
    made, late = related(*many(10, *GAP)), related(*many(1, *GAP))
    history.learn(made, found_in(made))
    history.learn(late, found_in(late), -1)
    assert told(history, made) == []


def test_two_windows_take_turns() -> None:
    history, made = GapHistory(), related(*many(5, *GAP))
    for turns in range(4):
        history.turn(1.0 + turns * WINDOW_SECONDS)
        history.learn(made, found_in(made))
        assert {row["traces"] for row in told(history, made)} == (set() if turns == 0 else {10})


def test_the_longest_of_very_many_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_history, "SHOWN", 3)
    history = GapHistory()
    made = related(*(line.replace("~200ms", f"~{200 + n}ms") for n in range(12) for line in many(n + 1, *GAP)[-3:]))
    history.learn(made, found_in(made))
    rows = told(history, made)
    assert len(rows) == 3
    assert {row["traces"] for row in rows} == {12}


def test_operations_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_history, "MAX_OPERATIONS", 1)
    history, made = GapHistory(), related(*many(10, *GAP), *(line.replace(" m", " n").replace("web", "cart") for line in many(10, *GAP)))
    history.learn(made, found_in(made))
    assert len(history.watched) == 1
    assert history.dropped == 1


@pytest.mark.parametrize("state", [{}, {"turned": 1.0}, {"turned": 1.0, "windows": []}, {"turned": 1.0, "windows": [[], [["web", 2]]]}])
def test_a_state_that_is_none_is_refused_whole(state: dict[str, Any]) -> None:
    history, made = GapHistory(), related(*many(10, *GAP))
    history.learn(made, found_in(made))
    before = history.dump()
    with pytest.raises((KeyError, ValueError, TypeError)):
        history.load(state)
    assert history.dump() == before


def test_the_order_of_arrival_does_not_matter() -> None:
    lines = many(12, *GAP, "web INTERNAL d<b +5ms ~10ms")
    seen = []
    for order in (lines, lines[::-1]):
        history, made = GapHistory(), related(*order)
        history.learn(made, found_in(made))
        seen.append(sorted(told(history, made), key=lambda row: (row["trace_id_high"], row["span_id"])))
    assert len(seen[0]) == 12
    assert seen[0] == seen[1]
