"""Traces that are looked at once more when more is known: the first orphans of an operation come before its habits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

TraceId = tuple[int, int]

AFTER_SECONDS: Final = (60.0, 600.0)
"""When a trace of which something is undecided, or decided early, is looked at again, after it was first looked at; then no more."""
MAX_WAITING: Final = 10_000
MAX_AT_ONCE: Final = 1_000


class Revisits:
    """Remembers which traces to look at again, and when; `dropped` counts those that a limit left out."""

    def __init__(self) -> None:
        """Start with none."""
        self._waiting: OrderedDict[TraceId, tuple[float, int]] = OrderedDict()
        self.dropped = 0

    def note(self, undecided: Iterable[TraceId], now: float) -> None:
        """Remember what a pass could not decide (unix seconds); what a second look decides is looked at the third time all the same."""
        for trace in undecided:
            if trace not in self._waiting:
                self._waiting[trace] = (now, 0)
        while len(self._waiting) > MAX_WAITING:
            _, (_, times) = self._waiting.popitem(last=False)
            self.dropped += times < len(AFTER_SECONDS)

    def due(self, now: float) -> list[TraceId]:
        """Give traces whose time has come, the longest waiting first, until `looked_at` says that they were."""
        ripe = (t for t, (since, times) in self._waiting.items() if times < len(AFTER_SECONDS) and now - since >= AFTER_SECONDS[times])
        return list(islice(ripe, MAX_AT_ONCE))

    def looked_at(self, traces: Iterable[TraceId]) -> None:
        """Note that traces were looked at again; each is given once for each time."""
        for trace in traces:
            if trace in self._waiting:
                since, times = self._waiting[trace]
                self._waiting[trace] = (since, times + 1)

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[list[Any]]:
        """Give what waits as JSON values."""
        return [[*trace, since, times] for trace, (since, times) in self._waiting.items() if times < len(AFTER_SECONDS)]

    def load(self, state: Iterable[list[Any]], unfinished: Iterable[list[int]], at: float) -> None:
        """Take what `dump` gave before a restart, and traces of which something else was unfinished then: they are looked at first `at` (unix seconds).

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        waiting = OrderedDict(((int(high), int(low)), (float(since), int(times))) for high, low, since, times in state)
        for high, low in unfinished:
            waiting.setdefault((int(high), int(low)), (at - AFTER_SECONDS[0], 0))
        self._waiting = waiting
