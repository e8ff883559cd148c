"""The picture of the service graph: what each node is, what is left out, and that it stays within its frame."""

from __future__ import annotations

import re

import pytest
from asgi_client import app_over, ask
from fake_views import FakeViews, edge

from traced.graph.layout import MAX_NODES
from traced.model.edge import ConnectionType, Edge, EdgeKey
from traced.pages.drawing import connections_of, draw

VIRTUAL, DATABASE, MESSAGING = ConnectionType.VIRTUAL_NODE, ConnectionType.DATABASE, ConnectionType.MESSAGING_SYSTEM


@pytest.mark.parametrize(
    ("edges", "kinds"),
    [
        ([edge("user", "web", kind=VIRTUAL)], {"user": "virtual", "web": "service"}),
        ([edge("web", "bank", kind=VIRTUAL)], {"web": "service", "bank": "virtual"}),
        ([edge("proxy", "web", kind=VIRTUAL), edge("web", "cart")], {"proxy": "virtual", "web": "service", "cart": "service"}),
        ([edge("cart", "redis", kind=DATABASE)], {"cart": "service", "redis": "database"}),
        ([edge("a", "b", kind=MESSAGING)], {"a": "service", "b": "service"}),
        ([edge("a", "b", kind=DATABASE), edge("b", "c")], {"a": "service", "b": "service", "c": "service"}),
    ],
)
def test_a_node_s_kind_follows_from_its_edges(edges: list[Edge], kinds: dict[str, str]):
    assert {node.name: node.kind for node in draw(connections_of(edges), {}).nodes} == kinds


def test_edges_between_the_same_two_names_are_one_line_with_their_sum():
    one = edge("a", "b", 10, 1)
    other = Edge(EdgeKey("a", "b", MESSAGING, "left", "right"), edge("a", "b", 30, 2).counts)
    (connection,) = connections_of([one, other])
    assert (connection.counts.calls, connection.counts.errors, connection.kinds) == (40, 3, (MESSAGING, ConnectionType.CALL))


def test_a_node_says_what_came_to_it_and_what_failed():
    nodes = {n.name: n for n in draw(connections_of([edge("a", "b", 1), edge("b", "c", 1500, 3)]), {"b": ("service-0", 2)}).nodes}
    assert [nodes[n].note for n in "abc"] == ["entry", "1 call", "1,500 calls · 3 failed"]
    assert [nodes[n].failing for n in "abc"] == [False, False, True]
    assert (nodes["b"].anchor, nodes["b"].badge, nodes["a"].anchor) == ("service-0", 2, "")


def test_a_hundred_services_are_all_drawn_within_the_frame():
    edges = [edge(f"service-{(i - 1) // 3:03}", f"service-{i:03}", i) for i in range(1, 100)]
    html = ask(app_over(FakeViews(all_edges=edges)), "/").text
    width, height = map(int, re.search(r'class="graph".*?viewBox="0 0 (\d+) (\d+)"', html).groups())
    places = [(float(x), float(y)) for x, y in re.findall(r'class="node [^"]*" transform="translate\(([\d.]+) ([\d.]+)\)"', html)]
    assert len(places) == 100
    assert all(0 <= x <= width - 172 and 0 <= y <= height - 46 for x, y in places)


def test_what_is_too_much_is_left_out_from_the_least_called_and_said():
    edges = [edge("hub", f"leaf-{i:03}", 1000 - i) for i in range(300)]
    drawing = draw(connections_of(edges), {})
    assert (len(drawing.nodes), drawing.total_nodes) == (MAX_NODES, 301)
    assert {n.name for n in drawing.nodes} == {"hub", *(f"leaf-{i:03}" for i in range(MAX_NODES - 1))}
    assert f"Showing {MAX_NODES} of 301 nodes" in ask(app_over(FakeViews(all_edges=edges)), "/").text


def test_long_and_empty_names_fit_their_box():
    labels = [n.label for n in draw(connections_of([edge("", "x" * 500)]), {}).nodes]
    assert labels == ["(no name)", "x" * 17 + "…"]
