"""Links whose target has not come yet: the message is drawn when it comes, however much later than its consumer."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import Any, Final

import numpy as np

from traced.graph.columns import Mask
from traced.graph.forest import Forest
from traced.graph.relation import Relation
from traced.model.edge import DURATION_BUCKETS_SECONDS, ConnectionType, Durations, EdgeCounts, EdgeKey
from traced.model.span import SpanKind, StatusCode

MAX_WAITING: Final = 10_000

_Link = tuple[int, ...]
"""Trace id (high, low) and span id of the target, then of the consumer."""
_Consumer = tuple[str, str, int, int, bool]
"""Service, namespace, start, end, failed."""


class LateLinks:
    """Remembers the newest dangling links; `dropped` counts those that a limit made be forgotten."""

    def __init__(self) -> None:
        """Start with none."""
        self._waiting: OrderedDict[_Link, _Consumer] = OrderedDict()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, made: Relation, fresh: Mask) -> None:
        """Remember the links of fresh consumers that lead to no span that has come."""
        links, forest = made.links, made.forest
        rows = np.asarray(links.column("row"))
        nowhere = (np.asarray(links.column("target")) < 0) & (np.asarray(links.column("kind")) == 0) & fresh[rows]
        chosen = np.flatnonzero(nowhere & (forest.kind[rows] == SpanKind.CONSUMER) & ~forest.nameless[rows])[-MAX_WAITING:]
        self.dropped += int(np.count_nonzero(nowhere)) - len(chosen) if len(chosen) == MAX_WAITING else 0
        targets = links.select(["trace_id_high", "trace_id_low", "span_id"]).take(chosen)
        consumers = forest.spans.select(["trace_id_high", "trace_id_low", "span_id", "status_code"]).take(rows[chosen])
        for target, own, row in zip(_rows(targets), _rows(consumers), rows[chosen].tolist(), strict=True):
            service = int(forest.service.of[row])
            facts = (forest.service.texts[service], forest.namespaces[service], int(forest.start[row]), int(forest.end[row]), own[3] == StatusCode.ERROR)
            self._waiting[*target, *own[:3]] = facts
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
            self.dropped += 1

    def come(self, forest: Forest, fresh: Mask) -> dict[EdgeKey, EdgeCounts]:
        """Give the messages of remembered links whose target is among the fresh spans, and forget these links."""
        if not self._waiting or not forest.count:
            return {}
        links = list(self._waiting)
        high, low, span_id = (np.array([link[place] for link in links], np.uint64) for place in range(3))
        row = forest.find(high, low, span_id, np.full(len(links), int(SpanKind.PRODUCER)))
        edges: dict[EdgeKey, EdgeCounts] = {}
        for at in np.flatnonzero((row >= 0) & fresh[row]).tolist():
            producer = int(row[at])
            key, counts = _message(forest, producer, self._waiting.pop(links[at]))
            edges[key] = edges.get(key, EdgeCounts()).plus(counts)
        return edges

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[Any]:
        """Give what waits as JSON values."""
        return [[list(link), list(consumer)] for link, consumer in self._waiting.items()]

    def load(self, state: list[Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        waiting: OrderedDict[_Link, _Consumer] = OrderedDict()
        for link, (service, namespace, start, end, failed) in state:
            waiting[tuple(int(number) for number in link)] = (str(service), str(namespace), int(start), int(end), bool(failed))
        self._waiting = waiting


def _message(forest: Forest, producer: int, consumer: _Consumer) -> tuple[EdgeKey, EdgeCounts]:
    service, namespace, start, end, failed = consumer
    sender = int(forest.service.of[producer])
    key = EdgeKey(forest.service.texts[sender], service, ConnectionType.MESSAGING_SYSTEM, forest.namespaces[sender], namespace)
    seconds = ((forest.end[producer] - forest.start[producer]) / 1e9, (end - start) / 1e9, (start - forest.end[producer]) / 1e9)
    client, server, messaging = (_one(float(s)) for s in seconds)
    return key, EdgeCounts(1, int(failed), 0, client, server, messaging)


def _one(seconds: float) -> Durations:
    """Give a histogram of one observation; a negative duration is left out."""
    if seconds < 0:
        return Durations()
    buckets = [0] * (len(DURATION_BUCKETS_SECONDS) + 1)
    buckets[bisect_left(DURATION_BUCKETS_SECONDS, seconds)] = 1
    return Durations(1, seconds, tuple(buckets))


def _rows(table: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
