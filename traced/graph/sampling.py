"""What trace ids and `tracestate` say of sampling: thresholds, randomness, and the orders in which samplers cut the space of trace ids.

Source: OpenTelemetry's specification, "TraceState: Probability Sampling", and the ratio samplers of the SDKs of five languages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.by_trace import ByTrace
from traced.graph.columns import Codes, Mask, Unsigned, ascending, distinct
from traced.graph.gone import Gap
from traced.graph.relation import Relation
from traced.graph.scatter import so_many_beyond_by_chance
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
MAX_GONE_EACH: Final = 64
MAX_GONE: Final = 20_000
"""Traces that a service is gone from, which are remembered of each one, and of all."""
MAX_SAVED_GONE: Final = 5_000
LARGEST_PLACE: Final = 2**64 - 1
CHANCE: Final = 1e-6
"""So unlikely must it be that traces lie on two sides of a cut by chance."""
NOT_DRAWN: Final = 1e-3
"""Trace ids so far from 0 for their number are not drawn at random."""
EVEN: Final = 0.5
"""Chance up to which traces on two sides speak for a cut at all."""
NEARLY_ALL: Final = 0.9
"""Share of the traces that a service is gone from which lie beyond all that it has, from which on a sampler may be why: losses do not know trace ids."""

RARE: Final = 0.1
"""Losses are rarer among the traces of a service: below it a sampler is not thought of where nothing proves one."""

DROPPED: Final = "dropped"
KEPT: Final = "kept"
PERHAPS: Final = "perhaps"


@dataclass(slots=True)
class _Seen:
    """What one service's spans showed in one window: thresholds, traces, and the first and the last trace id in each of ORDERS."""

    traces: int = 0
    smallest: list[int] = field(default_factory=lambda: [LARGEST_PLACE] * len(ORDERS))
    largest: list[int] = field(default_factory=lambda: [0] * len(ORDERS))
    thresholds: tuple[int, int] | None = None

    def add(self, other: _Seen) -> None:
        self.traces += other.traces
        self.smallest = [min(pair) for pair in zip(self.smallest, other.smallest, strict=True)]
        self.largest = [max(pair) for pair in zip(self.largest, other.largest, strict=True)]
        both = [*(self.thresholds or ()), *(other.thresholds or ())]
        self.thresholds = (min(both), max(both)) if both else None

    def is_drawn(self, at: int) -> bool:
        """Say whether its trace ids may be drawn at random below the last one: those that begin with the time lie close together."""
        lowest, highest, others = self.smallest[at], self.largest[at], self.traces - 1
        return others < 1 or (lowest < highest and others * math.log1p(-lowest / highest) >= math.log(NOT_DRAWN))


