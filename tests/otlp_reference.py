"""The reference decoder: opentelemetry-proto's own messages to rows of the public schemas, written as plainly as it can be.

It shares nothing with the receiver but the limits of its documentation, so that where both agree, both are probably right.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from traced.model.batch import Batch, Signal
from traced.model.schema import TYPED_ATTRIBUTES
from traced.store.expand import Dictionaries, expand_logs, expand_spans
from traced.store.group import Bases, dictionary_rows, item_rows
from traced.store.message_keys import says_of_messages

Row = dict[str, Any]

MAX_KEY, MAX_VALUE, MAX_BODY, MAX_LIST, MAX_ORIGIN_LIST, MAX_DEPTH = 256, 4096, 32_768, 128, 256, 32
MAX_TIME = 2**63 - 1


@dataclass
class Expected:
    """What a decoder must give for one request."""

    rows: list[Row] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    altered: Counter[str] = field(default_factory=Counter)

    def text(self, value: str, limit: int, reason: str) -> str:
        encoded = value.encode()
        if len(encoded) <= limit:
            return value
        self.altered[f"{reason}_cut"] += 1
        return encoded[: limit - 3].decode("utf-8", "ignore") + "…"

    def time(self, value: int) -> int:
        self.altered["time_clamped"] += value > MAX_TIME
        return min(value, MAX_TIME)

    def value(self, value: Any, limit: int = MAX_VALUE, reason: str = "attribute_value") -> tuple[int, str]:
        """Give (number of AnyValue's member, text)."""
        member = value.WhichOneof("value")
        if member == "string_value":
            return 1, self.text(value.string_value, limit, reason)
        if member == "bool_value":
            return 2, "true" if value.bool_value else "false"
        if member == "int_value":
            return 3, str(value.int_value)
        if member == "double_value":
            return 4, double(value.double_value)
        if member == "bytes_value":
            keep = limit // 4 * 3
            self.altered[f"{reason}_cut"] += len(value.bytes_value) > keep
            return 7, base64.b64encode(value.bytes_value[:keep]).decode()
        if member in ("array_value", "kvlist_value"):
            return (5 if member == "array_value" else 6), self.nested(value, limit, reason)
        self.altered["strindex"] += member == "string_value_strindex"
        return 0, ""

    def nested(self, value: Any, limit: int, reason: str) -> str:
        flags: set[str] = set()
        text = json.dumps(plain(value, MAX_DEPTH, flags), ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) > limit:
            flags = {f"{reason}_cut"}
            text = json.dumps(text.encode()[: limit // 2 - 4].decode("utf-8", "ignore") + "…", ensure_ascii=False)
        self.altered.update(flags)
        return text

    def attribute(self, pair: Any) -> Row:
        self.altered["strindex"] += pair.key_strindex != 0
        key = self.text(pair.key, MAX_KEY, "attribute_key")
        kind, value = self.value(pair.value)
        return {"key": key, "type": kind, "value": value}

    def list(self, values: Any, name: str, limit: int = MAX_LIST) -> tuple[list[Any], int]:
        """Give the values that are kept, and how many are not."""
        excess = max(0, len(values) - limit)
        self.altered[f"{name}_cut"] += excess
        return list(values[:limit]), excess

    def attributes(self, owner: Any, limit: int = MAX_LIST) -> Row:
        """Give the columns `attributes` and `dropped_attributes_count`."""
        kept, excess = self.list(owner.attributes, "attributes", limit)
        return {"attributes": [self.attribute(a) for a in kept], "dropped_attributes_count": min(owner.dropped_attributes_count + excess, 2**32 - 1)}


def double(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def plain(value: Any, depth: int, flags: set[str]) -> Any:
    """Give a nested AnyValue as what `json` writes."""
    member = value.WhichOneof("value")
    if member in {"array_value", "kvlist_value"}:
        if depth == 0:
            flags.add("value_too_deep")
            return "…"
        if member == "array_value":
            return [plain(v, depth - 1, flags) for v in value.array_value.values]
        pairs: dict[str, Any] = {}
        for pair in value.kvlist_value.values:
            if pair.key_strindex:
                flags.add("strindex")
            pairs.setdefault(pair.key, plain(pair.value, depth - 1, flags))
        return pairs
    if member == "bytes_value":
        return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
    if member == "double_value" and not math.isfinite(value.double_value):
        return double(value.double_value)
    if member == "string_value_strindex":
        flags.add("strindex")
        return None
    return getattr(value, member) if member else None


def expected_spans(request: Any) -> Expected:
    """Decode an ExportTraceServiceRequest."""
    expected = Expected()
    for resource_spans in request.resource_spans:
        resource = _resource(expected, resource_spans)
        for scope_spans in resource_spans.scope_spans:
            origin = resource | _scope(expected, scope_spans)
            for span in scope_spans.spans:
                reason = _why_invalid(span)
                if reason:
                    expected.rejected[reason] += 1
                else:
                    expected.rows.append(_span(expected, span) | origin)
    return _without_zeros(expected)


def expected_logs(request: Any) -> Expected:
    """Decode an ExportLogsServiceRequest."""
    expected = Expected()
    for resource_logs in request.resource_logs:
        resource = _resource(expected, resource_logs)
        for scope_logs in resource_logs.scope_logs:
            origin = resource | _scope(expected, scope_logs)
            expected.rows.extend(_log(expected, record) | origin for record in scope_logs.log_records)
    return _without_zeros(expected)


def _without_zeros(expected: Expected) -> Expected:
    expected.altered = Counter({reason: count for reason, count in expected.altered.items() if count})
    return expected


def _valid(raw: bytes, width: int) -> bool:
    return len(raw) == width and any(raw)


def _why_invalid(span: Any) -> str:
    if not _valid(span.trace_id, 16):
        return "invalid_trace_id"
    if not _valid(span.span_id, 8):
        return "invalid_span_id"
    return "" if len(span.parent_span_id) in (0, 8) else "invalid_parent_span_id"


def _trace_id(raw: bytes) -> Row:
    raw = raw if len(raw) == 16 else bytes(16)
    return {"trace_id_high": int.from_bytes(raw[:8], "big"), "trace_id_low": int.from_bytes(raw[8:], "big")}


def _span_id(raw: bytes) -> int:
    return int.from_bytes(raw, "big") if len(raw) == 8 else 0


def _enum(number: int) -> int:
    return number if 0 <= number <= 255 else 255


def _resource(expected: Expected, envelope: Any) -> Row:
    attributes = expected.attributes(envelope.resource, MAX_ORIGIN_LIST)
    first: dict[str, str] = {}
    for attribute in attributes["attributes"]:
        first.setdefault(attribute["key"], attribute["value"])
    hosts = [first[key] for key in ("host.id", "k8s.node.name", "host.name", "service.instance.id") if first.get(key)]
    return {
        "service_namespace": first.get("service.namespace", ""),
        "service_name": first.get("service.name", ""),
        "service_version": first.get("service.version", ""),
        "service_instance_id": first.get("service.instance.id", ""),
        "host": hosts[0] if hosts else "",
        "telemetry_sdk_language": first.get("telemetry.sdk.language", ""),
        "deployment_environment_name": first.get("deployment.environment.name") or first.get("deployment.environment", ""),
        "resource_attributes": _otlp_json(attributes["attributes"]),
        "resource_dropped_attributes_count": attributes["dropped_attributes_count"],
        "resource_schema_url": expected.text(envelope.schema_url, MAX_VALUE, "schema_url"),
    }


def _scope(expected: Expected, envelope: Any) -> Row:
    scope = envelope.scope
    attributes = expected.attributes(scope, MAX_ORIGIN_LIST)
    return {
        "scope_name": expected.text(scope.name, MAX_VALUE, "scope"),
        "scope_version": expected.text(scope.version, MAX_VALUE, "scope"),
        "scope_attributes": _otlp_json(attributes["attributes"]),
        "scope_dropped_attributes_count": attributes["dropped_attributes_count"],
        "scope_schema_url": expected.text(envelope.schema_url, MAX_VALUE, "schema_url"),
    }


def _otlp_json(attributes: list[Row]) -> list[Any]:
    """Give attributes as OTLP/JSON's KeyValues, parsed."""
    return [{"key": a["key"], "value": _json_value(a["type"], a["value"])} for a in attributes]


def _json_value(kind: int, text: str) -> Row:
    if kind in (1, 3, 7):
        return {{1: "stringValue", 3: "intValue", 7: "bytesValue"}[kind]: text}
    if kind == 2:
        return {"boolValue": text == "true"}
    if kind == 4:
        return {"doubleValue": text if text in ("NaN", "Infinity", "-Infinity") else float(text)}
    return _nested_json_value(json.loads(text)) if kind else {}


def _nested_json_value(value: Any) -> Row:
    if value is None:
        return {}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_nested_json_value(v) for v in value]}}
    if isinstance(value, dict):
        if list(value) == ["bytesValue"] and isinstance(value["bytesValue"], str):
            return value
        return {"kvlistValue": {"values": [{"key": k, "value": _nested_json_value(v)} for k, v in value.items()]}}
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}


