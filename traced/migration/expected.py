"""Who has to be seen: the consumers of the inventory, each in each of its groups, namespaces and environments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from traced.migration.belonging import Stand, Use, use
from traced.migration.inventory import Belonging, Identity, Matched, decommissioned
from traced.migration.kinds import Kind
from traced.migration.listening import Window
from traced.model.migration import Listed, Migration

RARELY_SECONDS: Final = 86400.0
"""From which period on a consumer makes too few traces to be judged by their share."""
UNSAID_PERIOD_SECONDS: Final = 86400.0
"""How rarely a consumer is taken to use what it uses, where nobody says it; half of `min_window` where that is less: of who is not sampled it asks nothing."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One consumer that has to be seen, and what there is of it.

    Attributes:
        identity: who it is; None where nothing of it was seen in the window, or nothing in this environment.
        of_use: its kinds of consumptions that matter, of any time, with what each proves.
    """

    listed: Listed
    environment: str
    identity: Identity | None
    of_use: tuple[tuple[Kind, Stand, Use], ...] = ()

    @property
    def name(self) -> str:
        """Name it as people read it."""
        return self.identity.name if self.identity is not None else self.listed.name

    @property
    def periodic(self) -> bool:
        """Say whether it is judged by its runs, because the list says that it runs so rarely; else by the share of its traces."""
        return (self.listed.longest_period_seconds or 0.0) >= RARELY_SECONDS


def active(migration: Migration, at: float) -> tuple[Listed, ...]:
    """Give the consumers of the inventory that have to be seen."""
    return tuple(one for one in migration.consumers if not (one.relay or one.excluded or decommissioned(one, at)))


def period_of(migration: Migration, listed: Listed) -> float:
    """Give the longest time between two uses of a consumer; a day where nobody says it, or half of the least window.

    Without any period sampled uses that are rare, but not excluded by their share, would go unseen: at p = 0.01 one that comes daily is missed in two weeks
    with a chance of 0.87.
    """
    own = listed.longest_period_seconds
    said = migration.longest_period_seconds if own is None else own
    return min(UNSAID_PERIOD_SECONDS, migration.min_window_seconds / 2) if said is None else said


def expected(migration: Migration, belonging: Sequence[Belonging], matches: Sequence[Matched], window: Window) -> tuple[Expected, ...]:
    """Give everybody who has to be seen, by what the window holds."""
    environments = _environments(migration, belonging, window)
    only = environments[0] if len(environments) == 1 else ""
    by_listed: dict[Listed, dict[Identity, list[Matched]]] = defaultdict(lambda: defaultdict(list))
    for one in matches:
        if one.listed is not None and one.of.stand is not Stand.OTHER:
            who = one.identity
            if only and not who.environment and not migration.environment:
                # where all that is named is one environment, what names none is of it
                who = Identity(only, who.namespace, who.service, who.group)
            by_listed[one.listed][who].append(one)
    found = []
    for listed in active(migration, window.until):
        seen = {who: rows for who, rows in sorted(by_listed.get(listed, {}).items()) if any(m.of.kind.seen(window.since, window.until) for m in rows)}
        chosen = {who: rows for who, rows in seen.items() if not migration.environment or who.environment == migration.environment}
        for who, rows in chosen.items():
            of_use = tuple((m.of.kind, m.of.stand, use(migration, m.of.kind.columns, m.of.stand)) for m in rows)
            found.append(Expected(listed, who.environment, who, of_use))
        found += [Expected(listed, name, None) for name in environments or [""] if not any(who.environment == name for who in chosen)]
    return tuple(found)


def _environments(migration: Migration, belonging: Iterable[Belonging], window: Window) -> list[str]:
    """Name the environments in which each consumer has to be seen."""
    if migration.environment:
        return [migration.environment]
    return sorted({one.kind["environment"] for one in belonging if one.kind["environment"] and one.kind.seen(window.since, window.until)})
