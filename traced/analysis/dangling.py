"""Links of consumers that lead to no span: they wait for their producer, and are told of when it does not come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Ints, Mask, Unsigned, mix
from traced.graph.linked import LinkHabits
from traced.graph.relation import Relation
from traced.graph.sampling import Samplers
from traced.graph.trace_ids import RecentTraceIds
from traced.model.occurrence import OccurrenceKey
from traced.model.span import SpanKind

MAX_WAITING: Final = 10_000
KEEP_NANOS: Final = 600 * 10**9
"""How long a link that was told of is kept for a producer that comes late."""
LOOKS_AFTER: Final = (60 * 10**9, KEEP_NANOS)
"""How long after it was told of a link is decided anew, with what is known by then."""
DETECTOR: Final = "missing_producer_span"
_AT_ONCE: Final = -(2**62)
_NEVER: Final = 2**63 - 1

Place = tuple[int, int, int]
"""Trace id (high, low) and span id."""


class _Link(NamedTuple):
    """A link as it waits.

    The consumer's place, its service by name and key, what it is; the target's place; since when it waits, when it is decided (arrival, ns), how often it was;
    and whether its flags say that the target was not sampled.
    """

    consumer: Place
    service: str
    key: str
    name: str
    system: str
    destination: str
    start: int
    target: Place
    since: int
    next: int
    looks: int = 0
    unsampled: bool = False

    @property
    def told(self) -> bool:
        return self.looks > 0

    def looked_at(self, until: int) -> _Link:
        """Note that it was decided, and when it is decided anew."""
        since = self.since if self.told else until
        later = since + LOOKS_AFTER[self.looks] if self.looks < len(LOOKS_AFTER) else _NEVER
        return self._replace(since=since, next=later, looks=self.looks + 1)


DANGLING: Final = pa.schema(
    [
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("service", pa.string()),
        ("signal_name", pa.string()),
        ("time_unix_nano", pa.int64()),
        ("missing_span_id", pa.uint64()),
        ("target_trace_id_high", pa.uint64()),
        ("target_trace_id_low", pa.uint64()),
        ("destination", pa.string()),
        ("found", pa.int64()),
        ("absent", pa.int64()),
        ("usual_producer", pa.string()),
        ("producers_report", pa.bool_()),
        ("trace_is_here", pa.bool_()),
        ("sampled", pa.string()),
        ("sampled_by", pa.string()),
    ],
)
"""One row a link that leads to no span. `found`, `absent`: links of this consumer's operation that lead to a span, and that do not. `usual_producer`:
the service of nearly all those spans, or ''. `producers_report`: PRODUCER spans to this destination came. `trace_is_here`: other spans of the
target's trace came. `sampled`: 'dropped' where the link's flags say so, or the usual producer does not sample that trace; `sampled_by`: by what it is known."""


class SpanSource(Protocol):
    """Where spans are looked for that are not among those of the pass."""

    def spans_by_id(self, ids: pa.Table) -> pa.Table:
        """Give the spans of the store by (trace_id_high, trace_id_low, span_id)."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """Links that led nowhere (rows of DANGLING), earlier claims that their producer refutes, and those that hold only if they are made again."""

    rows: pa.Table
    withdrawn: frozenset[OccurrenceKey]
    judged: frozenset[OccurrenceKey]


class DanglingLinks:
    """Remembers the newest dangling links; `dropped` counts those that a limit made be forgotten."""

    def __init__(self, hold_nanos: int) -> None:
        """Start with none.

        Args:
            hold_nanos: how long a link waits for its producer's trace to settle.
        """
        self._hold = hold_nanos
        self._links: OrderedDict[tuple[Place, Place], _Link] = OrderedDict()
        self._refuted: set[OccurrenceKey] = set()
        self.habits = LinkHabits()
        self._forgotten = 0

    def due(self, until: int) -> bool:
        """Say whether any link is to be decided by `until` (arrival, ns)."""
        return any(link.next <= until for link in self._links.values())

    @property
    def dropped(self) -> int:
        """Count links and operations that a limit left out."""
        return self._forgotten + self.habits.dropped

    def come(self, made: Relation, again: Mask, fresh: Mask, until: int, now: float) -> None:
        """Take the links of a pass, learn from them, and forget those whose producer came.

        Args:
            made: the traces of the pass.
            again: spans of traces that were looked at before: their links are taken anew.
            fresh: spans that no earlier pass looked at: learned from.
            until: the clock by which links wait (arrival, ns).
            now: unix seconds, for the habits' windows.
        """
        self.habits.turn(now)
        self.habits.learn(made, fresh)
        if again.any():
            self._renew(made, again)
        if self._links:
            high, low, span = _columns(self._links)
            self._found(made.forest.find(high, low, span) >= 0)
        links, forest = made.links, made.forest
        rows = np.asarray(links.column("row"))
        nowhere = (np.asarray(links.column("target")) < 0) & (np.asarray(links.column("kind")) == 0)
        chosen = np.flatnonzero(nowhere & (forest.kind[rows] == SpanKind.CONSUMER) & ~forest.silenced[forest.trace[rows]])
        ids = [np.asarray(links.column(name))[chosen] for name in ("trace_id_high", "trace_id_low", "span_id")]
        given = (ids[0] | ids[1] != 0) & (ids[2] != 0)
        chosen, ids = chosen[given], [column[given] for column in ids]
        flags = np.asarray(pc.fill_null(links.column("flags"), 0))[chosen]
        # a low byte of zero proves nothing: Python's exporter leaves it so
        unsampled = ((flags & 0xFF) != 0) & ((flags & 1) == 0)
        self._add(made, rows[chosen], list(zip(*(column.tolist() for column in (*ids, unsampled)), strict=True)), again, until)

    def _add(self, made: Relation, rows: Ints, targets: list[tuple[int, int, int, bool]], again: Mask, until: int) -> None:
        forest = made.forest
        spans = forest.spans.select(["trace_id_high", "trace_id_low", "span_id", "name", "messaging_system", "messaging_destination"]).take(pa.array(rows))
        for row, (*ids, unsampled), *own in zip(rows.tolist(), targets, *(column.to_pylist() for column in spans.columns), strict=True):
            high, low, span, name, system, destination = own
            target = (ids[0], ids[1], ids[2])
            place = (high, low, span)
            at = _AT_ONCE if again[row] else until + self._hold
            code = forest.service.of[row]
            link = _Link(
                place, forest.service.texts[code], forest.service_keys[code], name, system, destination, int(forest.start[row]), target, until, at, 0, unsampled
            )
            self._links[place, target] = link
        while len(self._links) > MAX_WAITING:
            _, gone = self._links.popitem(last=False)
            self._forgotten += not gone.told

    def _renew(self, made: Relation, again: Mask) -> None:
        """Forget the links of traces that are looked at again."""
        traces = mix(*(np.asarray(made.forest.spans.column(name))[again] for name in ("trace_id_high", "trace_id_low")))
        links = list(self._links)
        if links:
            own = mix(*(np.array([consumer[at] for consumer, _ in links], np.uint64) for at in range(2)))
            for key, gone in zip(links, np.isin(own, traces).tolist(), strict=True):
                if gone and self._links[key].told:
                    self.habits.count(self._links[key].key, self._links[key].name, absent=-1)
                if gone:
                    del self._links[key]

    def _found(self, here: Mask) -> None:
        """Forget the links whose producer is here; of those that were told of, take it back."""
        for key, found in zip(list(self._links), here.tolist(), strict=True):
            if found:
                self._count_found(self._links.pop(key))

    def _count_found(self, link: _Link) -> None:
        self.habits.count(link.key, link.name, found=1)
        if link.told:
            self.habits.count(link.key, link.name, absent=-1)
            self._refuted.add((DETECTOR, *link.consumer))

    def decide(self, until: int, store: SpanSource, recent: RecentTraceIds, samplers: Samplers) -> Told:
        """Tell of the links that have waited long enough by `until` (arrival, ns)."""
        for key in [key for key, link in self._links.items() if link.next == _NEVER]:
            del self._links[key]
        due = {key: link for key, link in self._links.items() if link.next <= until}
        if due:
            due = self._absent(due, store)
        # a consumer is told of once, by the first of its links that leads nowhere
        chosen: dict[Place, _Link] = {}
        for key, link in due.items():
            if not link.told:
                self.habits.count(link.key, link.name, absent=1)
            self._links[key] = link.looked_at(until)
            chosen.setdefault(link.consumer, link)
        refuted, self._refuted = frozenset(self._refuted), set()
        judged = frozenset((DETECTOR, *link.consumer) for link in due.values() if link.told)
        return Told(self._table(list(chosen.values()), recent, samplers), refuted, judged)

    def _absent(self, due: dict[tuple[Place, Place], _Link], store: SpanSource) -> dict[tuple[Place, Place], _Link]:
        """Keep the links whose target is not in the store either: it may have come in a trace that has not settled."""
        high, low, span = _columns(due)
        ids = pa.table({"trace_id_high": high, "trace_id_low": low, "span_id": span})
        stored = store.spans_by_id(ids).select(["trace_id_high", "trace_id_low", "span_id"])
        here = set(zip(*(column.to_pylist() for column in stored.columns), strict=True))
        for key in [key for key, link in due.items() if link.target in here]:
            self._count_found(self._links.pop(key))
            del due[key]
        return due

    def _table(self, links: list[_Link], recent: RecentTraceIds, samplers: Samplers) -> pa.Table:
        if not links:
            return DANGLING.empty_table()
        targets = mix(*(np.array([link.target[at] for link in links], np.uint64) for at in range(2)))
        here = np.isin(targets, mix(*recent.ids())).tolist()
        rows = []
        for link, trace_is_here in zip(links, here, strict=True):
            known = self.habits.of(link.key, link.name)
            producer = known.usual_producer
            sampled = samplers.verdict((producer,), link.target[0], link.target[1], "") if producer else ("", "")
            sampled = ("dropped", "link_flags") if link.unsampled else sampled
            about = (known.found, known.absent, producer, self.habits.produced(link.system, link.destination), trace_is_here, *sampled)
            rows.append((*link.consumer, link.service, link.name, link.start, link.target[2], *link.target[:2], link.destination, *about))
        return pa.table([pa.array(column, kind.type) for column, kind in zip(zip(*rows, strict=True), DANGLING, strict=True)], schema=DANGLING)

    # ------------------------------------------------------------------ across restarts

    def unfinished(self) -> list[tuple[int, int]]:
        """Name the traces of links that wait, the newest first."""
        return [consumer[:2] for consumer, _ in reversed(self._links)]

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values; what waits is not kept."""
        return self.habits.dump()

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        self.habits.load(state)


def _columns(links: Mapping[tuple[Place, Place], _Link]) -> tuple[Unsigned, Unsigned, Unsigned]:
    targets = [link.target for link in links.values()]
    high, low, span = (np.array([target[at] for target in targets], np.uint64) for at in range(3))
    return high, low, span
