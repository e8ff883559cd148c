"""How far a migration has got: who sends and who takes which version, and the phase that follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from traced.migration.belonging import Stand, Use, use
from traced.migration.case import Case
from traced.migration.inventory import decommissioned
from traced.migration.kinds import MINUTE, Kind
from traced.model.migration import Phase, Shape
from traced.model.verdict import ConsumerCount, ProducerCount

MAX_COUNTS: Final = 1_000
"""Lines of consumers or of producers that a report has; the busiest stay."""
_RECENT_SECONDS: Final = 86400.0
"""What was not seen for so long is over, where nobody says the longest period: somebody moved in the middle of the window."""
_CHANGE: Final = 2
"""How many times as many, or as few, in the second half of the window make a trend."""


def producers(case: Case) -> tuple[ProducerCount, ...]:
    """Count what each service published in the window, by side; the busiest first."""
    kinds: dict[str, dict[Stand, list[Kind]]] = defaultdict(lambda: defaultdict(list))
    for one in case.produced(Stand.OLD, Stand.NEW, Stand.UNKNOWN):
        if not one.kind["dead_letter"]:
            kinds[one.kind["service_name"]][one.stand].append(one.kind)
    found = []
    for service, by_side in kinds.items():
        old, new, unknown = (sum(case.in_window(k) for k in by_side[side]) for side in (Stand.OLD, Stand.NEW, Stand.UNKNOWN))
        both = old + new if case.migration.shape is Shape.ONE_MESSAGE else min(old, new)
        last = max((_newest(case, kind) for kind in by_side[Stand.OLD]), default=None)
        found.append(ProducerCount(service, old, new, both, unknown, last))
    return tuple(sorted(found, key=lambda p: (-(p.old_messages + p.new_messages + p.unknown_messages), p.service)))[:MAX_COUNTS]


def consumers(case: Case) -> tuple[ConsumerCount, ...]:
    """Count what each consumer took in the window, by version, whether it is on the list or not."""
    kinds: dict[tuple[str, str, str, str], list[Kind]] = defaultdict(list)
    for one in case.matches:
        if case.in_window(one.of.kind):
            version = one.of.kind["message_schema_version"]
            kinds[one.identity.service, one.identity.name, str(one.of.stand), version].append(one.of.kind)
    found = [_consumer(case, *who, of) for who, of in kinds.items()]
    return tuple(sorted(found, key=lambda c: (c.service, c.consumer, c.side, c.message_schema_version, -c.messages)))[:MAX_COUNTS]


def _consumer(case: Case, service: str, name: str, side: str, version: str, kinds: Sequence[Kind]) -> ConsumerCount:
    rows = [(kind, kind.touching(case.window.since, case.window.until)) for kind in kinds]
    minutes = np.unique(np.concatenate([kind.minutes[inside] for kind, inside in rows]))
    first = min(int(kind.first[inside].min()) for kind, inside in rows)
    last = max(int(kind.last[inside].max()) for kind, inside in rows)
    edges = [*(minutes * MINUTE).tolist(), max(case.window.until, float(minutes[-1] * MINUTE))]
    longest = max(b - a for a, b in pairwise(edges))
    middle = (case.window.since + case.window.until) / 2
    earlier = sum(int(kind.left[inside & (kind.minutes * MINUTE < middle)].sum()) for kind, inside in rows)
    later = sum(int(kind.left[inside & (kind.minutes * MINUTE >= middle)].sum()) for kind, inside in rows)
    return ConsumerCount(service, name, side, version, earlier + later, first, last, float(longest), _trend(earlier, later))


def _trend(earlier: int, later: int) -> str:
    if not later:
        return "gone"
    if not earlier:
        return "begun"
    return "growing" if later >= _CHANGE * earlier else "shrinking" if earlier >= _CHANGE * later else "steady"


def phase(case: Case) -> Phase:
    """Say how far the migration has got, by what each service did lately in the window.

    A consumer that took old messages until it was moved is moved, once its last old one is a day older than its last new one, or its longest period, or twice
    the longest pause between old ones; the gates are stricter. Receipts of which nobody knows whether they were uses count as old use.
    """
    sent = {side: _minutes(case, [one.kind for one in case.produced(side) if not one.kind["replayed"]]) for side in (Stand.OLD, Stand.NEW)}
    old_sent, new_sent = _lately(case, sent[Stand.OLD], sent[Stand.NEW], None), bool(sent[Stand.NEW])
    if case.migration.shape is Shape.ONE_MESSAGE and case.produced(Stand.OLD, Stand.NEW, Stand.UNKNOWN):
        old_sent = new_sent = True
    using_old, using_new = _using(case)
    everybody = {one.name for one in case.consumers} if case.migration.consumers else using_old | using_new
    if not (old_sent or new_sent or using_old or using_new):
        return Phase.UNKNOWN
    if everybody and everybody <= using_new and not using_old:
        return Phase.CONSUMERS_MOVED if old_sent else Phase.OLD_REMOVED
    if using_new - using_old or (using_new and case.migration.shape is not Shape.TWO_MESSAGES):
        return Phase.CONSUMERS_MOVING
    if new_sent or using_new:
        return Phase.DUAL_PUBLISH if old_sent or using_old else Phase.UNKNOWN
    return Phase.NOT_STARTED


def _using(case: Case) -> tuple[set[str], set[str]]:
    """Name the consumers that lately used the old schema, or may have, and those that used the new one at any time in the window."""
    kinds: dict[Stand, dict[str, list[Kind]]] = {Stand.OLD: defaultdict(list), Stand.NEW: defaultdict(list)}
    periods: dict[str, float | None] = {}
    for one in case.consumed(Stand.OLD, Stand.NEW):
        if one.listed is not None and decommissioned(one.listed, case.window.until):
            continue
        name, side = one.identity.name, one.of.stand
        periods[name] = one.listed.longest_period_seconds if one.listed is not None else None
        proof = use(case.migration, one.of.kind.columns, side)
        if proof is Use.USED or (proof is Use.UNPROVEN and side is Stand.OLD):
            kinds[side][name].append(one.of.kind)
    new = {name: _minutes(case, of) for name, of in kinds[Stand.NEW].items()}
    old = {name for name, of in kinds[Stand.OLD].items() if _lately(case, _minutes(case, of), new.get(name, []), periods[name])}
    return old, set(new)


def _minutes(case: Case, kinds: Sequence[Kind]) -> list[int]:
    """Give the minutes of the window in which there was something of some kinds, ascending."""
    return sorted({int(minute) for kind in kinds for minute in kind.minutes[kind.touching(case.window.since, case.window.until)]})


def _lately(case: Case, old: Sequence[int], new: Sequence[int], period: float | None) -> bool:
    """Say whether what is old goes on, as far as its own pauses tell."""
    if not old or not new:
        return bool(old)
    longest = max((b - a for a, b in pairwise(old)), default=0) * MINUTE
    said = period or case.migration.longest_period_seconds
    pause = max(_RECENT_SECONDS if said is None else said, 2.0 * longest, MINUTE)
    return old[-1] * MINUTE >= new[-1] * MINUTE - pause


def _newest(case: Case, kind: Kind) -> float:
    return float(kind.minutes[kind.touching(case.window.since, case.window.until)].max() * MINUTE)
