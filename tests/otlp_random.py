"""Random export requests: everything OTLP allows and much that it does not, the same for the same seed."""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

KEYS = (
    "",
    "service.name",
    "service.namespace",
    "service.instance.id",
    "service.version",
    "host.id",
    "host.name",
    "k8s.node.name",
    "telemetry.sdk.language",
    "http.route",
    "http.request.method",
    "http.method",
    "peer.service",
    "service.peer.name",
    "messaging.destination",
    "bytesValue",
    "ключ",
    "a" * 256,
)
TEXTS = ("", "a", "GET /cart", "ü𝄞\x00", '"\\\n', "\ufffd", "…", "\u2028", "é" * 7, "checkout")
LIMITS = (255, 256, 257, 4093, 4095, 4096, 4097, 5000)
INTEGERS = (0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63))
DOUBLES = (0.0, -0.0, 1.5, -1e-300, 1e308, 0.1, math.inf, -math.inf, math.nan)
TIMES = (0, 1, 1_700_000_000_000_000_000, 2**63 - 1, 2**63, 2**64 - 1)
COUNTS = (0, 0, 1, 2**32 - 1)
UNKNOWN = b"\xa2\x06\x03new\xa8\x06\x05\xad\x06abcd"
"""Fields 100 (text), 101 (number) and 101 again (four bytes), which OTLP does not have."""
IDS = {"traceId", "spanId", "parentSpanId"}


