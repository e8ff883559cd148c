"""`traced graph`: the service graph of a running daemon, or of files."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traced.cli.analyze import analyze_files, print_edges, print_message_edges
from traced.cli.options import DAEMON_URL, ConfigOption, UrlOption
from traced.cli.output import clean, write_json, write_lines

if TYPE_CHECKING:
    from traced.model.edge import Edge, EdgeCounts


class GraphFormat(StrEnum):
    """How the graph is printed."""

    TEXT = "text"
    JSON = "json"
    DOT = "dot"
    SVG = "svg"


_PathsArgument = Annotated[list[str] | None, typer.Argument(metavar="PATH", help="OTLP files to draw instead of what a daemon has seen.")]


def graph(
    paths: _PathsArgument = None,
    *,
    output: Annotated[
        GraphFormat, typer.Option("--format", help="text for people, json for programs, dot for Graphviz, svg for a browser.")
    ] = GraphFormat.TEXT,
    url: UrlOption = DAEMON_URL,
    config: ConfigOption = None,
) -> None:
    """Print the service graph, who calls whom, how often, and how many calls failed; and the message graph, who sends what to whom.

    Without PATH it is asked of a running daemon; with PATH it is drawn from files, as `traced analyze` does.
    """
    code = 0
    if paths:
        report, inputs = analyze_files(paths, config)
        code = 3 if inputs.unread else 0
        edges, messages = ([edge.as_dict() for edge in some] for some in (report.edges, report.message_edges))
    else:
        from traced.cli.daemon_api import DaemonApi  # noqa: PLC0415 - loads urllib and ssl, which `traced --help` has no use for

        answer = DaemonApi(url).get("graph")
        edges, messages = answer["service_graph"]["edges"], answer["message_graph"]["edges"]
    match output:
        case GraphFormat.TEXT:
            print_edges(edges)
            print_message_edges(messages)
        case GraphFormat.JSON:
            write_json({"service_graph": {"edges": edges}, "message_graph": {"edges": messages}})
        case GraphFormat.DOT:
            write_lines(as_dot(edges, messages))
        case GraphFormat.SVG:
            from traced.cli.svg import as_svg  # noqa: PLC0415 - loads the layout, which the other forms have no use for

            write_lines(as_svg(_edges_of(edges), _edges_of(_hops(messages))))
    raise typer.Exit(code)


def as_dot(edges: list[dict[str, Any]], messages: list[dict[str, Any]]) -> list[str]:
    """Give both graphs in Graphviz's language, destinations as nodes of their own; names from telemetry are quoted, never trusted."""
    lines = ["digraph services {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for edge in edges:
        attributes = [f"label={_quoted(_label(edge))}"]
        if edge["connection_type"]:
            attributes.append("style=dashed")
        if edge["errors"]:
            attributes.append("color=red")
        lines.append(f"  {_quoted(edge['client'])} -> {_quoted(edge['server'])} [{', '.join(attributes)}];")
    for hop in _hops(messages):
        place, service = (hop["server"], hop["client"]) if hop["sends"] else (hop["client"], hop["server"])
        lines.append(f"  {_quoted(place)} [shape=cds];")
        ends = (service, place) if hop["sends"] else (place, service)
        lines.append(f"  {_quoted(ends[0])} -> {_quoted(ends[1])} [label={_quoted(_label(hop))}, style=dotted];")
    return [*lines[:3], *dict.fromkeys(lines[3:]), "}"]


def _hops(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the edges of the message graph in halves, to the destination and from it, as edges of the service graph; a side without a name is left out."""
    counts: dict[tuple[str, str, bool], list[int]] = {}
    for edge in messages:
        place = f"{edge['destination'] or '(no name)'} ({edge['system'] or 'messages'})"
        for client, server, sends in ((edge["producer"], place, True), (place, edge["consumer"], False)):
            if client and server:
                known = counts.setdefault((client, server, sends), [0, 0])
                known[0] += edge["messages"]
                known[1] += 0 if sends else edge["errors"]
    kind = "messaging_system"
    return [
        {"client": client, "server": server, "sends": sends, "connection_type": kind, "calls": calls, "errors": errors}
        for (client, server, sends), (calls, errors) in counts.items()
    ]


def _label(edge: dict[str, Any]) -> str:
    failed = f", {edge['errors']} failed" if edge["errors"] else ""
    kind = f" ({edge['connection_type']})" if edge["connection_type"] else ""
    return f"{edge['calls']}{failed}{kind}"


def _quoted(text: str) -> str:
    inside = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inside}"'


def _counts(edge: dict[str, Any]) -> EdgeCounts:
    from traced.model.edge import EdgeCounts  # noqa: PLC0415 - only where asked for

    adjusted = edge.get("adjusted_calls")
    known = (0, 0.0) if adjusted is None else (edge["calls"], adjusted)
    return EdgeCounts(calls=edge["calls"], errors=edge["errors"], weighed=known[0], weight=known[1])


def _edges_of(shown: list[dict[str, Any]]) -> list[Edge]:
    """Read edges back from their JSON shape."""
    from traced.model.edge import ConnectionType, Edge, EdgeKey  # noqa: PLC0415 - only where asked for

    return [
        Edge(
            EdgeKey(
                edge["client"],
                edge["server"],
                ConnectionType(edge["connection_type"]),
                edge.get("client_namespace", ""),
                edge.get("server_namespace", ""),
            ),
            _counts(edge),
        )
        for edge in shown
    ]
