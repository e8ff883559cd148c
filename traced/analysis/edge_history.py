"""The service graph over time: since the beginning, as counters that only grow, and by minute."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from traced.graph.service_graph import as_edges
from traced.model.edge import ConnectionType, Durations, Edge, EdgeCounts, EdgeKey

_MAX_ENTRIES: Final = 20_000
"""Edges times minutes kept, about a kilobyte each."""

Counts = Mapping[EdgeKey, EdgeCounts]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What far ends that were only names turned out to be.

    Attributes:
        aliases: peer name or address to the service that answers there.
        reporting: names of services that emit spans.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    reporting: frozenset[str] = frozenset()

    def of(self, key: EdgeKey) -> EdgeKey:
        """Give the edge that a database or virtual edge is by now; others stay."""
        virtual = key.connection_type is ConnectionType.VIRTUAL_NODE
        if not virtual and key.connection_type is not ConnectionType.DATABASE:
            return key
        client, server = (self.aliases.get(name, name) if virtual else name for name in (key.client, key.server))
        if client in self.reporting and server in self.reporting:
            return replace(key, client=client, server=server, connection_type=ConnectionType.CALL)
        return key


class EdgeHistory:
    """Edges as the passes find them; read from any thread (GraphView)."""

    def __init__(self, max_edges: int, minutes: int) -> None:
        """Start empty; `dropped` counts calls of edges beyond `max_edges`.

        A full history makes room by forgetting edges that nothing was seen on for `minutes`.
        """
        self._max_edges = max_edges
        self._minutes = minutes
        self._lock = threading.Lock()
        self._meaning = Meaning()
        self._present: dict[EdgeKey, EdgeCounts] = {}
        self._grown: dict[EdgeKey, EdgeCounts] = {}
        self._seen: dict[EdgeKey, int] = {}
        """The last minute in which something was added to an edge; in the order of these minutes."""
        self._by_minute: dict[int, dict[EdgeKey, EdgeCounts]] = {}
        self._entries = 0
        self._forgotten = -1
        """The newest minute that was let go: nothing is added to it, nor to those before."""
        self.dropped = 0

    def add(self, change: Counts, unix_seconds: float, minutes: Mapping[int, Counts] | None = None) -> None:
        """Add what a pass found, or what changed when traces were analysed again (then counts may be negative).

        Args:
            change: what is added in all.
            unix_seconds: up to which arrival the pass went.
            minutes: the change by the minute (unix) to which it belongs; without it all belongs to that of `unix_seconds`.
        """
        with self._lock:
            minute = int(unix_seconds // 60)
            for key, counts in change.items():
                if key not in self._grown and len(self._grown) >= self._max_edges and not self._make_room(key, minute):
                    self.dropped += max(0, counts.calls)
                    continue
                self._seen.pop(key, None)
                self._seen[key] = minute
                # a counter may not fall: what a later pass takes back stays counted there, and is right in `present`
                self._grown[key] = self._grown.get(key, EdgeCounts()).plus(_only_more(counts))
                self._present[key] = self._present.get(key, EdgeCounts()).plus(counts)
                if not (self._present[key].calls or self._present[key].unpaired):
                    del self._present[key]
            for at, part in ({minute: change} if minutes is None else minutes).items():
                if at > self._forgotten:
                    self._add_to_minute(at, part)
            self._forget_minutes(minute - self._minutes)

    def _add_to_minute(self, minute: int, change: Counts) -> None:
        bucket = self._by_minute.setdefault(minute, {})
        for key, counts in change.items():
            if key in self._grown:  # else it was dropped
                self._entries += key not in bucket
                bucket[key] = bucket.get(key, EdgeCounts()).plus(counts)

    def _forget_minutes(self, before: int) -> None:
        """Let go of the minutes before one, and of more where there are too many entries."""
        while self._by_minute and ((oldest := min(self._by_minute)) < before or (self._entries > _MAX_ENTRIES and len(self._by_minute) > 1)):
            self._entries -= len(self._by_minute.pop(oldest))
            self._forgotten = oldest

    def _make_room(self, wanted: EdgeKey, minute: int) -> bool:
        """Forget edges that nothing was seen on for long; else, for one between services, the virtual one that was seen least lately."""
        old = [key for key, seen in self._seen.items() if seen < minute - self._minutes]
        if not old and wanted.connection_type is not ConnectionType.VIRTUAL_NODE:
            old = list(islice((key for key in self._seen if key.connection_type is ConnectionType.VIRTUAL_NODE), 1))
        for key in old:
            del self._grown[key], self._seen[key]
            self._present.pop(key, None)
        return bool(old)

    def explain(self, meaning: Meaning) -> None:
        """Show all edges, also those of before, by what is known of names by now."""
        with self._lock:
            self._meaning = meaning

    def edges(self, start_unix_seconds: float | None, end_unix_seconds: float | None) -> tuple[Edge, ...]:
        """Give the edges with what was seen on them in a time range; all since the beginning without a range.

        What a minute lost that is known no more (by a restart, or because of its age) is taken from nothing: no number is below zero.
        """
        total: dict[EdgeKey, EdgeCounts] = {}
        with self._lock:
            if start_unix_seconds is None and end_unix_seconds is None:
                self._sum(self._present, total)
            else:
                first = int((start_unix_seconds or 0) // 60)
                last = int((end_unix_seconds if end_unix_seconds is not None else 2**40) // 60)
                for minute, bucket in self._by_minute.items():
                    if first <= minute <= last:
                        self._sum(bucket, total)
        return as_edges({key: _possible(counts) for key, counts in total.items()})

    def _sum(self, counts: Counts, total: dict[EdgeKey, EdgeCounts]) -> None:
        for key, value in counts.items():
            meant = self._meaning.of(key)
            total[meant] = total.get(meant, EdgeCounts()).plus(value)

    def totals(self) -> tuple[Edge, ...]:
        """Give the edges with counts that only grow, for Prometheus; those with unpaired spans only are among them."""
        with self._lock:
            return tuple(Edge(key, counts) for key, counts in self._grown.items())

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[Any]:
        """Give present and grown counts, and when edges were last seen, as JSON values (not the minutes)."""
        with self._lock:
            none = EdgeCounts()
            return [[_dump_key(k), _dump_counts(self._present.get(k, none)), _dump_counts(self._grown[k]), seen] for k, seen in self._seen.items()]

    def load(self, state: list[Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, IndexError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        present, grown, last = {}, {}, {}
        for key, now, ever, seen in state:
            grown[_load_key(key)], last[_load_key(key)] = _load_counts(ever), int(seen)
            if (counts := _load_counts(now)) != EdgeCounts():
                present[_load_key(key)] = counts
        with self._lock:
            self._present, self._grown, self._seen = present, grown, last


def _possible(counts: EdgeCounts) -> EdgeCounts:
    """Leave out what is below zero, and errors without a call."""
    more = _only_more(counts)
    return more if more.errors <= more.calls else replace(more, errors=more.calls)


def _only_more(counts: EdgeCounts) -> EdgeCounts:
    """Leave out what became less, number by number."""
    durations = (counts.client_seconds, counts.server_seconds, counts.messaging_seconds)
    if min(counts.calls, counts.errors, counts.unpaired, *(n for d in durations for n in (d.sum_seconds, *d.buckets))) >= 0:
        return counts
    client, server, messaging = (_only_more_durations(d) for d in durations)
    return EdgeCounts(
        max(0, counts.calls), max(0, counts.errors), max(0, counts.unpaired), client, server, messaging, max(0, counts.weighed), max(0.0, counts.weight)
    )


def _only_more_durations(durations: Durations) -> Durations:
    buckets = tuple(max(0, b) for b in durations.buckets)
    return Durations(sum(buckets), max(0.0, durations.sum_seconds), buckets)


def _dump_key(key: EdgeKey) -> list[str]:
    return [key.client, key.server, str(key.connection_type), key.client_namespace, key.server_namespace]


def _load_key(values: list[str]) -> EdgeKey:
    return EdgeKey(values[0], values[1], ConnectionType(values[2]), values[3], values[4])


def _dump_counts(counts: EdgeCounts) -> list[Any]:
    durations = (counts.client_seconds, counts.server_seconds, counts.messaging_seconds)
    numbers = [[d.count, d.sum_seconds, list(d.buckets)] for d in durations]
    return [counts.calls, counts.errors, counts.unpaired, *numbers, counts.weighed, counts.weight]


def _load_counts(values: list[Any]) -> EdgeCounts:
    client, server, messaging = (Durations(d[0], d[1], tuple(d[2])) for d in values[3:6])
    weighed, weight = values[6:] or (0, 0.0)  # an earlier version has neither
    return EdgeCounts(values[0], values[1], values[2], client, server, messaging, weighed, weight)
