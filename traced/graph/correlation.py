"""Requests that carry an id of their own beside the trace context: who called whom, where neither names the other.

Applications, gateways and meshes give each request an id (Envoy's `x-request-id`, a `request_id` in the code) and write it on their spans. A
receiver that began a trace of its own and a span in another trace with the same id served one request. Whether that span is the caller, or
only its relative, is told by time: a caller's span surrounds all that it asked for, without exception, and of those that surround it the
innermost is the one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Codes, Ints, Mask, distinct
from traced.graph.forest import Forest
from traced.graph.relation import Relation
from traced.model.span import SpanKind

MIN_REQUESTS: Final = 20
"""Receivers that a service must surround, in requests of theirs, before it is taken for their caller."""
ALWAYS: Final = 0.995
"""Share of the receivers that their caller surrounds: the others are rounded times."""
MAX_OF_A_REQUEST: Final = 64
"""Spans of one request that are looked at for a receiver."""


@dataclass(frozen=True, slots=True)
class Side:
    """Halves of one side: each one's request (0 where it says none), service, trace, and when it began and ended (unix ns)."""

    request: Ints
    service: Codes
    start: Ints
    end: Ints


def straight_servers(made: Relation) -> Ints:
    """Give the SERVER spans with a request id of services that emit no calling span in their trace: their calls can only show as theirs."""
    forest = made.forest
    request = Codes.from_column(forest.spans.column("correlation_id"))
    if not any(request.texts):
        return np.zeros(0, np.int64)
    named: Mask = np.array([bool(text) for text in request.texts])[request.of]
    calling = np.flatnonzero(forest.sending & (made.calls.database == 0))
    key = forest.trace * len(forest.service.texts) + forest.service.of
    rows = np.flatnonzero(named & (forest.kind == SpanKind.SERVER) & ~forest.silenced[forest.trace])
    return rows[~np.isin(key[rows], key[calling])]


def says_requests(forest: Forest) -> bool:
    """Say whether any span carries the id of a request."""
    column = forest.spans.column("correlation_id")
    return bool(column.null_count < len(column))


def shared(requests: pa.ChunkedArray, traces: Ints) -> pa.Array:
    """Name the requests that have spans in more than one trace."""
    table = pa.table({"request": requests, "trace": traces}).group_by("request").aggregate([("trace", "min"), ("trace", "max")])
    apart = np.asarray(table.column("trace_min")) != np.asarray(table.column("trace_max"))
    found = table.column("request").filter(pa.array(apart)).combine_chunks()
    return found.filter(pa.array([bool(text) for text in found.to_pylist()], pa.bool_()))


def direct_callers(callers: Side, receivers: Side) -> frozenset[tuple[str, str]]:
    """Name the pairs (caller service, receiver service) that the ids of requests and the times of their spans show to be calls."""
    caller, receiver = _of_one_request(callers, receivers)
    if not len(caller):
        return frozenset()
    before, after = receivers.start[receiver] - callers.start[caller], callers.end[caller] - receivers.end[receiver]
    width = len(callers.service.texts)
    edges, edge = distinct(receivers.service.of[receiver] * width + callers.service.of[caller], len(receivers.service.texts) * width)
    asked = np.bincount(receivers.service.of[np.unique(receiver)], minlength=len(receivers.service.texts))
    around = (before >= 0) & (after >= 0)
    found: dict[int, list[tuple[int, float, float]]] = {}
    for number, (callee, calling) in enumerate(zip((edges // width).tolist(), (edges % width).tolist(), strict=True)):
        mine = around & (edge == number)
        surrounded = len(np.unique(receiver[mine]))
        if surrounded >= max(MIN_REQUESTS, ALWAYS * asked[callee]) and callers.service.texts[calling] != receivers.service.texts[callee]:
            found.setdefault(callee, []).append((calling, float(np.median(before[mine])), float(np.median(after[mine]))))
    innermost = {callee: _innermost(around_it) for callee, around_it in found.items()}
    return frozenset((callers.service.texts[calling], receivers.service.texts[callee]) for callee, calling in innermost.items() if calling is not None)


def _innermost(services: list[tuple[int, float, float]]) -> int | None:
    """Choose the service that begins last before, and ends first after; None where these are two."""
    begins, ends = min(services, key=lambda s: s[1]), min(services, key=lambda s: s[2])
    return begins[0] if begins[2] == ends[2] else None


def _of_one_request(callers: Side, receivers: Side) -> tuple[Ints, Ints]:
    """Pair the rows of both sides that name the same request; of a request with very many spans, some."""
    order = np.argsort(callers.request, kind="stable")
    ordered = callers.request[order]
    named = np.flatnonzero(receivers.request > 0)
    first, last = (np.searchsorted(ordered, receivers.request[named], side) for side in ("left", "right"))
    number = np.minimum(last - first, MAX_OF_A_REQUEST)
    place = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number) + np.repeat(first, number)
    return order[place], np.repeat(named, number)
