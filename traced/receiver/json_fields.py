"""OTLP/JSON to protobuf bytes, member by member, by tables built from OTLP's own descriptors.

The tables come from opentelemetry-proto, so no field is forgotten; the bytes are written here and not by the protobuf
library, because OTLP/JSON is not proto3 JSON (ids are hex) and because the library stops at 100 levels of nesting.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from traced.errors import InvalidRequestError, TooLargeError
from traced.receiver.encoding import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, length, tag, varint

MAX_VALUE_DEPTH: Final = 33
"""AnyValues inside each other that are carried over. The decoder shows 32 and cuts the rest, so what lies deeper only
has to be there, as text; and the reader's own recursion stays bounded."""
_MAX_DEEP_TEXT: Final = 4096
_MAX_PAIRS: Final = 10_000
_INVALID_ID: Final = b"\x00"
"""One byte: never a valid length, so exactly that span is rejected later, with its reason counted."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{0,400})?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_NAMES_OF_DOUBLES: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_ITEMS: Final = frozenset({"ResourceSpans", "ScopeSpans", "Span", "ResourceLogs", "ScopeLogs", "LogRecord", "ResourceMetrics", "ScopeMetrics", "Metric"})
_ID_BYTES: Final = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}


class MemberError(InvalidRequestError):
    """A member of a JSON request has the wrong type; the path grows as the error rises."""

    def __init__(self, problem: str) -> None:
        """Keep what was wrong."""
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []

    def at(self, step: str) -> None:
        """Add where it was, from the inside out."""
        self.path.append(step)
        self.message = f"{''.join(reversed(self.path)).removeprefix('.')}: {self.problem}"
        self.args = (self.message,)


class Conversion:
    """What one request's conversion keeps track of.

    Attributes:
        nonconformant: whether a snake_case key or the name of an enum value was read.
        depth: AnyValues being converted, inside each other.
        items_left: spans, log records or metrics, and envelopes around them, that may still come.
        pairs: attributes encoded before in this request, by key, kind and text of the value; most come again.
    """

    __slots__ = ("depth", "items_left", "nonconformant", "pairs")

    def __init__(self, max_items: int = sys.maxsize) -> None:
        self.nonconformant = False
        self.depth = 0
        self.items_left = max_items
        self.pairs: dict[tuple[str, str, str], bytes] = {}


Encode = Callable[[Any, Conversion], bytes]
Members = Mapping[str, Encode]

_tables: dict[str, dict[str, Encode]] = {}


def members_of(message: Descriptor) -> Members:
    """Give, for each name a member may have in JSON, what encodes it with its tag."""
    table = _tables.get(message.full_name)
    if table is None:
        # registered before it is filled: an AnyValue may hold AnyValues
        table = _tables[message.full_name] = {}
        for field in message.fields:
            encode = _repeated(field) if field.is_repeated else _BUILDERS[field.type](field)
            table[field.json_name] = encode
            if field.name != field.json_name:
                table[field.name] = _tolerated(encode)
    return table


def encode_members(value: Any, members: Members, conversion: Conversion) -> bytes:
    """Encode a JSON object as the inside of a message; unknown names are ignored, null is the same as absent.

    Raises:
        MemberError: something has the wrong type.
    """
    if type(value) is not dict:
        raise _expected("an object", value)
    parts = []
    name = ""
    try:
        for name, member in value.items():
            if member is not None:
                encode = members.get(name)
                if encode is not None:
                    parts.append(encode(member, conversion))
    except MemberError as error:
        error.at(f".{name}")
        raise
    return b"".join(parts)


def _expected(what: str, value: Any) -> MemberError:
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", int: "a number", float: "a number", type(None): "null"}
    return MemberError(f"{what} is expected here, not {names.get(type(value), 'this')}")


def _tolerated(encode: Encode) -> Encode:
    def encode_snake_case(value: Any, conversion: Conversion) -> bytes:
        conversion.nonconformant = True
        return encode(value, conversion)

    return encode_snake_case


def _repeated(field: FieldDescriptor) -> Encode:
    encode = _BUILDERS[field.type](field)
    counts = field.message_type is not None and field.message_type.name in _ITEMS

    def encode_all(value: Any, conversion: Conversion) -> bytes:
        if type(value) is not list:
            raise _expected("an array", value)
        if counts:
            conversion.items_left -= len(value)
            if conversion.items_left < 0:
                raise TooLargeError(f"the request holds more {field.json_name} than are allowed in one")
        parts = []
        index = 0
        try:
            for index, item in enumerate(value):  # noqa: B007 -- the error's path needs it
                # null here cannot mean absent, since order matters: it stands for an empty message
                parts.append(encode({} if item is None else item, conversion))
        except MemberError as error:
            error.at(f"[{index}]")
            raise
        return b"".join(parts)

    return encode_all


def _message(field: FieldDescriptor) -> Encode:
    head = tag(field.number, LENGTH_DELIMITED)
    message = field.message_type
    if message is None:
        raise TypeError(field.full_name)
    members = members_of(message)

    def encode(value: Any, conversion: Conversion) -> bytes:
        inside = encode_members(value, members, conversion)
        return head + length(len(inside)) + inside

    def encode_value(value: Any, conversion: Conversion) -> bytes:
        conversion.depth += 1
        inside = encode_members(value, members, conversion) if conversion.depth <= MAX_VALUE_DEPTH else _deep_text(value)
        conversion.depth -= 1
        return head + length(len(inside)) + inside

    def encode_pair(value: Any, conversion: Conversion) -> bytes:
        inside = _attribute(value, members, conversion)
        return head + length(len(inside)) + inside

    return {"AnyValue": encode_value, "KeyValue": encode_pair}.get(message.name, encode)


def _attribute(value: Any, members: Members, conversion: Conversion) -> bytes:
    """Encode the inside of a KeyValue, only once per request where its value is a string in JSON: most attributes repeat."""
    if type(value) is not dict or len(value) != 2:
        return encode_members(value, members, conversion)
    key, content = value.get("key"), value.get("value")
    if type(key) is not str or type(content) is not dict or len(content) != 1:
        return encode_members(value, members, conversion)
    ((kind, text),) = content.items()
    if type(text) is not str:
        return encode_members(value, members, conversion)
    inside = conversion.pairs.get((key, kind, text))
    if inside is None:
        inside = encode_members(value, members, conversion)
        # beyond the depth that is carried over, the value has become text: right there, wrong anywhere else
        if len(conversion.pairs) < _MAX_PAIRS and conversion.depth < MAX_VALUE_DEPTH:
            conversion.pairs[key, kind, text] = inside
    return inside


def _deep_text(value: Any) -> bytes:
    text = _utf8(json.dumps(value)[:_MAX_DEEP_TEXT])
    return tag(1, LENGTH_DELIMITED) + length(len(text)) + text


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        # only "\ud800" and the like get here: half of a UTF-16 pair, which no UTF-8 can say
        return _SURROGATES.sub("\ufffd", value).encode()


def _string(field: FieldDescriptor) -> Encode:
    head = tag(field.number, LENGTH_DELIMITED)

    def encode(value: Any, _: Conversion) -> bytes:
        if type(value) is not str:
            raise _expected("a string", value)
        text = _utf8(value)
        return head + length(len(text)) + text

    return encode


def _bytes(field: FieldDescriptor) -> Encode:
    return _id(field, _ID_BYTES[field.name]) if field.name in _ID_BYTES else _base64(field)


def _id(field: FieldDescriptor, size: int) -> Encode:
    head = tag(field.number, LENGTH_DELIMITED)
    usual = head + length(size)

    def encode(value: Any, _: Conversion) -> bytes:
        if type(value) is not str:
            raise _expected("a string of hex digits", value)
        try:
            raw = bytes.fromhex(value)
        except ValueError:
            raw = _INVALID_ID
        if len(raw) == size and len(value) == 2 * size:
            return usual + raw
        # fromhex skips spaces, so the text's length counts too
        raw = raw if 2 * len(raw) == len(value) else _INVALID_ID
        return head + length(len(raw)) + raw

    return encode


def _base64(field: FieldDescriptor) -> Encode:
    head = tag(field.number, LENGTH_DELIMITED)

    def encode(value: Any, _: Conversion) -> bytes:
        if type(value) is not str:
            raise _expected("a base64 string", value)
        text = value.translate(_URL_SAFE).rstrip("=")
        try:
            raw = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
        except ValueError:
            raise MemberError("this is no base64") from None
        return head + length(len(raw)) + raw

    return encode


def _bool(field: FieldDescriptor) -> Encode:
    encoded = {value: tag(field.number, VARINT) + bytes((value,)) for value in (False, True)}

    def encode(value: Any, _: Conversion) -> bytes:
        if type(value) is not bool:
            raise _expected("true or false", value)
        return encoded[value]

    return encode


def _double(field: FieldDescriptor) -> Encode:
    head = tag(field.number, FIXED64)
    pack = struct.Struct("<d").pack

    def encode(value: Any, _: Conversion) -> bytes:
        if type(value) is str:
            named = _NAMES_OF_DOUBLES.get(value)
            if named is None and not _NUMBER.fullmatch(value):
                raise MemberError("a number, or one of NaN, Infinity and -Infinity, is expected here")
            return head + pack(float(value) if named is None else named)
        if type(value) is not float and type(value) is not int:
            raise _expected("a number", value)
        try:
            return head + pack(value)
        except (OverflowError, struct.error):
            raise MemberError("this number is beyond a double") from None

    return encode


_FixedOrVarint = tuple[int, int, struct.Struct | None]
_INTEGERS: Final[dict[int, _FixedOrVarint]] = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31, None),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63, None),
    FieldDescriptor.TYPE_UINT32: (0, 2**32, None),
    FieldDescriptor.TYPE_UINT64: (0, 2**64, None),
    FieldDescriptor.TYPE_FIXED32: (0, 2**32, struct.Struct("<I")),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64, struct.Struct("<Q")),
    FieldDescriptor.TYPE_SFIXED64: (-(2**63), 2**63, struct.Struct("<q")),
}


def _integer(field: FieldDescriptor) -> Encode:
    low, end, fixed = _INTEGERS[field.type]
    if fixed is None:
        head = tag(field.number, VARINT)
        return lambda value, _: head + varint(whole_number(value, low, end) & 0xFFFF_FFFF_FFFF_FFFF)
    head = tag(field.number, FIXED32 if fixed.size == 4 else FIXED64)
    pack = fixed.pack
    return lambda value, _: head + pack(whole_number(value, low, end))


def _zigzag(field: FieldDescriptor) -> Encode:
    head = tag(field.number, VARINT)

    def encode(value: Any, _: Conversion) -> bytes:
        number = whole_number(value, -(2**31), 2**31)
        return head + varint(number << 1 if number >= 0 else (-number << 1) - 1)

    return encode


def whole_number(value: Any, low: int, end: int) -> int:
    """Read an integer from a JSON number or a decimal string, exactly.

    Raises:
        MemberError: it is none, or not in [low, end).
    """
    if type(value) is str:
        if not _INTEGER.fullmatch(value):
            raise MemberError("a whole number is expected here, as a number or as its decimal digits in a string")
        value = int(value)
    elif type(value) is float and value.is_integer():
        # 1.5e18 is a whole number to JSON
        value = int(value)
    elif type(value) is not int:
        raise _expected("a whole number", value)
    if not low <= value < end:
        raise MemberError(f"a whole number from {low} to {end - 1} is expected here")
    return int(value)


def _enum(field: FieldDescriptor) -> Encode:
    head = tag(field.number, VARINT)
    names = {value.name: value.number for value in field.enum_type.values} if field.enum_type else {}

    def encode(value: Any, conversion: Conversion) -> bytes:
        if type(value) is str:
            conversion.nonconformant = True
            value = names.get(value, value)
        return head + varint(whole_number(value, -(2**31), 2**31) & 0xFFFF_FFFF_FFFF_FFFF)

    return encode


_BUILDERS: Final[dict[int, Callable[[FieldDescriptor], Encode]]] = {
    FieldDescriptor.TYPE_MESSAGE: _message,
    FieldDescriptor.TYPE_ENUM: _enum,
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_SINT32: _zigzag,
    **dict.fromkeys(_INTEGERS, _integer),
}
