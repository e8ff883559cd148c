"""What was seen of each consumer that has to be seen, and for how long.

Units are sampled traces in which the consumer used the new schema. A trace may hold several of its consumptions, and is counted once for each (service, group,
destination, version): what is counted for one of these may be added up, but over several of them one trace would count twice, and too large a number of units
says too much. So the largest counts, never the sum; too small a number only asks for more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from traced.migration.belonging import Stand, Use
from traced.migration.expected import Expected, period_of
from traced.migration.inventory import Belonging
from traced.migration.kinds import MINUTE, Kind
from traced.migration.listening import Listening, Window
from traced.migration.statistics import runs_needed, units_needed, window_needed
from traced.model.messages import JoinedBy, Role
from traced.model.migration import EVERY_SERVICE, Migration

_ROUNDS: Final = 20
"""How often a consumer's window is made longer because of what the longer one shows; each adds what it needs, so two or three are the rule."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one consumer.

    Attributes:
        units: sampled traces in which it used the new schema, at least: of the window, and of before as far as they are needed and it used nothing else.
        units_since: from when on they are counted.
        taken: minutes of the window in which it took anything of the channel, ascending.
        probability: with which its traces are kept, the smallest that is known; None where nobody says.
        runs: how many of its runs it takes to see one; None where the probability is not known.
        needed_seconds: how much listening time they take.
        clean_seconds: for how long it was listened to without seeing it use anything but the new schema before the window; in the window that is asked apart.
        clean_since: from when on.
    """

    of: Expected
    units: int
    units_since: float
    taken: tuple[int, ...]
    probability: float | None
    probability_source: str
    runs: int | None
    needed_seconds: float | None
    clean_seconds: float
    clean_since: float

    @property
    def name(self) -> str:
        """Name it as people read it."""
        return self.of.name

    def seen(self, side: Stand, window: Window, proof: Use | None = None) -> int:
        """Count its messages of a side in the window; never too few."""
        return sum(k.seen(window.since, window.until) for k, s, u in self.of.of_use if s is side and proof in (None, u))

    def silence(self, window: Window) -> tuple[float, float]:
        """Give the seconds since it took something last, and the longest time between two such minutes before."""
        if not self.taken:
            return window.until - window.since, 0.0
        longest = max((b - a for a, b in pairwise(self.taken)), default=0)
        return max(0.0, window.until - (self.taken[-1] + 1) * MINUTE), float(longest * MINUTE)


def evidence(migration: Migration, of: Expected, window: Window, listening: Listening, old_sent: Sequence[Belonging], doubt: float) -> Evidence:
    """Give what was seen of one consumer.

    Args:
        migration: the migration.
        of: the consumer, and its kinds.
        window: what all consumers are asked for.
        listening: when somebody listened.
        old_sent: kinds of publications of the old schema.
        doubt: what this consumer may have of it.
    """
    clean_since = max(listening.begin, _last_stain(of, window.since))
    need, runs = window.needed_seconds, None
    for _ in range(_ROUNDS):
        look = listening.window(need)
        probability, source = _probability(migration, of, look, old_sent)
        if probability is None:
            break
        # each gap may hide a run: what is restarted every week at a certain hour meets the job of that hour
        runs = runs_needed(probability, of.listed.traces_per_run, doubt) + len(look.gaps)
        if window_needed(period_of(migration, of.listed), runs) <= need:
            break
        need = window_needed(period_of(migration, of.listed), runs)
    units, since = _units(of, window, clean_since, 0 if of.periodic else units_needed(migration.max_unseen_share, doubt))
    taken = [kind.minutes[kind.touching(window.since, window.until)] for kind, _, _ in of.of_use]
    minutes = tuple(np.unique(np.concatenate(taken)).tolist()) if taken else ()
    needed = None if runs is None else window_needed(period_of(migration, of.listed), runs)
    return Evidence(of, units, since, minutes, probability, source, runs, needed, listening.heard(clean_since), clean_since)


def _last_stain(of: Expected, before: float) -> float:
    """Give when a consumer last took, before a time, what was or may have been old."""
    ends = [0.0]
    for kind, side, proof in of.of_use:
        if side is Stand.UNKNOWN or (side is Stand.OLD and proof is not Use.NOT_USED):
            end = (kind.minutes + kind.bucket_minutes) * MINUTE
            ends += end[(kind.left > 0) & (kind.minutes * MINUTE < before)].tolist()[-1:]
    return min(before, max(ends))


def _units(of: Expected, window: Window, clean_since: float, needed: int) -> tuple[int, float]:
    """Count the traces in which the new schema was used, and not in vain, nor for messages from long ago; and give since when.

    Where the window holds too few, earlier ones count too, as many as are needed: that the last n of a consumer's traces are all new is as unlikely, where a
    share of them is old, whenever they came. Who takes little is asked for longer.
    """
    by_channel: dict[tuple[str, str], list[Kind]] = defaultdict(list)
    for kind, side, proof in of.of_use:
        if side is Stand.NEW and proof is Use.USED and not (kind["error"] or kind["replayed"] or kind["dead_letter"]):
            by_channel[kind["destination"], kind["message_schema_version"]].append(kind)
    best, since = 0, window.since
    for kinds in by_channel.values():
        units = sum(traces_in(kind, window.since, window) for kind in kinds)
        begin = window.since
        if units < needed and clean_since < window.since:
            begin = _as_far_back(kinds, window, clean_since, needed - units)
            units = sum(traces_in(kind, begin, window) for kind in kinds)
        if units > best:
            best, since = units, begin
    return best, since


def _as_far_back(kinds: Sequence[Kind], window: Window, clean_since: float, missing: int) -> float:
    """Give the time before a window from which on it holds so many more traces; the earliest that is clean where there are fewer."""
    minutes = np.concatenate([kind.minutes for kind in kinds])
    traces = np.concatenate([kind.traces for kind in kinds])
    order = np.argsort(-minutes, kind="stable")
    before = order[(minutes[order] * MINUTE < window.since) & (minutes[order] * MINUTE >= clean_since)]
    enough = np.flatnonzero(np.cumsum(traces[before]) >= missing)
    return float(minutes[before[enough[0]]] * MINUTE) if len(enough) else clean_since


def traces_in(kind: Kind, since: float, window: Window) -> int:
    """Count the traces of a kind from a time on until the old schema's end, never too many."""
    return kind.counted(since, window.exposed_until, whole=window.exposed_until < window.until)


