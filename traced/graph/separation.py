"""Where only a share of an edge's calls loses its context: the one property that tells the broken calls from the others.

Of each edge on which calls break, or may be found to, it is counted, by process, version and operation of either side, how many calls were broken and how many
intact. What separates is told where Fisher's exact test would see so clear a table by chance once in a thousand times, corrected for all that was tried,
and where it covers nearly all of the broken calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Mask
from traced.graph.relation import Relation
from traced.graph.shares import so_few_by_chance
from traced.graph.windows import turned

MAX_EDGES: Final = 500
MAX_VALUES: Final = 64
"""Values remembered of one property of an edge; a property with more tells nothing apart."""
CALLS_OF_A_PASS: Final = 2_000
"""Intact calls of such edges that are counted in one pass, the last ones."""
CHANCE: Final = 0.001
COVERED: Final = 0.9
"""Share of the broken calls that must have the value."""
BROKEN: Final = 0.5
"""Share of the calls with the value that must be broken."""

CALLER: Final = "caller"
RECEIVER: Final = "receiver"
PROPERTIES: Final = (
    (CALLER, "service.version", "service_version"),
    (RECEIVER, "service.version", "service_version"),
    (CALLER, "service.instance.id", "service_instance_id"),
    (RECEIVER, "service.instance.id", "service_instance_id"),
    (RECEIVER, "operation", "name"),
    (CALLER, "operation", "name"),
)
"""Whose property, what it is called, and its column; of several that separate alike the first is told, which says most."""

Edge = tuple[str, str]
"""Client service and server service."""


class Separated(NamedTuple):
    """What tells broken calls from intact ones: whose property, its name and value, and calls with that value and with others."""

    side: str
    name: str
    value: str
    broken: int
    intact: int
    others_broken: int
    others_intact: int


class Separations:
    """Counts over the last one to two hours; `dropped` counts edges and values that a limit left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now: dict[Edge, list[dict[str, list[int]]]] = {}
        self._before: dict[Edge, list[dict[str, list[int]]]] = {}
        self._turned = 0.0
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now

    def learn_broken(self, callers: pa.Table, receivers: pa.Table) -> None:
        """Count broken calls: rows of `traced.graph.halves.HALVES`, in one order."""
        columns = [(callers if side == CALLER else receivers).column(column).to_pylist() for side, _, column in PROPERTIES]
        edges = zip(callers.column("service_name").to_pylist(), receivers.column("service_name").to_pylist(), strict=True)
        for edge, values in zip(edges, zip(*columns, strict=True), strict=True):
            self._count(edge, values, broken=True)

    def learn_intact(self, made: Relation, fresh: Mask, callers: Collection[str], receivers: Collection[str]) -> None:
        """Count the calls of a pass whose caller was not looked at before, of edges on which calls break.

        And of those on which one may be found to: between services of which callers, and receivers, wait for their other half.
        """
        edges = self._now.keys() | self._before.keys()
        if not edges and not (callers and receivers):
            return
        calls, texts = made.calls, made.calls.names.texts
        numbers = {text: number for number, text in enumerate(texts)}
        width = len(texts)
        wanted = np.array([numbers[c] * width + numbers[s] for c, s in edges if c in numbers and s in numbers], np.int64)
        calling, called = (np.isin(texts, list(waiting)) for waiting in (callers, receivers))
        both = np.flatnonzero((calls.client_row >= 0) & (calls.server_row >= 0))
        client, server = calls.client[both], calls.server[both]
        chosen = np.isin(client * width + server, wanted) | (calling[client] & called[server])
        both = both[chosen & fresh[calls.client_row[both]]][-CALLS_OF_A_PASS:]
        rows = {CALLER: calls.client_row[both], RECEIVER: calls.server_row[both]}
        columns = [_texts(made.forest.spans, column, rows[side]) for side, _, column in PROPERTIES]
        for client, server, values in zip(calls.client[both].tolist(), calls.server[both].tolist(), zip(*columns, strict=True), strict=True):
            self._count((texts[client], texts[server]), values, broken=False)

    def _count(self, edge: Edge, values: Sequence[str], *, broken: bool) -> None:
        known = self._now.get(edge)
        if known is None:
            if len(self._now) >= MAX_EDGES:
                self.dropped += 1
                return
            known = self._now[edge] = [{} for _ in PROPERTIES]
        for counts, value in zip(known, values, strict=True):
            # one more than the limit is remembered: then it is known that there are too many
            if value in counts or len(counts) <= MAX_VALUES:
                counts.setdefault(value, [0, 0])[0 if broken else 1] += 1
            else:
                self.dropped += 1

    def of(self, edge: Edge) -> Separated | None:
        """Give what separates the broken calls of an edge; None where nothing does."""
        tables = [_together(windows) for windows in zip(*(w[edge] for w in (self._before, self._now) if edge in w), strict=True)]
        tried = sum(len(counts) for counts in tables)
        best: Separated | None = None
        for (side, name, _), counts in zip(PROPERTIES, tables, strict=False):
            if not 2 <= len(counts) <= MAX_VALUES:
                continue
            broken, intact = (sum(pair[at] for pair in counts.values()) for at in (0, 1))
            for value, (here, well) in counts.items():
                if not value or here < COVERED * broken or here < BROKEN * (here + well):
                    continue
                # that so many here are broken is that so few elsewhere are
                if so_few_by_chance(broken - here, intact - well, here, well) * tried > CHANCE:
                    continue
                found = Separated(side, name, value, here, well, broken - here, intact - well)
                if best is None or _clarity(found) > _clarity(best):
                    best = found
        return best

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give both windows as JSON values."""
        return {"turned": self._turned, "windows": [[[*edge, counts] for edge, counts in window.items()] for window in (self._before, self._now)]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = (_load(window) for window in state["windows"])
        self._turned, self._before, self._now = float(state["turned"]), before, now


def _clarity(found: Separated) -> float:
    """Say how well a value tells the calls apart: the share of calls that are as it says."""
    return (found.broken + found.others_intact) / (found.broken + found.intact + found.others_broken + found.others_intact)


def _together(windows: Iterable[dict[str, list[int]]]) -> dict[str, list[int]]:
    result: dict[str, list[int]] = {}
    for counts in windows:
        for value, (broken, intact) in counts.items():
            pair = result.setdefault(value, [0, 0])
            pair[0] += broken
            pair[1] += intact
    return result


def _texts(spans: pa.Table, column: str, rows: Ints) -> list[str]:
    return [text or "" for text in spans.column(column).take(pa.array(rows)).to_pylist()]


def _load(window: Iterable[Any]) -> dict[Edge, list[dict[str, list[int]]]]:
    return {
        (str(client), str(server)): [{str(value): [int(broken), int(intact)] for value, (broken, intact) in counts.items()} for counts in tables]
        for client, server, tables in window
        if len(tables) == len(PROPERTIES)
    }
