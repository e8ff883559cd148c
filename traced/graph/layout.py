"""Where to draw each node of the service graph: layers from left to right, few crossings, nothing overlapping.

Pure and deterministic: the same edges in any order give the same picture. The steps are Sugiyama's:
turn the edges of loops around, layer by the longest path, order by barycenters, then place.
Every step is iterative, because the depth of a graph is decided by input.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

NODE_WIDTH = 172.0
NODE_HEIGHT = 46.0
LAYER_GAP = 64.0
NODE_GAP = 20.0
LANE_HEIGHT = 12.0
"""Height kept free in a layer for edges that pass through it."""
MARGIN = 16.0
MAX_NODES = 150
MAX_ROWS = 24
"""More nodes than this in a layer are spread over several, so that a hub of 100 services does not become one tall column."""
MAX_LANES = 4_000
"""Bends kept for edges over several layers; beyond it they run straight."""
SWEEPS = 12

Pair = tuple[str, str]
Item = str | tuple[str, int]
"""What occupies a place in a layer: a node, or a lane (node, layer) that all edges starting at this node share while they pass."""
Segment = tuple[Item, Item]


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node's box: its left upper corner, in pixels."""

    name: str
    x: float
    y: float
    layer: int


@dataclass(frozen=True, slots=True)
class PlacedEdge:
    """A line from client to server.

    Attributes:
        points: where it runs, from the client's border to the server's; at least two.
        backward: it runs against the layers, because it closes a loop.
    """

    client: str
    server: str
    points: tuple[tuple[float, float], ...]
    backward: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole picture, in pixels."""

    width: float
    height: float
    nodes: tuple[PlacedNode, ...]
    edges: tuple[PlacedEdge, ...]


def layout(pairs: Iterable[Pair]) -> Layout:
    """Place the nodes and edges of a graph.

    Args:
        pairs: (client, server); duplicates count once, and a node may call itself.

    Raises:
        ValueError: more than MAX_NODES nodes; the caller chooses which to leave out.
    """
    distinct = sorted(set(pairs))
    names = sorted({name for pair in distinct for name in pair})
    if len(names) > MAX_NODES:
        msg = f"{len(names)} nodes, at most {MAX_NODES} can be drawn"
        raise ValueError(msg)
    forward = _without_loops(names, [p for p in distinct if p[0] != p[1]])
    layer_of = _split_tall_layers(_layers(names, forward), forward)
    rows, segments = _rows(layer_of, forward)
    _order(rows, segments)
    y_of = _heights(rows, segments)
    return _draw(layer_of, y_of, distinct, set(forward))


def _without_loops(names: list[str], pairs: list[Pair]) -> list[Pair]:
    """Give the pairs with those that close a loop turned around, so that the graph has a longest path."""
    import networkx as nx  # noqa: PLC0415 - 12 MB that a daemon nobody looks at does not need

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(pairs)
    rank: dict[str, int] = {}
    group: dict[str, int] = {}
    for number, component in enumerate(nx.strongly_connected_components(graph)):
        for place, name in enumerate(_from_its_entry(graph, component)):
            rank[name], group[name] = place, number
    turned = {(b, a) if group[a] == group[b] and rank[a] > rank[b] else (a, b) for a, b in pairs}
    return sorted(turned)


def _from_its_entry(graph: nx.DiGraph[str], component: set[str]) -> list[str]:
    """Order a loop's nodes breadth first from where calls come in (else from who calls most)."""
    if len(component) == 1:
        return list(component)

    def entry(name: str) -> tuple[int, int, str]:
        from_outside = sum(1 for caller in graph.predecessors(name) if caller not in component)
        return (-from_outside, graph.in_degree(name) - graph.out_degree(name), name)

    order = [min(component, key=entry)]
    seen = set(order)
    for name in order:
        fresh = sorted(callee for callee in graph.successors(name) if callee in component and callee not in seen)
        seen.update(fresh)
        order += fresh
    return order


