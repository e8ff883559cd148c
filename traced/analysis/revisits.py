"""Traces that are looked at once more when more is known: the first orphans of an operation come before its habits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, Final

TraceId = tuple[int, int]

AFTER_SECONDS: Final = (60.0, 600.0)
"""When a trace of which something is undecided, or decided early, is looked at again, after it was first looked at; then only where it is known when."""
MAX_WAITING: Final = 10_000
MAX_AT_ONCE: Final = 1_000


class Revisits:
    """Remembers which traces to look at again, and when; `dropped` counts those that a limit left out."""

    def __init__(self) -> None:
        """Start with none."""
        self._waiting: OrderedDict[TraceId, tuple[float, int]] = OrderedDict()
        self._later: OrderedDict[TraceId, float] = OrderedDict()
        """When traces are decided that nothing can be said of before (unix seconds)."""
        self._extra: set[TraceId] = set()
        """Of the traces that `due` gave last, those that came by `_later` alone."""
        self.dropped = 0

    def note(self, undecided: Iterable[TraceId], now: float, later: Mapping[TraceId, float] = MappingProxyType({})) -> None:
        """Remember what a pass could not decide.

        What a second look decides is looked at the third time all the same.

        Args:
            undecided: traces.
            now: unix seconds.
            later: traces that will be decided in so many seconds, and not before.
        """
        for trace in undecided:
            if trace not in self._waiting:
                self._waiting[trace] = (now, 0)
        self._later.update((trace, now + seconds) for trace, seconds in later.items())
        while len(self._waiting) > MAX_WAITING:
            _, (_, times) = self._waiting.popitem(last=False)
            self.dropped += times < len(AFTER_SECONDS)
        while len(self._later) > MAX_WAITING:
            self._later.popitem(last=False)
            self.dropped += 1

    def due(self, now: float) -> list[TraceId]:
        """Give traces whose time has come, the longest waiting first, until `looked_at` says that they were."""
        due = (t for t, (since, times) in self._waiting.items() if times < len(AFTER_SECONDS) and now - since >= AFTER_SECONDS[times])
        ripe = dict.fromkeys(islice(due, MAX_AT_ONCE))
        self._extra = {t for t, at in self._later.items() if now >= at and t not in ripe}
        return list(islice(chain(ripe, self._extra), MAX_AT_ONCE))

    def looked_at(self, traces: Iterable[TraceId]) -> None:
        """Note that traces were looked at again; each is given once for each time."""
        for trace in traces:
            # what is not decided even now is noted anew
            self._later.pop(trace, None)
            if trace in self._waiting and trace not in self._extra:
                since, times = self._waiting[trace]
                self._waiting[trace] = (since, times + 1)

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[list[Any]]:
        """Give what waits as JSON values: of each trace since when, how often it was looked at, and when it is at the latest (or null)."""
        waiting = {trace: one for trace, one in self._waiting.items() if one[1] < len(AFTER_SECONDS) or trace in self._later}
        waiting |= {trace: (at, len(AFTER_SECONDS)) for trace, at in self._later.items() if trace not in waiting}
        return [[*trace, *one, self._later.get(trace)] for trace, one in waiting.items()]

    def load(self, state: Iterable[list[Any]], unfinished: Iterable[list[int]], at: float) -> None:
        """Take what `dump` gave before a restart, and traces of which something else was unfinished then: they are looked at first `at` (unix seconds).

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        waiting: OrderedDict[TraceId, tuple[float, int]] = OrderedDict()
        decided: OrderedDict[TraceId, float] = OrderedDict()
        for high, low, since, times, *later in state:
            waiting[int(high), int(low)] = (float(since), int(times))
            decided.update(((int(high), int(low)), float(when)) for when in later if when is not None)
        for high, low in unfinished:
            waiting.setdefault((int(high), int(low)), (at - AFTER_SECONDS[0], 0))
        self._waiting, self._later = waiting, decided