def _typed(attributes: list[Row]) -> Row:
    """Give the attributes that are columns: of several spellings the newest, of a repeated key the first."""
    first: dict[str, str] = {}
    for attribute in attributes:
        first.setdefault(attribute["key"], attribute["value"])
    return {name: next((first[s] for s in spellings if s in first), None) for name, spellings in TYPED_ATTRIBUTES.items()}


def _span(expected: Expected, span: Any) -> Row:
    attributes = expected.attributes(span)
    events, events_cut = expected.list(span.events, "events")
    links, links_cut = expected.list(span.links, "links")
    return {
        **_trace_id(span.trace_id),
        "span_id": _span_id(span.span_id),
        "parent_span_id": _span_id(span.parent_span_id),
        "trace_state": expected.text(span.trace_state, MAX_VALUE, "trace_state"),
        "flags": span.flags,
        "name": expected.text(span.name, MAX_VALUE, "name"),
        "kind": _enum(span.kind),
        "start_time_unix_nano": expected.time(span.start_time_unix_nano),
        "end_time_unix_nano": expected.time(span.end_time_unix_nano),
        "status_code": _enum(span.status.code),
        "status_message": expected.text(span.status.message, MAX_VALUE, "status_message"),
        "dropped_events_count": min(span.dropped_events_count + events_cut, 2**32 - 1),
        "dropped_links_count": min(span.dropped_links_count + links_cut, 2**32 - 1),
        "events": [_event(expected, e) for e in events] or None,
        "links": [_link(expected, x) for x in links] or None,
        **attributes,
        **_typed(attributes["attributes"]),
        "message_attributes": [a for a in attributes["attributes"] if says_of_messages(a["key"])] or None,
    }


