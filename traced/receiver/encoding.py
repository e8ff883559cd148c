"""The few bytes of protobuf that are written by hand: answers, errors, and requests that came as JSON."""

from __future__ import annotations

from typing import Final

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""Protobuf's wire types."""


def varint(value: int) -> bytes:
    """Encode an unsigned integer of at most 64 bits in base 128, the lowest seven bits first."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SHORT: Final = tuple(varint(length) for length in range(4096))


def length(size: int) -> bytes:
    """Encode a length; most are short, so those are kept ready."""
    return _SHORT[size] if size < 4096 else varint(size)


def tag(number: int, wire_type: int) -> bytes:
    """Encode a field's number and wire type."""
    return varint(number << 3 | wire_type)


def delimited(number: int, payload: bytes) -> bytes:
    """Encode a length-delimited field: a string, bytes, or a message encoded before."""
    return tag(number, LENGTH_DELIMITED) + length(len(payload)) + payload


def number(field: int, value: int) -> bytes:
    """Encode a varint field; 0 is the default and takes no bytes."""
    return tag(field, VARINT) + varint(value) if value else b""
