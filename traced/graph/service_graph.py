"""The service graph: calls summed to edges with latency histograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from traced.graph.calls import CONNECTION_TYPES, Calls
from traced.graph.columns import Ints, Mask, distinct, numbers
from traced.graph.weights import of_calls
from traced.model.edge import DURATION_BUCKETS_SECONDS, ConnectionType, Durations, Edge, EdgeCounts, EdgeKey

ByMinute = dict[int, dict[EdgeKey, EdgeCounts]]
"""Edges by the minute (unix) in which the first half of a call, or the half that found no other, arrived.

It does not depend on what comes later: what a call was counted as is taken away in the minute in which it was counted.
"""

_MINUTE_NANOS = 60_000_000_000
_BOUNDS = np.array(DURATION_BUCKETS_SECONDS)
_MESSAGE = CONNECTION_TYPES.index(ConnectionType.MESSAGING_SYSTEM)


def edges(calls: Calls) -> ByMinute:
    """Sum a forest's calls by minute and edge, and count the halves that found none."""
    forest = calls.forest
    arrival = numbers(forest.spans, "arrival_time_unix_nano") // _MINUTE_NANOS
    result: ByMinute = {}
    width = len(calls.names.texts)
    # two steps, so that many names cannot overflow the packed number
    names, name_pair = distinct(calls.client * width + calls.server, width * width)
    spaces, space_pair = distinct(calls.client_space * width + calls.server_space, width * width)
    code = (name_pair * max(1, len(spaces)) + space_pair) * len(CONNECTION_TYPES) + calls.connection
    present, edge = distinct(code, max(1, len(names)) * max(1, len(spaces)) * len(CONNECTION_TYPES))
    minutes, minute = _distinct_minutes(_first_minutes(arrival, calls))
    slots, edge = distinct(edge * len(minutes) + minute, len(present) * len(minutes))
    count = len(slots)
    number = np.bincount(edge, minlength=count)
    failed = np.bincount(edge[calls.error], minlength=count)
    client = _histograms(edge, count, *_seconds(forest.start, forest.end, calls.client_row))
    server = _histograms(edge, count, *_seconds(forest.start, forest.end, calls.server_row))
    delay, delayed = _delays(calls)
    messaging = _histograms(edge[delayed], count, delay, np.ones(len(delay), bool))
    known, weight = _weighed(calls, edge, count)
    which, part = np.divmod(slots, max(1, len(minutes)))
    for place, packed in enumerate(present[which].tolist()):
        rest, connection = divmod(packed, len(CONNECTION_TYPES))
        name_place, space_place = divmod(rest, max(1, len(spaces)))
        client_name, server_name = divmod(int(names[name_place]), width)
        client_space, server_space = divmod(int(spaces[space_place]), width)
        text = calls.names.texts
        key = EdgeKey(text[client_name], text[server_name], CONNECTION_TYPES[connection], text[client_space], text[server_space])
        durations = client[place], server[place], messaging[place]
        counts = EdgeCounts(int(number[place]), int(failed[place]), 0, *durations, int(known[place]), float(weight[place]))
        result.setdefault(int(minutes[part[place]]), {})[key] = counts
    for (at, key), unpaired in _unpaired(calls, arrival).items():
        bucket = result.setdefault(at, {})
        bucket[key] = bucket.get(key, EdgeCounts()).plus(EdgeCounts(unpaired=unpaired))
    return result


def _weighed(calls: Calls, edge: Ints, count: int) -> tuple[Ints, np.ndarray]:
    """Give, for each edge, the calls of which it is known how they were sampled, and how many calls these stand for."""
    of_calls_ = of_calls(calls)
    if of_calls_ is None:
        return np.zeros(count, np.int64), np.zeros(count)
    said = ~np.isnan(of_calls_)
    return np.bincount(edge[said], minlength=count), np.bincount(edge[said], weights=of_calls_[said], minlength=count)


def _first_minutes(arrival: Ints, calls: Calls) -> Ints:
    """Give the minute in which the first half of each call arrived."""
    client, server = calls.client_row, calls.server_row
    first = np.minimum(arrival[client], arrival[server])  # a row of -1 gives some minute, and is replaced
    minutes: Ints = np.where(client < 0, arrival[server], np.where(server < 0, arrival[client], first))
    return minutes


def _distinct_minutes(minutes: Ints) -> tuple[Ints, Ints]:
    """Give (the distinct minutes in ascending order, each one's place among them)."""
    if not len(minutes):
        return minutes, minutes
    begin = int(minutes.min())
    values, place = distinct(minutes - begin, int(minutes.max()) - begin + 1)
    return values + begin, place


