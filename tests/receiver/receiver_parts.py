"""What the receiver's tests share: a consumer that remembers, a receiver on free ports, requests, and Status readers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from traced.config import ReceiverSettings
from traced.model.batch import Batch, Receipt
from traced.model.measurement import MeasurementConsumer
from traced.receiver.receiver import Receiver
from traced.telemetry import Telemetry

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class RecordingConsumer:
    """Remembers every batch; may hold the receipts back, or refuse the first few batches."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.failures: list[Exception] = []
        self.late_failures: list[Exception] = []
        self.holding = False
        self.waiting: list[Future[Receipt]] = []
        self.lock = threading.Lock()

    def accept(self, batch: Batch) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        with self.lock:
            if self.failures:
                raise self.failures.pop(0)
            if self.late_failures:
                future.set_exception(self.late_failures.pop(0))
                return future
            self.batches.append(batch)
            if self.holding:
                self.waiting.append(future)
                return future
        future.set_result(Receipt(batch.items.num_rows, 0, time.time_ns()))
        return future

    def release(self) -> None:
        with self.lock:
            self.holding = False
            for future in self.waiting:
                future.set_result(Receipt(1, 0, time.time_ns()))
            self.waiting.clear()

    @property
    def items(self) -> int:
        return sum(batch.items.num_rows for batch in self.batches)

    def wait_for(self, batches: int, seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while len(self.batches) < batches:
            assert time.monotonic() < until, f"only {len(self.batches)} of {batches} batches came"
            time.sleep(0.005)


@contextmanager
def receiving(
    consumer: RecordingConsumer, telemetry: Telemetry | None = None, measurements: MeasurementConsumer | None = None, **settings: Any
) -> Iterator[Receiver]:
    """Give a started receiver on free ports."""
    chosen = ReceiverSettings(**{"otlp_grpc": "127.0.0.1:0", "otlp_http": "127.0.0.1:0", **settings})
    receiver = Receiver(chosen, consumer, telemetry or Telemetry(), measurements=measurements)
    receiver.start()
    try:
        yield receiver
    finally:
        consumer.release()
        receiver.stop(2)


def trace_request(spans: int = 1, *, bad: int = 0) -> ExportTraceServiceRequest:
    """Give a request of so many valid spans, and `bad` more whose trace id is all zero."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope_spans = resource_spans.scope_spans.add()
    for index in range(spans + bad):
        trace_id = (index + 1).to_bytes(16, "big") if index < spans else bytes(16)
        span = scope_spans.spans.add(trace_id=trace_id, span_id=(index + 1).to_bytes(8, "big"), name="GET /")
        span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_000_000_000_900
    return request


def log_request(records: int = 1) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope_logs = request.resource_logs.add().scope_logs.add()
    for index in range(records):
        scope_logs.log_records.add(time_unix_nano=1_700_000_000_000_000_000 + index).body.string_value = "hello"
    return request


def trace_json(**span: Any) -> bytes:
    """Give a request of one span in OTLP/JSON."""
    whole = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": "GET /", **span}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [whole]}]}]}).encode()


def read_status(body: bytes, content_type: str) -> status_pb2.Status:
    """Parse an error body with Google's own classes; fails when it is none."""
    status = status_pb2.Status()
    if content_type == JSON:
        json_format.Parse(body, status)
    else:
        assert content_type == PROTOBUF
        status.MergeFromString(body)
    assert status.code != 0
    assert status.message
    return status


def retry_seconds(status: status_pb2.Status) -> int | None:
    """Give the delay of the status' RetryInfo, or None without one."""
    for detail in status.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return int(info.retry_delay.seconds)
    return None


def counted(telemetry: Telemetry, metric: str, **labels: str) -> float:
    """Give a counter's value, 0 if it has none yet."""
    return telemetry.registry.get_sample_value(metric, labels) or 0.0


def exchange(address: str, data: bytes, *, seconds: float = 10.0) -> bytes:
    """Send raw bytes and read until the server closes."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def response_of(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Split a raw HTTP response into status, headers and body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers, body
