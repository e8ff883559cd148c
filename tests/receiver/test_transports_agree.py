"""One request over gRPC, HTTP/protobuf and HTTP/JSON: a real receiver before a real store ends with the same rows."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from otlp_random import Requests, as_json
from otlp_reference import Row, comparable, expected_logs, expected_spans
from receiver_parts import JSON, PROTOBUF

from traced.config import ReceiverSettings, StoreSettings
from traced.model.batch import Signal
from traced.receiver.receiver import Receiver
from traced.store.store import Store
from traced.telemetry import Telemetry

PATHS = {Signal.TRACES: "/v1/traces", Signal.LOGS: "/v1/logs"}
METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
REQUESTS = {Signal.TRACES: ExportTraceServiceRequest, Signal.LOGS: ExportLogsServiceRequest}
RESPONSES = {Signal.TRACES: ExportTraceServiceResponse, Signal.LOGS: ExportLogsServiceResponse}
Sender = Callable[[Receiver, Signal, Any], Any]


def over_grpc(receiver: Receiver, signal: Signal, request: Any) -> Any:
    with grpc.insecure_channel(receiver.grpc_address) as channel:
        return RESPONSES[signal].FromString(channel.unary_unary(METHODS[signal], None, None)(request.SerializeToString(), timeout=30))


def over_http(receiver: Receiver, signal: Signal, body: bytes, content_type: str) -> bytes:
    connection = HTTPConnection(receiver.http_address, timeout=30)
    connection.request("POST", PATHS[signal], body, {"content-type": content_type})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content
    assert answer.headers["content-type"] == content_type
    return content


def over_http_protobuf(receiver: Receiver, signal: Signal, request: Any) -> Any:
    return RESPONSES[signal].FromString(over_http(receiver, signal, request.SerializeToString(), PROTOBUF))


def over_http_json(receiver: Receiver, signal: Signal, request: Any) -> Any:
    return json_format.Parse(over_http(receiver, signal, as_json(request), JSON), RESPONSES[signal]())


SENDERS: dict[str, Sender] = {"gRPC": over_grpc, "HTTP/protobuf": over_http_protobuf, "HTTP/JSON": over_http_json}


@contextmanager
def receiving_into_a_store(directory: Path) -> Iterator[tuple[Receiver, Store]]:
    telemetry = Telemetry()
    store = Store(StoreSettings(data_dir=directory, durable=False, max_disk_fraction=1.0), telemetry)
    store.open()
    receiver = Receiver(ReceiverSettings(otlp_grpc="127.0.0.1:0", otlp_http="127.0.0.1:0"), store, telemetry)
    receiver.start()
    try:
        yield receiver, store
    finally:
        receiver.stop(5)
        store.close()


def in_text(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def rows_in(store: Store, signal: Signal) -> list[Row]:
    """Give all rows of a signal, in a fixed order."""
    with store.snapshot() as (spans, logs):
        tables = [pq.read_table(path) for path in (spans if signal is Signal.TRACES else logs)]
    rows = comparable(pa.concat_tables(tables).to_pylist()) if tables else []
    return sorted(rows, key=in_text)


ROUND = 100
ROUNDS = int(os.environ.get("TRACED_DIFFERENTIAL_ROUNDS", "1"))
"""Rounds of ROUND requests a signal; `make differential` runs many."""


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("signal", list(PATHS))
def test_generated_requests_end_as_the_rows_of_the_reference_decoder_however_they_came(signal: Signal, number: int, tmp_path: Path) -> None:
    source = Requests(5 + number, large=0.02)
    requests = [source.traces() if signal is Signal.TRACES else source.logs() for _ in range(ROUND)]
    expect = expected_spans if signal is Signal.TRACES else expected_logs
    expected = [expect(request) for request in requests]
    rows = sorted((row for one in expected for row in one.rows), key=in_text)
    assert len(rows) > 60
    for name, send in SENDERS.items():
        with receiving_into_a_store(tmp_path / name.replace("/", "-")) as (receiver, store):
            answers = [send(receiver, signal, request) for request in requests]
            assert rows_in(store, signal) == rows, name
        for answer, one in zip(answers, expected, strict=True):
            partial = answer.partial_success
            assert (partial.rejected_spans if signal is Signal.TRACES else partial.rejected_log_records) == one.rejected.total()
            assert bool(partial.error_message) == bool(one.rejected or one.altered)
            assert all(f"{reason}: {count}" in partial.error_message for reason, count in (one.rejected | one.altered).items())


RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "warehouse"}}]}
SCOPE = {"name": "stock.lib", "version": "2.0.1", "attributes": [{"key": "stock.scope", "value": {"stringValue": "some scope attribute"}}]}
VALUES = [
    {"key": "string", "value": {"stringValue": "some string"}},
    {"key": "boolean", "value": {"boolValue": True}},
    {"key": "integer", "value": {"intValue": "10"}},
    {"key": "double", "value": {"doubleValue": 637.704}},
    {"key": "array", "value": {"arrayValue": {"values": [{"stringValue": "many"}, {"stringValue": "values"}]}}},
    {"key": "map", "value": {"kvlistValue": {"values": [{"key": "some.key", "value": {"stringValue": "some value"}}]}}},
]
TRACE = {
    "resourceSpans": [
        {
            "resource": RESOURCE,
            "scopeSpans": [
                {
                    "scope": SCOPE,
                    "spans": [
                        {
                            "traceId": "7D1A2B3C4D5E6F708192A3B4C5D6E7F8",
                            "spanId": "FEDCBA9876543210",
                            "parentSpanId": "0123456789ABCDEF",
                            "flags": 256,
                            "name": "pick an item",
                            "startTimeUnixNano": "1700000000000000001",
                            "endTimeUnixNano": "1700000001000000002",
                            "kind": 2,
                            "attributes": VALUES,
                        },
                    ],
                },
            ],
        },
    ],
}
LOG = {
    "timeUnixNano": "1700000000000000001",
    "observedTimeUnixNano": "1700000000000000301",
    "severityNumber": 10,
    "severityText": "Information",
    "traceId": "7D1A2B3C4D5E6F708192A3B4C5D6E7F8",
    "spanId": "FEDCBA9876543210",
    "body": {"stringValue": "an item was picked"},
    "attributes": VALUES,
}
EVENT = {
    "timeUnixNano": "1700000000000000001",
    "observedTimeUnixNano": "1700000000000000301",
    "severityNumber": 9,
    "eventName": "warehouse.item.picked",
    "body": {"kvlistValue": {"values": [{"key": "item", "value": {"stringValue": "shoe"}}, {"key": "left", "value": {"intValue": "3"}}]}},
}
LOGS = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"scope": SCOPE, "logRecords": [LOG]}]}]}
EVENTS = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"scope": SCOPE, "logRecords": [EVENT]}]}]}


def as_base64(node: Any) -> Any:
    if isinstance(node, dict):
        ids = ("traceId", "spanId", "parentSpanId")
        return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in ids else as_base64(v) for k, v in node.items()}
    return [as_base64(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize(("signal", "example"), [(Signal.TRACES, TRACE), (Signal.LOGS, LOGS), (Signal.LOGS, EVENTS)], ids=["trace", "logs", "events"])
def test_requests_in_the_form_of_the_specifications_examples_end_as_the_same_rows(signal: Signal, example: dict[str, Any], tmp_path: Path) -> None:
    request = json_format.ParseDict(as_base64(example), REQUESTS[signal]())
    senders: dict[str, Sender] = {
        **SENDERS,
        "HTTP/JSON as written": lambda receiver, signal, _: over_http(receiver, signal, json.dumps(example, indent=2).encode(), JSON),
    }
    stored = []
    for name, send in senders.items():
        with receiving_into_a_store(tmp_path / name.replace("/", "-")) as (receiver, store):
            send(receiver, signal, request)
            stored.append(rows_in(store, signal))
    assert stored == [stored[0]] * len(senders)
    (row,) = stored[0]
    assert (row["service_name"], row["scope_name"], row["scope_version"]) == ("warehouse", "stock.lib", "2.0.1")
    if "attributes" in (LOG if example is LOGS else EVENT if example is EVENTS else TRACE["resourceSpans"][0]["scopeSpans"][0]["spans"][0]):  # type: ignore[index]
        assert [a["value"] for a in row["attributes"]] == ["some string", "true", "10", "637.704", '["many","values"]', '{"some.key":"some value"}']
    if example is EVENTS:
        assert (row["event_name"], row["body"], row["trace_id_high"]) == ("warehouse.item.picked", '{"item":"shoe","left":3}', 0)
    else:
        assert (row["trace_id_high"], row["span_id"]) == (0x7D1A2B3C4D5E6F70, 0xFEDCBA9876543210)