def _event(expected: Expected, event: Any) -> Row:
    return {
        "time_unix_nano": expected.time(event.time_unix_nano),
        "name": expected.text(event.name, MAX_VALUE, "name"),
        **expected.attributes(event),
    }


def _link(expected: Expected, link: Any) -> Row:
    return {
        **_trace_id(link.trace_id),
        "span_id": _span_id(link.span_id),
        "trace_state": expected.text(link.trace_state, MAX_VALUE, "trace_state"),
        "flags": link.flags,
        **expected.attributes(link),
    }


def _log(expected: Expected, record: Any) -> Row:
    body_type, body = expected.value(record.body, MAX_BODY, "body")
    associated = _valid(record.trace_id, 16) and _valid(record.span_id, 8)
    return {
        "time_unix_nano": expected.time(record.time_unix_nano),
        "observed_time_unix_nano": expected.time(record.observed_time_unix_nano),
        "severity_number": _enum(record.severity_number),
        "severity_text": expected.text(record.severity_text, MAX_VALUE, "severity_text"),
        "event_name": expected.text(record.event_name, MAX_VALUE, "name"),
        "body_type": body_type,
        "body": body,
        **_trace_id(record.trace_id),
        "span_id": _span_id(record.span_id) if associated else 0,
        "flags": record.flags & 0xFF,
        **expected.attributes(record),
    }


def rows_of(*batches: Batch) -> list[Row]:
    """Give decoded batches of one signal as the public rows that the store makes of them, without the time of arrival."""
    tables, starts = dictionary_rows(batches, Bases())
    items = pa.concat_tables([item_rows(batch, start, None, 0) for batch, start in zip(batches, starts, strict=True)])
    expand = expand_spans if batches[0].signal is Signal.TRACES else expand_logs
    return comparable(expand(items, Dictionaries(tables["attribute"], tables["resource"], tables["scope"])).to_pylist())


def comparable(rows: list[Row]) -> list[Row]:
    """Drop the time of arrival, and parse what is JSON, whose spelling does not matter."""
    for row in rows:
        del row["arrival_time_unix_nano"]
        for name in ("resource_attributes", "scope_attributes"):
            row[name] = json.loads(row[name])
    return rows
