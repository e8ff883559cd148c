"""Stored rows of a trace to JSON: ids as lower-case hex, attributes with their own types back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from traced.model.finding import timestamp
from traced.model.span import UNKNOWN_SERVICE, AttributeType, SpanKind, StatusCode, span_id_hex, trace_id_hex
from traced.model.views import StoredTrace

MAX_NESTING_CHARACTERS = 64 * 1024
"""Longer text of an array or map is shown as text: parsing it costs more than it tells."""


def spans_as_json(spans: pa.Table) -> list[dict[str, Any]]:
    """Give rows of schema SPANS as JSON objects."""
    return [_span(row) for row in spans.to_pylist()]


def logs_as_json(logs: pa.Table) -> list[dict[str, Any]]:
    """Give rows of schema LOGS as JSON objects."""
    return [_log(row) for row in logs.to_pylist()]


def is_complete(trace: StoredTrace) -> bool:
    """Whether nothing is known to be missing: every parent that the spans here name is stored, and at least one root span."""
    ids = set(trace.spans.column("span_id").to_pylist()) | trace.beyond
    parents = set(trace.spans.column("parent_span_id").to_pylist())
    return trace.has_root and parents - {0} <= ids


def _span(row: dict[str, Any]) -> dict[str, Any]:
    start, end = row["start_time_unix_nano"], row["end_time_unix_nano"]
    return {
        "trace_id": trace_id_hex(row["trace_id_high"], row["trace_id_low"]),
        "span_id": span_id_hex(row["span_id"]),
        "parent_span_id": span_id_hex(row["parent_span_id"]),
        "trace_state": row["trace_state"] or "",
        "flags": row["flags"],
        "name": row["name"],
        "kind": _name(SpanKind, row["kind"]),
        "start_time_unix_nano": start,
        "end_time_unix_nano": end,
        "start_time": timestamp(start),
        "duration_nano": end - start,
        "status": {"code": _name(StatusCode, row["status_code"]), "message": row["status_message"] or ""},
        "attributes": attributes_as_json(row["attributes"]),
        "events": [_event(e) for e in row["events"] or ()],
        "links": [_link(one) for one in row["links"] or ()],
        **_origin(row),
        "dropped_attributes_count": row["dropped_attributes_count"],
        "dropped_events_count": row["dropped_events_count"],
        "dropped_links_count": row["dropped_links_count"],
    }


def _origin(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "service_name": row["service_name"] or UNKNOWN_SERVICE,
        "resource": {"attributes": key_values_as_json(row["resource_attributes"]), "schema_url": row["resource_schema_url"] or ""},
        "scope": {
            "name": row["scope_name"] or "",
            "version": row["scope_version"] or "",
            "attributes": key_values_as_json(row["scope_attributes"]),
            "schema_url": row["scope_schema_url"] or "",
        },
    }


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "time_unix_nano": event["time_unix_nano"],
        "name": event["name"],
        "attributes": attributes_as_json(event["attributes"]),
        "dropped_attributes_count": event["dropped_attributes_count"],
    }


def _link(link: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": trace_id_hex(link["trace_id_high"], link["trace_id_low"]),
        "span_id": span_id_hex(link["span_id"]),
        "trace_state": link["trace_state"] or "",
        "flags": link["flags"],
        "attributes": attributes_as_json(link["attributes"]),
        "dropped_attributes_count": link["dropped_attributes_count"],
    }


def _log(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "time_unix_nano": row["time_unix_nano"],
        "observed_time_unix_nano": row["observed_time_unix_nano"],
        "severity_number": row["severity_number"],
        "severity_text": row["severity_text"] or "",
        "event_name": row["event_name"] or "",
        "body": typed_value(row["body_type"], row["body"]),
        "span_id": span_id_hex(row["span_id"] or 0),
        "attributes": attributes_as_json(row["attributes"]),
        **_origin(row),
    }


def _name(kind: type[SpanKind | StatusCode], number: int) -> str:
    """Give an OTLP enum's name; a number that this version does not know stays a number, as text."""
    try:
        return kind(number).name
    except ValueError:
        return str(number)


def attributes_as_json(attributes: Iterable[dict[str, Any]] | None) -> dict[str, Any]:
    """Give a list of (key, type, value) as one object; of a repeated key the first counts, as at ingest."""
    shown: dict[str, Any] = {}
    for one in attributes or ():
        shown.setdefault(one["key"], typed_value(one["type"], one["value"]))
    return shown


def typed_value(kind: int | None, text: str | None) -> Any:
    """Read a stored attribute value back: numbers, booleans, arrays and maps as such, bytes as base64; else as text."""
    if text is None or kind is None or kind == AttributeType.EMPTY:
        return text or None
    read = _READERS.get(kind)
    try:
        return read(text) if read is not None else text
    except (ValueError, RecursionError):
        return text


def _double(text: str) -> float | str:
    """Read a double; NaN and the infinities stay the words that proto3 JSON has for them."""
    number = float(text)
    return number if math.isfinite(number) else text


def _nested(text: str) -> Any:
    return json.loads(text) if len(text) <= MAX_NESTING_CHARACTERS else text


_READERS: dict[int, Callable[[str], Any]] = {
    AttributeType.BOOL: lambda text: text == "true",
    AttributeType.INT: int,
    AttributeType.DOUBLE: _double,
    AttributeType.ARRAY: _nested,
    AttributeType.KVLIST: _nested,
}


def key_values_as_json(text: str | None) -> dict[str, Any]:
    """Read an OTLP/JSON array of KeyValue back to one object; text that is no such array gives an empty one."""
    if not text:
        return {}
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    shown: dict[str, Any] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and isinstance(pair.get("key"), str):
            shown.setdefault(pair["key"], _any_value(pair.get("value"), depth=32))
    return shown


def _any_value(value: Any, depth: int) -> Any:
    """Read an OTLP/JSON AnyValue; deeper than `depth` (the bound at ingest) it is left as it is."""
    if not isinstance(value, dict) or depth == 0:
        return value
    for name, content in value.items():
        if name == "intValue":
            return _integer(content)
        if name == "arrayValue" and isinstance(content, dict):
            return [_any_value(one, depth - 1) for one in content.get("values", ())]
        if name == "kvlistValue" and isinstance(content, dict):
            pairs = [pair for pair in content.get("values", ()) if isinstance(pair, dict)]
            return {str(pair.get("key", "")): _any_value(pair.get("value"), depth - 1) for pair in pairs}
        if name in {"stringValue", "boolValue", "doubleValue", "bytesValue"}:
            return content
    return None


def _integer(content: Any) -> Any:
    try:
        return int(content)
    except (TypeError, ValueError):
        return content
