"""The message graph over time: since the beginning, and by minute."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, Final

import pyarrow as pa

from traced.graph.message_graph import Counts, Offsets, as_edges, edges_by_minute, total
from traced.model.message_edge import MessageCounts, MessageEdge, MessageEdgeKey

_MAX_ENTRIES: Final = 20_000
"""Edges times minutes kept."""
NO_MESSAGES: Final[dict[str, Any]] = {"edges": [], "offsets": [[], []]}
"""What `dump` gives of a history without anything."""


class MessageHistory:
    """Edges as the passes find them; read from any thread (MessageGraphView)."""

    def __init__(self, max_edges: int, minutes: int) -> None:
        """Start empty; `dropped` counts messages of edges beyond `max_edges`, and partitions whose offsets are not known."""
        self._max_edges = max_edges
        self._minutes = minutes
        self._lock = threading.Lock()
        self._present: Counts = {}
        self._by_minute: dict[int, Counts] = {}
        self._offsets = Offsets()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Count what limits left out."""
        return self._dropped + self._offsets.dropped

    def add(self, messages: pa.Table, flows: pa.Table) -> None:
        """Take rows of MESSAGES, and rows of FLOWS, of which some may take away what was counted before."""
        changes = edges_by_minute(flows)
        with self._lock:
            self._offsets.learn(messages)
            for minute, counts in changes.items():
                known = self._known(counts)
                self._present = total((self._present, known))
                self._by_minute[minute] = total((self._by_minute.get(minute, {}), known))
            self._present = {key: counts for key, counts in self._present.items() if counts != MessageCounts()}
            self._forget()

    def _known(self, counts: Counts) -> Counts:
        """Leave out new edges for which there is no room."""
        room = self._max_edges - len(self._present)
        known: Counts = {}
        for key, value in counts.items():
            if key not in self._present:
                room -= 1
                if room < 0:
                    self._dropped += max(0, value.messages)
                    continue
            known[key] = value
        return known

    def _forget(self) -> None:
        """Let go of the oldest minutes: of those before the time that is kept, and of more where there are too many entries."""
        newest = max(self._by_minute, default=0)
        entries = sum(map(len, self._by_minute.values()))
        for minute in sorted(self._by_minute):
            if minute >= newest - self._minutes and (entries <= _MAX_ENTRIES or len(self._by_minute) == 1):
                break
            entries -= len(self._by_minute.pop(minute))

    def message_edges(self, start_unix_seconds: float | None, end_unix_seconds: float | None) -> tuple[MessageEdge, ...]:
        """Give the edges with what was seen on them in a time range; all since the beginning without a range."""
        with self._lock:
            if start_unix_seconds is None and end_unix_seconds is None:
                return as_edges(self._present, self._offsets)
            first = int((start_unix_seconds or 0) // 60)
            last = int((end_unix_seconds if end_unix_seconds is not None else 2**40) // 60)
            return as_edges(total(counts for minute, counts in self._by_minute.items() if first <= minute <= last), self._offsets)

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what was seen since the beginning as JSON values (not the minutes)."""
        with self._lock:
            edges = [[list(astuple(key)), list(astuple(counts))] for key, counts in self._present.items()]
            return {"edges": edges, "offsets": self._offsets.dump()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, IndexError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        present = {MessageEdgeKey(*map(str, key)): _counts(counts) for key, counts in state["edges"]}
        with self._lock:
            self._offsets.load(state["offsets"])
            self._present = present


def _counts(values: list[Any]) -> MessageCounts:
    messages, errors, at_least, dead_letters, delays, seconds, buckets = values
    return MessageCounts(int(messages), int(errors), int(at_least), int(dead_letters), int(delays), float(seconds), tuple(int(n) for n in buckets))
