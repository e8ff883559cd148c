"""Decodes export requests of metrics: the counts that SDKs and Collectors keep of their own spans, and nothing else.

The envelope is walked without parsing it. Of a request in which no name of ours stands, nothing more is read; of others the names of the
metrics, and only those of ours are parsed, one at a time, by opentelemetry-proto: there are few of them.

Sources of the names: semantic-conventions `docs/otel/sdk-metrics.md`; opentelemetry-java's `LegacySpanProcessorInstrumentation` and
`LegacyExporterMetrics`; the Collector's `receiverhelper`, `processorhelper` and `exporterhelper` and its tail sampling processor.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from traced.errors import InvalidRequestError, TooLargeError
from traced.model.measurement import Measurement, Measurements, Temporality
from traced.model.span import MAX_TIME_UNIX_NANO
from traced.receiver.self_metrics import MARKS, Meaning, meaning_of
from traced.receiver.walking import Envelope, pass_over
from traced.receiver.wire import Limits

MAX_METRIC_BYTES: Final = 2**20
"""Of one metric, or resource, that is parsed: an SDK's has a few hundred, and parsed it takes up to thirty times as much."""
MAX_POINTS: Final = 20_000
"""Data points of ours in one request: a Collector sends those of many services together."""
MAX_ATTRIBUTES: Final = 64
MAX_TEXT: Final = 256
"""Characters of a name, an instance, a reason."""

_LENGTH_DELIMITED: Final = 2
_NAME: Final = 1
_KINDS: Final = {5: "gauge", 7: "sum", 9: "histogram"}
_TEMPORALITIES: Final = {
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE: Temporality.CUMULATIVE,
    AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA: Temporality.DELTA,
}


def decode_metrics(body: bytes, limits: Limits) -> Measurements:
    """Decode an ExportMetricsServiceRequest.

    Raises:
        InvalidRequestError: the bytes are no such request.
        TooLargeError: it holds more metrics, or more data points of ours, than are allowed, or one metric of ours is too large.
    """
    envelope = Envelope(body, limits.max_items)
    if envelope.over:
        raise TooLargeError(f"more than {limits.max_items} metrics, or resources and scopes, in one request", error_code="too_many_items")
    if envelope.problem:
        raise InvalidRequestError(f"the body is no export request of metrics: {envelope.problem}")
    if not any(mark in body for mark in MARKS):
        return Measurements(ignored=envelope.items)
    found = _Found()
    for start, end in _fields(body, 0, len(body), 1):
        _read_resource(body, start, end, found)
    return Measurements(tuple(found.points), envelope.items - found.read, dict(found.rejected))


class _Found:
    """What was read of a request so far: metrics of ours, their data points, and what was wrong with others."""

    def __init__(self) -> None:
        self.read = 0
        self.held = 0
        self.points: list[Measurement] = []
        self.rejected: Counter[str] = Counter()


class _Origin:
    """Who counts."""

    def __init__(self, raw: bytes) -> None:
        self.problem = ""
        self.service = self.instance = ""
        self.identity = b""
        try:
            attributes = Resource.FromString(raw).attributes if len(raw) <= MAX_METRIC_BYTES else None
        except DecodeError:
            attributes = None
        if attributes is None:
            self.problem = "malformed_resource"
            return
        known = _texts(attributes)
        self.service, self.instance = known.get("service_name", ""), known.get("service_instance_id", "")
        self.identity = _identity(attributes)
        if not self.service:
            self.problem = "no_service_name"


def _read_resource(body: bytes, start: int, end: int, found: _Found) -> None:
    origin: _Origin | None = None
    for scope_start, scope_end in _fields(body, start, end, 2):
        for at, stop in _fields(body, scope_start, scope_end, 2):
            meaning = _meaning(body, at, stop)
            if meaning is None:
                continue
            found.read += 1
            if stop - at > MAX_METRIC_BYTES:
                raise TooLargeError(f"a metric of {stop - at} bytes; {MAX_METRIC_BYTES} are allowed", error_code="too_many_items")
            if origin is None:
                origin = _Origin(b"".join(body[s:e] for s, e in _fields(body, start, end, 1)))
            _read_metric(body[at:stop], meaning, origin, found)


def _meaning(body: bytes, at: int, stop: int) -> Meaning | None:
    """Say what a metric counts, from its name alone; None where it is none of ours."""
    for start, end in _fields(body, at, stop, _NAME):
        return meaning_of(body[start:end])
    return None


