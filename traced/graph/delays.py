"""How long a request and its answer travel on each edge: learned from calls whose two halves are known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traced.graph.columns import Ints, distinct
from traced.graph.relation import Relation
from traced.model.span import SpanKind

Edge = tuple[str, str, bool]
"""Client service, server service, and whether the caller is a CLIENT or PRODUCER (else its SERVER span stands for it)."""
Floats = npt.NDArray[np.float64]

MAX_EDGES: Final = 5_000
SAMPLES: Final = 128
"""Newest calls remembered of an edge; (request, response) delays, nanoseconds."""
MIN_SAMPLES: Final = 8
_QUARTILES_APART: Final = 1.35
"""Of a normal distribution, in standard deviations."""
_GRID_NANOS: Final = (2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 3e7)
_BESIDE: Final = (-4, -3, -2, 2, 3, 4)
"""Cells that say how many pairs chance puts into one; the nearest two may hold a part of what stands out."""
_SMALLEST_SCALE: Final = 50_000.0
"""Nanoseconds; below it a clock's resolution would pass for a regularity."""


@dataclass(frozen=True, slots=True)
class DelayModel:
    """Location, scale and lowest seen value of the two delays, in nanoseconds; they contain the difference of the two hosts' clocks."""

    request: float
    request_scale: float
    request_least: float
    response: float
    response_scale: float
    response_least: float

    @classmethod
    def fitted(cls, samples: Floats) -> DelayModel:
        """Fit to rows of (request, response)."""
        low, middle, high = np.quantile(samples, [0.25, 0.5, 0.75], axis=0)
        scale = np.maximum((high - low) / _QUARTILES_APART, _SMALLEST_SCALE)
        least = samples.min(axis=0) - 3 * scale
        return cls(middle[0], scale[0], least[0], middle[1], scale[1], least[1])


def densest(samples: Floats) -> Floats:
    """Give those of many (request, response) delays, most of them of pairs that do not belong together, that lie closest together.

    Moving a receiver in time changes its request delay and leaves the sum of both: so chance spreads pairs of one sum evenly over request
    delays, and true pairs, whose delays are alike, stand out. The cell of a grid is chosen, over several widths, that stands out most both
    from the average of its sum and from the cells beside it.
    """
    request, total = samples[:, 0], samples.sum(axis=1)
    low, high = np.quantile(request, [0.02, 0.98])
    best, chosen = 0.0, samples[:0]
    for width in _GRID_NANOS:
        for offset in (0.0, 0.5):
            column = np.floor(total / width + offset).astype(np.int64)
            cell = np.floor(request / width + offset).astype(np.int64)
            reach = int(np.ptp(cell)) + 2 * _BESIDE[-1] + 1
            key = (column - column.min()) * reach + (cell - cell.min()) + _BESIDE[-1]
            keys, place, number = np.unique(key, return_inverse=True, return_counts=True)
            beside = np.mean([_count_at(keys, number, keys + step) for step in _BESIDE], axis=0)
            _, of_column = np.unique(keys // reach, return_inverse=True)
            evenly = np.bincount(of_column, number)[of_column] / max((high - low) / width, 1.0)
            by_chance = np.maximum(np.maximum(beside, evenly), 0.5)
            excess = np.where(number > by_chance, number * np.log(number / by_chance) - (number - by_chance), 0.0)
            top = int(excess.argmax())
            if excess[top] > best:
                best, chosen = float(excess[top]), samples[place == top]
    return chosen


def _count_at(keys: Ints, number: Ints, wanted: Ints) -> Ints:
    """Give the counts of some cells, 0 of empty ones."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    counts: Ints = np.where(keys[at] == wanted, number[at], 0)
    return counts


UNLEARNED: Final = DelayModel(1e6, 5e6, -50e6, 1e6, 5e6, -50e6)


class Delays:
    """Samples by edge; `dropped` counts edges that a limit left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._samples: dict[Edge, deque[tuple[int, int]]] = {}
        self.dropped = 0

    def learn(self, made: Relation, fresh: npt.NDArray[np.bool_]) -> None:
        """Take the calls of one pass whose client was not looked at before."""
        calls, forest = made.calls, made.forest
        both = np.flatnonzero((calls.client_row >= 0) & (calls.server_row >= 0))
        both = both[fresh[calls.client_row[both]]]
        client, server = calls.client_row[both], calls.server_row[both]
        request, response = forest.start[server] - forest.start[client], forest.end[client] - forest.end[server]
        width, texts = len(calls.names.texts), calls.names.texts
        code = (calls.client[both] * width + calls.server[both]) * 2 + forest.sending[client]
        edges, place = distinct(code, max(1, width * width * 2))
        order = np.argsort(place, kind="stable")
        ends = np.cumsum(np.bincount(place, minlength=len(edges)))
        for at, edge in enumerate(edges.tolist()):
            rows = order[max(ends[at - 1] if at else 0, ends[at] - SAMPLES) : ends[at]]
            key = (texts[edge // 2 // width], texts[edge // 2 % width], bool(edge % 2))
            self._add(key, zip(request[rows].tolist(), response[rows].tolist(), strict=True))

    def learn_matches(self, callers: pa.Table, receivers: pa.Table) -> None:
        """Take pairs of halves (rows of HALVES, in one order) that surely are one call each: a pair that comes late is held against them."""
        names = ("service_name", "kind", "start_time_unix_nano", "end_time_unix_nano")
        mine, theirs = (list(zip(*(rows.column(name).to_pylist() for name in names), strict=True)) for rows in (callers, receivers))
        for (client, kind, start, end), (server, _, began, ended) in zip(mine, theirs, strict=True):
            self._add((client, server, kind in (SpanKind.CLIENT, SpanKind.PRODUCER)), [(began - start, end - ended)])

    def _add(self, edge: Edge, samples: Iterable[tuple[int, int]]) -> None:
        known = self._samples.get(edge)
        if known is None:
            if len(self._samples) >= MAX_EDGES:
                self.dropped += 1
                return
            known = self._samples[edge] = deque(maxlen=SAMPLES)
        known.extend(samples)

    def of(self, edge: Edge) -> DelayModel | None:
        """Give what is known of an edge; None where that is too little."""
        samples = self._samples.get(edge)
        if samples is None or len(samples) < MIN_SAMPLES:
            return None
        return DelayModel.fitted(np.array(samples, np.float64))

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[Any]:
        """Give the samples as JSON values."""
        return [[*edge, [list(pair) for pair in samples]] for edge, samples in self._samples.items()]

    def load(self, state: Iterable[Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        taken: dict[Edge, deque[tuple[int, int]]] = {}
        for client, server, sending, samples in state:
            taken[str(client), str(server), bool(sending)] = deque(((int(a), int(b)) for a, b in samples), maxlen=SAMPLES)
        self._samples = taken
