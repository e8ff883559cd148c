"""The graphs as a file of its own: the same drawing as on the page, with its style inside; below it the message graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from traced.cli.output import clean
from traced.model.edge import Edge
from traced.pages.drawing import Drawing, Line, Node, connections_of, draw

_STYLE: Final = """
text { font-family: system-ui, sans-serif; text-anchor: middle; fill: #1b2430; font-size: 13px }
.small { fill: #5b6673; font-size: 11px }
.box { fill: #eef3fb; stroke: #8aa0bf; stroke-width: 1.4 }
.database .box { fill: #f1ecfa; stroke: #8a6fc0 }
.virtual .box { fill: #ffffff; stroke-dasharray: 5 4 }
.line { fill: none; stroke: #7d8894; stroke-width: 1.4 }
.messaging_system { stroke: #2f7d6b; stroke-dasharray: 7 4 }
.failing .box, .line.failing { stroke: #b3261e; stroke-width: 2.2 }
.failing .small, .failure { fill: #b3261e }
"""
_FOOT: Final = 24
"""Pixels below each drawing, for its note."""
_ARROW: Final = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#7d8894"/></marker></defs>'
)


def as_svg(edges: Sequence[Edge], messages: Sequence[Edge] = ()) -> list[str]:
    """Give the lines of an SVG document; what is too much for one picture is left out, and a note in it says so.

    Args:
        edges: the service graph.
        messages: the message graph, each destination a node of its own.
    """
    drawings = [draw(connections_of(some), {}) for some in (edges, messages) if some or some is edges]
    return list(_document(drawings))


def _document(drawings: Sequence[Drawing]) -> Iterator[str]:
    width, height = max(round(drawing.width) for drawing in drawings), sum(round(drawing.height) + _FOOT for drawing in drawings)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="Service graph">'
    yield f"<style>{_STYLE}</style>"
    yield _ARROW
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    above = 0
    for drawing in drawings:
        yield f'<g transform="translate(0 {above})">'
        yield from _picture(drawing)
        yield "</g>"
        above += round(drawing.height) + _FOOT
    yield "</svg>"


def _picture(drawing: Drawing) -> Iterator[str]:
    width, height = round(drawing.width), round(drawing.height) + _FOOT
    for line in drawing.lines:
        yield _line(line)
    for node in drawing.nodes:
        yield _node(node, drawing.node_width, drawing.node_height)
    for line in drawing.lines:
        if line.label:
            yield f'<text class="small failure" x="{line.label_x:.1f}" y="{line.label_y:.1f}">{_text(line.label)}</text>'
    if len(drawing.nodes) < drawing.total_nodes or len(drawing.lines) < drawing.total_lines:
        shown = f"{len(drawing.nodes)} of {drawing.total_nodes} nodes, {len(drawing.lines)} of {drawing.total_lines} connections: those with the most calls"
        yield f'<text class="small" x="{width / 2:.1f}" y="{height - 6}">{shown}</text>'


def _line(line: Line) -> str:
    classes = " ".join(("line", _text(line.kind), "failing" if line.failing else "")).strip()
    return f'<path class="{classes}" d="{line.path}" marker-end="url(#arrow)"><title>{_text(line.title)}</title></path>'


def _node(node: Node, width: float, height: float) -> str:
    classes = f"{node.kind} failing" if node.failing else node.kind
    radius = 7 if node.kind == "service" else height / 2
    return (
        f'<g class="{classes}" transform="translate({node.x:.1f} {node.y:.1f})"><title>{_text(node.name)}</title>'
        f'<rect class="box" width="{width:g}" height="{height:g}" rx="{radius:g}"/>'
        f'<text x="{width / 2:g}" y="20">{_text(node.label)}</text>'
        f'<text class="small" x="{width / 2:g}" y="36">{_text(node.note)}</text></g>'
    )


def _text(name: str) -> str:
    return escape(clean(name))
