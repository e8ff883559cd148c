"""Attribute values: from OTLP's AnyValue to a type number and text, cleaned and cut once, here.

Everything works on the distinct attributes of a request, so a slow path for a rare value costs little. What is changed is
counted as often as it stands in the request.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.model.schema import ATTRIBUTE_DICTIONARY
from traced.model.span import AttributeType
from traced.receiver.encoding import LENGTH_DELIMITED, delimited
from traced.receiver.nested import MEMBERS, NestedReader, double_text
from traced.receiver.parsing import parse
from traced.receiver.text import Occurrences, clean_text
from traced.receiver.walking import Walker, pass_over
from traced.receiver.wire import Limits

MAX_FIELDS_REWRITTEN: Final = 200_000
"""Fields read in a request to find the last of several members of one value; beyond, the last one read counts."""

Spend = Callable[[], bool]
_EMPTY: Final = pa.scalar(0, pa.uint8())
_STRING: Final = pa.scalar(int(AttributeType.STRING), pa.uint8())


class Values:
    """Reads the attribute values, or bodies, of one request."""

    def __init__(self, limits: Limits, altered: Counter[str], walker: Walker) -> None:
        """Keep what one request has.

        Args:
            limits: of keys, values, bodies and depth.
            altered: counts what was changed.
            walker: of this request.
        """
        self._limits = limits
        self._altered = altered
        self._walker = walker
        self._nested = NestedReader(limits)
        self._fields_left = MAX_FIELDS_REWRITTEN

    def attributes(self, raw: pa.Array, occurrences: Occurrences) -> pa.RecordBatch:
        """Parse distinct raw KeyValue messages to ATTRIBUTE_DICTIONARY rows, one for one.

        A KeyValue that is no valid message becomes an attribute of empty key and type EMPTY, counted as `malformed_attribute`.
        """
        rows = self._parse("KeyValue", raw, "malformed_attribute", occurrences)
        several = _several_members(rows.column("value"))
        if several is not None:
            rows = parse("KeyValue", self._rewritten(raw, several, _last_member_of_pair), self._limits.max_list, self._walker).rows
        self._count_if("strindex", pc.not_equal(rows.column("key_strindex"), 0), occurrences)
        keys = clean_text(rows.column("key"), self._limits.max_key_bytes, self._altered, "attribute_key", occurrences)
        types, texts = self._any_values(rows.column("value"), self._limits.max_value_bytes, "attribute_value", occurrences)
        return pa.RecordBatch.from_arrays([keys, types, texts], schema=ATTRIBUTE_DICTIONARY)

    def bodies(self, raw: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Parse n raw AnyValue messages (log bodies) to (types, texts)."""

        @cache
        def once() -> npt.NDArray[np.int64]:
            return np.ones(len(raw), np.int64)

        rows = self._parse("AnyValue", raw, "malformed_body", once)
        several = _several_members(_as_struct(rows))
        if several is not None:
            rows = parse("AnyValue", self._rewritten(raw, several, _last_member), self._limits.max_list, self._walker).rows
        return self._any_values(_as_struct(rows), self._limits.max_body_bytes, "body", once)

    def _parse(self, message: str, raw: pa.Array, reason: str, occurrences: Occurrences) -> pa.RecordBatch:
        parsed = parse(message, raw, self._limits.max_list, self._walker)
        if parsed.broken is not None:
            self._altered[reason] += int(occurrences()[parsed.broken].sum())
        return parsed.rows

    def _rewritten(self, raw: pa.Array, rows: npt.NDArray[np.int64], rewrite: Callable[[bytes, Spend], bytes]) -> pa.Array:
        values = raw.to_pylist()
        for row in rows:
            values[row] = rewrite(values[row], self._spend)
        return pa.array(values, pa.binary())

    def _spend(self) -> bool:
        self._fields_left -= 1
        return self._fields_left >= 0

    def _count_if(self, reason: str, happened: pa.Array, occurrences: Occurrences) -> None:
        if pc.any(happened).as_py():
            self._altered[reason] += int(occurrences()[np.asarray(happened)].sum())

    def _any_values(self, values: pa.StructArray, max_bytes: int, reason: str, occurrences: Occurrences) -> tuple[pa.Array, pa.Array]:
        """Give (types uint8, texts string) of parsed AnyValues."""
        column = dict(zip([f.name for f in values.type], values.flatten(), strict=True))
        text = clean_text(column["string_value"], max_bytes, self._altered, reason, occurrences)
        types = pc.if_else(pc.is_valid(text), _STRING, _EMPTY)
        if column["string_value_strindex"].null_count < len(values):
            self._count_if("strindex", pc.is_valid(column["string_value_strindex"]), occurrences)
        for name, kind in (("bool_value", AttributeType.BOOL), ("int_value", AttributeType.INT)):
            if column[name].null_count < len(values):
                text = pc.coalesce(text, column[name].cast(pa.string()))
                types = pc.if_else(pc.is_valid(column[name]), pa.scalar(int(kind), pa.uint8()), types)
        for name, kind in _RARE.items():
            if column[name].null_count < len(values):
                text = pc.coalesce(text, self._rare(column[name], kind, max_bytes, reason, occurrences))
                types = pc.if_else(pc.is_valid(column[name]), pa.scalar(int(kind), pa.uint8()), types)
        return types, pc.fill_null(text, "")

    def _rare(self, column: pa.Array, kind: AttributeType, max_bytes: int, reason: str, occurrences: Occurrences) -> pa.Array:
        """Give the texts of doubles, bytes, arrays or maps, one by one."""
        texts: list[str | None] = []
        for place, one in enumerate(column):
            if not one.is_valid:
                texts.append(None)
                continue
            text, changes = self._one(one, kind, max_bytes, reason)
            texts.append(text)
            for change in changes:
                self._altered[change] += int(occurrences()[place])
        return pa.array(texts, pa.string())

    def _one(self, value: pa.Scalar, kind: AttributeType, max_bytes: int, reason: str) -> tuple[str, tuple[str, ...]]:
        if kind is AttributeType.DOUBLE:
            return double_text(value.as_py()), ()
        if kind is AttributeType.BYTES:
            raw = value.as_buffer()
            # base64 grows by a third; three quarters of the limit, in whole groups of three, stays below it
            keep = max_bytes * 3 // 4 // 3 * 3
            return base64.b64encode(raw[:keep]).decode("ascii"), (f"{reason}_cut",) if len(raw) > keep else ()
        nested = self._nested.read(kind, value.as_py(), max_bytes, reason)
        return nested.text, nested.changes


