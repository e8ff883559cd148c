"""What OTLP says of a span, as numbers and names.

Source: opentelemetry-proto `opentelemetry/proto/trace/v1/trace.proto`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class SpanKind(IntEnum):
    """OTLP's `Span.SpanKind`."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class StatusCode(IntEnum):
    """OTLP's `Status.StatusCode`."""

    UNSET = 0
    OK = 1
    ERROR = 2


class AttributeType(IntEnum):
    """Which member of OTLP's `AnyValue` a stored attribute value was; the numbers are the field numbers."""

    EMPTY = 0
    STRING = 1
    BOOL = 2
    INT = 3
    DOUBLE = 4
    ARRAY = 5
    KVLIST = 6
    BYTES = 7


FLAGS_HAS_IS_REMOTE: Final = 0x100
FLAGS_IS_REMOTE: Final = 0x200

MAX_TIME_UNIX_NANO: Final = 2**63 - 1
"""Times are stored signed; OTLP's unsigned times above this are clamped to it (year 2262)."""

UNKNOWN_SERVICE: Final = "unknown_service"
"""The name of a span whose resource, and whose ancestors, carry no `service.name` (OpenTelemetry's default)."""


def trace_id_hex(high: int, low: int) -> str:
    """Give a trace id as 32 lower-case hex digits."""
    return f"{high:016x}{low:016x}"


def span_id_hex(span_id: int) -> str:
    """Give a span id as 16 lower-case hex digits; the absent id 0 is the empty string."""
    return f"{span_id:016x}" if span_id else ""


def parse_trace_id(text: str) -> tuple[int, int]:
    """Read up to 32 hex digits, padded on the left, as (high, low).

    Raises:
        ValueError: the text is empty, too long or not hex.
    """
    digits = text.strip().lower()
    if not 1 <= len(digits) <= 32 or any(c not in "0123456789abcdef" for c in digits):
        msg = f"not a trace id: {text[:64]!r} (1 to 32 hex digits are expected)"
        raise ValueError(msg)
    padded = digits.rjust(32, "0")
    return int(padded[:16], 16), int(padded[16:], 16)
