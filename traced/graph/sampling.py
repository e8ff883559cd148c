"""What trace ids and `tracestate` say of sampling: thresholds, randomness, and the orders in which samplers cut the space of trace ids.

Source: OpenTelemetry's specification, "TraceState: Probability Sampling", and the ratio samplers of the SDKs of five languages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Codes, Mask, Unsigned, ascending, distinct
from traced.graph.relation import Relation
from traced.graph.trace_state import parse
from traced.graph.windows import turned

RANDOM_BITS: Final = 56
MOST: Final = 2**RANDOM_BITS
_LOW_56: Final = np.uint64(MOST - 1)
_LOW_32: Final = np.uint64(2**32 - 1)
_LOW_63: Final = np.uint64(2**63 - 1)
_32: Final = np.uint64(32)


@lru_cache(10_000)
def threshold_and_randomness(trace_state: str) -> tuple[int | None, int | None]:
    """Read `th` and `rv` of the member `ot` of a W3C tracestate; None for what is absent or malformed.

    The threshold is out of 2**56: a span is kept where its randomness is not below it.
    """
    said = parse(pa.array([trace_state], pa.string()))
    return int(said.threshold[0]) if said.has_threshold[0] else None, int(said.randomness[0]) if said.has_randomness[0] else None


def randomness(low: int, rv: int | None) -> int:
    """Give a trace's randomness: what `rv` says, else the low 56 bits of its id."""
    return low & (MOST - 1) if rv is None else rv


def _magnitude(signed: Unsigned) -> Unsigned:
    """Give the absolute value of a two's complement number."""
    value: Unsigned = np.where(signed > _LOW_63, ~signed + np.uint64(1), signed)
    return value


def _words_xored(high: Unsigned, low: Unsigned) -> Unsigned:
    word: Unsigned = (high >> _32) ^ (high & _LOW_32) ^ (low >> _32) ^ (low & _LOW_32)
    return word


ORDERS: Final[dict[str, Callable[[Unsigned, Unsigned], Unsigned]]] = {
    # kept above the cut, turned round so that all orders keep what is small
    "threshold": lambda _high, low: _LOW_56 - (low & _LOW_56),
    "low_64_bits": lambda _high, low: low,
    "low_64_bits_signed": lambda _high, low: _magnitude(low),
    "high_64_bits_signed": lambda high, _low: _magnitude(high),
    "words_xored": _words_xored,
}
"""How samplers order trace ids before they cut: those below the cut are kept.

By name: consistent probability sampling; Python and Go; Java; .NET; JavaScript.
"""


MAX_SERVICES: Final = 5_000
CHANCE: Final = 1e-6
"""So unlikely must it be that a service's traces lie below a cut by chance."""


@dataclass(slots=True)
class _Seen:
    """What one service's spans showed in one window: thresholds, traces, and the last trace id in each of ORDERS."""

    traces: int = 0
    largest: list[int] = field(default_factory=lambda: [0] * len(ORDERS))
    thresholds: tuple[int, int] | None = None

    def add(self, other: _Seen) -> None:
        self.traces += other.traces
        self.largest = [max(pair) for pair in zip(self.largest, other.largest, strict=True)]
        both = [*(self.thresholds or ()), *(other.thresholds or ())]
        self.thresholds = (min(both), max(both)) if both else None


