"""The inventory against what was seen: which consumer of the list, or none of them, a kind of consumptions is of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from traced.migration.belonging import Stand, stand
from traced.migration.kinds import Kind
from traced.model.messages import Role
from traced.model.migration import Listed, Migration


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Who consumes: never an instance, and never only a service where it has several groups."""

    environment: str
    namespace: str
    service: str
    group: str

    @property
    def name(self) -> str:
        """Name it as people read it."""
        return "/".join(part for part in (self.namespace, self.service or "(a service without a name)", self.group) if part)


@dataclass(frozen=True, slots=True)
class Belonging:
    """A kind of messages of a migration, with its side."""

    kind: Kind
    stand: Stand


@dataclass(frozen=True, slots=True)
class Matched:
    """A kind of consumptions, and the consumer of the inventory that it is of; None where it is on no list.

    Attributes:
        unresolved: the list tells groups of the service apart, and the span names none.
    """

    of: Belonging
    identity: Identity
    listed: Listed | None
    unresolved: bool


def belongings(migration: Migration, kinds: Iterable[Kind]) -> tuple[Belonging, ...]:
    """Choose the kinds that are of a migration."""
    sides = ((kind, stand(migration, kind.columns)) for kind in kinds)
    return tuple(Belonging(kind, side) for kind, side in sides if side is not None)


def identity(kind: Kind) -> Identity:
    """Name who took, or sent."""
    return Identity(kind["environment"], kind["service_namespace"], kind["service_name"], kind["consumer_group"])


def matched(migration: Migration, belonging: Iterable[Belonging]) -> tuple[Matched, ...]:
    """Match all kinds of consumptions with the inventory."""
    found = []
    for one in belonging:
        if one.kind["role"] == Role.CONSUMER:
            who = identity(one.kind)
            listed, unresolved = find_listed(migration.consumers, who)
            found.append(Matched(one, who, listed, unresolved))
    return tuple(found)


def find_listed(consumers: Sequence[Listed], who: Identity) -> tuple[Listed | None, bool]:
    """Give the entry that says most about whom it means, and whether a group would have been needed to find it."""
    of_service = [one for one in consumers if one.service == who.service and one.namespace in ("", who.namespace)]
    fitting = [one for one in of_service if one.group in ("", who.group)]
    if fitting:
        best = max(fitting, key=lambda one: (bool(one.group), bool(one.namespace)))
        return best, not who.group and len({one.group for one in of_service}) > 1
    return None, not who.group and bool(of_service)


def gone(listed: Listed, kind: Kind, at: float) -> bool:
    """Say whether a consumer is decommissioned at a time, and took nothing of this kind since it is said to be gone."""
    since = listed.decommissioned_unix_seconds
    return since is not None and since <= at and not kind.touching(since, at).any()


def decommissioned(listed: Listed, at: float) -> bool:
    """Say whether a consumer is said to be gone at a time."""
    return listed.decommissioned_unix_seconds is not None and listed.decommissioned_unix_seconds <= at
