"""From a segment's compact rows to the public columns: numbers become attributes, resources and scopes again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.model.schema import ATTRIBUTE, EVENT, LINK, LOG_CORE, LOGS, ORIGIN, SPAN_CORE, SPANS, TYPED_ATTRIBUTES
from traced.model.span import AttributeType
from traced.store.message_keys import says_of_messages

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dictionaries:
    """What a segment's numbers stand for; row number = id, in every table.

    `first_attribute` is the id of the first attribute row, for a reader that fetched only a range of them. `message_keys` are keys that say something of
    messages here, beside those that always do.
    """

    attributes: pa.Table
    resources: pa.Table
    scopes: pa.Table
    first_attribute: int = 0
    message_keys: frozenset[str] = frozenset()


def encoded(schema: pa.Schema) -> pa.Schema:
    """Give a public schema with its repetitive text columns as dictionaries: the same in Parquet, and half the work to write."""
    repetitive = {name for name, kind in ORIGIN if kind == pa.string()} | set(TYPED_ATTRIBUTES)
    return pa.schema([pa.field(f.name, pa.dictionary(pa.int32(), pa.string())) if f.name in repetitive else f for f in schema])


def expand_spans(rows: pa.Table, dictionaries: Dictionaries, schema: pa.Schema = SPANS) -> pa.Table:
    """Give SPANS rows (or, with `encoded(SPANS)`, the same as dictionaries) of a segment's `span` rows."""
    lists = _ListsOfIds(rows.column("attribute_ids"), dictionaries)
    columns: dict[str, Any] = {name: rows.column(name) for name, _ in SPAN_CORE}
    columns |= _origin(rows, dictionaries)
    columns |= lists.typed()
    columns["attributes"] = lists.attributes()
    columns["message_attributes"] = lists.of_messages()
    columns["events"] = _nested(rows.column("events"), EVENT, dictionaries)
    columns["links"] = _nested(rows.column("links"), LINK, dictionaries)
    columns["arrival_time_unix_nano"] = rows.column("arrival_time_unix_nano")
    return _table(columns, schema)


def expand_logs(rows: pa.Table, dictionaries: Dictionaries, schema: pa.Schema = LOGS) -> pa.Table:
    """Give LOGS rows (or, with `encoded(LOGS)`, the same as dictionaries) of a segment's `log_record` rows."""
    columns: dict[str, Any] = {name: rows.column(name) for name, _ in LOG_CORE}
    columns |= _origin(rows, dictionaries)
    columns["attributes"] = _ListsOfIds(rows.column("attribute_ids"), dictionaries).attributes()
    columns["arrival_time_unix_nano"] = rows.column("arrival_time_unix_nano")
    return _table(columns, schema)


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    return pa.table([columns[f.name] if columns[f.name].type == f.type else columns[f.name].cast(f.type) for f in schema], schema=schema)


def typed_columns(attribute_ids: pa.ChunkedArray, dictionaries: Dictionaries) -> dict[str, pa.Array]:
    """Give only the typed attribute columns (as strings) of a segment's `span` rows, and `message_attributes`: what the analysis reads."""
    lists = _ListsOfIds(attribute_ids, dictionaries)
    return {name: column.cast(pa.string()) for name, column in lists.typed().items()} | {"message_attributes": lists.of_messages()}


def message_attributes(attribute_ids: pa.ChunkedArray, dictionaries: Dictionaries) -> pa.Array:
    """Give only what says something of messages: `message_attributes` of a segment's `span` rows."""
    return _ListsOfIds(attribute_ids, dictionaries).of_messages()


def linked(lists: pa.ChunkedArray, dictionaries: Dictionaries) -> pa.Array:
    """Give span links with those of LINK's fields that they have, attributes in place of numbers."""
    item = lists.type.value_type
    names = [item.field(place).name for place in range(item.num_fields)]
    return _nested(lists, pa.struct([f for f in LINK if f.name in names or (f.name == "attributes" and "attribute_ids" in names)]), dictionaries)


def origin_columns(rows: pa.Table, dictionaries: Dictionaries, names: tuple[str, ...]) -> dict[str, pa.Array]:
    """Give some columns of the rows' resources."""
    ids = rows.column("resource_id")
    return {name: pc.take(_of_origins(dictionaries.resources, name), ids) for name in names}