class Samplers:
    """What each service's sampler lets through, as far as its spans of the last one to two hours show; `dropped` counts services beyond the limit."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now: dict[str, _Seen] = {}
        self._before: dict[str, _Seen] = {}
        self._turned = 0.0
        self._of_all: list[int] | None = None
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now

    def learn(self, made: Relation, fresh: Mask) -> None:
        """Learn from the fresh spans of one pass: the thresholds that they carry, and the trace ids that they have."""
        forest = made.forest
        count = len(forest.service.texts)
        pairs, _ = distinct((forest.trace * count + forest.service.of)[fresh], max(1, forest.traces * count))
        service = pairs % max(1, count)
        order = np.argsort(service, kind="stable")
        codes, starts = np.unique(service[order], return_index=True)
        ids = _ids_of_traces(made)
        trace = (pairs // max(1, count))[order]
        largest = [np.maximum.reduceat(ordered(*ids)[trace], starts).tolist() for ordered in ORDERS.values()] if len(codes) else []
        thresholds = _thresholds(made)
        self._of_all = None
        for at, (code, number) in enumerate(zip(codes.tolist(), np.diff([*starts, len(order)]).tolist(), strict=True)):
            text = forest.service.texts[code]
            if text not in self._now and len(self._now) >= MAX_SERVICES:
                self.dropped += 1
            else:
                self._now.setdefault(text, _Seen()).add(_Seen(number, [last[at] for last in largest], thresholds.get(code)))

    def verdict(self, services: tuple[str, ...], high: int, low: int, trace_state: str) -> tuple[str, str]:
        """Say whether one of some services does not sample a trace ('dropped'), or all do ('kept'; '' where that is not known), and how that is known."""
        kept = bool(services)
        for service in services:
            said, by = self._of_service(self.of(service), high, low, trace_state)
            if said == "dropped":
                return said, by
            kept = kept and said == "kept"
        return ("kept", "threshold") if kept else ("", "")

    def of(self, service: str) -> _Seen:
        """Give what both windows show of a service."""
        together = _Seen()
        for window in (self._before, self._now):
            if service in window:
                together.add(window[service])
        return together

    def _of_service(self, seen: _Seen, high: int, low: int, trace_state: str) -> tuple[str, str]:
        if seen.thresholds:
            lowest, highest = seen.thresholds
            random = randomness(low, threshold_and_randomness(trace_state)[1])
            said = "dropped" if random < lowest else "kept" if random >= highest else ""
            return said, "threshold"
        for place, (name, order) in enumerate(ORDERS.items()):
            if self._is_cut(seen, place) and int(order(np.array([high], np.uint64), np.array([low], np.uint64))[0]) > seen.largest[place]:
                return "dropped", name
        return "", ""

    def _is_cut(self, seen: _Seen, place: int) -> bool:
        """Say whether a service's traces all lie below a cut, where those of all services go higher: trace ids are random."""
        if self._of_all is None:
            windows = [*self._before.values(), *self._now.values()]
            self._of_all = [max((one.largest[at] for one in windows), default=0) for at in range(len(ORDERS))]
        largest, of_all = seen.largest[place], self._of_all[place]
        return 0 < largest < of_all and seen.traces * math.log(largest / of_all) < math.log(CHANCE)


def _ids_of_traces(made: Relation) -> tuple[Unsigned, Unsigned]:
    """Give the high and the low half of each trace's id, by the trace's number."""
    first = np.asarray(made.pass_traces.column("row"))
    high, low = np.zeros(made.forest.traces, np.uint64), np.zeros(made.forest.traces, np.uint64)
    for half, name in ((high, "trace_id_high"), (low, "trace_id_low")):
        half[made.forest.trace[first]] = np.asarray(made.forest.spans.column(name))[first]
    return high, low


def _thresholds(made: Relation) -> dict[int, tuple[int, int]]:
    """Give the lowest and the highest threshold that each service's spans carry, by the service's number."""
    forest = made.forest
    states = Codes.from_column(forest.spans.column("trace_state"))
    parsed = [threshold_and_randomness(text)[0] for text in states.texts]
    if not any(threshold is not None for threshold in parsed):
        return {}
    found: dict[int, tuple[int, int]] = {}
    pairs = ascending(forest.service.of * len(parsed) + states.of)
    for pair in pairs.tolist():
        threshold = parsed[pair % len(parsed)]
        if threshold is not None:
            low, high = found.get(pair // len(parsed), (threshold, threshold))
            found[pair // len(parsed)] = (min(low, threshold), max(high, threshold))
    return found