class Samplers:
    """What each service's sampler lets through, as far as its spans of the last one to two hours show; `dropped` counts services beyond the limit."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now: dict[str, _Seen] = {}
        self._before: dict[str, _Seen] = {}
        self._gone: ByTrace[tuple[int, ...]] = ByTrace(MAX_GONE_EACH, MAX_GONE)
        """Of traces that a service is gone from: where each lies in ORDERS."""
        self._turned = 0.0
        self._of_all: list[int] | None = None
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now
            self._of_all = None
            self._gone.turn()

    # ------------------------------------------------------------------ learning

    def learn(self, made: Relation, fresh: Mask) -> None:
        """Learn from the spans of one pass: the thresholds that they carry, and the trace ids that services have, of each trace once."""
        forest = made.forest
        count = max(1, len(forest.service.texts))
        pairs, of_pair = distinct(forest.trace * count + forest.service.of, max(1, forest.traces * count))
        # a service that had spans in the trace at an earlier look was counted then
        new = np.bincount(of_pair[~fresh], minlength=len(pairs)) == 0
        pairs = pairs[new]
        service = pairs % count
        order = np.argsort(service, kind="stable")
        codes, starts = np.unique(service[order], return_index=True)
        ids = _ids_of_traces(made)
        trace = (pairs // count)[order]
        places = [ordered(*ids)[trace] for ordered in ORDERS.values()] if len(codes) else []
        ends = [list(zip(*(kind.reduceat(place, starts).tolist() for place in places), strict=True)) for kind in (np.minimum, np.maximum)]
        thresholds = _thresholds(made)
        self._of_all = None
        for at, (code, number) in enumerate(zip(codes.tolist(), np.diff([*starts, len(order)]).tolist(), strict=True)):
            text = forest.service.texts[code]
            if text not in self._now and len(self._now) >= MAX_SERVICES:
                self.dropped += 1
            else:
                self._now.setdefault(text, _Seen()).add(_Seen(number, list(ends[0][at]), list(ends[1][at]), thresholds.get(code)))

    def learn_gone(self, gaps: Iterable[Gap]) -> None:
        """Remember traces that a service is gone from, though it was called or calls there."""
        for gap in gaps:
            if gap.gone:
                self._gone.put(gap.gone, gap.trace, _places(gap.high, gap.low))

    def take_back(self, traces: Iterable[int]) -> None:
        """Forget which services were gone from traces, by their keys: they are looked at again, and what was gone may have come late."""
        self._gone.take_back(traces)

    # ------------------------------------------------------------------ what follows

    def verdict(self, services: tuple[str, ...], high: int, low: int, trace_state: str, *, gone: bool = False) -> tuple[str, str]:
        """Say what the samplers of some services do with a trace, and how that is known.

        DROPPED where one of them does not sample it, KEPT where all do, PERHAPS where one may not, '' where nothing is known.

        Args:
            services: whose samplers.
            high: of the trace's id.
            low: of the trace's id.
            trace_state: of a span of the trace.
            gone: they have no span at all in the trace, so that it may lie beyond a cut that only few traces show (PERHAPS).
        """
        said = [self._of_service(service, high, low, trace_state, gone) for service in services]
        for verdict in (DROPPED, PERHAPS):
            for one in said:
                if one[0] == verdict:
                    return one
        return (KEPT, "threshold") if said and all(one[0] == KEPT for one in said) else ("", "")

    def of(self, service: str) -> _Seen:
        """Give what both windows show of a service."""
        together = _Seen()
        for window in (self._before, self._now):
            if service in window:
                together.add(window[service])
        return together

    def _of_service(self, service: str, high: int, low: int, trace_state: str, gone: bool) -> tuple[str, str]:  # noqa: FBT001 - a fact, not a switch
        seen = self.of(service)
        if seen.thresholds:
            lowest, highest = seen.thresholds
            random = randomness(low, threshold_and_randomness(trace_state)[1])
            said = DROPPED if random < lowest else KEPT if random >= highest else ""
            return said, "threshold"
        here, others = _places(high, low), self._gone.of(service)
        # of who has not been heard of since a restart nothing is known
        perhaps = (PERHAPS, "") if gone and not seen.traces else ("", "")
        for at, name in enumerate(ORDERS):
            if here[at] <= seen.largest[at] or not seen.is_drawn(at):
                continue
            beyond = sum(places[at] > seen.largest[at] for places in others)
            chance = len(ORDERS) * so_many_beyond_by_chance(seen.traces, len(others), beyond)
            if self._is_cut(seen, at) or chance < CHANCE:
                return DROPPED, name
            often = len(others) >= RARE * (seen.traces + len(others)) > 0
            if gone and often and beyond >= NEARLY_ALL * len(others) and chance <= EVEN:
                perhaps = (PERHAPS, name)
        return perhaps

    def _is_cut(self, seen: _Seen, at: int) -> bool:
        """Say whether a service's traces all lie below a cut, where those of all services go higher: trace ids are random."""
        if self._of_all is None:
            windows = [*self._before.values(), *self._now.values()]
            self._of_all = [max((one.largest[at] for one in windows), default=0) for at in range(len(ORDERS))]
        largest, of_all = seen.largest[at], self._of_all[at]
        return 0 < largest < of_all and seen.traces * math.log(largest / of_all) < math.log(CHANCE)

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what is known as JSON values: both windows, and the newest traces that services are gone from."""
        windows = [
            [[service, seen.traces, seen.smallest, seen.largest, seen.thresholds] for service, seen in window.items()] for window in (self._before, self._now)
        ]
        gone = [[trace, service, list(places), ago] for trace, service, places, ago in self._gone.newest(MAX_SAVED_GONE)]
        return {"turned": self._turned, "windows": windows, "gone": gone}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = (_loaded(window) for window in state["windows"])
        gone = [(int(trace), str(service), tuple(map(int, places)), int(ago)) for trace, service, places, ago in state["gone"]]
        self._turned, self._before, self._now = float(state["turned"]), before, now
        self._of_all = None
        self._gone.restore(gone)


def _loaded(window: list[Any]) -> dict[str, _Seen]:
    loaded = {}
    for service, traces, smallest, largest, thresholds in window:
        first, last = [int(place) for place in smallest], [int(place) for place in largest]
        if len(first) != len(ORDERS) or len(last) != len(ORDERS):
            raise ValueError(f"places in {len(last)} orders of trace ids, not in {len(ORDERS)}")
        lowest, highest = thresholds or (0, 0)
        loaded[str(service)] = _Seen(int(traces), first, last, (int(lowest), int(highest)) if thresholds else None)
    return loaded


@lru_cache(10_000)
def _places(high: int, low: int) -> tuple[int, ...]:
    """Give where a trace id lies in each of ORDERS."""
    ids = np.array([high], np.uint64), np.array([low], np.uint64)
    return tuple(int(order(*ids)[0]) for order in ORDERS.values())


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
