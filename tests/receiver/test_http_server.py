"""OTLP/HTTP as clients see it: raw sockets, http.client, and the unmodified OpenTelemetry SDK."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from receiver_parts import (
    JSON,
    PROTOBUF,
    RecordingConsumer,
    counted,
    exchange,
    log_request,
    read_status,
    receiving,
    response_of,
    retry_seconds,
    trace_json,
    trace_request,
)

from traced.errors import OverloadedError
from traced.receiver.http_protocol import OtlpHttpProtocol
from traced.receiver.receiver import Receiver
from traced.telemetry import Telemetry


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def error(self) -> Any:
        return read_status(self.body, self.headers["content-type"])


@contextmanager
def connected(receiver: Receiver) -> Iterator[Callable[..., Answer]]:
    """Give a function that posts over one kept connection."""
    host, _, port = receiver.http_address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)

    def post(body: Any, content_type: str | None = PROTOBUF, path: str = "/v1/traces", method: str = "POST", **headers: str) -> Answer:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        if content_type is not None:
            named["Content-Type"] = content_type
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): text for name, text in response.getheaders()}, response.read())

    try:
        yield post
    finally:
        connection.close()


def head(length: int | None, *extra: str, content_type: str = PROTOBUF) -> bytes:
    lines = ["POST /v1/traces HTTP/1.1", "Host: x", f"Content-Type: {content_type}", *extra]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def test_protobuf_and_json_plain_and_compressed_are_taken_on_one_connection() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    body = trace_request(10).SerializeToString()
    with receiving(consumer, telemetry) as receiver, connected(receiver) as post:
        plain = post(body)
        assert (plain.status, plain.headers["content-type"], plain.body) == (200, PROTOBUF, b"")
        assert post(gzip.compress(body), Content_Encoding="gzip").status == 200
        assert post(zlib.compress(body), Content_Encoding="deflate").status == 200
        assert post(gzip.compress(body[:50]) + gzip.compress(body[50:]), Content_Encoding="GZIP").status == 200
        in_json = post(trace_json(), "Application/JSON; charset=utf-8")
        assert (in_json.status, in_json.headers["content-type"], in_json.body) == (200, JSON, b"{}")
        assert post(gzip.compress(trace_json(kind="SPAN_KIND_SERVER")), JSON, Content_Encoding="gzip").status == 200
        assert post(log_request(3).SerializeToString(), path="/v1/logs").status == 200
        assert post(b"").status == 200, "an empty request is a success"
        assert post(b"{}", JSON).body == b"{}"
    assert [batch.items.num_rows for batch in consumer.batches] == [10, 10, 10, 10, 1, 1, 3]
    assert counted(telemetry, "traced_receiver_accepted_total", signal="traces", transport="http/protobuf") == 40
    assert counted(telemetry, "traced_receiver_accepted_total", signal="traces", transport="http/json") == 2
    assert counted(telemetry, "traced_otlp_json_nonconformant_total") == 1
    assert counted(telemetry, "traced_receiver_in_flight_bytes") == 0


def test_partial_success_has_exact_counts_in_both_encodings() -> None:
    with receiving(RecordingConsumer()) as receiver, connected(receiver) as post:
        answer = ExportTraceServiceResponse.FromString(post(trace_request(7, bad=2).SerializeToString()).body)
        assert answer.partial_success.rejected_spans == 2
        in_json = post(trace_json(traceId="AAAAAAAAAAAAAAAAAAAAAQ=="), JSON)
        assert in_json.status == 200
        assert json.loads(in_json.body)["partialSuccess"]["rejectedSpans"] == "1"
        squeezed = post(trace_request(7, bad=2).SerializeToString(), Accept_Encoding="br, gzip;q=0.5")
        assert squeezed.headers.get("content-encoding") is None, "short answers are not worth compressing"


def test_chunked_bodies_are_taken_under_the_same_limit() -> None:
    consumer = RecordingConsumer()
    body = trace_request(20).SerializeToString()
    with receiving(consumer, max_request_bytes=100_000) as receiver, connected(receiver) as post:
        assert post(iter([body[:100], body[100:]])).status == 200
        too_much = post(iter([b"x" * 60_000, b"x" * 60_000]))
        assert too_much.status == 413
        assert too_much.error.code == 8
    assert consumer.items == 20


ERRORS = [
    ("bad protobuf", {"body": b"\xff\xff\xff"}, 400),
    ("bad json", {"body": b"{", "content_type": JSON}, 400),
    ("wrong type in json", {"body": b'{"resourceSpans": 1}', "content_type": JSON}, 400),
    ("deep json", {"body": b"[" * 100_000, "content_type": JSON}, 400),
    ("corrupt gzip", {"body": b"no gzip at all", "Content_Encoding": "gzip"}, 400),
    ("cut gzip", {"body": gzip.compress(b"x" * 100)[:-9], "Content_Encoding": "gzip", "content_type": JSON}, 400),
    ("unknown path", {"body": b"", "path": "/"}, 404),
    ("profiles", {"body": b"{}", "path": "/v1development/profiles", "content_type": JSON}, 404),
    ("bad metrics", {"body": b"\xff\xff\xff", "path": "/v1/metrics"}, 400),
    ("bad json metrics", {"body": b"{", "path": "/v1/metrics", "content_type": JSON}, 400),
    ("wrong type in json metrics", {"body": b'{"resourceMetrics": 1}', "path": "/v1/metrics", "content_type": JSON}, 400),
    ("too many metrics", {"body": b"\x0a\xd2\x01\x12\xcf\x01" + 103 * b"\x12\x00" + b"\x1a", "path": "/v1/metrics"}, 413),
    ("wrong method", {"body": None, "method": "GET", "content_type": None}, 405),
    ("put", {"body": b"", "method": "PUT"}, 405),
    ("no content type", {"body": b"x", "content_type": None}, 415),
    ("text", {"body": b"x", "content_type": "text/plain"}, 415),
    ("unknown coding", {"body": b"x", "Content_Encoding": "zstd"}, 415),
    ("oversize", {"body": b"x" * 1_000_001}, 413),
    ("oversize json", {"body": b" " * 1_000_001, "content_type": JSON}, 413),
    ("gzip bomb", {"body": gzip.compress(bytes(64 << 20)), "Content_Encoding": "gzip"}, 413),
    ("too many spans", {"body": trace_request(101).SerializeToString()}, 413),
]


@pytest.mark.parametrize(("request_", "status"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_every_error_is_a_status_in_the_requests_encoding_and_is_not_retried(request_: dict[str, Any], status: int) -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    with receiving(consumer, telemetry, max_request_bytes=1_000_000, max_items_per_request=100) as receiver, connected(receiver) as post:
        answer = post(**request_)
        assert answer.status == status
        assert answer.headers["content-type"] == (JSON if request_.get("content_type", PROTOBUF) in {JSON, None, "text/plain"} else PROTOBUF)
        assert retry_seconds(answer.error) is None
        assert "retry-after" not in answer.headers
        assert answer.headers.get("allow") == ("POST" if status == 405 else None)
        assert post(trace_request().SerializeToString()).status == 200
    assert consumer.items == 1
    refusals = [sample for metric in telemetry.refused.collect() for sample in metric.samples]
    assert [sample.value for sample in refusals] == [1.0]


def test_a_head_request_gets_405_without_a_body() -> None:
    with receiving(RecordingConsumer()) as receiver, connected(receiver) as post:
        answer = post(None, None, method="HEAD")
    assert (answer.status, answer.body) == (405, b"")


def test_an_announced_oversize_is_refused_before_the_body_is_sent() -> None:
    with receiving(RecordingConsumer(), max_request_bytes=2000) as receiver:
        status, _, body = response_of(exchange(receiver.http_address, head(5000, "Expect: 100-continue")))
        assert status == 413
        assert read_status(body, PROTOBUF).code == 8


def test_an_expected_100_continue_is_given_to_a_body_that_fits() -> None:
    body = trace_request().SerializeToString()
    with receiving(RecordingConsumer()) as receiver:
        raw = exchange(receiver.http_address, head(len(body), "Expect: 100-continue", "Connection: close") + body)
    assert raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_a_sender_that_writes_all_before_it_reads_still_sees_413() -> None:
    with receiving(RecordingConsumer(), max_request_bytes=1_000_000) as receiver:
        status, headers, _ = response_of(exchange(receiver.http_address, head(1_900_000) + bytes(1_900_000)))
    assert (status, headers["connection"]) == (413, "close")


def test_a_body_shorter_than_announced_stores_nothing() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    body = trace_request().SerializeToString()
    with receiving(consumer, telemetry) as receiver:
        host, _, port = receiver.http_address.rpartition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head(len(body) + 1) + body)
            time.sleep(0.2)
        until = time.monotonic() + 5
        labels = {"signal": "traces", "transport": "http/protobuf", "reason": "body_incomplete"}
        while not counted(telemetry, "traced_receiver_refused_total", **labels):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert not consumer.batches


def test_a_slow_body_is_cut_off_retryably_while_others_are_served() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    with receiving(consumer, telemetry, request_timeout_seconds=1, max_requests_in_flight=1) as receiver, ThreadPoolExecutor(20) as threads:
        slow = [threads.submit(exchange, receiver.http_address, head(1000) + b"x") for _ in range(20)]
        time.sleep(0.2)
        with connected(receiver) as post:
            assert post(trace_request().SerializeToString()).status == 200
        for outcome in slow:
            status, headers, body = response_of(outcome.result(10))
            assert status == 503
            assert int(headers["retry-after"]) == retry_seconds(read_status(body, PROTOBUF))
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="http/protobuf", reason="body_timeout") == 20


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_overload_is_503_with_retry_after_and_the_same_retry_info(content_type: str) -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    consumer.holding = True
    body = trace_request().SerializeToString() if content_type == PROTOBUF else trace_json()

    def send(receiver: Receiver) -> Answer:
        with connected(receiver) as post:
            return post(body, content_type)

    with receiving(consumer, telemetry, max_requests_in_flight=2) as receiver, ThreadPoolExecutor(30) as threads:
        waiting = [threads.submit(send, receiver) for _ in range(2)]
        consumer.wait_for(2)
        for outcome in [threads.submit(send, receiver) for _ in range(30)]:
            answer = outcome.result(10)
            assert answer.status == 503
            assert answer.error.code == 14
            assert 1 <= int(answer.headers["retry-after"]) <= 30
            assert retry_seconds(answer.error) == int(answer.headers["retry-after"])
        consumer.release()
        assert [outcome.result(10).status for outcome in waiting] == [200, 200]
    refused = counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="http/protobuf", reason="queue_full")
    refused += counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="http/json", reason="queue_full")
    assert refused == 30


def test_bytes_in_flight_are_bounded_over_all_senders() -> None:
    consumer = RecordingConsumer()
    consumer.holding = True
    big = trace_request()
    big.resource_spans[0].scope_spans[0].spans[0].name = "x" * 700_000
    body = big.SerializeToString()

    def send(receiver: Receiver, compressed: bool) -> int:  # noqa: FBT001
        with connected(receiver) as post:
            return post(gzip.compress(body), Content_Encoding="gzip").status if compressed else post(body).status

    with receiving(consumer, max_bytes_in_flight=2**20, max_request_bytes=2**20) as receiver, ThreadPoolExecutor(4) as threads:
        first = threads.submit(send, receiver, True)
        consumer.wait_for(1)
        assert send(receiver, False) == 503
        assert send(receiver, True) == 503
        consumer.release()
        assert first.result(10) == 200
        assert send(receiver, False) == 200


RAW = {
    "no http": b"hello\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "bad header": b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    "both lengths": head(5, "Transfer-Encoding: chunked") + b"hello",
    "negative length": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "bad chunk": head(None, "Transfer-Encoding: chunked") + b"zz\r\n\r\n",
    "connect": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "endless header": b"POST /v1/traces HTTP/1.1\r\nX: " + b"x" * 200_000,
    "endless headers": b"POST /v1/traces HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
    "endless path": b"POST /" + b"x" * 200_000,
    "long path": b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "endless trailer": head(None, "Transfer-Encoding: chunked") + b"0\r\nX: " + b"x" * 600_000,
    "endless trailers": head(None, "Transfer-Encoding: chunked") + b"0\r\n" + b"X: y\r\n" * 100_000,
    "endless chunk extension": head(None, "Transfer-Encoding: chunked") + b"5;" + b"x" * 600_000,
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", RAW.values(), ids=RAW)
def test_what_is_no_http_gets_a_status_too(data: bytes) -> None:
    with receiving(RecordingConsumer(), request_timeout_seconds=1) as receiver:
        status, headers, body = response_of(exchange(receiver.http_address, data))
        assert 400 <= status < 500
        read_status(body, headers["content-type"])
        with connected(receiver) as post:
            assert post(b"").status == 200


def test_an_upgrade_is_ignored() -> None:
    with receiving(RecordingConsumer()) as receiver:
        status, headers, body = response_of(
            exchange(receiver.http_address, b"GET /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"),
        )
    assert status == 405
    read_status(body, headers["content-type"])


def test_a_connection_that_sends_no_headers_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OtlpHttpProtocol, "header_timeout_seconds", 0.3)
    with receiving(RecordingConsumer()) as receiver:
        started = time.monotonic()
        assert exchange(receiver.http_address, b"") == b""
        assert exchange(receiver.http_address, b"POST /v1/traces HTTP/1.1\r\nHost") == b""
        served = exchange(receiver.http_address, head(0) + b"POST /v1")
        assert response_of(served)[0] == 200
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("pieces", [1, 9])
def test_headers_beyond_the_bound_are_refused_whether_they_come_at_once_or_in_pieces(pieces: int) -> None:
    consumer = RecordingConsumer()
    request = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 7_000) for n in range(10)) + b"Content-Length: 3\r\n\r\nabc"
    with receiving(consumer) as receiver:
        host, _, port = receiver.http_address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            size = len(request) // pieces + 1
            for start in range(0, len(request), size):
                connection.sendall(request[start : start + size])
                time.sleep(0.02)
            answer = connection.recv(65_536)
        status, headers, body = response_of(answer)
        assert status == 431
        read_status(body, headers["content-type"])
        with connected(receiver) as post:
            assert post(b"").status == 200


def test_connections_beyond_the_bound_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OtlpHttpProtocol, "max_connections", 3)
    with receiving(RecordingConsumer()) as receiver:
        host, _, port = receiver.http_address.rpartition(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(3)]
        time.sleep(0.2)
        status, headers, body = response_of(exchange(receiver.http_address, b""))
        assert status == 503
        assert int(headers["retry-after"]) == retry_seconds(read_status(body, JSON))
        for connection in idle:
            connection.close()
        time.sleep(0.2)
        with connected(receiver) as post:
            assert post(b"").status == 200


def test_pipelined_requests_are_answered_in_order() -> None:
    consumer = RecordingConsumer()
    body = trace_request().SerializeToString()
    with receiving(consumer) as receiver:
        raw = exchange(receiver.http_address, (head(len(body)) + body) * 3 + head(len(body), "Connection: close") + body)
    assert raw.count(b"HTTP/1.1 200 OK") == 4
    assert consumer.items == 4


def test_cors_is_off() -> None:
    with receiving(RecordingConsumer()) as receiver, connected(receiver) as post:
        preflight = post(None, None, method="OPTIONS", Origin="https://example.org", Access_Control_Request_Method="POST")
        taken = post(b"{}", JSON, Origin="https://example.org")
    assert preflight.status == 405
    assert not [name for answer in (preflight, taken) for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("compression", list(Compression))
def test_the_unmodified_sdk_delivers_every_span(compression: Compression) -> None:
    consumer = RecordingConsumer()
    with receiving(consumer) as receiver:
        provider = TracerProvider()
        exporter = OTLPSpanExporter(f"http://{receiver.http_address}/v1/traces", compression=compression)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=100))
        tracer = provider.get_tracer("test")
        for number in range(250):
            tracer.start_span(f"span {number}").end()
        provider.shutdown()
    assert sorted(name for batch in consumer.batches for name in batch.items.column("name").to_pylist()) == sorted(f"span {n}" for n in range(250))


def test_the_unmodified_sdk_comes_back_after_a_refusal_and_loses_nothing() -> None:
    consumer = RecordingConsumer()
    consumer.failures = [OverloadedError("full", retry_after_seconds=1, reason="queue_full")]
    with receiving(consumer) as receiver:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"http://{receiver.http_address}/v1/traces")))
        provider.get_tracer("test").start_span("once").end()
        provider.shutdown()
    assert [batch.items.num_rows for batch in consumer.batches] == [1]


def test_stopping_answers_everything_it_began_and_refuses_the_rest_retryably() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    consumer.holding = True

    def send(receiver: Receiver) -> int:
        with connected(receiver) as post:
            return post(trace_request().SerializeToString()).status

    with receiving(consumer, telemetry) as receiver, ThreadPoolExecutor(8) as threads:
        stored = threads.submit(send, receiver)
        slow = threads.submit(exchange, receiver.http_address, head(1000) + b"x")
        consumer.wait_for(1)
        time.sleep(0.2)
        stopping = threads.submit(receiver.stop, 10)
        time.sleep(0.3)
        assert send(receiver) == 503
        assert response_of(slow.result(5))[0] == 503
        consumer.release()
        assert stored.result(5) == 200
        stopping.result(10)
        with pytest.raises(ConnectionRefusedError):
            send(receiver)
    assert len(consumer.batches) == 1
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="http/protobuf", reason="shutting_down") == 2


def test_mutated_bodies_never_end_in_a_server_error() -> None:
    rng = random.Random(4)
    seeds = [(trace_request(3, bad=1).SerializeToString(), PROTOBUF), (trace_json(attributes=[{"key": "k", "value": {"intValue": "5"}}]), JSON)]
    with receiving(RecordingConsumer()) as receiver, connected(receiver) as post:
        for _ in range(1500):
            seed, content_type = rng.choice(seeds)
            body = bytearray(seed)
            for _ in range(rng.randrange(1, 5)):
                position = rng.randrange(len(body))
                body[position : position + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            answer = post(bytes(body), content_type)
            assert answer.status in {200, 400}, bytes(body)
