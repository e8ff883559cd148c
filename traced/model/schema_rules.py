"""How the version of a message's schema, or of a call's, is read from spans: by default, and where a migration says more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CALL_SYSTEMS: Final = frozenset({"http", "grpc", "rpc"})
"""Systems of migrations whose contract is one of calls, not of messages."""

DESTINATION: Final = "destination"
"""Stands among `version_attributes` for the name of the destination itself."""

DEFAULT_VERSION_ATTRIBUTES: Final[tuple[str, ...]] = (
    "message.schema.version",
    "messaging.header.schema-version",
    "messaging.header.ce-type",
    "messaging.header.ce-dataschema",
    "http.request.header.ce-type",
    "cloudevents.event_type",
    DESTINATION,
    "http.route",
    "url.path",
    "http.request.header.accept",
    "http.request.header.content-type",
    "rpc.service",
    "rpc.method",
)
"""Where a version is looked for, the strongest first; what the code used comes before what was delivered, and that before names."""

DEFAULT_DISPOSITION_ATTRIBUTE: Final = "message.schema.disposition"


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """One version of a schema, and what shows that it is this one.

    Attributes:
        version: an opaque text; `1` and `v1` are different ones.
        destination: of messages the destination that carries only this version, '' where the destination does not tell. Of calls the service that answers.
        route: of calls the route, or the beginning of the path (`/v1/`), or of an RPC's full method (`shop.v1.`); '' where it does not tell.
    """

    version: str
    destination: str = ""
    route: str = ""


@dataclass(frozen=True, slots=True)
class SchemaRule:
    """What a migration says of how its messages, or calls, are read.

    Attributes:
        name: of the migration.
        old, new: the two versions.
        system: `messaging.system`; '' for any; one of CALL_SYSTEMS for calls.
        destinations: further destinations that its messages pass, and whose names say no version.
        version_attributes: keys of attributes (of spans, links and captured headers), and DESTINATION, in the order in which they are asked.
        disposition_attribute: the key under which a consumer says whether it handled or ignored a message.
        business_key_attribute: the key of what identifies a message across redrives and both of its versions; '' where there is none.
    """

    name: str
    old: SchemaVersion
    new: SchemaVersion
    system: str = ""
    destinations: tuple[str, ...] = ()
    version_attributes: tuple[str, ...] = DEFAULT_VERSION_ATTRIBUTES
    disposition_attribute: str = DEFAULT_DISPOSITION_ATTRIBUTE
    business_key_attribute: str = ""

    @property
    def of_calls(self) -> bool:
        """Whether it is of calls, not of messages."""
        return self.system in CALL_SYSTEMS


@dataclass(frozen=True, slots=True)
class SchemaRules:
    """All of them, in their order; without any, versions are read by the defaults."""

    rules: tuple[SchemaRule, ...] = ()
    default: SchemaRule = field(default=SchemaRule("", SchemaVersion(""), SchemaVersion("")))

    def attribute_keys(self) -> frozenset[str]:
        """Name the attributes that rules ask for: the store has to keep them at hand (`Store(message_keys=…)`)."""
        keys: set[str] = set()
        for rule in self.rules:
            asked = (key for key in rule.version_attributes if rule.of_calls or key not in _OF_CALLS)
            named = (*asked, rule.disposition_attribute, rule.business_key_attribute)
            keys.update(spelling for key in named for spelling in spellings(key) if spelling not in _AT_HAND)
        return frozenset(keys)


_AT_HAND: Final = frozenset({"", DESTINATION, "http.route", "url.path", "rpc.service", "rpc.method"})
"""What each stored span has a column for anyway."""
_OF_CALLS: Final = frozenset({"http.request.header.accept", "http.request.header.content-type"})
"""Headers that say nothing of messages, and are captured of many calls."""


def spellings(key: str) -> tuple[str, ...]:
    """Give a key as instrumentations write it: in a captured header's name some write `_` for `-`."""
    for prefix in ("messaging.header.", "http.request.header.", "http.response.header.", "rpc.request.metadata.", "rpc.grpc.request.metadata."):
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            return tuple(dict.fromkeys((key, prefix + name.replace("_", "-"), prefix + name.replace("-", "_"))))
    return (key,)
