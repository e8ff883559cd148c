"""What the decoder's tests share: spans, requests, and protobuf's bytes by hand, so that they can be wrong."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from traced.model.batch import Batch
from traced.receiver.decode import decode_traces
from traced.receiver.wire import Limits

TRACE_ID, SPAN_ID = bytes(range(16)), bytes(range(8))
REPLACED = "\ufffd"


def request_of(*spans: Span) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request


def span(**members: Any) -> Span:
    return Span(**{"trace_id": TRACE_ID, "span_id": SPAN_ID, **members})


def decoded(request: ExportTraceServiceRequest) -> Batch:
    return decode_traces(request.SerializeToString(), Limits())


def pair(key: str, **value: Any) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(**value))


def varint(value: int) -> bytes:
    """Encode an unsigned integer."""
    encoded = b""
    while value >= 0x80:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))


def delimited(field: int, payload: bytes) -> bytes:
    """Encode a field with a length."""
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def request_of_raw(*items: bytes) -> bytes:
    """Encode a request of one envelope whose items are any bytes."""
    return delimited(1, delimited(2, b"".join(delimited(2, item) for item in items)))
