"""Absent ids that many traces name: something between two processes puts the same one into each context."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np

from traced.graph.columns import Ints, Mask, among, mix
from traced.graph.forest import Forest

MAX_IDS: Final = 50_000
MAX_TRACES: Final = 3
"""Traces that are remembered of one absent id: so many, and it is constant."""
MAX_SAVED: Final = 2_000
LEAST_RANDOM_ID: Final = 2**32
"""Smaller span ids were counted up, not drawn: the same one in many traces means nothing."""


class AbsentIds:
    """Remembers the newest absent ids, each with a few of the traces that name it."""

    def __init__(self) -> None:
        """Start with none."""
        self._traces: OrderedDict[int, tuple[int, ...]] = OrderedDict()

    def learn(self, forest: Forest, orphans: Ints) -> list[int]:
        """Count, for each orphan, the traces in which its absent parent's id is named, and is nowhere a span's: MAX_TRACES at most, each once."""
        ids, traces = forest.parent_id[orphans], mix(*(np.asarray(forest.spans.column(n))[orphans] for n in ("trace_id_high", "trace_id_low")))
        drawn: Mask = (ids >= LEAST_RANDOM_ID) & ~among(ids, forest.span_id)
        for span, trace in zip(ids[drawn].tolist(), traces[drawn].tolist(), strict=True):
            known = self._traces.get(span, ())
            if trace not in known and len(known) < MAX_TRACES:
                self._traces[span] = (*known, trace)
        while len(self._traces) > MAX_IDS:
            self._traces.popitem(last=False)
        return [len(self._traces.get(span, (0,))) if random else 1 for span, random in zip(ids.tolist(), drawn.tolist(), strict=True)]

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[list[int]]:
        """Give ids with their traces as JSON values: those that several traces name, and the newest of the others."""
        several = [(span, traces) for span, traces in self._traces.items() if len(traces) > 1][-MAX_SAVED:]
        single = [(span, traces) for span, traces in self._traces.items() if len(traces) == 1][-MAX_SAVED:]
        return [[span, *traces] for span, traces in (*single, *several)]

    def load(self, state: list[list[int]]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        self._traces = OrderedDict((int(span), tuple(map(int, traces))) for span, *traces in state)
