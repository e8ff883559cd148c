"""How long `traced` listened, and what it missed: windows are counted in listening time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from traced.model.capture import Capture, Gap, GapReason, united

LEAST_GAP_SECONDS: Final = 60.0
"""How long a gap is at least: counts are kept by minute, and of some only the moment is known."""
NEWEST_SECONDS: Final = 120.0
"""The newest interval may end so long before now, and still is taken to go on: its end is noted now and then."""
_EDGE_SECONDS: Final = 1.0
"""Times that differ by less are the same: they went through floating point."""

Times = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a verdict looks at, as unix seconds.

    Attributes:
        since: its begin.
        until: its end: when the verdict was asked for.
        exposed_until: until when the old schema was on offer: its end, or the cutoff.
        needed_seconds: how long the exposed part had to be, in listening time.
        listened_seconds: how long it was.
        gaps: what is missing in it, in its order; what overlaps is one.
        missing_seconds: how long that is.
    """

    since: float
    until: float
    exposed_until: float
    needed_seconds: float
    listened_seconds: float
    gaps: tuple[Gap, ...]
    missing_seconds: float

    @property
    def long_enough(self) -> bool:
        """Say whether the exposed part is as long as was needed."""
        return self.listened_seconds >= self.needed_seconds - _EDGE_SECONDS


class Listening:
    """When somebody listened, up to the time of a verdict."""

    def __init__(self, capture: Capture, until: float, exposed_until: float) -> None:
        """Read a capture.

        Args:
            capture: when the daemon listened, and what it missed.
            until: the time of the verdict.
            exposed_until: until when the old schema was on offer: the time of the verdict, or the cutoff.
        """
        intervals = united((one.since_unix_seconds, min(one.until_unix_seconds, until)) for one in capture.intervals)
        if intervals and until - NEWEST_SECONDS <= intervals[-1][1] < until:
            intervals[-1] = (intervals[-1][0], until)
        self._gaps = [_Missing(*_padded(gap), gap) for gap in sorted(capture.gaps)]
        self._heard = _without(intervals, united((gap.since, gap.until) for gap in self._gaps))
        self._until, self._exposed_until = until, exposed_until
        self.begin = min((since for since, _ in intervals), default=exposed_until)
        """When somebody began to listen."""

    def window(self, needed_seconds: float) -> Window:
        """Give the window that ends now and holds so much listening time before the old schema's end, or as much as there is."""
        since = _since(_clipped(self._heard, -1e18, self._exposed_until), needed_seconds)
        since = min(self.begin if since is None else since, self._exposed_until)
        missing = _without([(since, self._until)], _clipped(self._heard, since, self._until))
        lost = sum(b - a for a, b in missing)
        return Window(since, self._until, self._exposed_until, needed_seconds, self.heard(since), _explained(missing, self._gaps), lost)

    def heard(self, since: float) -> float:
        """Give how long somebody listened from a time on, while the old schema was on offer."""
        return sum(b - a for a, b in _clipped(self._heard, since, self._exposed_until))


@dataclass(frozen=True, slots=True)
class _Missing:
    since: float
    until: float
    gap: Gap


def _padded(gap: Gap) -> tuple[float, float]:
    return gap.since_unix_seconds, max(gap.until_unix_seconds, gap.since_unix_seconds + LEAST_GAP_SECONDS)


def _since(heard: Times, needed_seconds: float) -> float | None:
    """Walk back until so much was heard; None where there is less."""
    for since, until in reversed(heard):
        if until - since >= needed_seconds:
            return until - needed_seconds
        needed_seconds -= until - since
    return None


def _clipped(times: Times, since: float, until: float) -> Times:
    return [(max(a, since), min(b, until)) for a, b in times if min(b, until) > max(a, since)]


def _without(times: Times, taken: Times) -> Times:
    """Take times away from others; both in order and without overlap."""
    left = []
    for since, until in times:
        for a, b in taken:
            if b <= since or a >= until:
                continue
            if a > since:
                left.append((since, a))
            since = b  # noqa: PLW2901 - what is left of it
        if until > since:
            left.append((since, until))
    return left


def _explained(missing: Times, gaps: Sequence[_Missing]) -> tuple[Gap, ...]:
    """Give what is missing with its reason: the most frequent of the gaps in it; without one, nothing listened."""
    found = []
    for since, until in missing:
        inside = [one.gap for one in gaps if one.since < until and one.until > since]
        reasons = Counter(gap.reason for gap in inside)
        reason = min(reasons, key=lambda r: (-reasons[r], r)) if reasons else GapReason.STOPPED
        found.append(Gap(since, until, reason, sum(gap.items for gap in inside)))
    return tuple(found)
