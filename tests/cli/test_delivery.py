"""`traced send` delivers to real OTLP servers, comes back when they are busy, and never when they refuse."""

from __future__ import annotations

import email.utils
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cli_runs import Run
from google.protobuf import any_pb2, duration_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from traced.cli.delivery import Delivery, RetryPolicy
from traced.errors import ConfigurationError, UnreachableError
from traced.model.batch import Signal
from traced.model.input import InputRequest
from traced.receiver.client import ComeBackError, RefusedError, retry_after_seconds, retry_info_seconds, target_for

RequestOf = Callable[..., trace_service_pb2.ExportTraceServiceRequest]
Answering = Callable[[int], Any]
"""Given the number of the call (from 1): None accepts, anything else is the failure."""


def status_with_retry_info(seconds: int, nanos: int = 0) -> bytes:
    """Give a google.rpc.Status with RetryInfo, put together from well-known types (Status itself: code, message, details)."""
    delay = duration_pb2.Duration(seconds=seconds, nanos=nanos).SerializeToString()
    info = any_pb2.Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\x0a" + bytes([len(delay)]) + delay).SerializeToString()
    return b"\x08\x0e\x12\x04busy\x1a" + bytes([len(info)]) + info


class Received:
    """What a server got, and how it answers."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.calls = 0
        self.accepted: list[Any] = []
        self.times: list[float] = []
        self.lock = threading.Lock()

    def answer(self, request: Any) -> Any:
        with self.lock:
            self.calls += 1
            self.times.append(time.monotonic())
            failure = self.answering(self.calls)
            if failure is None:
                self.accepted.append(request)
            return failure

    def spans(self) -> list[Any]:
        requests = [request for request in self.accepted if hasattr(request, "resource_spans")]
        return [span for request in requests for r in request.resource_spans for s in r.scope_spans for span in s.spans]


class Traces(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc]
    def __init__(self, received: Received) -> None:
        self.received = received

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        failure = self.received.answer(request)
        if isinstance(failure, trace_service_pb2.ExportTraceServiceResponse):
            return failure
        if failure is not None:
            code, trailers = failure
            context.set_trailing_metadata(trailers)
            context.abort(code, "not now")
        return trace_service_pb2.ExportTraceServiceResponse()


class Logs(logs_service_pb2_grpc.LogsServiceServicer):  # type: ignore[misc]
    def __init__(self, received: Received) -> None:
        self.received = received

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002 - gRPC's shape
        self.received.answer(request)
        return logs_service_pb2.ExportLogsServiceResponse()


@contextmanager
def grpc_server(answering: Answering = lambda _: None) -> Iterator[tuple[str, Received]]:
    received = Received(answering)
    server = grpc.server(ThreadPoolExecutor(8))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(received), server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(received), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", received
    finally:
        server.stop(None).wait()


@contextmanager
def http_server(answering: Answering = lambda _: None) -> Iterator[tuple[str, Received]]:
    received = Received(answering)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            module = {
                "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
                "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
                "/v1/metrics": ExportMetricsServiceRequest,
            }
            failure = received.answer(module[self.path].FromString(body)) if self.headers["Content-Type"] == "application/x-protobuf" else (415, {}, b"")
            status, headers, content = failure or (200, {}, b"")
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def requests_from(request_of: RequestOf, count: int) -> list[InputRequest]:
    return [InputRequest(Signal.TRACES, request_of({"name": f"{n}"}, {}).SerializeToString(), f"file:{n}") for n in range(count)]


QUICK = RetryPolicy(attempts=4, attempts_unanswered=2, first_wait_seconds=0.01, longest_wait_seconds=1.5)


def deliver(to: str, requests: list[InputRequest], **options: Any) -> tuple[Delivery, list[str]]:
    said: list[str] = []
    endpoint = target_for(to, 5.0)
    delivery = Delivery(endpoint, said.append, policy=QUICK, **options)
    try:
        delivery.run(requests)
    finally:
        endpoint.close()
    return delivery, said


@pytest.mark.parametrize("server", [grpc_server, http_server])
def test_everything_arrives_once_over_either_transport(server: Any, request_of: RequestOf) -> None:
    with server() as (to, received):
        delivery, _ = deliver(to, requests_from(request_of, 40), concurrency=5)
        assert sorted(span.name for span in received.spans()) == sorted([*(str(n) for n in range(40)), *["span 2"] * 40])
        assert (delivery.delivered.spans, delivery.delivered.requests, delivery.delivered.retries) == (80, 40, 0)


def test_with_a_concurrency_of_one_the_order_is_kept(request_of: RequestOf) -> None:
    with grpc_server() as (to, received):
        deliver(to, requests_from(request_of, 20), concurrency=1)
        assert [span.name for span in received.spans()][::2] == [str(n) for n in range(20)]


@pytest.mark.parametrize(
    ("server", "busy"),
    [
        (grpc_server, (grpc.StatusCode.UNAVAILABLE, [("grpc-status-details-bin", status_with_retry_info(1))])),
        (grpc_server, (grpc.StatusCode.RESOURCE_EXHAUSTED, [("grpc-status-details-bin", status_with_retry_info(1))])),
        (http_server, (503, {"Retry-After": "1"}, b"")),
        (http_server, (429, {"Retry-After": "1"}, b"")),
    ],
    ids=["UNAVAILABLE", "RESOURCE_EXHAUSTED with RetryInfo", "503", "429"],
)
def test_a_busy_endpoint_is_asked_again_after_the_time_it_named(server: Any, busy: Any, request_of: RequestOf) -> None:
    with server(lambda call: busy if call == 1 else None) as (to, received):
        delivery, _ = deliver(to, requests_from(request_of, 1))
        assert delivery.delivered.retries == 1
        assert len(received.spans()) == 2
        assert 0.95 <= received.times[1] - received.times[0] < 3


@pytest.mark.parametrize(
    ("server", "refusal"),
    [
        (grpc_server, (grpc.StatusCode.INVALID_ARGUMENT, [])),
        (grpc_server, (grpc.StatusCode.RESOURCE_EXHAUSTED, [])),
        (grpc_server, (grpc.StatusCode.INTERNAL, [])),
        (http_server, (400, {}, b"\x08\x03\x12\x07no good")),
        (http_server, (500, {"Retry-After": "1"}, b"")),
        (http_server, (302, {"Location": "http://127.0.0.1:1/"}, b"")),
    ],
    ids=["INVALID_ARGUMENT", "bare RESOURCE_EXHAUSTED", "INTERNAL", "400", "500", "a redirect"],
)
def test_a_refusal_is_final_and_the_next_request_is_sent_all_the_same(server: Any, refusal: Any, request_of: RequestOf) -> None:
    with server(lambda call: refusal if call == 1 else None) as (to, received):
        delivery, said = deliver(to, requests_from(request_of, 2), concurrency=1)
        assert (received.calls, delivery.delivered.refused_requests, delivery.delivered.spans) == (2, 1, 2)
        assert said[0].startswith("file:0: refused: ")


@pytest.mark.parametrize("server", [grpc_server, http_server])
def test_rejected_spans_of_a_partial_success_are_counted_and_told(server: Any, request_of: RequestOf) -> None:
    partial = trace_service_pb2.ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = 1
    partial.partial_success.error_message = "a bad span id"
    answer = partial if server is grpc_server else (200, {}, partial.SerializeToString())
    with server(lambda _: answer) as (to, _):
        delivery, said = deliver(to, requests_from(request_of, 1))
        assert (delivery.delivered.spans, delivery.delivered.rejected) == (1, 1)
        assert "a bad span id" in said[0]


def test_retries_are_bounded(request_of: RequestOf) -> None:
    with grpc_server(lambda _: (grpc.StatusCode.UNAVAILABLE, [("grpc-status-details-bin", status_with_retry_info(0, 1000))])) as (to, received):
        with pytest.raises(UnreachableError, match="stayed busy, 4 attempts"):
            deliver(to, requests_from(request_of, 3), concurrency=1)
        assert received.calls == QUICK.attempts


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_an_endpoint_that_is_not_there_is_told_with_what_to_do(form: str, request_of: RequestOf) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, never listening: nothing can answer there
        with pytest.raises(UnreachableError, match="does not answer") as caught:
            deliver(form.format(unheard.getsockname()[1]), requests_from(request_of, 1))
    assert caught.value.next_safe_actions


def test_the_rate_is_kept(request_of: RequestOf) -> None:
    with grpc_server() as (to, received):
        deliver(to, requests_from(request_of, 6), items_per_second=20.0)
        # six requests of two spans at 20 a second: one each 0.1 s
        assert received.times[-1] - received.times[0] >= 0.45


@pytest.mark.parametrize("to", ["localhost", "host:port", ":4317", "host:0", "host:70000", "http://", "http://host:99999", "http://h:1/?q", "grpc://h:1"])
def test_what_is_no_endpoint_is_a_usage_error(to: str) -> None:
    with pytest.raises(ConfigurationError):
        target_for(to).close()


def test_a_url_may_name_the_whole_path(request_of: RequestOf) -> None:
    with http_server() as (to, received):
        deliver(f"{to}/v1/traces", requests_from(request_of, 1))
        assert received.calls == 1


def test_retry_after_is_seconds_or_a_date() -> None:
    now = 1_800_000_000.0
    assert retry_after_seconds("7", now) == 7
    assert retry_after_seconds(email.utils.formatdate(now + 90, usegmt=True), now) == 90
    assert retry_after_seconds(email.utils.formatdate(now - 90, usegmt=True), now) == 0
    assert [retry_after_seconds(text, now) for text in (None, "", "soon", "-1", "1.5")] == [None] * 5


def test_retry_info_is_found_in_a_status_and_nonsense_holds_none() -> None:
    assert retry_info_seconds(status_with_retry_info(30, 500_000_000)) == 30.5
    assert [retry_info_seconds(data) for data in (b"", b"\x1a\x50", b"\xff" * 20, b"\x1a\x02\x0a\x00", b"\x08\x0e")] == [None] * 5


def test_a_server_that_answers_nonsense_has_not_taken_the_request(request_of: RequestOf) -> None:
    with http_server(lambda _: (200, {}, b"<html>")) as (to, _):
        endpoint = target_for(to)
        with pytest.raises(RefusedError, match="not OTLP"):
            endpoint.send(Signal.TRACES, request_of({}).SerializeToString())
        endpoint.close()


def test_a_broken_connection_may_be_tried_again() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    endpoint = target_for(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(ComeBackError) as caught:
        endpoint.send(Signal.TRACES, b"")
    assert not caught.value.answered
    thread.join()
    endpoint.close()
    listener.close()


def test_send_prints_its_figures_as_json(run: Run, tmp_path: Path, request_of: RequestOf) -> None:
    from google.protobuf.json_format import MessageToDict

    file = tmp_path / "a.jsonl"
    line = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]}
    spans = MessageToDict(request_of())  # an empty envelope
    file.write_text(f"{json.dumps(line)}\n{json.dumps(spans)}\nbad\n")
    with grpc_server() as (to, received):
        ran = run("send", str(file), "--to", to, "--format", "json")
    figures = json.loads(ran.out)
    assert (ran.code, figures["log_records"], figures["requests"], figures["unreadable_lines"]) == (0, 1, 2, 1)
    assert received.calls == 2
    assert f"{file}:3" in ran.err


def test_send_of_real_data_brings_every_span(run: Run, shared: Path) -> None:
    with http_server() as (to, received):
        ran = run("send", str(shared / "otlp" / "hotrod.traces.jsonl.gz"), "--to", to)
    assert ran.code == 0
    assert ran.out.startswith("sent 379 spans, ")
    assert len(received.spans()) == 379


def test_now_moves_all_files_by_one_amount_so_that_the_newest_span_ends_now(run: Run, tmp_path: Path) -> None:
    def line(start: int, end: int, event: int) -> str:
        span = {
            "traceId": "01" * 16,
            "spanId": "02" * 8,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(end),
            "events": [{"timeUnixNano": str(event)}],
        }
        return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) + "\n"

    (tmp_path / "a.jsonl").write_text(line(1_000, 5_000, 2_000) + line(0, 4_000, 0))
    (tmp_path / "b.jsonl").write_text(line(2_000, 9_000, 3_000))
    before = time.time_ns()
    with grpc_server() as (to, received):
        ran = run("send", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "--to", to, "--now", "--concurrency", "1")
    assert ran.code == 0
    first, second, newest = received.spans()
    assert before <= newest.end_time_unix_nano <= time.time_ns()
    by = newest.end_time_unix_nano - 9_000
    assert [(s.start_time_unix_nano, s.end_time_unix_nano, s.events[0].time_unix_nano) for s in (first, second, newest)] == [
        (1_000 + by, 5_000 + by, 2_000 + by),
        (0, 4_000 + by, 0),
        (2_000 + by, 9_000 + by, 3_000 + by),
    ]


def test_send_leaves_with_4_where_nobody_listens_and_with_3_where_a_file_is_absent(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"resourceSpans": []}\n')
    monkeypatch.setattr(RetryPolicy, "wait_seconds", lambda *_: 0.01)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        to = f"127.0.0.1:{unheard.getsockname()[1]}"
        ran = run("send", str(file), "--to", to)
        assert (ran.code, run("send", str(tmp_path / "absent"), "--to", to).code) == (4, 3)
        told = json.loads(run("send", str(file), "--to", to, "--format", "json").out)
    assert "→" in ran.err
    assert told["error_code"] == "daemon_unreachable"


def test_send_leaves_with_1_if_something_was_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"resourceSpans": []}\n')
    with http_server(lambda _: (400, {}, b"")) as (to, _):
        assert run("send", str(file), "--to", to).code == 1


def test_metrics_are_sent_on_with_their_times_moved(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    point = {"startTimeUnixNano": "1000", "timeUnixNano": "2000", "asInt": "7"}
    metrics = [{"name": "m", "sum": {"aggregationTemporality": 2, "dataPoints": [point]}}, {"name": "empty"}]
    file.write_text(json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}))
    before = time.time_ns()
    with http_server() as (to, received):
        ran = run("send", str(file), "--to", to, "--now", "--format", "json")
    assert (ran.code, json.loads(ran.out)["metrics"]) == (0, 2)
    moved = received.accepted[0].resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    assert before <= moved.time_unix_nano <= time.time_ns()
    assert moved.time_unix_nano - moved.start_time_unix_nano == 1000
