"""Whether a kind of messages belongs to a migration, on which side of it, and what that proves about who took them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from typing import Any, Final

from traced.model.messages import VersionSource
from traced.model.migration import Migration, Shape, Side

IGNORED: Final = "ignored"
HANDLED: Final = "handled"
_BY_CONSUMER: Final = frozenset({VersionSource.ATTRIBUTE, VersionSource.LINK})
"""Where a consumer's code itself says which version it used; all else says what was delivered, or published."""


class Stand(StrEnum):
    """On which side of a migration messages are."""

    OLD = "old"
    NEW = "new"
    UNKNOWN = "unknown"
    OTHER = "other"
    """Of the channel, and not of the migration: another subject, or a tombstone."""


class Use(Enum):
    """What a consumption proves."""

    USED = auto()
    NOT_USED = auto()
    """It was taken and ignored."""
    UNPROVEN = auto()
    """It was received; whether it was used, this shape cannot tell without more."""


def stand(migration: Migration, columns: Mapping[str, Any]) -> Stand | None:
    """Say on which side messages are; None where they are not of the migration's channel.

    Where its destination says one thing and its version another, the old side counts: it is what must not be overlooked.
    """
    place = _place(migration, columns) if _meant(migration, columns) else None
    if place is None:
        return None
    version = columns["message_schema_version"]
    by_version = Stand.OLD if version in migration.old.versions else Stand.NEW if version in migration.new.versions else None
    if migration.shape is Shape.TWO_DESTINATIONS:
        return Stand.OLD if Stand.OLD in (place, by_version) else Stand.NEW
    if by_version is not None:
        return by_version
    return Stand.OTHER if version in migration.other_versions or (columns["tombstone"] and not version) else Stand.UNKNOWN


def _meant(migration: Migration, columns: Mapping[str, Any]) -> bool:
    """Say whether messages are of a migration's environment and system, or may be: not all spans name theirs."""
    return all(not meant or columns[name] in (meant, "") for name, meant in (("environment", migration.environment), ("system", migration.system)))


def nameless(migration: Migration, columns: Mapping[str, Any]) -> bool:
    """Say whether nobody knows from where messages were taken: then they may have been of any channel."""
    return _meant(migration, columns) and not columns["destination"] and not columns["producer_destination"]


def use(migration: Migration, columns: Mapping[str, Any], side: Stand) -> Use:
    """Say what a consumption of the old or the new side proves."""
    disposition = columns["disposition"]
    if disposition == IGNORED:
        return Use.NOT_USED
    if migration.contract:
        # who calls chose the version
        return Use.USED
    if migration.shape is Shape.ONE_MESSAGE:
        return Use.USED if columns["version_source"] in _BY_CONSUMER else Use.UNPROVEN
    if migration.shape is Shape.TWO_MESSAGES and side is Stand.OLD:
        return Use.USED if disposition == HANDLED else Use.UNPROVEN
    return Use.USED


def _place(migration: Migration, columns: Mapping[str, Any]) -> Stand | None:
    """Say to which side the destination belongs: as the span itself calls it, else as the producer's span does.

    A queue of dead letters is of the destination that its name holds: a broker that moves a message makes no span that would say so.
    """
    for name in (columns["destination"], columns["producer_destination"]):
        for side, which in ((migration.old, Stand.OLD), (migration.new, Stand.NEW)):
            if name and name in side.places:
                return which
    if not columns["dead_letter"]:
        return None
    held = [(len(place), which) for which, place in _held(migration.old, Stand.OLD, columns) + _held(migration.new, Stand.NEW, columns)]
    return max(held, key=lambda one: (one[0], one[1] is Stand.OLD))[1] if held else None


def _held(side: Side, which: Stand, columns: Mapping[str, Any]) -> list[tuple[Stand, str]]:
    """Give the names of a side that stand, as a whole, in the name of a queue of dead letters."""
    return [(which, place) for place in side.places if re.search(rf"(?<![^\W_]){re.escape(place)}(?![^\W_])", columns["destination"])]
