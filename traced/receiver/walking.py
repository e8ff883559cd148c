"""Walks protobuf messages in Python, which no bytes can crash or surprise, before or after a parser that they could.

ptars 0.0.25 is safe with almost everything. It recurses into groups, so that a megabyte of `{` overflows the stack and ends
the process (measured: at more than 100,000 groups inside each other), and it panics on lengths within ten of 2**64.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MAX_FIELDS: Final = 500_000
"""Fields of one message; one with more counts as broken."""
MAX_FIELDS_WALKED: Final = 2_000_000
"""Fields of all messages of a request that are walked, about a second's work; further messages that would have to be walked
count as broken. Only what is long and full of what could be groups, or is beside something broken, ever is."""
MAX_GROUPS: Final = 64
"""Groups inside each other. OTLP has none; a later version could have, in fields that are unknown here."""
MAX_GROUP_FIELDS: Final = 10_000
"""Fields of one group, all groups in it included."""
SAFE_GROUPS: Final = 8 * 2**10
"""So many groups inside each other overflow no stack: they take 80 bytes each."""

_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}

_NESTED: Final[Mapping[str, Mapping[int, str]]] = {"Span": {15: "Status"}, "KeyValue": {2: "AnyValue"}}
"""Which fields of our declarations are messages again; everything else that has a length is opaque."""

_ALMOST_2_64: Final = re.compile(rb"[\x02\x0a\x12\x1a\x22\x2a\x32\x3a\x42\x4a\x52\x5a\x62\x6a\x72\x7a][\xf6-\xff]\xff{8}[\x01-\x7f]")


def varint(body: bytes | memoryview, position: int) -> tuple[int, int]:
    """Read one base-128 varint; give its value and the position after it.

    Raises:
        IndexError: the bytes end inside it.
        ValueError: it is longer than ten bytes.
    """
    byte = body[position]
    if byte < 0x80:
        return byte, position + 1
    value, shift = byte & 0x7F, 7
    for following in range(position + 1, position + 10):
        byte = body[following]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, following + 1
        shift += 7
    raise ValueError("a varint of more than ten bytes")


class Envelope:
    """The envelope of an export request, walked without parsing it.

    4 KB of gzip can hold two million empty spans, whose columns would take hundreds of megabytes; walking costs nothing but
    time (a tenth of a microsecond an item), and the limit bounds that.

    Attributes:
        items: spans or log records, counted up to one above the limit.
        envelopes: ResourceSpans and ScopeSpans, counted in the same way.
        problem: what is wrong with the bytes, or "".
    """

    def __init__(self, body: bytes, limit: int) -> None:
        """Walk; nothing is raised."""
        self.items = 0
        self.envelopes = 0
        self.problem = ""
        self._body = body
        self._limit = limit
        self._others_left = MAX_FIELDS
        try:
            self._request()
        except IndexError:
            self.problem = "a number ends after its message"
        except ValueError as error:
            self.problem = str(error)

    @property
    def over(self) -> bool:
        """Whether there is more of something than the limit."""
        return self.items > self._limit or self.envelopes > self._limit

    def _request(self) -> None:
        position, end = 0, len(self._body)
        while position < end and not self.over:
            start, position = self._next(position, end, 1)
            if start:
                self.envelopes += 1
                self._resource(start, position)

    def _resource(self, position: int, end: int) -> None:
        while position < end and not self.over:
            start, position = self._next(position, end, 2)
            if start:
                self.envelopes += 1
                self._scope(start, position)

    def _scope(self, position: int, end: int) -> None:
        body, items, limit = self._body, self.items, self._limit
        while position < end and items <= limit:
            if body[position] != 0x12:
                _, position = self._next(position, end, 0)
                continue
            # field 2 with a length, of mostly one or two bytes: an item
            size = body[position + 1]
            position += 2
            if size >= 0x80:
                second = body[position]
                if second < 0x80:
                    size, position = size & 0x7F | second << 7, position + 1
                else:
                    size, position = varint(body, position - 1)
            position += size
            items += 1
        self.items = items
        if position > end:
            raise ValueError("a field ends after its message")

    def _next(self, position: int, end: int, wanted: int) -> tuple[int, int]:
        """Pass over one field; give where its content starts if it is the wanted one (else 0), and where it ends."""
        self._others_left -= 1
        if self._others_left < 0:
            raise ValueError("too many fields around the items")
        key, start, stop = pass_over(self._body, position, end)
        if stop > end:
            raise ValueError("a field ends after its message")
        return start if key == wanted << 3 | 2 else 0, stop


def count_items(body: bytes, limit: int) -> tuple[int, int]:
    """Count (items, envelopes) of a request, stopping above the limit, or where the bytes are no request any more."""
    envelope = Envelope(body, limit)
    return envelope.items, envelope.envelopes


class Walker:
    """Finds the broken messages of one request, within its budget.

    Attributes:
        careful: a length within ten of 2**64 may be in the request, so that no message may be parsed before it was walked:
            ptars would add it to a position without a check and panic, which writes to stderr each time.
    """

    def __init__(self, body: bytes) -> None:
        """Search the request; negative numbers look alike up to their tag, so the quick search comes first."""
        self.careful = b"\xff" * 8 in body and _ALMOST_2_64.search(body) is not None
        self._fields_left = MAX_FIELDS_WALKED

    def sound(self, raw: bytes | memoryview, message: str) -> bool:
        """Say whether a message can be parsed: it is whole, of a bearable number of fields, and has no deep groups."""
        budget = min(MAX_FIELDS, self._fields_left)
        try:
            left = _check(raw, 0, len(raw), _NESTED.get(message, {}), budget)
        except (ValueError, IndexError):
            # how far it came is unknown; a field takes two bytes at least
            self._fields_left -= min(budget, len(raw) // 2)
            return False
        self._fields_left -= budget - left
        return True


def _check(raw: bytes | memoryview, position: int, end: int, nested: Mapping[int, str], fields_left: int) -> int:
    """Walk a message; give how many of the fields that were allowed are left."""
    while position < end:
        fields_left -= 1
        if fields_left < 0:
            raise ValueError("too many fields")
        before = position
        key, start, position = pass_over(raw, position, end)
        if position > end:
            raise ValueError("a field ends after its message")
        if key & 7 == _LENGTH and key >> 3 in nested:
            fields_left = _check(raw, start, position, {}, fields_left)
        elif key & 7 == _GROUP:
            # a field in a group takes a byte at least
            fields_left -= position - before
    return fields_left


def pass_over(raw: bytes | memoryview, position: int, end: int) -> tuple[int, int, int]:
    """Pass over one field; give its tag, and where its content starts and ends (maybe after `end`).

    Raises:
        ValueError, IndexError: it is none.
    """
    key, start = varint(raw, position)
    # ptars drops what a long varint has above 32 bits of field number
    key = (key >> 3 & 0xFFFFFFFF) << 3 | key & 7
    if key < 8:
        raise ValueError("a field has the number 0")
    wire_type = key & 7
    if wire_type == _LENGTH:
        size, start = varint(raw, start)
        return key, start, start + size
    return key, start, _group(raw, start, end) if wire_type == _GROUP else _fixed(raw, start, wire_type)


def _fixed(raw: bytes | memoryview, position: int, wire_type: int) -> int:
    """Give the position after a field without a length."""
    if wire_type == _VARINT:
        return varint(raw, position)[1]
    if wire_type in _WIDTHS:
        return position + _WIDTHS[wire_type]
    raise ValueError("an unknown wire type, or the end of a group that never began")


def _group(raw: bytes | memoryview, position: int, end: int) -> int:
    """Give the position after a group, whatever the numbers of the groups in it, as ptars does."""
    depth = 1
    for _ in range(MAX_GROUP_FIELDS):
        if position >= end:
            raise ValueError("a group does not end")
        key, position = varint(raw, position)
        if key >> 3 & 0xFFFFFFFF == 0:
            raise ValueError("a field has the number 0")
        wire_type = key & 7
        if wire_type == _LENGTH:
            length, position = varint(raw, position)
            position += length
        elif wire_type == _GROUP:
            depth += 1
            if depth > MAX_GROUPS:
                raise ValueError("groups are nested too deep")
        elif wire_type == _GROUP_END:
            depth -= 1
            if not depth:
                return position
        else:
            position = _fixed(raw, position, wire_type)
    raise ValueError("a group of too many fields")
