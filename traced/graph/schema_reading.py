"""By which rule the version of each message, or call, is read: what `message_versions.sql` is told."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints
from traced.graph.message_parts import Parts
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


def questions(parts: Parts, facts: pa.Table, rules: SchemaRules) -> dict[str, pa.Table]:
    """Say by which rule each part is read, and which name shows its version: its destination, or the route of a call."""
    rule = _rules_of(parts, facts, rules)
    table = parts.table
    chosen = {"number": table.column("number"), "rule": pa.array(rule), "is_link": table.column("is_link")}
    of_call = table.column("call_rule").is_valid()
    named = pc.and_(pc.invert(of_call), pc.not_equal(facts.column("destination"), ""))
    names = facts.select(["number", "destination_key", "destination"]).filter(named).rename_columns(["number", "shown_as", "value"])
    names = names.append_column("key", pa.array([DESTINATION] * names.num_rows, pa.string()))
    calls = np.flatnonzero(parts.calls)
    if len(calls):
        route = pa.array([ROUTE] * len(calls), pa.string())
        values = parts.routes.take(pa.array(calls))
        names = pa.concat_tables([names, pa.table({"number": pa.array(calls), "shown_as": route, "value": values, "key": route})])
    return {"message_rules": pa.table(chosen), "message_names": names}


def _rules_of(parts: Parts, facts: pa.Table, rules: SchemaRules) -> Ints:
    """Give the rule of each part: of its call, of its destination, of the span that has the link; else the default."""
    of_call = np.asarray(pc.fill_null(parts.table.column("call_rule"), 0)).astype(np.int64)
    system, destination = (Codes.from_column(facts.column(name)) for name in ("system", "destination"))
    chosen = of_call
    for number, rule in reversed(list(enumerate(rules.rules, 1))):
        if rule.destinations():
            of_rule = destination.among(*rule.destinations()) & (system.among(rule.system, "") if rule.system else True)
            chosen = np.where(of_rule & (of_call == 0), number, chosen)
    owner = np.asarray(parts.table.column("owner"))
    return np.where(chosen == 0, chosen[owner], chosen)


def _sources(number: int, rule: SchemaRule) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    spelt = list(rule.spellings().items())
    for key in rule.version_attributes:
        known = ROUTE if key in ROUTE_ATTRIBUTES else key
        source, shape = _how(known)
        rows.extend((number, "version", len(rows), spelling, source, shape, spelt) for spelling in spellings(known))
    rows.append((number, "disposition", 0, rule.disposition_attribute, "", "", []))
    if rule.business_key_attribute:
        rows.append((number, "business_key", 0, rule.business_key_attribute, "", "", []))
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
