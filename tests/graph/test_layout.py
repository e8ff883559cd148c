"""The layout: nothing overlaps, calls run to the right, and the same graph always looks the same."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.graph.layout import MAX_NODES, MAX_ROWS, NODE_HEIGHT, NODE_WIDTH, Layout, layout

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda p: (f"s{p[0]}", f"s{p[1]}")), max_size=80)


def assert_sound(placed: Layout) -> None:
    """No two boxes overlap, and everything is within the frame."""
    for number, a in enumerate(placed.nodes):
        assert 0 <= a.x <= placed.width - NODE_WIDTH
        assert 0 <= a.y <= placed.height - NODE_HEIGHT
        for b in placed.nodes[number + 1 :]:
            assert abs(a.x - b.x) >= NODE_WIDTH or abs(a.y - b.y) >= NODE_HEIGHT, (a, b)
    for edge in placed.edges:
        assert len(edge.points) >= 2
        assert all(0 <= x <= placed.width and 0 <= y <= placed.height for x, y in edge.points), edge


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_any_graph_is_drawn_whole_and_without_overlap(pairs: list[tuple[str, str]]):
    placed = layout(pairs)
    assert_sound(placed)
    assert {n.name for n in placed.nodes} == {name for pair in pairs for name in pair}
    assert [(e.client, e.server) for e in placed.edges] == sorted(set(pairs))


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_edges_does_not_matter(pairs: list[tuple[str, str]], chance: random.Random):
    shuffled = pairs + pairs[:3]
    chance.shuffle(shuffled)
    assert layout(shuffled) == layout(pairs)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_without_loops_every_call_runs_to_the_right(pairs: list[tuple[str, str]]):
    falling = [(a, b) for a, b in pairs if int(a[1:]) < int(b[1:])]
    placed = layout(falling)
    x = {n.name: n.x for n in placed.nodes}
    assert all(x[a] < x[b] for a, b in falling)
    assert not any(edge.backward for edge in placed.edges)


@pytest.mark.parametrize("nodes", [1, 2, 3, 10, 50, 100, MAX_NODES])
def test_one_to_the_limit_of_nodes_fit(nodes: int):
    chance = random.Random(nodes)
    names = [f"n{i:03}" for i in range(nodes)]
    pairs = [(names[max(0, (i - 1) // 3)], name) for i, name in enumerate(names)]
    placed = layout(pairs + [(chance.choice(names), chance.choice(names)) for _ in range(nodes)])
    assert len(placed.nodes) == nodes
    assert_sound(placed)


def test_an_empty_graph_is_an_empty_picture():
    assert (layout([]).nodes, layout([]).edges) == ((), ())


def test_more_nodes_than_the_limit_are_refused():
    with pytest.raises(ValueError, match="at most 150"):
        layout([("hub", f"leaf{i}") for i in range(MAX_NODES)])


def test_a_loop_has_one_edge_back_and_begins_where_calls_come_in():
    placed = layout([("user", "b"), ("b", "c"), ("c", "a"), ("a", "b")])
    assert [n.name for n in sorted(placed.nodes, key=lambda n: n.x)] == ["user", "b", "c", "a"]
    assert [(e.client, e.server) for e in placed.edges if e.backward] == [("a", "b")]
    back = next(e for e in placed.edges if e.backward)
    assert back.points[0][0] > back.points[-1][0]


def test_two_services_that_call_each_other_have_two_lines():
    there, back = layout([("a", "b"), ("b", "a")]).edges
    assert set(there.points).isdisjoint(back.points)


def test_a_service_that_calls_itself_has_a_small_loop():
    (edge,) = layout([("a", "a")]).edges
    assert edge.points[0][0] == edge.points[-1][0]
    assert edge.points[0] != edge.points[-1]


def test_a_complete_graph_and_a_chain_at_the_limit_take_no_long_time():
    began = time.perf_counter()
    names = [f"n{i}" for i in range(40)]
    assert_sound(layout([(a, b) for a in names for b in names]))
    chain = layout([(f"n{i:03}", f"n{i + 1:03}") for i in range(MAX_NODES - 1)] + [("n000", f"n{i:03}") for i in range(MAX_NODES)])
    assert len({n.layer for n in chain.nodes}) == MAX_NODES
    assert time.perf_counter() - began < 20


def test_a_hub_s_many_leaves_are_spread_over_columns():
    placed = layout([("hub", f"leaf{i:03}") for i in range(100)])
    columns = [sum(1 for n in placed.nodes if n.layer == layer) for layer in {n.layer for n in placed.nodes}]
    assert max(columns) <= MAX_ROWS
    assert placed.height < 2_500


def test_a_line_over_several_layers_passes_between_the_nodes():
    placed = layout([("a", "b"), ("b", "c"), ("a", "c")])
    middle = next(n for n in placed.nodes if n.name == "b")
    line = next(e for e in placed.edges if (e.client, e.server) == ("a", "c"))
    beside = [y for x, y in line.points if middle.x <= x <= middle.x + NODE_WIDTH]
    assert len(beside) == 2
    assert all(y < middle.y or y > middle.y + NODE_HEIGHT for y in beside)


def test_a_tree_is_drawn_without_crossings():
    placed = layout([("r", "a"), ("r", "b"), ("a", "z"), ("a", "y"), ("b", "x"), ("b", "w")])
    y = {n.name: n.y for n in placed.nodes}
    assert (y["a"] < y["b"]) == (max(y["z"], y["y"]) < min(y["x"], y["w"]))
