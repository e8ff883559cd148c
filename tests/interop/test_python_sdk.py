"""An unmodified OpenTelemetry SDK for Python, over gRPC and HTTP: the stored rows say what it sent."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from stored import attribute, attributes, otlp_json, stored_attributes, stored_spans

from traced.daemon import Daemon

TRANSPORTS: dict[str, tuple[Callable[[Daemon], Any], Callable[[Daemon], Any]]] = {
    "grpc": (
        lambda daemon: GrpcSpanExporter(endpoint=daemon.receiver.grpc_address, insecure=True),
        lambda daemon: GrpcLogExporter(endpoint=daemon.receiver.grpc_address, insecure=True),
    ),
    "http": (
        lambda daemon: HttpSpanExporter(endpoint=f"http://{daemon.receiver.http_address}/v1/traces"),
        lambda daemon: HttpLogExporter(endpoint=f"http://{daemon.receiver.http_address}/v1/logs"),
    ),
    "http with gzip": (
        lambda daemon: HttpSpanExporter(endpoint=f"http://{daemon.receiver.http_address}/v1/traces", compression=Compression.Gzip),
        lambda daemon: HttpLogExporter(endpoint=f"http://{daemon.receiver.http_address}/v1/logs", compression=Compression.Gzip),
    ),
}
RESOURCE = {"service.name": "python-sdk", "service.namespace": "interop", "service.instance.id": "i-1", "list": ("a", "b")}
ATTRIBUTES = {
    "text": 'Grüße, 世界 \U0001f600 "\\\n',
    "empty": "",
    "yes": True,
    "no": False,
    "whole": 42,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "fraction": 0.1,
    "tiny": -5e-324,
    "infinite": math.inf,
    "texts": ("a", "", "ü"),
    "numbers": (1, -2, 2**53 + 1),
    "fractions": (1.5, 2.0),
    "flags": (True, False),
    "http.route": "/cart",
    "server.port": 8080,
}


def make_spans(tracer: trace.Tracer) -> None:
    """Start and end spans that use everything the API offers."""
    elsewhere = SpanContext(0xF << 124 | 1, 0xABCDEF0123456789, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b"), ("c", "d")]))
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER, attributes=ATTRIBUTES) as root:
        with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT) as call:
            call.add_event("first", {"attempt": 1, "ok": False, "ids": (1, 2)})
            call.add_event("second", timestamp=1_700_000_000_123_456_789)
            call.record_exception(TypeError("broken <b>pipe</b>"))
            call.set_status(Status(StatusCode.ERROR, "not today"))
        links = [Link(elsewhere, {"why": "batch", "n": 3}), Link(root.get_span_context())]
        tracer.start_span("orders process", kind=SpanKind.CONSUMER, links=links).end()
        tracer.start_span("orders publish", kind=SpanKind.PRODUCER, start_time=1_700_000_000_000_000_001).end(1_700_000_000_999_999_999)
        for number in range(600):
            tracer.start_span(f"span {number}", attributes={"n": number}).end()
        crowded = tracer.start_span("crowded", attributes={f"k{n}": n for n in range(140)})
        crowded.end()
        root.set_status(StatusCode.OK)
    remote = SpanContext(
        0x0123456789ABCDEF0123456789ABCDEF, 0x00F067AA0BA902B7, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("v", "x")])
    )
    tracer.start_span("continued", context=trace.set_span_in_context(NonRecordingSpan(remote))).end()
    tracer.start_span("").end()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_rows_are_what_the_sdk_sent(daemon: Daemon, transport: str) -> None:
    resource = Resource.create({**RESOURCE, "service.version": transport})
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_attributes=128))
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.add_span_processor(BatchSpanProcessor(TRANSPORTS[transport][0](daemon)))
    make_spans(provider.get_tracer("interop", "0.9.0", schema_url="https://opentelemetry.io/schemas/1.36.0", attributes={"scoped": "yes"}))
    assert provider.force_flush(20_000)
    provider.shutdown()
    sent = {(f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"): span for span in memory.get_finished_spans() if span.context}
    assert len(sent) == 607
    rows = {key: row for key, row in stored_spans(daemon, (trace_id for trace_id, _ in sent)).items() if row["service_version"] == transport}
    assert rows.keys() == sent.keys()
    for key, span in sent.items():
        check_span(span, rows[key])


def check_span(span: ReadableSpan, row: dict[str, Any]) -> None:
    """Compare one span with its row, field by field."""
    assert row["name"] == span.name
    assert row["kind"] == span.kind.value + 1, "the SDK's own numbers begin at INTERNAL = 0"
    assert row["parent_span_id"] == (span.parent.span_id if span.parent else 0)
    assert row["trace_state"] == (span.context.trace_state.to_header() if span.context else "")
    assert row["flags"] & 0x100, "whether the parent is remote is known"
    assert bool(row["flags"] & 0x200) == bool(span.parent and span.parent.is_remote)
    assert (row["start_time_unix_nano"], row["end_time_unix_nano"]) == (span.start_time, span.end_time)
    assert (row["status_code"], row["status_message"]) == (span.status.status_code.value, span.status.description or "")
    assert stored_attributes(row["attributes"]) == _as_json_numbers(attributes(span.attributes))
    assert row["dropped_attributes_count"] == span.dropped_attributes
    assert [(e["name"], e["time_unix_nano"]) for e in row["events"] or []] == [(e.name, e.timestamp) for e in span.events]
    assert [stored_attributes(e["attributes"]) for e in row["events"] or []] == [attributes(e.attributes) for e in span.events]
    # this SDK's exporters do not send a link's trace state
    links = [(x["trace_id_high"] << 64 | x["trace_id_low"], x["span_id"], bool(x["flags"] & 0x200)) for x in row["links"] or []]
    assert links == [(x.context.trace_id, x.context.span_id, x.context.is_remote) for x in span.links]
    assert [stored_attributes(x["attributes"]) for x in row["links"] or []] == [attributes(x.attributes) for x in span.links]
    assert (row["scope_name"], row["scope_version"], row["scope_schema_url"]) == ("interop", "0.9.0", "https://opentelemetry.io/schemas/1.36.0")
    assert json.loads(row["scope_attributes"]) == [{"key": "scoped", "value": {"stringValue": "yes"}}]
    check_resource(span.resource, row)


def check_resource(resource: Resource, row: dict[str, Any]) -> None:
    stored = {a["key"]: a["value"] for a in json.loads(row["resource_attributes"])}
    assert stored == otlp_json(resource.attributes)
    assert (row["service_namespace"], row["service_name"], row["service_instance_id"]) == ("interop", "python-sdk", "i-1")
    assert row["telemetry_sdk_language"] == "python"
    if row.get("http_route") is not None:
        assert (row["http_route"], row["server_port"]) == ("/cart", "8080")


def _as_json_numbers(values: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    return {key: (kind, "Infinity") if text == "inf" else (kind, text) for key, (kind, text) in values.items()}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_log_rows_are_what_the_sdk_sent(daemon: Daemon, transport: str) -> None:
    provider = LoggerProvider(resource=Resource.create({**RESOURCE, "service.version": transport}))
    memory = InMemoryLogRecordExporter()
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    provider.add_log_record_processor(BatchLogRecordProcessor(TRANSPORTS[transport][1](daemon)))
    trace_id = time.time_ns()
    context = trace.set_span_in_context(NonRecordingSpan(SpanContext(trace_id, 0xABC, is_remote=False, trace_flags=TraceFlags(1))))
    logger = provider.get_logger("interop.logs", "0.9.0")
    bodies: list[Any] = ["plain", "", {"order": {"id": 7, "paid": True, "lines": [1, 2.5, "x", None]}}, ["a", 1], 42, 1.5, True, None]
    for number, body in enumerate(bodies):
        logger.emit(
            LogRecord(
                timestamp=1_700_000_000_000_000_000 + number,
                observed_timestamp=1_700_000_001_000_000_000,
                context=context,
                severity_text="WARN",
                severity_number=SeverityNumber.WARN2,
                body=body,
                attributes={"n": number, "texts": ("a", "b")},
                event_name=f"event {number}",
            ),
        )
    assert provider.force_flush(20_000)
    provider.shutdown()
    sent = [log.log_record for log in memory.get_finished_logs()]
    assert len(sent) == len(bodies)
    rows = sorted(daemon.store.logs_of_trace(0, trace_id).to_pylist(), key=lambda row: row["time_unix_nano"])
    for record, row in zip(sent, rows, strict=True):
        assert (row["time_unix_nano"], row["observed_time_unix_nano"]) == (record.timestamp, record.observed_timestamp)
        assert (row["severity_number"], row["severity_text"], row["event_name"]) == (14, "WARN", record.event_name)
        assert (row["trace_id_low"], row["span_id"], row["flags"]) == (trace_id, 0xABC, 1)
        assert (row["body_type"], row["body"]) == ((0, "") if record.body is None else attribute(record.body))
        assert stored_attributes(row["attributes"]) == attributes(record.attributes)
        assert (row["scope_name"], row["service_version"]) == ("interop.logs", transport)
        check_resource(Resource.create({**RESOURCE, "service.version": transport}), row)
