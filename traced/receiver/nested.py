"""Arrays and maps inside attribute values: from nested AnyValues to JSON text, whatever they hold."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from traced.model.span import AttributeType
from traced.receiver.text import CUT
from traced.receiver.walking import pass_over, varint
from traced.receiver.wire import Limits

MAX_FIELDS: Final = 1_000_000
"""Fields of nested values read in one request, at about a microsecond each; later values are left out. Most batches of
8,192 log records, each with a map of 30 entries, stay below."""
_FIELDS_PER_BYTE: Final = 8
"""Fields of one value read, for each byte that its text may have. Only unknown fields and repeated keys ever need more than one."""

_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES, _STRINDEX = b"\x0a\x10\x18\x21\x2a\x32\x3a\x40"
"""The tags (field number and wire type) of AnyValue's members; a member of another wire type is an unknown field."""
MEMBERS: Final = frozenset((_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES, _STRINDEX))
_FIRST, _SECOND, _KEY_STRINDEX = b"\x0a\x12\x18"
"""Elements of an array or map, or a pair's key; a pair's value; a pair's key by number."""


def double_text(value: float) -> str:
    """Give a double as the shortest text that reads back to it; NaN and the infinities as proto3 JSON names them."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


@dataclass(slots=True)
class Nested:
    """One nested value as text.

    Attributes:
        text: JSON; a value that was cut is a JSON string of its beginning, one that is malformed is "".
        changes: what was changed, as names to count under.
    """

    text: str
    changes: tuple[str, ...]


class NestedReader:
    """Reads the nested values of one request."""

    def __init__(self, limits: Limits) -> None:
        """Start with the whole budget."""
        self._max_depth = limits.max_depth
        self._fields_left = MAX_FIELDS

    def read(self, kind: AttributeType, raw: bytes, max_bytes: int, reason: str) -> Nested:
        """Read an ArrayValue or a KeyValueList.

        Args:
            kind: ARRAY or KVLIST.
            raw: the message.
            max_bytes: of the text.
            reason: what the value is, for the count of those cut.
        """
        if self._fields_left <= 0:
            return Nested(json.dumps(CUT, ensure_ascii=False), (f"{reason}_cut",))
        reading = _Reading(raw, max_bytes)
        try:
            value = (reading.array if kind is AttributeType.ARRAY else reading.kvlist)(0, len(raw), self._max_depth)
        except (ValueError, IndexError):
            return Nested("", ("malformed_value",))
        finally:
            self._fields_left -= reading.walked
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        encoded = text.encode()
        if reading.room < 0 or len(encoded) > max_bytes:
            # what lies behind the cut was not read, so the cut alone is counted; quotes and backslashes take twice their size
            text = json.dumps(encoded[: max_bytes // 2 - 4].decode("utf-8", "ignore") + CUT, ensure_ascii=False)
            return Nested(text, (f"{reason}_cut",))
        flags = {"value_too_deep": reading.too_deep, "strindex": reading.strindex, "invalid_utf8": reading.invalid_utf8}
        return Nested(text, tuple(name for name, happened in flags.items() if happened))


class _Reading:
    """One value being read: what lies deeper than the bound becomes an ellipsis, and reading stops when the text is long enough.

    Attributes:
        room: bytes that the text may still grow by, at one byte a value at least; below 0 the rest does not matter any more.
        walked: fields read.
    """

    def __init__(self, raw: bytes, max_bytes: int) -> None:
        self._raw = raw
        self._max_bytes = max_bytes
        self._max_walked = _FIELDS_PER_BYTE * max_bytes
        self.room = max_bytes
        self.walked = 0
        self.too_deep = self.invalid_utf8 = self.strindex = False

    def array(self, position: int, end: int, depth: int) -> list[Any] | str:
        """Read an ArrayValue."""
        if depth <= 0:
            self.too_deep = True
            return CUT
        return [self._any(start, stop, depth - 1) for key, start, stop in self._fields(position, end) if key == _FIRST]

    def kvlist(self, position: int, end: int, depth: int) -> dict[str, Any] | str:
        """Read a KeyValueList; of a repeated key the first counts."""
        if depth <= 0:
            self.too_deep = True
            return CUT
        pairs: dict[str, Any] = {}
        for key, start, stop in self._fields(position, end):
            if key == _FIRST:
                name, value = "", None
                for part, from_, to in self._fields(start, stop):
                    if part == _FIRST:
                        name = self._text(from_, to)
                    elif part == _SECOND:
                        value = self._any(from_, to, depth - 1)
                    elif part == _KEY_STRINDEX:
                        self.strindex = self.strindex or varint(self._raw, from_)[0] != 0
                pairs.setdefault(name, value)
        return pairs

    def _any(self, position: int, end: int, depth: int) -> Any:
        """Read an AnyValue; of several members the last counts, as in protobuf."""
        self.room -= 1
        value: Any = None
        for key, start, stop in self._fields(position, end):
            if key == _STRING:
                value = self._text(start, stop)
            elif key == _ARRAY:
                value = self.array(start, stop, depth)
            elif key == _KVLIST:
                value = self.kvlist(start, stop, depth)
            elif key in MEMBERS:
                value = self._scalar(key, start, stop)
        return value

    def _scalar(self, key: int, start: int, stop: int) -> Any:
        """Give a member that holds no others, as JSON has it; bytes are told from text by an object around them."""
        if key == _DOUBLE:
            double = struct.unpack_from("<d", self._raw, start)[0]
            return double if math.isfinite(double) else double_text(double)
        if key == _BYTES:
            self.room -= stop - start
            return {"bytesValue": base64.b64encode(self._raw[start : min(stop, start + self._max_bytes)]).decode("ascii")}
        number = varint(self._raw, start)[0]
        if key == _INT:
            return number - 2**64 if number >= 2**63 else number
        self.strindex = self.strindex or key == _STRINDEX
        return bool(number) if key == _BOOL else None

    def _text(self, start: int, stop: int) -> str:
        self.room -= stop - start
        raw = self._raw[start : min(stop, start + self._max_bytes)]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.invalid_utf8 = True
            return raw.decode("utf-8", "replace")

    def _fields(self, position: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (tag, start, end) of the content of each field, until the text is long enough.

        Raises:
            ValueError, IndexError: it is no message.
        """
        raw = self._raw
        while position < end:
            self.walked += 1
            if self.room < 0 or self.walked > self._max_walked:
                self.room = -1
                return
            key = raw[position]
            if key & 0x87 == 2:
                # one byte of tag, and a length that mostly has one byte too
                size = raw[position + 1]
                start = position + 2
                if size >= 0x80:
                    size, start = varint(raw, position + 1)
                position = start + size
            else:
                key, start, position = pass_over(raw, position, end)
            if position > end:
                raise ValueError("a field ends after its message")
            yield key, start, position