def _probability(migration: Migration, of: Expected, window: Window, old_sent: Sequence[Belonging]) -> tuple[float | None, str]:
    """Give the smallest probability with which a consumer's traces are kept, and how it is known.

    Where a consumption is in its producer's trace, the producer's sampler decides: for old messages perhaps another one than for the new ones that were seen.
    """
    declared = migration.sampling.get(of.listed.service, migration.sampling.get(EVERY_SERVICE))
    kinds = [kind for kind, _, _ in of.of_use if kind.seen(window.since, window.until)]
    said = [kind["probability"] for kind in kinds]
    measured = [p for p in said if p is not None]
    if any(kind["joined_by"] == JoinedBy.PARENT for kind in kinds):
        measured += _probabilities(old_sent, window)
    complete = bool(said) and None not in said
    if declared is None and not complete:
        return None, "unknown"
    both = [*measured, *([] if declared is None else [declared])]
    source = "measured" if declared is None else "both" if measured else "declared"
    return min(both), source


def _probabilities(old_sent: Iterable[Belonging], window: Window) -> list[float]:
    """Give the probabilities that publications of the old schema say in a window."""
    return [one.kind["probability"] for one in old_sent if one.kind["probability"] is not None and one.kind.seen(window.since, window.until)]


def old_publications(belonging: Iterable[Belonging]) -> tuple[Belonging, ...]:
    """Choose the kinds of publications of the old schema."""
    return tuple(one for one in belonging if one.stand is Stand.OLD and one.kind["role"] == Role.PRODUCER)


def uses_before(kinds: Sequence[Kind], until: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Give when some kinds came before a time (unix seconds, ascending), and in how many traces each time; at least one, and never too many."""
    rows = [(kind, (kind.left > 0) & (kind.minutes * MINUTE < until)) for kind in kinds]
    minutes = np.concatenate([kind.minutes[inside] for kind, inside in rows])
    traces = np.concatenate([np.maximum(kind.traces[inside], 1) for kind, inside in rows])
    times, places = np.unique(minutes, return_inverse=True)
    # one trace may be in several kinds: of a minute, the most that one of them counts
    uses = np.zeros(len(times), np.int64)
    np.maximum.at(uses, places, traces)
    return times.astype(np.float64) * MINUTE, uses
