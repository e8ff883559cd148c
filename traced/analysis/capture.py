"""The record of when the daemon listened, and of what it missed meanwhile.

A heart-beat with each turn of the loop makes the present interval longer, and is kept now and then: after a start, what lies between the last one kept and
now is a gap, whether the daemon was stopped or killed. Bounded: the oldest are told as one, so that never less is missing than was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import structlog

from traced.model.capture import Capture, Gap, GapReason, Interval

log = structlog.get_logger(__name__)

MAX_INTERVALS: Final = 1_000
MAX_GAPS: Final = 1_000
_SUSPENDED_SECONDS: Final = 60.0
"""So much more may pass by the calendar than by the steady clock between two beats: beyond it the machine slept, or its clock was set."""


class Missed(NamedTuple):
    """What the receiver did not take since it was built: requests answered with an error, and spans left out of requests that were taken."""

    refused: int = 0
    rejected: int = 0


class CaptureRecorder:
    """Records; for one thread, but `capture` is for any."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing; `begin` opens the first interval. `steady` gives seconds that stand still while the machine sleeps."""
        self._steady = steady
        self._intervals: tuple[Interval, ...] = ()
        self._gaps: tuple[Gap, ...] = ()
        self._forgotten_until = 0.0
        self._missed: Callable[[], Missed] = Missed
        self._told = Missed()
        self._beaten_at = 0.0

    def watch(self, missed: Callable[[], Missed]) -> None:
        """Ask the receiver at each beat what it did not take; what it says now is not told."""
        self._missed, self._told = missed, missed()

    # ------------------------------------------------------------------ what happens

    def begin(self, now: float, stored: Any = None) -> None:
        """Take up what an earlier run kept (`dump`), say that nobody listened since, and listen; what cannot be read is as nothing."""
        try:
            kept = Capture.from_dict(stored) if stored is not None else Capture()
        except (ValueError, KeyError, TypeError) as error:
            log.warning("capture_unreadable", error=repr(error))
            kept = Capture()
        self._intervals = kept.intervals
        self._gaps = tuple(gap for gap in kept.gaps if gap.reason is not GapReason.RETENTION)
        self._forgotten_until = max((gap.until_unix_seconds for gap in kept.gaps if gap.reason is GapReason.RETENTION), default=0.0)
        if self._intervals:
            self._resume(now)
        else:
            self._intervals = (Interval(now, now),)
        self._beaten_at = self._steady()

    def beat(self, now: float) -> None:
        """Say that the daemon listens, and ask what was not taken since the last beat."""
        last, steady = self._intervals[-1], self._steady()
        slept = now - last.until_unix_seconds - (steady - self._beaten_at) > _SUSPENDED_SECONDS
        self._beaten_at = steady
        missed = self._missed()
        for reason, before, number in zip((GapReason.REFUSED, GapReason.REJECTED), self._told, missed, strict=True):
            if number > before:
                self.note(last.until_unix_seconds, now, reason, number - before)
        self._told = missed
        if slept:
            self._resume(now)
        elif now > last.until_unix_seconds:
            self._intervals = (*self._intervals[:-1], replace(last, until_unix_seconds=now))

    def _resume(self, now: float) -> None:
        """Open a new interval; what lies between it and the last is a gap."""
        until = self._intervals[-1].until_unix_seconds
        if now > until:
            self.note(until, now, GapReason.STOPPED)
        self._intervals = _bounded_intervals((*self._intervals, Interval(now, now)))

    def note(self, since: float, until: float, reason: GapReason, items: int = 0) -> None:
        """Say that something of a time is missing; what goes on from the newest gap of its reason makes that one longer."""
        begin = self._intervals[0].since_unix_seconds
        if until < begin:
            return  # then nobody listened anyway
        since = min(max(since, begin), until)
        gap = Gap(since, until, reason, items)
        place = next((n for n in range(len(self._gaps) - 1, -1, -1) if self._gaps[n].reason is reason), None)
        if place is not None and self._gaps[place].since_unix_seconds <= until and since <= self._gaps[place].until_unix_seconds:
            gap = _together((self._gaps[place], gap))
            self._gaps = (*self._gaps[:place], *self._gaps[place + 1 :])
        self._gaps = _bounded_gaps((*self._gaps, gap))

    def forget(self, until: float) -> None:
        """Say that retention dropped what was counted up to a time."""
        if until <= self._forgotten_until:
            return
        self._forgotten_until = until
        kept = [interval for interval in self._intervals[:-1] if interval.until_unix_seconds > until]
        self._intervals = (*kept, self._intervals[-1])
        self._gaps = tuple(gap for gap in self._gaps if gap.until_unix_seconds > until)

    # ------------------------------------------------------------------ what is told

    def capture(self) -> Capture:
        """Give everything known by now."""
        intervals, gaps, forgotten = self._intervals, self._gaps, self._forgotten_until
        since = min((interval.since_unix_seconds for interval in intervals), default=forgotten)
        retention = (Gap(min(since, forgotten), forgotten, GapReason.RETENTION),) if forgotten else ()
        return Capture(intervals, (*retention, *gaps))

    def dump(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return self.capture().as_dict()


def _together(gaps: Sequence[Gap]) -> Gap:
    """Give one gap that covers several; its reason is that of the longest."""
    longest = max(gaps, key=lambda gap: gap.until_unix_seconds - gap.since_unix_seconds)
    since, until = min(gap.since_unix_seconds for gap in gaps), max(gap.until_unix_seconds for gap in gaps)
    return Gap(since, until, longest.reason, sum(gap.items for gap in gaps))


def _bounded_gaps(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    """Tell the two oldest as one where there are too many: what lies between them is then missing too."""
    if len(gaps) <= MAX_GAPS:
        return gaps
    oldest = sorted(gaps)[:2]
    return (_together(oldest), *(gap for gap in gaps if gap not in oldest))


def _bounded_intervals(intervals: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Tell the two oldest as one where there are too many: what lies between them is among the gaps."""
    if len(intervals) <= MAX_INTERVALS:
        return intervals
    first, second, *rest = intervals
    return (Interval(first.since_unix_seconds, max(first.until_unix_seconds, second.until_unix_seconds)), *rest)
