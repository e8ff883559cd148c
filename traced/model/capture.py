"""When `traced` was listening, and what it missed meanwhile: without it nobody knows what "none was seen" is worth.

All times are unix seconds by the daemon's own clock, as arrivals are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class GapReason(StrEnum):
    """Why something that was sent may not have been counted."""

    STOPPED = "stopped"
    """The daemon did not run, or could not be reached."""
    REFUSED = "refused"
    """Senders were told to come back; not all of them do."""
    REJECTED = "rejected"
    """Items could not be stored, as with an invalid id."""
    FAILED_PASS = "failed_pass"  # noqa: S105 - no password
    """A window of the analysis was given up."""
    RETENTION = "retention"
    """What was stored went before it was needed."""
    DROPPED = "dropped"
    """A limit of the analysis, or of what is kept of messages, left something out."""


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A time in which the daemon listened: from `since` up to `until`."""

    since_unix_seconds: float
    until_unix_seconds: float


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """A time of which something is missing.

    Attributes:
        since_unix_seconds: its begin.
        until_unix_seconds: its end; the same as the begin where only one moment is known.
        reason: why.
        items: how many spans (or requests) are known to be missing; 0 where nobody could count them.
    """

    since_unix_seconds: float
    until_unix_seconds: float
    reason: GapReason
    items: int = 0


@dataclass(frozen=True, slots=True)
class Capture:
    """When the daemon listened, and what it missed; in any order, and times may overlap.

    What lies between two intervals is a gap of its own (`GapReason.STOPPED`), whether `gaps` names it or not.
    """

    intervals: tuple[Interval, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON, as it is stored."""
        return {
            "intervals": [[one.since_unix_seconds, one.until_unix_seconds] for one in self.intervals],
            "gaps": [[one.since_unix_seconds, one.until_unix_seconds, str(one.reason), one.items] for one in self.gaps],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Capture:
        """Read what `as_dict` gave.

        Raises:
            ValueError, KeyError, TypeError: it is not of that form.
        """
        intervals = tuple(Interval(float(since), float(until)) for since, until in stored["intervals"])
        gaps = tuple(Gap(float(since), float(until), GapReason(reason), int(items)) for since, until, reason, items in stored["gaps"])
        return cls(intervals, gaps)


def united(times: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give times that may overlap as times that do not, in their order; what has no length is left out."""
    found: list[tuple[float, float]] = []
    for since, until in sorted(times):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        elif until > since:
            found.append((since, until))
    return found