def _read_metric(raw: bytes, meaning: Meaning, origin: _Origin, found: _Found) -> None:
    found.held += _count_points(raw)
    if found.held > MAX_POINTS:
        raise TooLargeError(f"more than {MAX_POINTS} data points about spans in one request", error_code="too_many_items")
    try:
        metric = Metric.FromString(raw)
    except DecodeError:
        found.rejected["malformed"] += 1
        return
    kind = metric.WhichOneof("data")
    points = getattr(metric, kind).data_points if kind is not None else ()
    temporality, problem = _temporality(metric, kind, meaning)
    for point in points:
        if point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            continue
        wrong = origin.problem or problem or _problem(point, kind)
        if wrong:
            found.rejected[wrong] += 1
            continue
        measurement = _measurement(point, meaning, origin, temporality)
        if measurement is not None:
            found.points.append(measurement)


def _temporality(metric: Any, kind: str | None, meaning: Meaning) -> tuple[Temporality, str]:
    """Give how the values follow each other, or what is wrong with that."""
    if meaning.level:
        wrong = kind not in ("sum", "gauge") or (kind == "sum" and _TEMPORALITIES.get(metric.sum.aggregation_temporality) is not Temporality.CUMULATIVE)
        return Temporality.LEVEL, "wrong_kind" if wrong else ""
    if kind != ("histogram" if meaning.histogram else "sum"):
        return Temporality.CUMULATIVE, "wrong_kind"
    temporality = _TEMPORALITIES.get(getattr(metric, kind).aggregation_temporality)
    return temporality or Temporality.CUMULATIVE, "" if temporality else "no_temporality"


def _problem(point: Any, kind: str | None) -> str:
    """Say what is wrong with a data point; empty where nothing is."""
    if len(point.attributes) > MAX_ATTRIBUTES:
        return "too_many_attributes"
    if not 0 < point.time_unix_nano <= MAX_TIME_UNIX_NANO or point.start_time_unix_nano > point.time_unix_nano:
        return "invalid_time"
    if kind == "histogram":
        return "" if point.count <= MAX_TIME_UNIX_NANO else "invalid_value"
    value = _value(point)
    # beyond 2**53 a double counts no single spans any more
    return "" if value is not None and math.isfinite(value) and 0 <= value <= 2**53 else "invalid_value"


def _value(point: Any) -> int | float | None:
    kind = point.WhichOneof("value")
    return None if kind is None else getattr(point, kind)


def _measurement(point: Any, meaning: Meaning, origin: _Origin, temporality: Temporality) -> Measurement | None:
    counted = meaning.read(_texts(point.attributes))
    if counted is None:
        return None
    series = blake2b(b"\0".join((origin.identity, meaning.name.encode(), _identity(point.attributes))), digest_size=8).hexdigest()
    return Measurement(
        service=origin.service,
        instance=origin.instance,
        quantity=counted.quantity,
        reason=counted.reason[:MAX_TEXT],
        component=counted.component[:MAX_TEXT],
        origin=counted.origin[:MAX_TEXT],
        series=series,
        temporality=temporality,
        start_time_unix_nano=point.start_time_unix_nano,
        time_unix_nano=point.time_unix_nano,
        value=point.count if meaning.histogram else round(_value(point) or 0),
    )


def _texts(attributes: Any) -> dict[str, str]:
    """Give simple attributes as text, their keys spelled with underscores, as Prometheus spells them; of a repeated key the first counts."""
    texts: dict[str, str] = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        if kind in ("string_value", "bool_value", "int_value"):
            value = getattr(attribute.value, kind)
            texts.setdefault(attribute.key.replace(".", "_"), str(value).lower() if kind == "bool_value" else str(value)[:MAX_TEXT])
    return texts


def _identity(attributes: Any) -> bytes:
    """Give bytes that are equal for equal attributes in any order."""
    return b"\0".join(sorted(KeyValue.SerializeToString(attribute, deterministic=True) for attribute in attributes))


def _count_points(raw: bytes) -> int:
    """Count the data points of a metric without parsing it: two bytes on the wire are a hundred in memory."""
    return sum(1 for kind in _KINDS for start, end in _fields(raw, 0, len(raw), kind) for _ in _fields(raw, start, end, 1))


def _fields(body: bytes, position: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Give (start, end) of the length-delimited fields with the wanted number; ends where the bytes are no message any more."""
    tag = wanted << 3 | _LENGTH_DELIMITED
    while position < end:
        try:
            key, start, position = pass_over(body, position, end)
        except (IndexError, ValueError):
            return
        if position > end:
            return
        if key == tag:
            yield start, position
