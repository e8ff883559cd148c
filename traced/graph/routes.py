"""Which calls go to the routes of contracts that migrate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints
from traced.graph.relation import Relation
from traced.model.schema_rules import SchemaRules
from traced.model.span import SpanKind

_PATH: Final = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*(?P<path>/[^?#]*)"
_ENDS: Final = "/.{:?"
"""What may follow a route in a path, or in the name of a method."""


def routed(made: Relation, rules: SchemaRules) -> tuple[Ints, Codes]:
    """Give, for each span that serves a call to a route of a rule, for those that called it, and for calls that nobody answered, the rule and the route.

    Returns:
        The number of the rule (from 1), -1 of all other spans; and the route as it is configured.
    """
    forest, calls = made.forest, made.calls
    found, route = np.full(forest.count, -1), Codes(np.zeros(forest.count, np.int64), [""])
    of_calls = [(number, name) for number, rule in enumerate(rules.rules, 1) for name in rule.routes()]
    if not of_calls or not forest.count:
        return found, route
    # the longest route first, of equal ones the rule that comes first
    of_calls.sort(key=lambda one: (-len(one[1]), one[0]))
    asked = (forest.kind == SpanKind.SERVER) | ((forest.kind == SpanKind.CLIENT) & calls.unanswered)
    for texts in _texts(forest.spans):
        by_text = np.array([_first(text, of_calls) for text in texts.texts] or [-1])
        which = np.where(asked & (found < 0), by_text[texts.of], -1)
        for place in np.unique(which[which >= 0]).tolist():
            rows = which == place
            found[rows], route.of[rows] = of_calls[place][0], route.number(of_calls[place][1])
    served = np.flatnonzero((found >= 0) & (forest.kind == SpanKind.SERVER) & (calls.caller >= 0))
    callers = calls.caller[served]
    free = found[callers] < 0
    found[callers[free]], route.of[callers[free]] = found[served[free]], route.of[served[free]]
    return found, route


def _texts(spans: pa.Table) -> Iterator[Codes]:
    """Give what shows where a call goes, the surest first."""
    for name in ("http_route", "url_path"):
        yield Codes.from_column(spans.column(name))
    full = Codes.from_column(spans.column("url_full"))
    paths = pc.struct_field(pc.extract_regex(pa.array(full.texts, pa.string()), _PATH), "path")
    yield Codes(full.of, pc.fill_null(paths, "").to_pylist())
    service, method = (pc.fill_null(spans.column(name), "") for name in ("rpc_service", "rpc_method"))
    yield Codes.from_column(pc.utf8_trim(pc.binary_join_element_wise(service, method, "/"), "/"))
    yield Codes.from_column(method)


def _first(text: str, routes: list[tuple[int, str]]) -> int:
    """Give the place of the first route that a text goes to; -1 for none."""
    return next((place for place, (_, route) in enumerate(routes) if _goes_to(text, route)), -1)


def _goes_to(text: str, route: str) -> bool:
    if not text.startswith(route):
        return text + "/" == route
    return len(text) == len(route) or route[-1] in _ENDS or text[len(route)] in _ENDS
