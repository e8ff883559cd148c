"""Whether traces are kept in parts: by samplers that decide for some services without asking what was decided for others.

Two Collectors that sample by tails, each seeing the spans of some services only, keep one half of a trace and drop the other. What that looks like
differs from a loss: a service is there with all its spans or with none; where it meets a service of the other part, sometimes the caller is
gone as a whole and sometimes the callee; and each trace is decided by itself, so that traces of both kinds and whole ones are interleaved in time. A lost
batch takes all of a service's spans too, but of traces that follow one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from traced.graph.by_trace import ByTrace
from traced.graph.columns import Ints, distinct, mix
from traced.graph.gone import CALLEE_GONE, CALLER_GONE, REMAINS, WHOLE, Gap, gap
from traced.graph.relation import Relation
from traced.graph.scatter import runs_score, so_uneven_by_chance
from traced.graph.shares import least_share
from traced.graph.windows import turned

MIN_SEEN: Final = 5
"""Traces without the caller, and as many without one of its callees, from which on parts are a habit."""
MAX_REMAINS: Final = 0.1
"""Share of gaps where the service whose span is missing has others in the trace, up to which whole parts are missing."""
IN_STRETCHES: Final = -3.72
"""Score of the runs test below which gaps follow one another: independent choices do so once in 10,000 cases."""
SCATTERED: Final = -2.33
"""Score down to which nothing speaks against independent choices: they stay above it in 99 of 100 cases."""
UNEVEN: Final = 0.01
"""Chance of lying so unevenly in time below which they are not scattered."""
BATCH_NANOS: Final = 5_000_000_000
"""A batch holds what ended within so long (the schedule delay of SDKs, by default): traces nearer than that of which one is whole and the other is not
were decided one by one."""
RARE: Final = 0.1
"""Losses are rarer (lower 95 % bound), unless an instance is dead: where more is gone, and scattered, it cannot be told whose doing it is."""
MAX_SERVICES: Final = 2_000
MAX_EACH: Final = 512
"""The newest traces that are remembered of one calling service; in all at most MAX_TRACES."""
MAX_TRACES: Final = 20_000
MAX_SAVED_TRACES: Final = 2_000

KEPT: Final = "kept"
PERHAPS: Final = "perhaps"
LOST: Final = "lost"
_RANK: Final = {WHOLE: 0, CALLEE_GONE: 1, CALLER_GONE: 1, REMAINS: 2}


class _Event(NamedTuple):
    time: int
    what: str


class Parts:
    """Remembers traces by calling and by called service, over two windows that take turns; `dropped` counts services beyond the limit."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self.dropped = 0
        self._events: ByTrace[_Event] = ByTrace(MAX_EACH, MAX_TRACES)
        self._verdicts: dict[str, str] = {}
        self._turned = 0.0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds), and forget what is older than two."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._events.turn()

    def learn(self, gaps: Iterable[Gap]) -> None:
        """Remember what traces show of services that call and are called; of one trace the worst: some spans missing, a service gone, whole."""
        by_service: dict[str, list[Gap]] = {}
        for one in gaps:
            if one.service:
                by_service.setdefault(_calling(one.service), []).append(one)
            by_service.setdefault(_called(one.called), []).append(one)
        for service, mine in by_service.items():
            # more would be forgotten at once
            for one in mine[-MAX_EACH:]:
                self._note(service, one)

    def _note(self, service: str, one: Gap) -> None:
        known = self._events.get(service, one.trace)
        if known is not None and _RANK[known.what] >= _RANK[one.what]:
            return
        if service not in self._events.services() and len(self._events.services()) >= MAX_SERVICES:
            self.dropped += 1
            return
        self._events.put(service, one.trace, _Event(one.time, one.what))

    def learn_whole(self, made: Relation) -> None:
        """Remember the newest traces of a pass in which a service called another one that answered, of those that something was gone of."""
        lacking = {s for s in self._events.services() if any(event.what in (CALLER_GONE, CALLEE_GONE) for event in self._events.of(s))}
        for side, place in ((made.calls.client, _calling), (made.calls.server, _called)):
            services = [text for text in made.calls.names.texts if place(text) in lacking]
            for whole in _whole(made, side, services) if services else ():
                self._note(place(whole.service), whole)

    def take_back(self, traces: Iterable[int]) -> None:
        """Forget what some traces showed, by their keys: they are looked at again, and what was gone may have come late."""
        self._events.take_back(traces)

    # ------------------------------------------------------------------ what follows

    def kept(self, caller: str = "", called: str = "") -> str:
        """Say whether traces are kept with a calling service, or with those it calls, or with both, by nothing that they have in common; or with a called one.

        KEPT: both kinds of gaps are there often enough, and scattered. PERHAPS: both are there, and too little is known to tell them from losses; or only one
        is, scattered and more often than losses are. LOST: the gaps come in stretches, as losses do, or nothing whole came since. '': nothing is known.
        """
        service = _calling(caller) if caller else _called(called)
        for changed in self._events.changed:
            self._verdicts.pop(changed, None)
        self._events.changed.clear()
        if service not in self._verdicts:
            self._verdicts[service] = _verdict(self._events.of(service))
        return self._verdicts[service]

    def in_parts(self) -> frozenset[str]:
        """Name the services whose traces are kept in parts, so that no probability says how many of them are seen."""
        services = {place[1:] for place in self._events.services()}
        return frozenset(service for service in services if KEPT in (self.kept(service), self.kept(called=service)))

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give the newest traces as JSON values."""
        events = [[trace, service, *event, ago] for trace, service, event, ago in self._events.newest(MAX_SAVED_TRACES)]
        return {"turned": self._turned, "events": events}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart; of a state of an earlier version nothing.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        events = [(int(trace), str(service), _Event(int(time), str(what)), int(ago)) for trace, service, time, what, ago in state.get("events", ())]
        self._turned = float(state["turned"])
        self._events.restore(events)
        self._verdicts = {}


def _verdict(known: Iterable[_Event]) -> str:
    events = sorted(known)
    counts = Counter(event.what for event in events)
    gone = counts[CALLER_GONE] + counts[CALLEE_GONE]
    if not gone or counts[REMAINS] > MAX_REMAINS * gone:
        return ""
    decided = [event for event in events if event.what != REMAINS]
    labels = np.array([event.what for event in decided])
    score, fewest = runs_score(labels.tolist()), min(counts[CALLER_GONE], counts[CALLEE_GONE])
    if score < IN_STRETCHES or (not fewest and gone >= MIN_SEEN and WHOLE not in labels[-gone:]):
        return LOST
    scattered = score >= SCATTERED and all(so_uneven_by_chance(labels == kind) >= UNEVEN for kind in (CALLER_GONE, CALLEE_GONE))
    if not fewest:
        enough = min(gone, counts[WHOLE]) >= MIN_SEEN
        return PERHAPS if scattered and enough and least_share(gone, len(decided)) >= RARE else ""
    return KEPT if scattered and fewest >= MIN_SEEN and _one_by_one(decided) else PERHAPS


def _one_by_one(events: Sequence[_Event]) -> bool:
    """Say whether traces of both kinds are often enough so near to others that no batch can have held the one and not the other."""
    apart: Counter[str] = Counter()
    for one, other in pairwise(events):
        if one.what != other.what and other.time - one.time <= BATCH_NANOS:
            apart.update((one.what, other.what))
    return min(apart[CALLER_GONE], apart[CALLEE_GONE]) >= MIN_SEEN


def _calling(service: str) -> str:
    return f">{service}"


def _called(service: str) -> str:
    return f"<{service}"


def _whole(made: Relation, side: Ints, services: Iterable[str]) -> list[Gap]:
    """Give, for each of some services on one side of calls, the newest traces in which such a call to another service was answered, the oldest first."""
    calls, forest = made.calls, made.forest
    codes = {text: code for code, text in enumerate(calls.names.texts)}
    wanted = np.zeros(len(codes), bool)
    wanted[[codes[service] for service in services]] = True
    both = np.flatnonzero((calls.client_row >= 0) & (calls.server_row >= 0) & (calls.client != calls.server) & wanted[side])
    width = max(1, forest.traces)
    pairs, place = distinct(side[both] * width + forest.trace[calls.client_row[both]], len(codes) * width)
    first = np.zeros(len(pairs), np.int64)
    first[place[::-1]] = calls.client_row[both][::-1]
    newest = np.lexsort((-forest.start[first], pairs // width))
    service, rows = pairs[newest] // width, first[newest]
    kept = np.flatnonzero(np.arange(len(rows)) - np.searchsorted(service, service) < MAX_EACH)[::-1]
    high, low = (np.asarray(forest.spans.column(name))[rows[kept]] for name in ("trace_id_high", "trace_id_low"))
    columns = (mix(high, low), high, low, forest.start[rows[kept]])
    texts = [calls.names.texts[code] for code in service[kept].tolist()]
    return [gap(place, WHOLE, text, text) for *place, text in zip(*(column.tolist() for column in columns), texts, strict=True)]