def _layers(names: list[str], forward: list[Pair]) -> dict[str, int]:
    """Give each node its layer: one after its latest caller; callers nobody calls move next to whom they call."""
    import networkx as nx  # noqa: PLC0415 - 12 MB that a daemon nobody looks at does not need

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(forward)
    layer_of: dict[str, int] = {}
    for name in nx.lexicographical_topological_sort(graph):
        layer_of[name] = max((layer_of[caller] + 1 for caller in graph.predecessors(name)), default=0)
    for name in names:
        if graph.in_degree(name) == 0 and graph.out_degree(name) > 0:
            layer_of[name] = min(layer_of[callee] for callee in graph.successors(name)) - 1
    return layer_of


def _split_tall_layers(layer_of: dict[str, int], forward: list[Pair]) -> dict[str, int]:
    """Spread the nodes of a tall layer over several, those with the same callers together."""
    callers: dict[str, list[str]] = defaultdict(list)
    for client, server in forward:
        callers[server].append(client)
    members: dict[int, list[str]] = defaultdict(list)
    for name in sorted(layer_of, key=lambda n: (callers[n], n)):
        members[layer_of[name]].append(name)
    split: dict[str, int] = {}
    column = 0
    for layer in sorted(members):
        columns = -(-len(members[layer]) // MAX_ROWS)
        size = -(-len(members[layer]) // columns)
        for place, name in enumerate(members[layer]):
            split[name] = column + place // size
        column += columns
    return split


def _rows(layer_of: dict[str, int], forward: list[Pair]) -> tuple[list[list[Item]], list[Segment]]:
    """Give the items of each layer, and the segments between items of neighbouring layers."""
    rows: list[list[Item]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for name in sorted(layer_of):
        rows[layer_of[name]].append(name)
    segments: dict[Segment, None] = {}
    lanes: set[tuple[str, int]] = set()
    for client, server in forward:
        previous: Item = client
        passing = [(client, layer) for layer in range(layer_of[client] + 1, layer_of[server])]
        if len(lanes) + len(passing) > MAX_LANES:
            continue
        for lane in passing:
            if lane not in lanes:
                lanes.add(lane)
                rows[lane[1]].append(lane)
            segments[previous, lane] = None
            previous = lane
        segments[previous, server] = None
    return [_lanes_in_the_middle(row) for row in rows], list(segments)


def _lanes_in_the_middle(row: list[Item]) -> list[Item]:
    """Begin with the passing edges between the nodes: at one end, layer after layer would lean to that side."""
    named = [item for item in row if isinstance(item, str)]
    half = len(named) // 2
    return [*named[:half], *(item for item in row if not isinstance(item, str)), *named[half:]]


def _neighbours(segments: list[Segment]) -> tuple[dict[Item, list[Item]], dict[Item, list[Item]]]:
    before: dict[Item, list[Item]] = defaultdict(list)
    after: dict[Item, list[Item]] = defaultdict(list)
    for left, right in segments:
        before[right].append(left)
        after[left].append(right)
    return before, after


def _order(rows: list[list[Item]], segments: list[Segment]) -> None:
    """Sort each layer, in place, by its neighbours' mean places, forth and back; the order with fewest crossings stays."""
    before, after = _neighbours(segments)
    best, fewest = [list(row) for row in rows], _crossings(rows, before)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        forth = sweep % 2 == 0
        for row_number in range(1, len(rows)) if forth else range(len(rows) - 2, -1, -1):
            fixed = {item: place for place, item in enumerate(rows[row_number - 1 if forth else row_number + 1])}
            _sort_by_mean(rows[row_number], before if forth else after, fixed)
        crossings = _crossings(rows, before)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    for row, ordered in zip(rows, best, strict=True):
        row[:] = ordered


def _sort_by_mean(row: list[Item], neighbours: dict[Item, list[Item]], fixed: dict[Item, int]) -> None:
    place = {item: number for number, item in enumerate(row)}

    def mean(item: Item) -> tuple[float, int]:
        near = [fixed[other] for other in neighbours[item] if other in fixed]
        return (sum(near) / len(near) if near else float(place[item]), place[item])

    row.sort(key=mean)


def _crossings(rows: list[list[Item]], before: dict[Item, list[Item]]) -> int:
    """Count pairs of segments that cross: inversions of their left ends when read in the order of their right ends."""
    crossings = 0
    for left, right in pairwise(rows):
        place = {item: number for number, item in enumerate(left)}
        ends = [end for item in right for end in sorted(place[b] for b in before[item])]
        seen: list[int] = []
        for end in ends:
            crossings += len(seen) - bisect_right(seen, end)
            insort(seen, end)
    return crossings


def _heights(rows: list[list[Item]], segments: list[Segment]) -> dict[Item, float]:
    """Give each item the y of its middle: near its neighbours, in order, without overlapping."""
    before, after = _neighbours(segments)
    middle: dict[Item, float] = {}
    for row in rows:
        wanted = [0.0] * len(row)
        _spread(row, wanted, middle)
    for forth in (True, False, True):
        for row in rows if forth else reversed(rows):
            neighbours = before if forth else after
            wanted = [_mean([middle[o] for o in neighbours[item]], middle[item]) for item in row]
            _spread(row, wanted, middle)
    top = min((middle[item] - _height(item) / 2 for row in rows for item in row), default=0.0)
    return {item: y - top + MARGIN for item, y in middle.items()}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _height(item: Item) -> float:
    return NODE_HEIGHT if isinstance(item, str) else LANE_HEIGHT


def _spread(row: list[Item], wanted: list[float], middle: dict[Item, float]) -> None:
    """Put items as near to the wanted places as their order and heights allow (pool adjacent violators)."""
    offsets: list[float] = []
    for number, item in enumerate(row):
        gap = 0.0 if number == 0 else offsets[-1] + (_height(row[number - 1]) + _height(item)) / 2 + NODE_GAP
        offsets.append(gap)
    pools: list[tuple[float, int]] = []  # (mean of wanted less offset, how many items)
    for want, offset in zip(wanted, offsets, strict=True):
        mean, size = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean, size = (mean * size + other * others) / (size + others), size + others
        pools.append((mean, size))
    starts = [mean for mean, size in pools for _ in range(size)]
    for item, start, offset in zip(row, starts, offsets, strict=True):
        middle[item] = start + offset


def _draw(layer_of: dict[str, int], y_of: dict[Item, float], pairs: list[Pair], forward: set[Pair]) -> Layout:
    """Turn layers and heights into boxes and lines."""
    left = {name: MARGIN + layer * (NODE_WIDTH + LAYER_GAP) for name, layer in layer_of.items()}
    nodes = tuple(PlacedNode(name, left[name], y_of[name] - NODE_HEIGHT / 2, layer_of[name]) for name in sorted(layer_of))
    edges = tuple(_line(pair, pair in forward, layer_of, left, y_of) for pair in pairs)
    width = max(left.values(), default=0.0) + NODE_WIDTH + MARGIN + (NODE_GAP if any(a == b for a, b in pairs) else 0.0)
    height = max((y + _height(item) / 2 for item, y in y_of.items()), default=0.0) + MARGIN
    return Layout(width, height, nodes, edges)


def _line(pair: Pair, is_forward: bool, layer_of: dict[str, int], left: dict[str, float], y_of: dict[Item, float]) -> PlacedEdge:  # noqa: FBT001 - private
    client, server = pair
    if client == server:
        right, y = left[client] + NODE_WIDTH, y_of[client]
        loop = ((right, y - 8), (right + NODE_GAP, y - 8), (right + NODE_GAP, y + 8), (right, y + 8))
        return PlacedEdge(client, server, loop, backward=True)
    near, far = pair if is_forward else (server, client)
    # a call back runs a little below the call forth between the same two nodes
    shift = 0.0 if is_forward else 9.0
    points = [(left[near] + NODE_WIDTH, y_of[near] + shift)]
    for layer in range(layer_of[near] + 1, layer_of[far]):
        lane = y_of.get((near, layer))
        if lane is not None:
            x = MARGIN + layer * (NODE_WIDTH + LAYER_GAP)
            points += [(x, lane + shift), (x + NODE_WIDTH, lane + shift)]
    points.append((left[far], y_of[far] + shift))
    return PlacedEdge(client, server, tuple(points if is_forward else reversed(points)), backward=not is_forward)