class _ListsOfIds:
    """The attributes of n rows, as flat positions in the dictionary and where each row's begin."""

    def __init__(self, lists: pa.ChunkedArray | pa.Array, dictionaries: Dictionaries) -> None:
        whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
        self.count = len(whole)
        lengths = np.asarray(pc.fill_null(pc.list_value_length(whole), 0)).astype(np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self.lengths = lengths
        self.ids = np.asarray(whole.flatten()).astype(np.int64) - dictionaries.first_attribute
        self.dictionary = dictionaries.attributes
        self._message_keys = dictionaries.message_keys

    @cached_property
    def _keys(self) -> pa.DictionaryArray:
        return _one(self.dictionary.column("key")).dictionary_encode()

    def attributes(self) -> pa.ListArray:
        """Give each row's attributes as key, type and value."""
        ids = pa.array(self.ids)
        parts = [_one(pc.take(self.dictionary.column(name), ids)) for name in ("key", "type", "value")]
        return pa.ListArray.from_arrays(pa.array(self.offsets), pa.StructArray.from_arrays(parts, fields=list(ATTRIBUTE)))

    def of_messages(self) -> pa.ListArray:
        """Give each row's attributes that say something of a message; null where there are none."""
        by_key = np.array([says_of_messages(key, self._message_keys) for key in self._keys.dictionary.to_pylist()], bool)
        if not by_key.any():
            return pa.nulls(self.count, pa.list_(ATTRIBUTE))
        chosen = by_key[np.asarray(self._keys.indices)][self.ids]
        lengths = np.bincount(np.repeat(np.arange(self.count), self.lengths)[chosen], minlength=self.count)
        ids = pa.array(self.ids[chosen])
        parts = [_one(pc.take(self.dictionary.column(name), ids)) for name in ("key", "type", "value")]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        entries = pa.StructArray.from_arrays(parts, fields=list(ATTRIBUTE))
        return pa.ListArray.from_arrays(pa.array(offsets), entries, mask=pa.array(lengths == 0))

    def typed(self) -> dict[str, pa.Array]:
        """Give the typed attribute columns: of several spellings the newest, of a repeated key the first."""
        nothing = pa.DictionaryArray.from_arrays(pa.nulls(self.count, pa.int32()), pa.array([], pa.string()))
        columns: dict[str, pa.Array] = dict.fromkeys(TYPED_ATTRIBUTES, nothing)
        ranks, names = self._ranks()
        rank_of_entry = ranks[self.ids]
        chosen = np.flatnonzero(rank_of_entry >= 0)
        if not len(chosen):
            return columns
        rows = np.repeat(np.arange(self.count), self.lengths)[chosen]
        rank_of_entry = rank_of_entry[chosen]
        order = np.argsort(rank_of_entry, kind="stable")
        bounds = np.searchsorted(rank_of_entry[order], np.arange(len(names) + 1))
        picked: dict[str, Ints] = {}
        # ranks ascend from the newest spelling: going backwards, and backwards within each, the preferred is written last
        for rank in range(len(names) - 1, -1, -1):
            here = order[bounds[rank] : bounds[rank + 1]][::-1]
            if len(here):
                column = picked.setdefault(names[rank], np.full(self.count, -1, np.int64))
                column[rows[here]] = self.ids[chosen[here]]
        values = self.dictionary.column("value")
        for name, ids in picked.items():
            # only the values in use make the column's dictionary, in the order of their appearance, which compresses best
            used = pa.array(ids, mask=ids < 0).dictionary_encode()
            columns[name] = pa.DictionaryArray.from_arrays(used.indices, _one(pc.take(values, used.dictionary)))
        return columns

    def _ranks(self) -> tuple[Ints, list[str]]:
        """Give each dictionary row's rank among all spellings (or -1), and the column of each rank."""
        rank_of_key: dict[str, int] = {}
        names: list[str] = []
        for name, spellings in TYPED_ATTRIBUTES.items():
            for spelling in spellings:
                rank_of_key[spelling] = len(names)
                names.append(name)
        keys = self._keys
        by_key = np.array([rank_of_key.get(key, -1) for key in keys.dictionary.to_pylist()] or [-1], np.int64)
        return by_key[np.asarray(keys.indices)] if len(keys) else np.zeros(0, np.int64), names


def _origin(rows: pa.Table, dictionaries: Dictionaries) -> dict[str, Any]:
    resource, scope = rows.column("resource_id"), rows.column("scope_id")
    names = (
        "service_namespace", "service_name", "service_version", "service_instance_id", "host", "telemetry_sdk_language", "deployment_environment_name",
    )  # fmt: skip
    columns: dict[str, Any] = {name: _by_id(_of_origins(dictionaries.resources, name), resource) for name in names}
    for prefix, ids, table in (("resource", resource, dictionaries.resources), ("scope", scope, dictionaries.scopes)):
        columns[f"{prefix}_attributes"] = _by_id(_attributes_text(table, dictionaries), ids)
        columns[f"{prefix}_dropped_attributes_count"] = pc.take(table.column("dropped_attributes_count"), ids)
        columns[f"{prefix}_schema_url"] = _by_id(table.column("schema_url"), ids)
    columns["scope_name"] = _by_id(dictionaries.scopes.column("name"), scope)
    columns["scope_version"] = _by_id(dictionaries.scopes.column("version"), scope)
    return columns


def _of_origins(resources: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """Give a column of resources; a segment of before it existed lacks it."""
    return resources.column(name) if name in resources.column_names else pa.nulls(resources.num_rows, pa.string())


def _by_id(texts: pa.ChunkedArray | pa.Array, ids: pa.ChunkedArray) -> pa.DictionaryArray:
    """Give each row's text as a dictionary array whose dictionary holds each text once."""
    distinct = _one(texts).dictionary_encode()
    return pa.DictionaryArray.from_arrays(_one(pc.take(distinct.indices, _one(ids))), distinct.dictionary)


def _attributes_text(table: pa.Table, dictionaries: Dictionaries) -> pa.Array:
    """Give each row's attributes as an OTLP/JSON array of KeyValue."""
    lists = _ListsOfIds(table.column("attribute_ids"), dictionaries).attributes()
    return pa.array([json.dumps([key_value(a) for a in row], ensure_ascii=False, separators=(",", ":")) for row in lists.to_pylist()], pa.string())


_OTLP_MEMBER = {
    AttributeType.STRING: "stringValue",
    AttributeType.INT: "intValue",
    AttributeType.BYTES: "bytesValue",
}


def key_value(attribute: dict[str, Any]) -> dict[str, Any]:
    """Give one ATTRIBUTE as an OTLP/JSON KeyValue (64-bit integers as strings, as proto3 JSON has them)."""
    return {"key": attribute["key"], "value": _any_value(AttributeType(attribute["type"]), attribute["value"])}


def _any_value(kind: AttributeType, text: str) -> dict[str, Any]:
    if kind in _OTLP_MEMBER:
        return {_OTLP_MEMBER[kind]: text}
    if kind is AttributeType.BOOL:
        return {"boolValue": text == "true"}
    if kind is AttributeType.DOUBLE:
        return {"doubleValue": text if text in {"NaN", "Infinity", "-Infinity"} else float(text)}
    if kind in (AttributeType.ARRAY, AttributeType.KVLIST) and text:
        return _json_value(json.loads(text))
    return {}


_JSON_MEMBERS = ((bool, "boolValue"), (int, "intValue"), (float, "doubleValue"), (str, "stringValue"))


def _json_value(value: Any) -> dict[str, Any]:
    """Give a nested value (at most 32 deep, the receiver's bound) as an OTLP/JSON AnyValue."""
    if value is None:
        return {}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_json_value(v) for v in value]}}
    if not isinstance(value, dict):
        # in this order: a bool is an int for Python
        member = next(name for kind, name in _JSON_MEMBERS if isinstance(value, kind))
        return {member: str(value) if member == "intValue" else value}
    if list(value) == ["bytesValue"] and isinstance(value["bytesValue"], str):
        return {"bytesValue": value["bytesValue"]}
    return {"kvlistValue": {"values": [{"key": k, "value": _json_value(v)} for k, v in value.items()]}}


def _nested(lists: pa.ChunkedArray, item: pa.StructType, dictionaries: Dictionaries) -> pa.Array:
    """Give events or links with attributes in place of numbers; rows without any are null."""
    if lists.null_count == len(lists):
        return pa.nulls(len(lists), pa.list_(item))
    whole = _one(lists)
    structs = whole.flatten()
    parts = dict(zip([f.name for f in structs.type], structs.flatten(), strict=True))
    parts["attributes"] = _ListsOfIds(parts.pop("attribute_ids"), dictionaries).attributes()
    lengths = np.asarray(pc.fill_null(pc.list_value_length(whole), 0)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    built = pa.StructArray.from_arrays([parts[f.name] for f in item], fields=list(item))
    return pa.ListArray.from_arrays(pa.array(offsets), built, mask=pa.array(lengths == 0))


def _one(array: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(array, pa.ChunkedArray):
        return array
    if array.num_chunks == 1:
        return array.chunk(0)
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
