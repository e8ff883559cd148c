"""By which rule the version of each message, or call, is read: what `message_versions.sql` is told."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints
from traced.graph.message_parts import Parts
from traced.model.schema_rules import DESTINATION, SchemaRule, SchemaRules, spellings

_SOURCES: Final = pa.schema(
    [("rule", pa.int64()), ("fact", pa.string()), ("rank", pa.int64()), ("key", pa.string()), ("source", pa.string()), ("shape", pa.string())],
)
_NAMES: Final = pa.schema([("rule", pa.int64()), ("shape", pa.string()), ("text", pa.string()), ("version", pa.string())])
_ROUTES: Final = {"http.route": "http_route", "url.path": "url_path", "rpc.service": "rpc_service", "rpc.method": "rpc_method"}
"""What shows where a call goes, and the column that has it."""


def rule_tables(rules: SchemaRules) -> dict[str, pa.Table]:
    """Give the rules as the tables that `message_versions.sql` joins; rule 0 is the default."""
    numbered = list(enumerate((rules.default, *rules.rules)))
    sources = [row for number, rule in numbered for row in _sources(number, rule)]
    names = [(number, "name", *of) for number, rule in numbered[1:] if not rule.of_calls for of in _destinations(rule)]
    names += [(number, "route", one.route, one.version) for number, rule in numbered[1:] if rule.of_calls for one in (rule.old, rule.new) if one.route]
    return {"version_sources": _table(sources, _SOURCES), "schema_names": _table(names, _NAMES)}


def questions(parts: Parts, facts: pa.Table, rules: SchemaRules) -> dict[str, pa.Table]:
    """Say by which rule each part is read, and which names show its version: its destination, or the routes of a call."""
    rule = _rules_of(parts, facts, rules)
    table = parts.table
    chosen = {"number": table.column("number"), "rule": pa.array(rule), "is_link": table.column("is_link")}
    of_call = table.column("call_rule").is_valid()
    named = pc.and_(pc.invert(of_call), pc.not_equal(facts.column("destination"), ""))
    destinations = facts.select(["number", "destination_key", "destination"]).filter(named).rename_columns(["number", "shown_as", "value"])
    names = [destinations.append_column("key", pa.array([DESTINATION] * destinations.num_rows, pa.string()))]
    calls = table.filter(of_call)
    if calls.num_rows:
        method = pc.binary_join_element_wise(pc.fill_null(calls.column("rpc_service"), ""), pc.fill_null(calls.column("rpc_method"), ""), "/")
        # of an RPC the service is a part of the method, in newer conventions of one attribute
        calls = calls.set_column(calls.schema.get_field_index("rpc_method"), "rpc_method", pc.utf8_ltrim(method, "/"))
        for key, column in _ROUTES.items():
            said = calls.filter(pc.not_equal(pc.fill_null(calls.column(column), ""), ""))
            text = pa.array([key] * said.num_rows, pa.string())
            names.append(pa.table({"number": said.column("number"), "shown_as": text, "value": said.column(column), "key": text}))
    return {"message_rules": pa.table(chosen), "message_names": pa.concat_tables(names)}


def _rules_of(parts: Parts, facts: pa.Table, rules: SchemaRules) -> Ints:
    """Give the rule of each part: of its call, of its destination, of the span that has the link; else the default."""
    of_call = np.asarray(pc.fill_null(parts.table.column("call_rule"), 0)).astype(np.int64)
    system, destination = (Codes.from_column(facts.column(name)) for name in ("system", "destination"))
    chosen = of_call
    for number, rule in reversed(list(enumerate(rules.rules, 1))):
        if not rule.of_calls:
            of_rule = destination.among(*(name for name, _ in _destinations(rule)))
            chosen = np.where(of_rule & (system.among(rule.system) if rule.system else True) & (of_call == 0), number, chosen)
    owner = np.asarray(parts.table.column("owner"))
    return np.where(chosen == 0, chosen[owner], chosen)


def _destinations(rule: SchemaRule) -> list[tuple[str, str]]:
    """Give the destinations of a rule, each with the version that its name says: '' where both versions pass it."""
    says: dict[str, set[str]] = {}
    for one in (rule.old, rule.new):
        if one.destination:
            says.setdefault(one.destination, set()).add(one.version)
    further = [(name, "") for name in rule.destinations if name not in says]
    return [(name, next(iter(versions)) if len(versions) == 1 and len(says) > 1 else "") for name, versions in says.items()] + further


def _sources(number: int, rule: SchemaRule) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for key in rule.version_attributes:
        source, shape = _how(key)
        rows.extend((number, "version", len(rows), spelling, source, shape) for spelling in spellings(key))
    rows.append((number, "disposition", 0, rule.disposition_attribute, "", ""))
    if rule.business_key_attribute:
        rows.append((number, "business_key", 0, rule.business_key_attribute, "", ""))
    return rows


_HOW: Final = (
    (r"destination", "destination", "name"),
    (r"http\.route|url\.path|rpc\.service|rpc\.method", "route", "route"),
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
