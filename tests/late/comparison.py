"""What two runs over the same spans ended with, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from traced.detectors import detectors
from traced.model.occurrence import Occurrence

from .running import Ended

Claim = tuple[str, tuple[int, int], int, str, str, str, str]
"""Id, trace, span, cause, service, peer, signal name."""

LASTING = frozenset(d.id for d in detectors() if d.lasting)
"""These speak of no single trace (two clocks); which call stands as their example is chance. They are compared by what they speak of."""


def claims(occurrences: Iterable[Occurrence]) -> frozenset[Claim]:
    """Give what is to be equal of open occurrences."""
    return frozenset(
        (o.id, (0, 0), 0, o.cause, "", "", o.signal_name) if o.id in LASTING else (o.id, o.trace_id, o.span_id, o.cause, o.service, o.peer, o.signal_name)
        for o in occurrences
    )


@dataclass(frozen=True)
class Difference:
    """What one of two runs claims and the other does not."""

    more: frozenset[Claim]
    less: frozenset[Claim]

    def __bool__(self) -> bool:
        return bool(self.more or self.less)

    def lines(self) -> list[str]:
        """Say it by finding: sign and number of occurrences, id, cause, service, peer, signal name."""
        return [line for sign, side in (("+", self.more), ("-", self.less)) for line in _by_finding(sign, side)]


def difference(one: Iterable[Occurrence], other: Iterable[Occurrence]) -> Difference:
    """Give what `one` claims beyond `other`, and what it lacks."""
    mine, theirs = claims(one), claims(other)
    return Difference(mine - theirs, theirs - mine)


def dishonest(run: Ended) -> list[str]:
    """Name the counters that do not agree with what is open: found less withdrawn, and the number that each finding shows."""
    is_open: Counter[tuple[str, ...]] = Counter((o.id, o.service, o.peer, o.cause) for o in run.occurrences)
    counted = Counter(run.tallies.occurrences)
    counted.subtract(run.tallies.withdrawn)
    wrong = [f"{key}: {counted[key]} by the counters, {is_open[key]} open" for key in sorted(counted | is_open) if counted[key] != is_open[key]]
    listed = Counter((o.id, o.cause, o.service, o.peer, o.signal_name) for o in run.occurrences)
    return wrong + [f"{key}: shows {run.shown[key]}, {listed[key]} open" for key in sorted(run.shown | listed) if run.shown[key] != listed[key]]


def _by_finding(sign: str, side: Iterable[Claim]) -> list[str]:
    numbers = Counter((claim[0], *claim[3:]) for claim in side)
    return [f"{sign}{number} {' · '.join(part or '-' for part in finding)}" for finding, number in sorted(numbers.items())]
