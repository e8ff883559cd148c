"""Whether traces are kept in parts: by samplers that decide for some services without asking what was decided for others.

Two Collectors that sample by tails, each seeing the spans of some services only, keep one half of a trace and drop the other. What that looks like
differs from a loss: a service is there with all its spans or with none, and where it meets a service of the other part, sometimes the caller is
gone as a whole and sometimes the callee. Losses leave remains, or hit one side only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from traced.graph.windows import turned

MIN_SEEN: Final = 5
"""Traces without the caller, and as many without one of its callees, from which on parts are a habit."""
MAX_REMAINS: Final = 0.1
"""Share of gaps where the service whose span is missing has others in the trace, up to which whole parts are missing."""
MAX_SERVICES: Final = 5_000
MAX_TRACES: Final = 20_000
"""Traces of which it is remembered what they showed, so that it can be taken back when they are looked at again."""
MAX_SAVED_TRACES: Final = 2_000
CALLER_GONE: Final = "caller_gone"
CALLEE_GONE: Final = "callee_gone"
REMAINS: Final = "remains"


@dataclass(slots=True)
class _Gaps:
    """Gaps between one service and those it calls: it is gone as a whole; its callee is; or only some spans are."""

    caller_gone: int = 0
    callee_gone: int = 0
    remains: int = 0

    def add(self, other: _Gaps) -> None:
        self.caller_gone += other.caller_gone
        self.callee_gone += other.callee_gone
        self.remains += other.remains


@dataclass(slots=True)
class Parts:
    """Counts gaps by calling service, in two windows that take turns; `dropped` counts services beyond the limit."""

    dropped: int = 0
    _now: dict[str, _Gaps] = field(default_factory=dict)
    _before: dict[str, _Gaps] = field(default_factory=dict)
    _turned: float = 0.0
    _of_traces: OrderedDict[int, list[tuple[str, str]]] = field(default_factory=OrderedDict)

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now

    def learn(self, seen: Iterable[tuple[int, str, str]]) -> None:
        """Count gaps: of each the key of its trace, what it shows (CALLER_GONE, CALLEE_GONE or REMAINS), and the calling service."""
        for trace, what, service in seen:
            if self._count(what, service, 1):
                self._of_traces.setdefault(trace, []).append((what, service))
        while len(self._of_traces) > MAX_TRACES:
            self._of_traces.popitem(last=False)

    def take_back(self, traces: Iterable[int]) -> None:
        """Forget what some traces showed, by their keys: they are looked at again, and what was gone may have come late."""
        for trace in traces if self._of_traces else ():
            for what, service in self._of_traces.pop(trace, ()):
                self._count(what, service, -1)

    def _count(self, what: str, service: str, number: int) -> bool:
        gaps = self._of(service)
        if gaps is not None:
            setattr(gaps, what, getattr(gaps, what) + number)
        return gaps is not None

    def _of(self, service: str) -> _Gaps | None:
        if service not in self._now and len(self._now) >= MAX_SERVICES:
            self.dropped += 1
            return None
        return self._now.setdefault(service, _Gaps())

    def kept(self, service: str) -> bool:
        """Say whether traces are kept with a calling service, or with those it calls, or with both, by nothing that they have in common."""
        gaps = _Gaps()
        for window in (self._before, self._now):
            if service in window:
                gaps.add(window[service])
        gone = gaps.caller_gone + gaps.callee_gone
        return min(gaps.caller_gone, gaps.callee_gone) >= MIN_SEEN and gaps.remains <= MAX_REMAINS * gone

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give both windows as JSON values."""
        windows = [{service: [g.caller_gone, g.callee_gone, g.remains] for service, g in window.items()} for window in (self._before, self._now)]
        newest = list(self._of_traces.items())[-MAX_SAVED_TRACES:]
        return {"turned": self._turned, "windows": windows, "traces": [[trace, [list(one) for one in seen]] for trace, seen in newest]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = ({str(service): _Gaps(*map(int, gaps)) for service, gaps in window.items()} for window in state["windows"])
        traces = OrderedDict((int(trace), [(str(what), str(service)) for what, service in seen]) for trace, seen in state.get("traces", ()))
        self._turned, self._before, self._now, self._of_traces = float(state["turned"]), before, now, traces
