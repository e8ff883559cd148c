"""Migrations that nobody configured: two schemas that flow side by side, with the configuration to add."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from traced.migration.belonging import stand
from traced.migration.kinds import Kind
from traced.migration.words import listed, quoted
from traced.model.messages import DIRECT, Role
from traced.model.migration import Migration, Shape
from traced.model.verdict import FoundMigration

MAX_FOUND: Final = 20
_MAX_VERSIONS: Final = 4
"""A channel with more versions than these has a version in every message, not a migration."""
_VERSIONED: Final = re.compile(r"^(?P<base>.+?)(?P<mark>[._/-]v)(?P<number>\d{1,4})$")
_NUMBER: Final = re.compile(r"\d+")


@dataclass(slots=True)
class _Channel:
    """What was seen of one destination, or of one whose name has a version."""

    system: str = ""
    versions: set[str] = field(default_factory=set)
    destinations: dict[int, str] = field(default_factory=dict)
    consumers: set[str] = field(default_factory=set)


def found(kinds: Iterable[Kind], migrations: Sequence[Migration]) -> tuple[tuple[FoundMigration, ...], int]:
    """Find schemas that flow side by side and belong to no configured migration.

    Returns:
        At most MAX_FOUND of them, by name, and how many more there are.
    """
    by_version: dict[str, _Channel] = defaultdict(_Channel)
    by_name: dict[str, _Channel] = defaultdict(_Channel)
    for kind in kinds:
        if kind["dead_letter"] or not (kind.left > 0).any() or any(stand(m, kind.columns) is not None for m in migrations):
            continue
        name = kind["producer_destination"] or kind["destination"]
        if not name:
            continue
        channels = [by_version[name]]
        match = _VERSIONED.match(name)
        if match:
            channels.append(by_name[match["base"] + match["mark"]])
            channels[1].destinations[int(match["number"])] = name
        elif kind["message_schema_version"] and kind["version_source"] in DIRECT:
            channels[0].versions.add(kind["message_schema_version"])
        for channel in channels:
            channel.system = channel.system or kind["system"]
            if kind["role"] == Role.CONSUMER and kind["service_name"]:
                channel.consumers.add(kind["service_name"])
    every = [_of_versions(name, one) for name, one in sorted(by_version.items()) if 1 < len(one.versions) <= _MAX_VERSIONS]
    every += [_of_destinations(name, one) for name, one in sorted(by_name.items()) if len(one.destinations) > 1]
    every.sort(key=lambda one: one.name)
    return tuple(every[:MAX_FOUND]), max(0, len(every) - MAX_FOUND)


def _of_versions(name: str, channel: _Channel) -> FoundMigration:
    old, new = sorted(channel.versions, key=_age)[-2:]
    detail = f"versions {listed(sorted(channel.versions, key=_age))} flow on {quoted(name)}"
    return _written(name, detail, channel, Shape.TWO_MESSAGES, {"destination": name, "version": old}, {"destination": name, "version": new})


def _of_destinations(base: str, channel: _Channel) -> FoundMigration:
    old, new = (channel.destinations[number] for number in sorted(channel.destinations)[-2:])
    detail = f"messages flow on {quoted(old)} and {quoted(new)}"
    return _written(base[:-2], detail, channel, Shape.TWO_DESTINATIONS, {"destination": old}, {"destination": new})


def _age(version: str) -> tuple[list[int], str]:
    """Order versions by the numbers in them; it is a guess, and whoever adds the configuration sees it."""
    return [int(number) for number in _NUMBER.findall(version)[:4]], version


def _written(base: str, detail: str, channel: _Channel, shape: Shape, old: dict[str, str], new: dict[str, str]) -> FoundMigration:
    """Write the YAML: JSON's texts are YAML's too, whatever a name holds."""
    last = new.get("version") or new["destination"].rsplit("v", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{base}-to-{last}").strip("-")[:100] or "found"
    lines = [f"- name: {_text(name)}"]
    lines += [f"  system: {_text(channel.system)}"] if channel.system else []
    lines += [f"  shape: {shape}", f"  old: {_mapping(old)}", f"  new: {_mapping(new)}"]
    names = ", ".join(_text(service) for service in sorted(channel.consumers))
    lines += ["  # the list of all who are subscribed: ask the broker, these were only seen", f"  consumers: [{names}]"]
    return FoundMigration(name, detail, "\n".join(lines) + "\n")


def _mapping(values: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {_text(value)}" for key, value in values.items()) + "}"


def _text(text: str) -> str:
    """Write a text for YAML in double quotes; what is not printable is escaped, which YAML does otherwise than JSON."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(text, ensure_ascii=False))