_RARE: Final = {
    "double_value": AttributeType.DOUBLE,
    "array_value": AttributeType.ARRAY,
    "kvlist_value": AttributeType.KVLIST,
    "bytes_value": AttributeType.BYTES,
}


def _as_struct(rows: pa.RecordBatch) -> pa.StructArray:
    return pa.StructArray.from_arrays(rows.columns, fields=list(rows.schema))


def _several_members(values: pa.StructArray) -> npt.NDArray[np.int64] | None:
    """Say which AnyValues hold several members of their oneof, of which protobuf takes the last; ptars keeps all."""
    used = [column for column in values.flatten() if column.null_count < len(values)]
    if len(used) < 2:
        return None
    members = np.zeros(len(values), np.uint8)
    for column in used:
        members += np.asarray(pc.is_valid(column)).view(np.uint8)
    return np.flatnonzero(members > 1) if members.max() > 1 else None


def _last_member(raw: bytes, spend: Spend) -> bytes:
    """Keep only the last member of an AnyValue."""
    last = b""
    position = 0
    while position < len(raw) and spend():
        key, _, end = pass_over(raw, position, len(raw))
        if key in MEMBERS:
            last = raw[position:end]
        position = end
    return last


def _last_member_of_pair(raw: bytes, spend: Spend) -> bytes:
    """Keep only the last member of a KeyValue's value, which may come in several pieces."""
    rest, value = b"", b""
    position = 0
    while position < len(raw) and spend():
        key, start, end = pass_over(raw, position, len(raw))
        if key == _VALUE_OF_PAIR:
            value += raw[start:end]
        elif key >> 3 in _KEY_FIELDS:
            rest += raw[position:end]
        position = end
    return rest + delimited(_VALUE_OF_PAIR >> 3, _last_member(value, spend))


_VALUE_OF_PAIR: Final = 2 << 3 | LENGTH_DELIMITED
_KEY_FIELDS: Final = (1, 3)
