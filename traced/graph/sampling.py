"""What trace ids and `tracestate` say of sampling: thresholds, randomness, and the orders in which samplers cut the space of trace ids.

Source: OpenTelemetry's specification, "TraceState: Probability Sampling", and the ratio samplers of the SDKs of five languages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Unsigned
from traced.graph.relation import Relation
from traced.graph.trace_state import parse

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


CHANCE: Final = 1e-6
"""So unlikely must it be that a service's traces lie below a cut by chance."""


class Samplers:
    """What each service's sampler lets through, as far as its spans show."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._thresholds: dict[str, tuple[int, int]] = {}
        self._largest: dict[str, list[int]] = {}
        self._traces: dict[str, int] = {}
        self._of_all = [0] * len(ORDERS)

    def learn(self, made: Relation) -> None:
        """Learn from the spans of one pass: the thresholds that they carry, and the trace ids that they have."""
        self._learn_thresholds(made)
        forest = made.forest
        count = len(forest.service.texts)
        pairs, first = np.unique(forest.trace * count + forest.service.of, return_index=True)
        service = pairs % count
        high, low = (np.asarray(forest.spans.column(name))[first] for name in ("trace_id_high", "trace_id_low"))
        numbers = np.bincount(service, minlength=count).tolist()
        largest = np.zeros((len(ORDERS), count), np.uint64)
        for place, order in enumerate(ORDERS.values()):
            np.maximum.at(largest[place], service, order(high, low))
            self._of_all[place] = max(self._of_all[place], int(largest[place].max(initial=0)))
        for code, text in enumerate(forest.service.texts):
            known = self._largest.setdefault(text, [0] * len(ORDERS))
            self._largest[text] = [max(a, int(b)) for a, b in zip(known, largest[:, code], strict=True)]
            self._traces[text] = self._traces.get(text, 0) + numbers[code]

    def _learn_thresholds(self, made: Relation) -> None:
        forest = made.forest
        states = forest.spans.column("trace_state").combine_chunks().dictionary_encode()
        parsed = [threshold_and_randomness(text or "")[0] for text in states.dictionary.to_pylist()]
        if not any(threshold is not None for threshold in parsed):
            return
        code = np.asarray(states.indices.fill_null(0)).astype(np.int64)
        for pair in np.unique(forest.service.of * len(parsed) + code).tolist():
            threshold = parsed[pair % len(parsed)]
            if threshold is not None:
                service = forest.service.texts[pair // len(parsed)]
                low, high = self._thresholds.get(service, (threshold, threshold))
                self._thresholds[service] = (min(low, threshold), max(high, threshold))

    def verdict(self, services: tuple[str, ...], high: int, low: int, trace_state: str) -> tuple[str, str]:
        """Say whether one of some services does not sample a trace ('dropped'), or all do ('kept'; '' where that is not known), and how that is known."""
        kept = bool(services)
        for service in services:
            said, by = self._of_service(service, high, low, trace_state)
            if said == "dropped":
                return said, by
            kept = kept and said == "kept"
        return ("kept", "threshold") if kept else ("", "")

    def _of_service(self, service: str, high: int, low: int, trace_state: str) -> tuple[str, str]:
        if service in self._thresholds:
            lowest, highest = self._thresholds[service]
            random = randomness(low, threshold_and_randomness(trace_state)[1])
            said = "dropped" if random < lowest else "kept" if random >= highest else ""
            return said, "threshold"
        for place, (name, order) in enumerate(ORDERS.items()):
            if self._is_cut(service, place) and int(order(np.array([high], np.uint64), np.array([low], np.uint64))[0]) > self._largest[service][place]:
                return "dropped", name
        return "", ""

    def _is_cut(self, service: str, place: int) -> bool:
        """Say whether a service's traces all lie below a cut, where those of all services go higher: trace ids are random."""
        largest, of_all = self._largest.get(service, [0] * len(ORDERS))[place], self._of_all[place]
        return 0 < largest < of_all and self._traces[service] * math.log(largest / of_all) < math.log(CHANCE)
