"""Metrics: what counts spans is read, everything else is acknowledged, and neither costs more than it should."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from metric_requests import BEGAN, DELTA, DROPPED, dropped, metric, request
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from receiver_parts import JSON, PROTOBUF, RecordingConsumer, counted, exchange, read_status, receiving, response_of, retry_seconds

from traced.errors import InvalidRequestError, TooLargeError
from traced.model.measurement import Measurement, Measurements, Quantity, Temporality
from traced.receiver import measuring
from traced.receiver.json_requests import metrics_from_json
from traced.receiver.measuring import MAX_METRIC_BYTES, MAX_POINTS, decode_metrics
from traced.receiver.self_metrics import _MEANINGS, MARKS
from traced.receiver.wire import Limits
from traced.telemetry import Telemetry

LIMITS = Limits(max_items=1000)


def decode(*metrics: Any, **resource: str) -> Measurements:
    return decode_metrics(request(*metrics, **resource).SerializeToString(), LIMITS)


def only(*metrics: Any, **resource: str) -> Measurement:
    (point,) = decode(*metrics, **resource).points
    return point


NAMES = {
    "spans begun": (
        metric("otel.sdk.span.started", 7, otel__span__sampling_result="DROP", otel__span__parent__origin="remote"),
        (Quantity.STARTED, "DROP", "", "remote"),
    ),
    "spans under way": (metric("otel.sdk.span.live", 3, otel__span__sampling_result="RECORD_AND_SAMPLE"), (Quantity.LIVE, "RECORD_AND_SAMPLE", "", "")),
    "spans a processor dropped": (dropped(4), (Quantity.DROPPED, "queue_full", "batching_span_processor/0", "")),
    "spans a processor handed on": (metric(DROPPED, 4, otel__component__name="b/0"), (Quantity.PROCESSED, "", "b/0", "")),
    "a queue": (metric("otel.sdk.processor.span.queue.size", 4, otel__component__name="b/0"), (Quantity.QUEUE_SIZE, "", "b/0", "")),
    "a queue's capacity": (metric("otel.sdk.processor.span.queue.capacity", 2048, otel__component__name="b/0"), (Quantity.QUEUE_CAPACITY, "", "b/0", "")),
    "spans sent": (metric("otel.sdk.exporter.span.exported", 4, otel__component__name="o/0"), (Quantity.EXPORTED, "", "o/0", "")),
    "spans not sent": (
        metric("otel.sdk.exporter.span.exported", 4, otel__component__name="o/0", error__type="UNAVAILABLE"),
        (Quantity.EXPORT_FAILED, "UNAVAILABLE", "o/0", ""),
    ),
    "spans being sent": (metric("otel.sdk.exporter.span.inflight", 4, otel__component__name="o/0"), (Quantity.INFLIGHT, "", "o/0", "")),
    "the name of an earlier convention": (metric(f"{DROPPED}.count", 4, error__type="queue_full"), (Quantity.DROPPED, "queue_full", "", "")),
    "as Prometheus spells it": (metric("otel_sdk_processor_span_processed_total", 4, error_type="queue_full"), (Quantity.DROPPED, "queue_full", "", "")),
    "Java's older processor": (
        metric("processedSpans", 4, processorType="BatchSpanProcessor", dropped=True),
        (Quantity.DROPPED, "queue_full", "BatchSpanProcessor", ""),
    ),
    "Java's older queue": (
        metric("queueSize", 4, kind="gauge", processorType="BatchSpanProcessor"),
        (Quantity.QUEUE_SIZE, "", "BatchSpanProcessor", ""),
    ),
    "Java's older exporter": (metric("otlp.exporter.exported", 4, type="span", success=False), (Quantity.EXPORT_FAILED, "", "", "")),
    "a Collector that refused": (metric("otelcol_receiver_refused_spans", 4, receiver="otlp", transport="grpc"), (Quantity.COLLECTOR_REFUSED, "", "otlp", "")),
    "a Collector that could not send": (
        metric("otelcol_exporter_send_failed_spans_total", 4.0, exporter="otlp"),
        (Quantity.COLLECTOR_SEND_FAILED, "", "otlp", ""),
    ),
    "a Collector whose queue was full": (metric("otelcol_exporter_enqueue_failed_spans", 4, exporter="otlp"), (Quantity.COLLECTOR_NOT_QUEUED, "", "otlp", "")),
    "a Collector's processor": (metric("otelcol_processor_dropped_spans", 4, processor="filter"), (Quantity.COLLECTOR_DROPPED, "", "filter", "")),
    "spans late for a tail sampler": (
        metric("otelcol_processor_tail_sampling_sampling_late_span_age", 4, kind="histogram"),
        (Quantity.TAIL_LATE, "", "", ""),
    ),
    "traces let go too early": (metric("otelcol_processor_tail_sampling_sampling_trace_dropped_too_early", 4), (Quantity.TAIL_TOO_EARLY, "", "", "")),
}


@pytest.mark.parametrize(("one", "expected"), NAMES.values(), ids=NAMES)
def test_every_name_says_what_it_counts(one: Any, expected: tuple[Any, ...]) -> None:
    point = only(one)
    assert (point.quantity, point.reason, point.component, point.origin) == expected
    assert (point.service, point.instance) == ("cart", "cart-1")
    assert (point.start_time_unix_nano, point.time_unix_nano) == (BEGAN, BEGAN + 10**9)
    data = getattr(one, one.WhichOneof("data")).data_points[0]
    assert point.value == (data.count if one.HasField("histogram") else data.as_int or data.as_double)


def test_the_quick_search_finds_every_name() -> None:
    assert [name for name in _MEANINGS if not any(mark in name for mark in MARKS)] == []


def test_temporality_is_kept() -> None:
    assert only(dropped(1, temporality=DELTA)).temporality is Temporality.DELTA
    assert only(dropped(1)).temporality is Temporality.CUMULATIVE
    assert only(metric("otel.sdk.span.live", 1)).temporality is Temporality.LEVEL


def test_series_differ_by_resource_name_and_attributes_and_not_by_their_order() -> None:
    there = {"service.name": "cart", "service.instance.id": "cart-1", "process.pid": "7"}
    series = {
        only(dropped(1)).series,
        only(dropped(1), **there).series,
        only(dropped(1, "already_shutdown")).series,
        only(metric(DROPPED, 1)).series,
        only(metric("otel.sdk.exporter.span.exported", 1)).series,
    }
    assert len(series) == 5
    assert only(dropped(2), **dict(reversed(there.items()))).series == only(dropped(1), **there).series
    turned = metric(DROPPED, 1, otel__component__name="batching_span_processor/0", error__type="queue_full")
    assert only(turned).series == only(dropped(1)).series


FOREIGN = {
    "another metric": metric("http.server.request.duration", 1, kind="histogram"),
    "log records of an SDK": metric("otel.sdk.processor.log.processed", 1, error__type="queue_full"),
    "log records of a Collector": metric("otelcol_receiver_refused_log_records", 1),
    "a name that begins like one of ours": metric("otel.sdk.span.started.somehow", 1),
    "a metric without a name": metric("", 1),
}


@pytest.mark.parametrize("one", FOREIGN.values(), ids=FOREIGN)
def test_other_metrics_are_ignored_and_counted(one: Any) -> None:
    assert decode(one) == Measurements(ignored=1)
    mixed = decode(one, dropped(3), one)
    assert (len(mixed.points), mixed.ignored, mixed.rejected) == (1, 2, {})


@pytest.mark.parametrize(
    "one",
    [
        metric("queueSize", 4, kind="gauge", processorType="BatchLogRecordProcessor"),
        metric("otlp.exporter.exported", 4, type="log", success=False),
    ],
    ids=["Java's queue of log records", "Java's exporter of log records"],
)
def test_names_that_count_other_signals_too_are_read_for_spans_only(one: Any) -> None:
    assert decode(one) == Measurements()


REJECTED = {
    "not a number": (dropped(math.nan), "invalid_value"),
    "infinite": (dropped(math.inf), "invalid_value"),
    "negative": (dropped(-1), "invalid_value"),
    "a negative double": (dropped(-0.5), "invalid_value"),
    "more than a double can count": (dropped(2**53 + 1), "invalid_value"),
    "no value": (dropped(None), "invalid_value"),
    "no time": (dropped(1, time=0, start=0), "invalid_time"),
    "a time beyond all clocks": (dropped(1, time=2**63), "invalid_time"),
    "ends before it starts": (dropped(1, start=BEGAN + 2, time=BEGAN + 1), "invalid_time"),
    "no temporality": (dropped(1, temporality=0), "no_temporality"),
    "a counter sent as a gauge": (dropped(1, kind="gauge"), "wrong_kind"),
    "a level sent as deltas": (metric("otel.sdk.span.live", 1, temporality=DELTA), "wrong_kind"),
    "a counter sent as a histogram": (dropped(1, kind="histogram"), "wrong_kind"),
    "too many attributes": (dropped(1, **{f"k{n}": "v" for n in range(70)}), "too_many_attributes"),
}


@pytest.mark.parametrize(("one", "reason"), REJECTED.values(), ids=REJECTED)
def test_invalid_points_are_rejected_with_a_reason_and_the_others_taken(one: Any, reason: str) -> None:
    taken = decode(one, dropped(5))
    assert taken.rejected == {reason: 1}
    assert [point.value for point in taken.points] == [5]
    assert taken.received == 2


def test_a_resource_without_a_service_name_is_of_no_use() -> None:
    assert decode(dropped(5), **{"host.name": "a"}).rejected == {"no_service_name": 1}


def test_points_without_a_recorded_value_are_passed_over() -> None:
    one = dropped(None)
    one.sum.data_points[0].flags = 1
    assert decode(one) == Measurements()


def test_a_broken_metric_of_ours_costs_only_itself() -> None:
    raw = request(dropped(1), dropped(2)).SerializeToString()
    # the second metric's data becomes a length that is none
    at = raw.rindex(b"processed") + len("processed")
    assert raw[at] == 0x3A
    broken = decode_metrics(raw[:at] + b"\x3f" + raw[at + 1 :], LIMITS)
    assert ([point.value for point in broken.points], broken.rejected) == ([1], {"malformed": 1})


def test_bytes_that_are_no_request_are_refused() -> None:
    for body in (b"\xff", b"\x0a\x05\x12", b"otel.sdk.span.started", b"\x0a\x04\x12\x7f\x0a\x00"):
        with pytest.raises(InvalidRequestError):
            decode_metrics(body, LIMITS)


def test_limits_hold() -> None:
    many = request(*[metric("m", 1)] * 1001).SerializeToString()
    with pytest.raises(TooLargeError):
        decode_metrics(many, LIMITS)
    points = dropped(1)
    points.sum.data_points.extend([points.sum.data_points[0]] * (MAX_POINTS // 10))
    with pytest.raises(TooLargeError):
        decode(*[points] * 11)
    with pytest.raises(TooLargeError):
        decode(dropped(1, "e" * MAX_METRIC_BYTES))
    assert decode(*[points] * 9).received == 9 * (MAX_POINTS // 10 + 1)


def test_a_metric_of_many_empty_points_is_refused_before_it_is_parsed() -> None:
    # half a million points of two bytes each
    size = (1 << 20) - 64
    one = metric(DROPPED)
    one.sum.ClearField("data_points")
    raw = one.SerializeToString()
    data = b"\x0a\x00" * (size // 2)
    hostile = raw[: raw.rindex(b"\x3a")] + b"\x3a" + _varint(len(data)) + data
    body = _wrapped(_wrapped(hostile, 2), 2)
    with pytest.raises(TooLargeError):
        decode_metrics(_wrapped(body, 1), LIMITS)


def _varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))


def _wrapped(inside: bytes, number: int) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(inside)) + inside


def test_other_metrics_are_never_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "Metric", None)
    monkeypatch.setattr(measuring, "Resource", None)
    assert decode(*FOREIGN.values(), *[metric("http.server.request.duration", 1, kind="histogram")] * 900).ignored == 905
    with pytest.raises(AttributeError):
        decode(dropped(1))


WHOLE = request(*[one for one, _ in NAMES.values()], *FOREIGN.values()).SerializeToString()


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(WHOLE)))
def test_damaged_requests_are_decoded_or_refused_and_nothing_else(changes: list[tuple[int, int]], end: int) -> None:
    damaged = bytearray(WHOLE)
    for place, value in changes:
        damaged[place] = value
    for body in (bytes(damaged), bytes(damaged[:end])):
        with contextlib.suppress(InvalidRequestError, TooLargeError):
            for point in decode_metrics(body, LIMITS).points:
                assert 0 <= point.value <= 2**63
                assert 0 < point.time_unix_nano < 2**63
                assert point.service


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**65) | st.floats() | st.sampled_from(["", "1", "otel.sdk.span.started", "NaN", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceMetrics", "scopeMetrics", "metrics", "name", "sum", "gauge", "dataPoints", "asInt", "asDouble", "timeUnixNano", "attributes", "key"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values, st.sampled_from([0, 1, 2, 3]))
def test_json_of_any_shape_is_converted_or_refused_and_nothing_else(value: Any, depth: int) -> None:
    for name in ("metrics", "scopeMetrics", "resourceMetrics")[3 - depth :]:
        value = {name: value if isinstance(value, list) else [value]}
    with contextlib.suppress(InvalidRequestError, TooLargeError):
        decode_metrics(metrics_from_json(json.dumps(value).encode())[0], LIMITS)


# ---------------------------------------------------------------------- JSON


def in_json(whole: ExportMetricsServiceRequest) -> bytes:
    return json_format.MessageToJson(whole).encode()


def test_json_and_protobuf_say_the_same() -> None:
    whole = request(*[one for one, _ in NAMES.values()], *FOREIGN.values(), metric("other", 1.5, kind="gauge"))
    converted, nonconformant = metrics_from_json(in_json(whole).replace(b'"AGGREGATION_TEMPORALITY_CUMULATIVE"', b"2"))
    assert not nonconformant
    assert decode_metrics(converted, LIMITS) == decode_metrics(whole.SerializeToString(), LIMITS)


def test_json_of_other_metrics_is_not_converted() -> None:
    body = b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "sum": "nonsense"}, {"name": "n", "exponentialHistogram": {}}]}]}]}'
    converted, _ = metrics_from_json(body)
    assert decode_metrics(converted, LIMITS) == Measurements(ignored=2)


@pytest.mark.parametrize(
    "body",
    [
        b"[1]",
        b'{"resourceMetrics": {}}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [1]}]}]}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": 5}]}]}]}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "otel.sdk.span.started", "sum": {"dataPoints": [{"asInt": "x"}]}}]}]}]}',
    ],
)
def test_json_of_wrong_types_is_refused_with_the_place(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        metrics_from_json(body)


# ---------------------------------------------------------------------- through the receiver


class RecordingMeasurements:
    """Remembers what was measured, while there is room."""

    def __init__(self) -> None:
        self.points: list[Measurement] = []
        self.room = True

    def measured(self, points: tuple[Measurement, ...]) -> bool:
        if self.room:
            self.points.extend(points)
        return self.room


def post(address: str, body: bytes, content_type: str, coding: str = "identity") -> tuple[int, dict[str, str], bytes]:
    headers = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nContent-Encoding: {coding}\r\nConnection: close\r\n\r\n"
    return response_of(exchange(address, f"POST /v1/metrics HTTP/1.1\r\nHost: x\r\n{headers}".encode() + body))


SENDERS: dict[str, Callable[[Any, ExportMetricsServiceRequest], tuple[int, dict[str, str], bytes]]] = {
    "http/protobuf": lambda receiver, whole: post(receiver.http_address, whole.SerializeToString(), PROTOBUF),
    "http/json": lambda receiver, whole: post(receiver.http_address, in_json(whole), JSON),
    "http/json with gzip": lambda receiver, whole: post(receiver.http_address, gzip.compress(in_json(whole)), JSON, "gzip"),
}


def test_the_transports_agree() -> None:
    whole = request(dropped(412), dropped(-1), metric("http.server.request.duration", 1))
    taken = []
    for way in ("grpc", *SENDERS):
        telemetry, measurements = Telemetry(), RecordingMeasurements()
        with receiving(RecordingConsumer(), telemetry, measurements=measurements) as receiver:
            if way == "grpc":
                with grpc.insecure_channel(receiver.grpc_address) as channel:
                    answer = MetricsServiceStub(channel).Export(whole, timeout=10)
            else:
                status, _, content = SENDERS[way](receiver, whole)
                assert status == 200
                answer = ExportMetricsServiceResponse()
                answer.MergeFromString(content) if way == "http/protobuf" else json_format.Parse(content, answer)
        assert answer.partial_success.rejected_data_points == 1
        assert answer.partial_success.error_message == "1 of 2 data points rejected (invalid_value: 1); the others are taken, do not send them again."
        transport = way.removesuffix(" with gzip")
        assert counted(telemetry, "traced_receiver_accepted_total", signal="metrics", transport=transport) == 1
        assert counted(telemetry, "traced_receiver_ignored_metrics_total", transport=transport) == 1
        assert counted(telemetry, "traced_receiver_rejected_items_total", signal="metrics", reason="invalid_value") == 1
        taken.append(measurements.points)
    assert taken == [taken[0]] * 4
    assert [point.value for point in taken[0]] == [412]


def test_without_room_a_sender_is_told_to_come_back() -> None:
    telemetry, measurements = Telemetry(), RecordingMeasurements()
    measurements.room = False
    with receiving(RecordingConsumer(), telemetry, measurements=measurements) as receiver:
        status, headers, body = post(receiver.http_address, request(dropped(1)).SerializeToString(), PROTOBUF)
        assert (status, "retry-after" in headers) == (503, True)
        assert retry_seconds(read_status(body, PROTOBUF)) is not None
        # what is of no use needs no room
        assert post(receiver.http_address, request(metric("m")).SerializeToString(), PROTOBUF)[0] == 200
    assert counted(telemetry, "traced_receiver_refused_total", signal="metrics", transport="http/protobuf", reason="queue_full") == 1
