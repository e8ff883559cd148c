"""OTLP/gRPC as clients see it: gRPC's own client and the unmodified OpenTelemetry SDK."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from google.rpc import status_pb2
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from receiver_parts import RecordingConsumer, counted, log_request, receiving, retry_seconds, trace_request

from traced.config import ReceiverSettings
from traced.errors import ConfigurationError, OverloadedError, PortTakenError, StoreError, TracedError
from traced.receiver.receiver import Receiver
from traced.telemetry import Telemetry

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


@contextmanager
def connected(receiver: Receiver, **options: int) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(receiver.grpc_address, options=[("grpc.max_send_message_length", -1), *options.items()]) as channel:
        yield channel


def call(channel: grpc.Channel, body: bytes, method: str = TRACES, *, compression: grpc.Compression | None = None) -> bytes:
    return channel.unary_unary(method, None, None)(body, timeout=20, compression=compression)


def refused(channel: grpc.Channel, body: bytes, method: str = TRACES) -> tuple[grpc.StatusCode, status_pb2.Status | None]:
    """Make a call that must fail; give its code and the Status of its details, if it has some."""
    with pytest.raises(grpc.RpcError) as error:
        call(channel, body, method)
    details = dict(error.value.trailing_metadata() or ()).get("grpc-status-details-bin")
    return error.value.code(), None if details is None else status_pb2.Status.FromString(details)


def test_traces_and_logs_plain_and_gzip_are_handed_on_and_counted() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    with receiving(consumer, telemetry) as receiver, connected(receiver) as channel:
        assert call(channel, trace_request(3).SerializeToString()) == b""
        assert call(channel, trace_request(500).SerializeToString(), compression=grpc.Compression.Gzip) == b""
        assert call(channel, log_request(2).SerializeToString(), LOGS) == b""
        assert call(channel, b"") == b"", "an empty request is a success"
    assert sorted(batch.items.num_rows for batch in consumer.batches) == [2, 3, 500]
    assert counted(telemetry, "traced_receiver_accepted_total", signal="traces", transport="grpc") == 503
    assert counted(telemetry, "traced_receiver_accepted_total", signal="logs", transport="grpc") == 2
    assert counted(telemetry, "traced_receiver_ack_seconds_count", transport="grpc") == 4
    assert counted(telemetry, "traced_receiver_last_arrival_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert counted(telemetry, "traced_receiver_in_flight_bytes") == 0


def test_invalid_spans_are_rejected_with_their_exact_number_and_the_others_kept() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    with receiving(consumer, telemetry) as receiver, connected(receiver) as channel:
        answer = ExportTraceServiceResponse.FromString(call(channel, trace_request(997, bad=3).SerializeToString()))
        assert answer.partial_success.rejected_spans == 3
        assert "3 of 1000 spans rejected" in answer.partial_success.error_message
        only_bad = ExportTraceServiceResponse.FromString(call(channel, trace_request(0, bad=1).SerializeToString()))
        assert only_bad.partial_success.rejected_spans == 1
    assert consumer.items == 997
    assert counted(telemetry, "traced_receiver_rejected_items_total", signal="traces", reason="invalid_trace_id") == 4


def test_a_change_to_what_was_stored_is_a_warning_and_rejects_nothing() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    request = log_request(1)
    request.resource_logs[0].scope_logs[0].log_records[0].attributes.add(key="k" * 300).value.int_value = 1
    with receiving(consumer, telemetry) as receiver, connected(receiver) as channel:
        answer = ExportLogsServiceResponse.FromString(call(channel, request.SerializeToString(), LOGS))
    assert answer.partial_success.rejected_log_records == 0
    assert "attribute_key_cut" in answer.partial_success.error_message
    assert counted(telemetry, "traced_receiver_altered_items_total", signal="logs", reason="attribute_key_cut") == 1


def test_overload_is_unavailable_with_retry_info_and_never_resource_exhausted() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    consumer.holding = True
    body = trace_request().SerializeToString()
    with receiving(consumer, telemetry, max_requests_in_flight=3) as receiver, connected(receiver) as channel, ThreadPoolExecutor(60) as threads:
        waiting = [threads.submit(call, channel, body) for _ in range(3)]
        consumer.wait_for(3)
        for outcome in [threads.submit(refused, channel, body) for _ in range(50)]:
            code, status = outcome.result(10)
            assert code is grpc.StatusCode.UNAVAILABLE
            assert status is not None
            assert status.code == code.value[0]
            assert 1 <= (retry_seconds(status) or 0) <= 30
        consumer.release()
        assert [outcome.result(10) for outcome in waiting] == [b""] * 3
    assert len(consumer.batches) == 3
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason="queue_full") == 50


@pytest.mark.parametrize("late", [False, True])
def test_a_refusal_by_the_consumer_keeps_its_delay_and_reason(*, late: bool) -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    (consumer.late_failures if late else consumer.failures).append(OverloadedError("disk", retry_after_seconds=11, reason="disk_full"))
    with receiving(consumer, telemetry) as receiver, connected(receiver) as channel:
        code, status = refused(channel, trace_request().SerializeToString())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert status is not None
    assert retry_seconds(status) == 11
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason="disk_full") == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_failing_store_is_retryable_since_the_request_itself_is_sound(*, late: bool) -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    (consumer.late_failures if late else consumer.failures).append(StoreError("I/O"))
    with receiving(consumer, telemetry) as receiver, connected(receiver) as channel:
        code, status = refused(channel, trace_request().SerializeToString())
        assert code is grpc.StatusCode.UNAVAILABLE
        assert status is not None
        assert retry_seconds(status)
        assert call(channel, trace_request().SerializeToString()) == b""
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason="store_failed") == 1


def test_a_commit_that_takes_too_long_is_retryable() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    consumer.holding = True
    with receiving(consumer, telemetry, request_timeout_seconds=0.2) as receiver, connected(receiver) as channel:
        code, status = refused(channel, trace_request().SerializeToString())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert status is not None
    assert retry_seconds(status)
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason="commit_timeout") == 1


def test_an_error_inside_traced_is_internal_and_not_retried() -> None:
    consumer = RecordingConsumer()
    consumer.failures.append(ZeroDivisionError("secret"))
    with receiving(consumer) as receiver, connected(receiver) as channel:
        code, status = refused(channel, trace_request().SerializeToString())
    assert code is grpc.StatusCode.INTERNAL
    assert status is not None
    assert "secret" not in status.message


@pytest.mark.parametrize("body", [b"\xff\xff\xff", trace_request(3).SerializeToString()[:-1]])
def test_bytes_that_are_no_request_are_an_invalid_argument(body: bytes) -> None:
    with receiving(RecordingConsumer()) as receiver, connected(receiver) as channel:
        code, status = refused(channel, body)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert status is not None
    assert [detail.type_url for detail in status.details] == ["type.googleapis.com/google.rpc.BadRequest"]


def test_what_is_too_large_or_too_many_is_final() -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    with receiving(consumer, telemetry, max_request_bytes=10_000, max_items_per_request=50) as receiver, connected(receiver) as channel:
        code, status = refused(channel, trace_request(51).SerializeToString())
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert status is not None
        assert retry_seconds(status) is None
        code, status = refused(channel, bytes(10_001))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert status is None
        with pytest.raises(grpc.RpcError) as bomb:
            call(channel, bytes(64 << 20), compression=grpc.Compression.Gzip)
        assert bomb.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert call(channel, trace_request(50).SerializeToString()) == b"", "the connection lives on"
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason="too_many_items") == 1
    assert consumer.items == 50


def test_two_million_empty_spans_in_four_kilobytes_are_refused() -> None:
    empty_spans = b"\x12\x00" * 2_000_000
    scope = b"\x12" + _length(len(empty_spans)) + empty_spans
    body = b"\x0a" + _length(len(scope)) + scope
    assert len(gzip.compress(body)) < 5000
    consumer = RecordingConsumer()
    with receiving(consumer) as receiver, connected(receiver) as channel:
        code, _ = refused(channel, body)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not consumer.batches


def _length(size: int) -> bytes:
    encoded = b""
    while size >= 0x80:
        encoded += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return encoded + bytes((size,))


def test_metrics_are_acknowledged_and_unknown_methods_unimplemented() -> None:
    with receiving(RecordingConsumer()) as receiver, connected(receiver) as channel:
        assert MetricsServiceStub(channel).Export(ExportMetricsServiceRequest(), timeout=10) == ExportMetricsServiceResponse()
        assert refused(channel, b"", TRACES + "All")[0] is grpc.StatusCode.UNIMPLEMENTED


def test_senders_that_never_finish_are_cut_off_and_others_served() -> None:
    consumer = RecordingConsumer()
    end = threading.Event()

    def silent() -> Iterator[bytes]:
        end.wait(20)
        yield b""

    with receiving(consumer, max_requests_in_flight=2, request_timeout_seconds=1) as receiver, connected(receiver) as channel:
        calls = [channel.stream_unary(TRACES, None, None).future(silent(), timeout=20) for _ in range(25)]
        time.sleep(0.3)
        assert call(channel, trace_request().SerializeToString()) == b""
        # cut off while they wait, or not let in because the others still do
        codes = {each.code() for each in calls}
        assert grpc.StatusCode.CANCELLED in codes
        assert codes <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
        end.set()


def test_a_call_without_a_message_is_an_invalid_argument() -> None:
    with receiving(RecordingConsumer()) as receiver, connected(receiver) as channel, pytest.raises(grpc.RpcError) as error:
        channel.stream_unary(TRACES, None, None)(iter(()), timeout=10)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_pings_during_a_slow_call_do_not_cost_the_connection() -> None:
    consumer = RecordingConsumer()
    consumer.holding = True
    often = {
        "grpc.keepalive_time_ms": 1000,
        "grpc.keepalive_timeout_ms": 5000,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.keepalive_permit_without_calls": 1,
    }
    with receiving(consumer) as receiver, connected(receiver, **often) as channel, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(call, channel, trace_request().SerializeToString())
        # by default the server would say "too many pings" after the fifth
        time.sleep(8)
        consumer.release()
        assert answer.result(5) == b""


def test_a_taken_port_is_named_with_the_setting_to_change_and_the_other_port_is_freed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        for setting, free in (("otlp_grpc", "otlp_http"), ("otlp_http", "otlp_grpc")):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                unused = f"127.0.0.1:{probe.getsockname()[1]}"
            receiver = Receiver(ReceiverSettings(**{setting: address, free: unused}), RecordingConsumer(), Telemetry())
            with pytest.raises(PortTakenError) as error:
                receiver.start()
            assert address in error.value.message
            assert f"receiver.{setting}" in error.value.message
            assert any(setting.upper() in action for action in error.value.next_safe_actions)
            host, _, port = unused.rpartition(":")
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind((host, int(port)))


@pytest.mark.parametrize("setting", ["otlp_grpc", "otlp_http"])
@pytest.mark.parametrize(
    ("address", "error"),
    [("127.0.0.1:65536", ConfigurationError), ("192.0.2.1:0", PortTakenError)],
)
def test_an_address_that_cannot_be_had_is_an_error_that_names_its_setting(setting: str, address: str, error: type[TracedError]) -> None:
    addresses = {"otlp_grpc": "127.0.0.1:0", "otlp_http": "127.0.0.1:0", setting: address}
    with pytest.raises(error, match=f"receiver.{setting}"):
        Receiver(ReceiverSettings(**addresses), RecordingConsumer(), Telemetry()).start()


def test_a_host_may_be_a_name_and_both_servers_then_use_the_same_address() -> None:
    with receiving(RecordingConsumer(), otlp_grpc="localhost:0", otlp_http="localhost:0") as receiver, connected(receiver) as channel:
        assert receiver.grpc_address.startswith("localhost:")
        assert call(channel, b"") == b""
        for address in (receiver.grpc_address, receiver.http_address):
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):
                pass


def test_two_receivers_never_share_a_port() -> None:
    with receiving(RecordingConsumer()) as receiver:
        second = Receiver(ReceiverSettings(otlp_grpc=receiver.grpc_address, otlp_http="127.0.0.1:0"), RecordingConsumer(), Telemetry())
        with pytest.raises(PortTakenError):
            second.start()


def test_the_unmodified_sdk_delivers_every_span() -> None:
    consumer = RecordingConsumer()
    with receiving(consumer) as receiver:
        provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        exporter = OTLPSpanExporter(f"http://{receiver.grpc_address}", insecure=True, compression=grpc.Compression.Gzip)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=100))
        tracer = provider.get_tracer("test")
        for number in range(350):
            with tracer.start_as_current_span(f"span {number}"):
                pass
        provider.shutdown()
    assert sorted(name for batch in consumer.batches for name in batch.items.column("name").to_pylist()) == sorted(f"span {n}" for n in range(350))


def test_the_unmodified_sdk_comes_back_after_refusals_and_loses_nothing() -> None:
    consumer = RecordingConsumer()
    consumer.failures = [OverloadedError("full", retry_after_seconds=1, reason="queue_full") for _ in range(2)]
    with receiving(consumer) as receiver:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"http://{receiver.grpc_address}", insecure=True)))
        provider.get_tracer("test").start_span("once").end()
        provider.shutdown()
    assert [batch.items.num_rows for batch in consumer.batches] == [1]


def test_stopping_answers_what_is_in_flight_and_hands_on_nothing_after() -> None:
    consumer = RecordingConsumer()
    consumer.holding = True
    body = trace_request().SerializeToString()
    with receiving(consumer) as receiver, connected(receiver) as channel, ThreadPoolExecutor(4) as threads:
        stored = threads.submit(call, channel, body)
        consumer.wait_for(1)
        stopping = threads.submit(receiver.stop, 10)
        time.sleep(0.2)
        code, status = refused(channel, body)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert status is not None
        assert retry_seconds(status)
        consumer.release()
        assert stored.result(5) == b""
        stopping.result(10)
        assert len(consumer.batches) == 1
        assert refused(channel, body)[0] is grpc.StatusCode.UNAVAILABLE
    assert len(consumer.batches) == 1


def test_stopping_does_not_wait_longer_than_its_grace_and_answers_retryably() -> None:
    consumer = RecordingConsumer()
    consumer.holding = True
    with receiving(consumer) as receiver, connected(receiver) as channel, ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(refused, channel, trace_request().SerializeToString())
        consumer.wait_for(1)
        started = time.monotonic()
        receiver.stop(0.5)
        assert time.monotonic() - started < 4
        code, status = hanging.result(5)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert status is not None
        assert retry_seconds(status)


def test_many_calls_at_once_on_one_connection_are_all_taken() -> None:
    consumer = RecordingConsumer()
    with receiving(consumer, max_requests_in_flight=64) as receiver, connected(receiver) as channel, ThreadPoolExecutor(40) as threads:
        stub = TraceServiceStub(channel)
        answers = [threads.submit(stub.Export, trace_request(5), timeout=20) for _ in range(200)]
        assert all(not answer.result(20).HasField("partial_success") for answer in answers)
    assert consumer.items == 1000
