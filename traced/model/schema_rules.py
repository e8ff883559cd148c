"""How the version of a message's schema, or of a call's, is read from spans: by default, and where a migration says more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from traced.model.migration import DISPOSITION_ATTRIBUTE, VERSION_ATTRIBUTES, Migration, Side

DESTINATION: Final = "destination"
ROUTE: Final = "route"
"""Stand among `version_attributes` for the names themselves."""
ROUTE_ATTRIBUTES: Final = ("http.route", "url.path", "rpc.service", "rpc.method")
"""What shows where a call goes, as ROUTE does; each stored span has a column for them."""
_AT_HAND: Final = frozenset({"", DESTINATION, ROUTE, *ROUTE_ATTRIBUTES})


@dataclass(frozen=True, slots=True)
class SchemaRule:
    """What a migration says of how its messages, or calls, are read.

    Attributes:
        name: of the migration.
        old, new: where the two versions are found, and how they are spelt: the first spelling stands for all.
        system: `messaging.system` (of calls `http` or the like); '' for any.
        version_attributes: keys of attributes (of spans, links and captured headers), DESTINATION and ROUTE, in the order in which they are asked.
        disposition_attribute: the key under which a consumer says whether it handled or ignored a message.
        business_key_attribute: the key of what identifies a message across redrives and both of its versions; '' where there is none.
    """

    name: str = ""
    old: Side = field(default_factory=Side)
    new: Side = field(default_factory=Side)
    system: str = ""
    version_attributes: tuple[str, ...] = VERSION_ATTRIBUTES
    disposition_attribute: str = DISPOSITION_ATTRIBUTE
    business_key_attribute: str = ""

    @property
    def of_calls(self) -> bool:
        """Whether it is of calls, not of messages."""
        return bool(self.old.routes or self.new.routes)

    def destinations(self) -> dict[str, str]:
        """Give the destinations, each with the version that its name says: '' where both versions pass it."""
        return _versions(self.old.destinations, self.new.destinations, self)

    def routes(self) -> dict[str, str]:
        """Give the routes, each with the version that it says."""
        return _versions(self.old.routes, self.new.routes, self)

    def spellings(self) -> dict[str, str]:
        """Give each spelling of a version, and the one that stands for it."""
        return {spelt: side.versions[0] for side in (self.new, self.old) for spelt in side.versions}


def _versions(old: tuple[str, ...], new: tuple[str, ...], rule: SchemaRule) -> dict[str, str]:
    found: dict[str, str] = {}
    for own, others, side in ((old, new, rule.old), (new, old, rule.new)):
        for name in own:
            found[name] = side.versions[0] if side.versions and name not in others else ""
    return found


@dataclass(frozen=True, slots=True)
class SchemaRules:
    """All of them, in their order; without any, versions are read by the defaults."""

    rules: tuple[SchemaRule, ...] = ()
    default: SchemaRule = field(default_factory=SchemaRule)

    @classmethod
    def of(cls, migrations: Iterable[Migration]) -> SchemaRules:
        """Give what migrations say of how versions are read."""
        return cls(
            tuple(
                SchemaRule(one.name, one.old, one.new, one.system, one.version_attributes, one.disposition_attribute, one.business_key_attribute)
                for one in migrations
            ),
        )

    def attribute_keys(self) -> frozenset[str]:
        """Name the attributes that rules ask for: the store has to keep them at hand (`Store(message_keys=…)`)."""
        keys: set[str] = set()
        for rule in self.rules:
            named = (*rule.version_attributes, rule.disposition_attribute, rule.business_key_attribute)
            keys.update(spelling for key in named for spelling in spellings(key) if spelling not in _AT_HAND)
        return frozenset(keys)


_HEADERS: Final = ("messaging.header.", "http.request.header.", "http.response.header.", "rpc.request.metadata.", "rpc.grpc.request.metadata.")


def spellings(key: str) -> tuple[str, ...]:
    """Give a key as instrumentations write it: in a captured header's name some write `_` for `-`."""
    for prefix in _HEADERS:
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            return tuple(dict.fromkeys((key, prefix + name.replace("_", "-"), prefix + name.replace("-", "_"))))
    return (key,)
