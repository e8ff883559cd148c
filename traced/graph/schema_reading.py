"""By which rule the version of each message, or call, is read: what `message_versions.sql` is told."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Ints
from traced.graph.message_facts import Asked, Facts
from traced.model.schema_rules import DESTINATION, ROUTE, ROUTE_ATTRIBUTES, SchemaRule, SchemaRules, spellings

_SOURCES: Final = pa.schema(
    [
        ("rule", pa.int64()),
        ("fact", pa.string()),
        ("rank", pa.int64()),
        ("key", pa.string()),
        ("source", pa.string()),
        ("shape", pa.string()),
        ("spellings", pa.map_(pa.string(), pa.string())),
    ],
)
_NAMES: Final = pa.schema([("rule", pa.int64()), ("key", pa.string()), ("text", pa.string()), ("version", pa.string())])


def rule_tables(rules: SchemaRules) -> dict[str, pa.Table]:
    """Give the rules as the tables that `message_versions.sql` joins; rule 0 is the default."""
    numbered = list(enumerate((rules.default, *rules.rules)))
    sources = [row for number, rule in numbered for row in _sources(number, rule)]
    names = [
        (number, key, name, version)
        for number, rule in numbered
        for key, of in ((DESTINATION, rule.destinations()), (ROUTE, rule.routes()))
        for name, version in of.items()
    ]
    return {"version_sources": _table(sources, _SOURCES), "schema_names": _table(names, _NAMES)}


def versions_asked(facts: Facts, rules: SchemaRules) -> tuple[Asked, Ints]:
    """Give the kinds of parts whose version is asked for, and by which rule each is read."""
    rule = _rules_of(facts, rules)
    every = (rules.default, *rules.rules)
    keys = frozenset(spelling for one in every for key in (*one.version_attributes, one.disposition_attribute) for spelling in spellings(key))
    asked = facts.kinds_of_version(rule, keys)
    return asked, rule[asked.first]


def questions(facts: Facts, asked: Asked, rule: Ints, places: Ints) -> dict[str, pa.Table]:
    """Say of some kinds by which rule they are read, and which name shows their version: a destination, or the route of a call."""
    parts, first = asked.some(places), asked.first[places]
    chosen = {"number": parts.column("number"), "rule": pa.array(rule[places]), "is_link": parts.column("is_link")}
    number = np.arange(len(places))
    of_call = np.asarray(parts.column("call_rule").is_valid())
    named = facts.known("destination")[first] & ~of_call
    texts = [facts.texts(name, first[named]) for name in ("destination_key", "destination")]
    names = {
        "number": pa.array(np.concatenate([number[named], number[of_call]])),
        "key": pa.array([DESTINATION] * int(named.sum()) + [ROUTE] * int(of_call.sum()), pa.string()),
        "shown_as": pa.concat_arrays([texts[0], pa.array([ROUTE] * int(of_call.sum()), pa.string())]),
        "value": pa.concat_arrays([texts[1], facts.parts.routes.take(pa.array(first[of_call]))]),
    }
    return {"message_parts": parts, "message_rules": pa.table(chosen), "message_names": pa.table(names)}


def _rules_of(facts: Facts, rules: SchemaRules) -> Ints:
    """Give the rule of each part: of its call, of its destination, of the span that has the link; else the default."""
    table = facts.parts.table
    of_call = np.asarray(pc.fill_null(table.column("call_rule"), 0)).astype(np.int64)
    system, destination = facts.codes("system"), facts.codes("destination")
    chosen = of_call
    for number, rule in reversed(list(enumerate(rules.rules, 1))):
        if rule.destinations():
            of_rule = destination.among(*rule.destinations()) & (system.among(rule.system, "") if rule.system else True)
            chosen = np.where(of_rule & (of_call == 0), number, chosen)
    owner = np.asarray(table.column("owner"))
    return np.where(chosen == 0, chosen[owner], chosen)


def _sources(number: int, rule: SchemaRule) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    spelt = list(rule.spellings().items())
    for key in rule.version_attributes:
        known = ROUTE if key in ROUTE_ATTRIBUTES else key
        source, shape = _how(known)
        rows.extend((number, "version", len(rows), spelling, source, shape, spelt) for spelling in spellings(known))
    rows.append((number, "disposition", 0, rule.disposition_attribute, "", "", []))
    return rows


_HOW: Final = (
    (DESTINATION, "destination", "name"),
    (ROUTE, "route", "name"),
    (r"cloudevents\.event_type", "cloudevents", "suffix"),
    (r".*\.ce[-_]type", "header", "suffix"),
    (r".*\.ce[-_]dataschema", "header", "path"),
    (r".*\.header\.(accept|content[-_]type)", "route", "media"),
    (r".*\.(header|metadata)\..*", "header", "whole"),
)
"""Keys, as patterns, to the source that they are, and the shape in which their value holds the version."""


def _how(key: str) -> tuple[str, str]:
    return next(((source, shape) for pattern, source, shape in _HOW if re.fullmatch(pattern, key)), ("attribute", "whole"))


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)
