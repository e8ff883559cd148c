"""What a window says of each consumer of the inventory.

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

from traced.migration.belonging import Stand, Use, use
from traced.migration.inventory import Belonging, Identity, Matched, decommissioned
from traced.migration.kinds import MINUTE, Kind
from traced.migration.listening import Window
from traced.model.messages import JoinedBy, Role
from traced.model.migration import EVERY_SERVICE, Listed, Migration

RARELY_SECONDS: Final = 86400.0
"""From which period on a consumer makes too few traces to be judged by their share."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one consumer of the inventory in a window.

    Attributes:
        identity: who it is; None where nothing of it was seen, or nothing in this environment.
        of_use: its kinds that the conditions look at, with what each proves.
        units: sampled traces in which it used the new schema, at least.
        taken: minutes in which it took anything of the channel, ascending.
    """

    listed: Listed
    environment: str
    identity: Identity | None
    of_use: tuple[tuple[Kind, Stand, Use | None], ...]
    units: int
    taken: tuple[int, ...]
    probability: float | None
    probability_source: str

    @property
    def name(self) -> str:
        """Name it as people read it."""
        return self.identity.name if self.identity is not None else self.listed.name

    @property
    def periodic(self) -> bool:
        """Say whether it is judged by its runs, because the list says that it runs so rarely; else by the share of its traces."""
        return (self.listed.longest_period_seconds or 0.0) >= RARELY_SECONDS

    def seen(self, side: Stand, window: Window, proof: Use | None = None) -> int:
        """Count its messages of a side in the window; never too few."""
        return sum(k.seen(window.since, window.until) for k, s, u in self.of_use if s is side and proof in (None, u))

    def silence(self, window: Window) -> tuple[float, float]:
        """Give the seconds since it took something last, and the longest time between two such minutes before."""
        if not self.taken:
            return window.until - window.since, 0.0
        longest = max((b - a for a, b in pairwise(self.taken)), default=0)
        return max(0.0, window.until - (self.taken[-1] + 1) * MINUTE), float(longest * MINUTE)


def active(migration: Migration, at: float) -> tuple[Listed, ...]:
    """Give the consumers of the inventory that have to be seen."""
    return tuple(one for one in migration.consumers if not (one.relay or one.excluded or decommissioned(one, at)))


def evidence(migration: Migration, belonging: Sequence[Belonging], matches: Sequence[Matched], window: Window) -> tuple[Evidence, ...]:
    """Give what a window says of each consumer that has to be seen: one of each of its groups, namespaces and environments."""
    environments = _environments(migration, belonging, window)
    only = environments[0] if len(environments) == 1 else ""
    by_listed: dict[Listed, dict[Identity, list[Matched]]] = defaultdict(lambda: defaultdict(list))
    for one in matches:
        if one.listed is not None and one.of.stand is not Stand.OTHER and one.of.kind.seen(window.since, window.until):
            who = one.identity
            if only and not who.environment and not migration.environment:
                # where all that is named is one environment, what names none is of it
                who = Identity(only, who.namespace, who.service, who.group)
            by_listed[one.listed][who].append(one)
    known = _probability_of_old(belonging, window)
    found = []
    for listed in active(migration, window.until):
        identities = by_listed.get(listed, {})
        chosen = {who: rows for who, rows in sorted(identities.items()) if not migration.environment or who.environment == migration.environment}
        found += [_of_one(migration, listed, who, rows, window, known) for who, rows in chosen.items()]
        unseen = [e for e in environments or [""] if not any(who.environment == e for who in chosen)]
        found += [Evidence(listed, e, None, (), 0, (), *_probability(migration, listed, (), None)) for e in unseen]
    return tuple(found)


def _environments(migration: Migration, belonging: Iterable[Belonging], window: Window) -> list[str]:
    """Name the environments in which each consumer has to be seen."""
    if migration.environment:
        return [migration.environment]
    return sorted({one.kind["environment"] for one in belonging if one.kind["environment"] and one.kind.seen(window.since, window.until)})


def _of_one(migration: Migration, listed: Listed, who: Identity, rows: Sequence[Matched], window: Window, of_old: float | None) -> Evidence:
    judged = tuple((one.of.kind, one.of.stand, use(migration, one.of.kind.columns, one.of.stand)) for one in rows)
    taken = [k.minutes[k.touching(window.since, window.until)] for k, _, _ in judged]
    minutes = tuple(np.unique(np.concatenate(taken)).tolist()) if taken else ()
    probability, source = _probability(migration, listed, [k for k, _, _ in judged if k.seen(window.since, window.until)], of_old)
    return Evidence(listed, who.environment, who, judged, _units(judged, window), minutes, probability, source)


def _units(judged: Iterable[tuple[Kind, Stand, Use]], window: Window) -> int:
    """Count the traces in which the new schema was used, and not in vain, nor for messages from long ago."""
    by_channel: dict[tuple[str, str], int] = defaultdict(int)
    for kind, side, proof in judged:
        if side is Stand.NEW and proof is Use.USED and not (kind["error"] or kind["replayed"] or kind["dead_letter"]):
            by_channel[kind["destination"], kind["message_schema_version"]] += traces_in(kind, window)
    return max(by_channel.values(), default=0)


def traces_in(kind: Kind, window: Window) -> int:
    """Count the traces of a kind in the exposed part of a window, never too many."""
    return kind.counted(window.since, window.exposed_until, whole=window.exposed_until < window.until)


def _probability(migration: Migration, listed: Listed, kinds: Sequence[Kind], of_old: float | None) -> tuple[float | None, str]:
    """Give the smallest probability with which a consumer's traces are kept, and how it is known.

    Where a consumption is in its producer's trace, the producer's sampler decides: for old messages perhaps another one than for the new ones that were seen.
    """
    declared = migration.sampling.get(listed.service, migration.sampling.get(EVERY_SERVICE))
    said = [kind["probability"] for kind in kinds]
    measured = [p for p in said if p is not None]
    if of_old is not None and any(kind["joined_by"] == JoinedBy.PARENT for kind in kinds):
        measured.append(of_old)
    complete = bool(said) and None not in said
    if declared is None and not complete:
        return None, "unknown"
    both = [*measured, *([] if declared is None else [declared])]
    source = "measured" if declared is None else "both" if measured else "declared"
    return min(both), source


def _probability_of_old(belonging: Iterable[Belonging], window: Window) -> float | None:
    """Give the smallest probability that publications of the old schema say; None where none says."""
    said = [
        one.kind["probability"]
        for one in belonging
        if one.stand is Stand.OLD and one.kind["role"] == Role.PRODUCER and one.kind["probability"] is not None and one.kind.seen(window.since, window.until)
    ]
    return min(said, default=None)


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
