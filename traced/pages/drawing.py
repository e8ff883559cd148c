"""The service graph as shapes for an SVG: which nodes are drawn, how they look, where lines and words go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from traced.graph.layout import MAX_NODES, NODE_HEIGHT, NODE_WIDTH, PlacedEdge, layout
from traced.model.edge import ConnectionType, Edge, EdgeCounts

MAX_LINES = 600
MAX_LABEL_CHARACTERS = 18
"""So many characters of 13 px fit into a node; the whole name is in its title and in the table."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Connection:
    """All edges between two names, as one.

    Attributes:
        kinds: how they are connected, the most used first.
    """

    client: str
    server: str
    kinds: tuple[ConnectionType, ...]
    counts: EdgeCounts

    @property
    def mean_seconds(self) -> float | None:
        """The mean duration as the caller saw it, else as the callee did; None where neither was measured."""
        for durations in (self.counts.client_seconds, self.counts.server_seconds):
            if durations.count and durations.sum_seconds:
                return durations.sum_seconds / durations.count
        return None


@dataclass(frozen=True, slots=True)
class Node:
    """A box.

    Attributes:
        kind: service, virtual or database.
        failing: some calls to it failed.
        note: the small line below the name.
        anchor: the id of its findings on the page, or empty.
        badge: how many findings it has.
    """

    name: str
    label: str
    x: float
    y: float
    kind: str
    failing: bool
    note: str
    anchor: str
    badge: int


@dataclass(frozen=True, slots=True)
class Line:
    """A call path between two boxes; `label` stands at (label_x, label_y) and is empty where nothing failed."""

    path: str
    kind: str
    failing: bool
    title: str
    label: str
    label_x: float
    label_y: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole picture, and how much of the graph it shows."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    total_nodes: int
    total_lines: int
    node_width: float = NODE_WIDTH
    node_height: float = NODE_HEIGHT


def connections_of(edges: Sequence[Edge]) -> list[Connection]:
    """Sum edges between the same two names, the most called first."""
    counts: dict[Pair, EdgeCounts] = {}
    kinds: dict[Pair, dict[ConnectionType, int]] = defaultdict(lambda: defaultdict(int))
    for edge in edges:
        pair = (edge.key.client, edge.key.server)
        counts[pair] = counts[pair].plus(edge.counts) if pair in counts else edge.counts
        kinds[pair][edge.key.connection_type] += edge.counts.calls
    found = [Connection(*pair, _most_used_first(kinds[pair]), one) for pair, one in counts.items()]
    return sorted(found, key=lambda c: (-c.counts.calls, c.client, c.server))


def _most_used_first(calls: dict[ConnectionType, int]) -> tuple[ConnectionType, ...]:
    return tuple(sorted(calls, key=lambda kind: (-calls[kind], kind)))


def draw(connections: Sequence[Connection], findings: Mapping[str, tuple[str, int]]) -> Drawing:
    """Draw as much of the graph as stays readable.

    Args:
        connections: the most called first; what is too much is left out from the end.
        findings: service to (id of its findings on the page, how many).
    """
    kinds = _node_kinds(connections)
    shown = _readable(connections)
    placed = layout((c.client, c.server) for c in shown)
    calls, errors = _incoming(connections)
    nodes = []
    for node in placed.nodes:
        anchor, badge = findings.get(node.name, ("", 0))
        note = _note(kinds[node.name], calls[node.name], errors[node.name])
        nodes.append(Node(node.name, _short(node.name), node.x, node.y, kinds[node.name], errors[node.name] > 0, note, anchor, badge))
    by_pair = {(c.client, c.server): c for c in shown}
    lines = tuple(_line(edge, by_pair[edge.client, edge.server]) for edge in placed.edges)
    return Drawing(placed.width, placed.height, tuple(nodes), lines, len(kinds), len(connections))


def _readable(connections: Sequence[Connection]) -> list[Connection]:
    names: set[str] = set()
    shown: list[Connection] = []
    for connection in connections:
        ends = {connection.client, connection.server}
        if len(shown) < MAX_LINES and len(names | ends) <= MAX_NODES:
            names |= ends
            shown.append(connection)
    return shown


def _incoming(connections: Sequence[Connection]) -> tuple[dict[str, int], dict[str, int]]:
    calls: dict[str, int] = defaultdict(int)
    errors: dict[str, int] = defaultdict(int)
    for connection in connections:
        calls[connection.server] += connection.counts.calls
        errors[connection.server] += connection.counts.errors
    return calls, errors


def _node_kinds(connections: Sequence[Connection]) -> dict[str, str]:
    """Tell services from databases and from nodes known only by what their neighbours say of them.

    Whoever takes part in an ordinary or messaging call, or calls a database, has reported itself. Of a virtual edge one
    end has: if neither is known otherwise, `user` (Tempo's name for an unnamed caller) is the virtual one, else the callee.
    """
    reporting: set[str] = set()
    databases: set[str] = set()
    for c in connections:
        for kind in c.kinds:
            if kind in {ConnectionType.CALL, ConnectionType.MESSAGING_SYSTEM}:
                reporting |= {c.client, c.server}
            elif kind == ConnectionType.DATABASE:
                reporting.add(c.client)
                databases.add(c.server)
    for c in connections:
        if ConnectionType.VIRTUAL_NODE in c.kinds and not reporting & {c.client, c.server}:
            reporting.add(c.server if c.client == "user" else c.client)
    names = {name for c in connections for name in (c.client, c.server)}
    return {name: "service" if name in reporting else "database" if name in databases else "virtual" for name in names}


def _note(kind: str, calls: int, errors: int) -> str:
    """Give the small line: what the node is unless failures need the room, and what came to it."""
    if calls == 0:
        # nobody calls it, so this is where traffic enters
        return "sends no spans" if kind == "virtual" else "entry"
    counted = f"{calls:,} call{'' if calls == 1 else 's'}"
    if errors:
        return f"{counted} · {errors:,} failed"
    return f"database · {counted}" if kind == "database" else counted


def _short(name: str) -> str:
    if not name:
        return "(no name)"
    return name if len(name) <= MAX_LABEL_CHARACTERS else f"{name[: MAX_LABEL_CHARACTERS - 1]}…"


def _line(edge: PlacedEdge, connection: Connection) -> Line:
    counts = connection.counts
    kind = connection.kinds[0].value or "call"
    title = f"{connection.client} → {connection.server}: {counts.calls:,} calls, {counts.errors:,} failed"
    if edge.backward and edge.client != edge.server:
        title += " (closes a loop)"
    (x0, y0), (x1, y1) = edge.points[-2:]
    label = f"{counts.errors:,} failed" if counts.errors else ""
    return Line(_path(edge.points), kind, counts.errors > 0, title, label, round((x0 + x1) / 2, 1), round((y0 + y1) / 2 - 6, 1))


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Join points by curves that leave and arrive horizontally."""
    (x, y), *others = points
    parts = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in others:
        middle = (x + to_x) / 2
        parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return " ".join(parts)