class Requests:
    """Draws requests.

    Attributes:
        large: how often, of 1, something goes up to a limit or beyond.
        invalid: how often an id is invalid.
    """

    def __init__(self, seed: int, *, large: float = 0.01, invalid: float = 0.05) -> None:
        self.chance = random.Random(seed)
        self.large = large
        self.invalid = invalid
        self._pool: list[KeyValue] = []

    def traces(self) -> ExportTraceServiceRequest:
        """Give a trace request of up to four resources."""
        request = ExportTraceServiceRequest()
        for _ in range(self.chance.randrange(4)):
            resource_spans = request.resource_spans.add()
            self._envelope(resource_spans, "resource")
            for _ in range(self.chance.randrange(4)):
                scope_spans = resource_spans.scope_spans.add()
                self._envelope(scope_spans, "scope")
                for _ in range(self.chance.randrange(5)):
                    self._span(scope_spans.spans.add())
        self._unknown(request)
        return request

    def logs(self) -> ExportLogsServiceRequest:
        """Give a log request of up to four resources."""
        request = ExportLogsServiceRequest()
        for _ in range(self.chance.randrange(4)):
            resource_logs = request.resource_logs.add()
            self._envelope(resource_logs, "resource")
            for _ in range(self.chance.randrange(4)):
                scope_logs = resource_logs.scope_logs.add()
                self._envelope(scope_logs, "scope")
                for _ in range(self.chance.randrange(5)):
                    self._log(scope_logs.log_records.add())
        self._unknown(request)
        return request

    def _sometimes(self, probability: float) -> bool:
        return self.chance.random() < probability

    def _unknown(self, message: Any) -> None:
        if self._sometimes(0.05):
            message.MergeFromString(UNKNOWN)

    def _text(self, kind: str = "ab ü…") -> str:
        if self._sometimes(self.large):
            return "".join(self.chance.choices(kind, k=self.chance.choice(LIMITS)))
        return self.chance.choice(TEXTS)

    def _id(self, width: int) -> bytes:
        if self._sometimes(self.invalid):
            return self.chance.choice([b"", bytes(width), self.chance.randbytes(width - 1), self.chance.randbytes(width + 1), b"\x01"])
        return self.chance.randbytes(width)

    def _envelope(self, envelope: Any, name: str) -> None:
        envelope.schema_url = self.chance.choice(["", "https://opentelemetry.io/schemas/1.40.0", self._text()])
        owner = getattr(envelope, name)
        if self._sometimes(0.8):
            self._attributes(owner, 270)
            if name == "scope":
                owner.name, owner.version = self._text(), self._text()
            else:
                owner.entity_refs.add(type="service", id_keys=["service.name"])
        self._unknown(envelope)
        self._unknown(owner)

    def _attributes(self, owner: Any, beyond_limit: int = 131) -> None:
        count = self.chance.randrange(beyond_limit - 4, beyond_limit) if self._sometimes(self.large) else self.chance.randrange(5)
        owner.attributes.extend(self._pair() for _ in range(count))
        owner.dropped_attributes_count = self.chance.choice(COUNTS)

    def _pair(self, depth: int = 0) -> KeyValue:
        if self._pool and not depth and self._sometimes(0.5):
            return self.chance.choice(self._pool)
        pair = KeyValue(key=self._text() if self._sometimes(0.1) else self.chance.choice(KEYS))
        if self._sometimes(0.9):
            pair.value.CopyFrom(self.value(depth))
        if self._sometimes(0.01):
            pair.key_strindex = self.chance.choice([1, -1])
        self._unknown(pair)
        if not depth and len(self._pool) < 30:
            self._pool.append(pair)
        return pair

    def value(self, depth: int = 0) -> AnyValue:
        """Give an AnyValue of any shape."""
        if not depth and self._sometimes(self.large):
            return self._deep(self.chance.randrange(30, 36))
        kind = self.chance.randrange(9 if depth < 4 else 7)
        value = AnyValue()
        if kind == 0:
            value.string_value = self._text()
        elif kind == 1:
            value.bool_value = self._sometimes(0.5)
        elif kind == 2:
            value.int_value = self.chance.choice(INTEGERS)
        elif kind == 3:
            value.double_value = self.chance.choice([*DOUBLES, self.chance.uniform(-1e9, 1e9)])
        elif kind == 4:
            value.bytes_value = self.chance.randbytes(self.chance.choice([0, 1, 5, 3071, 3072, 3073] if self._sometimes(self.large) else [0, 1, 2, 3]))
        elif kind == 5 and self._sometimes(0.2):
            value.string_value_strindex = self.chance.choice([0, 3])
        elif kind == 7:
            value.array_value.values.extend(self.value(depth + 1) for _ in range(self.chance.randrange(4)))
        elif kind == 8:
            value.kvlist_value.values.extend(self._pair(depth + 1) for _ in range(self.chance.randrange(4)))
        self._unknown(value)
        return value

    def _deep(self, depth: int) -> AnyValue:
        value = AnyValue(string_value="bottom")
        for _ in range(depth):
            outer = AnyValue()
            if self._sometimes(0.5):
                outer.array_value.values.append(value)
            else:
                outer.kvlist_value.values.add(key="k", value=value)
            value = outer
        return value

    def _span(self, span: Any) -> None:
        chance = self.chance
        span.trace_id, span.span_id = self._id(16), self._id(8)
        span.parent_span_id = chance.choice([b"", bytes(8), self._id(8)])
        span.trace_state, span.name = chance.choice(["", "a=b"]), self._text()
        span.kind = chance.choice([0, 1, 2, 3, 4, 5, 6, 255, 256, -1, 2**31 - 1])
        span.flags = chance.choice([0, 1, 0x100, 0x301, 2**32 - 1])
        span.start_time_unix_nano, span.end_time_unix_nano = chance.choice(TIMES), chance.choice(TIMES)
        self._attributes(span)
        for _ in range(chance.randrange(125, 132) if self._sometimes(self.large) else chance.randrange(3)):
            event = span.events.add(time_unix_nano=chance.choice(TIMES), name=self._text())
            if self._sometimes(0.5):
                self._attributes(event)
        for _ in range(chance.randrange(125, 132) if self._sometimes(self.large) else chance.randrange(3)):
            link = span.links.add(trace_id=self._id(16), span_id=self._id(8), trace_state=self._text(), flags=chance.choice([0, 0x101]))
            if self._sometimes(0.5):
                self._attributes(link)
        span.dropped_events_count, span.dropped_links_count = chance.choice(COUNTS), chance.choice(COUNTS)
        if self._sometimes(0.5):
            span.status.code, span.status.message = chance.choice([0, 1, 2, 3, 300, -7]), self._text()
        self._unknown(span)

    def _log(self, record: Any) -> None:
        chance = self.chance
        record.time_unix_nano, record.observed_time_unix_nano = chance.choice(TIMES), chance.choice(TIMES)
        record.severity_number, record.severity_text = chance.choice([0, 9, 24, 25, -1, 300]), self._text()
        record.event_name, record.flags = self._text(), chance.choice([0, 1, 0x1FF, 2**32 - 1])
        if self._sometimes(0.7):
            record.trace_id, record.span_id = self._id(16), self._id(8)
        if self._sometimes(0.9):
            record.body.CopyFrom(self.value())
        self._attributes(record)
        self._unknown(record)


def as_json(request: Any, *, unknown_names: bool = True) -> bytes:
    """Give a request in OTLP/JSON: proto3 JSON with enums as numbers, ids as hex, and a few names nobody knows."""
    whole = json_format.MessageToDict(request, use_integers_for_enums=True)
    whole = _convert_ids(whole, lambda text: base64.b64decode(text).hex())
    if unknown_names:
        whole["newInOtlp2"] = {"spans": [1]}
        for envelope in whole.get("resourceSpans", whole.get("resourceLogs", [])):
            envelope["newInOtlp2"] = [[{}]]
    return json.dumps(whole).encode()


def _convert_ids(node: Any, convert: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        return {name: convert(member) if name in IDS else _convert_ids(member, convert) for name, member in node.items()}
    return [_convert_ids(item, convert) for item in node] if isinstance(node, list) else node