def _seconds(start: Ints, end: Ints, rows: Ints) -> tuple[np.ndarray, Mask]:
    """Give each call's duration on one side: 0 s where that half is absent; left out where it ends before it starts."""
    here = rows >= 0
    seconds = np.zeros(len(rows))
    seconds[here] = (end[rows[here]] - start[rows[here]]) / 1e9
    return seconds, seconds >= 0


def _delays(calls: Calls) -> tuple[np.ndarray, Ints]:
    """Give (delay in seconds, call) of messages, from end of producing to start of consuming; negative ones are left out."""
    forest = calls.forest
    message = np.flatnonzero(calls.connection == _MESSAGE)
    sent = np.where(calls.client_row[message] >= 0, forest.end[calls.client_row[message]], calls.sent[message])
    delay = (forest.start[calls.server_row[message]] - sent) / 1e9
    use = (sent >= 0) & (delay >= 0)
    return delay[use], message[use]


def _histograms(edge: Ints, count: int, seconds: np.ndarray, use: Mask) -> list[Durations]:
    edge, seconds = edge[use], seconds[use]
    bucket = np.searchsorted(_BOUNDS, seconds, side="left")
    width = len(_BOUNDS) + 1
    counts = np.bincount(edge * width + bucket, minlength=count * width).reshape(count, width)
    sums = np.bincount(edge, weights=seconds, minlength=count)
    return [Durations(int(c.sum()), float(s), tuple(int(x) for x in c)) for c, s in zip(counts, sums, strict=True)]


def _unpaired(calls: Calls, arrival: Ints) -> dict[tuple[int, EdgeKey], int]:
    """Count, by minute, halves without the other: unanswered CLIENT and PRODUCER spans that no edge shows, and SERVERs of absent parents."""
    forest = calls.forest
    shown = np.zeros(forest.count, bool)
    shown[calls.client_row[calls.client_row >= 0]] = True
    shown[calls.server_row[calls.server_row >= 0]] = True
    alone = calls.unanswered & ~shown
    orphaned = forest.receiving & forest.dangling & ~shown & ~forest.nameless
    result: dict[tuple[int, EdgeKey], int] = {}
    for rows, sends in ((alone, True), (orphaned, False)):
        width = len(forest.service.texts)
        minutes, minute = _distinct_minutes(arrival[rows])
        slots, counts = np.unique(minute * width + forest.service.of[rows], return_counts=True)
        for slot, number in zip(slots.tolist(), counts.tolist(), strict=True):
            at, service = int(minutes[slot // width]), slot % width
            name, space = forest.service.texts[service], forest.namespaces[service]
            key = EdgeKey(name, "", ConnectionType.CALL, space, "") if sends else EdgeKey("", name, ConnectionType.CALL, "", space)
            result[at, key] = result.get((at, key), 0) + number
    return result


def difference(after: ByMinute, before: ByMinute) -> ByMinute:
    """Give what changed between two analyses of the same traces, in the minutes in which it did."""
    changed = {minute: _difference(after.get(minute, {}), before.get(minute, {})) for minute in after.keys() | before.keys()}
    return {minute: counts for minute, counts in changed.items() if counts}


def _difference(after: Mapping[EdgeKey, EdgeCounts], before: Mapping[EdgeKey, EdgeCounts]) -> dict[EdgeKey, EdgeCounts]:
    changed = {key: after.get(key, EdgeCounts()).plus(before.get(key, EdgeCounts()), -1) for key in after.keys() | before.keys()}
    return {key: counts for key, counts in changed.items() if counts != EdgeCounts()}


def total(parts: Iterable[Mapping[EdgeKey, EdgeCounts]]) -> dict[EdgeKey, EdgeCounts]:
    """Add up edges of several minutes or analyses; those of which nothing is left are left out."""
    result: dict[EdgeKey, EdgeCounts] = {}
    for part in parts:
        for key, counts in part.items():
            result[key] = result[key].plus(counts) if key in result else counts
    return {key: counts for key, counts in result.items() if counts != EdgeCounts()}


def as_edges(counts: Mapping[EdgeKey, EdgeCounts]) -> tuple[Edge, ...]:
    """Give edges that carry calls, in a stable order."""
    ordered = sorted(counts.items(), key=lambda item: (item[0].client, item[0].server, item[0].connection_type, item[0].client_namespace))
    return tuple(Edge(key, value) for key, value in ordered if value.calls > 0)
