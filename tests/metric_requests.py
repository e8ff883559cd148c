"""Export requests of metrics, as the tests write them."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
BEGAN = 1_700_000_000_000_000_000
DROPPED = "otel.sdk.processor.span.processed"


def set_attributes(attributes: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        kind = {bool: "bool_value", int: "int_value", float: "double_value"}.get(type(value), "string_value")
        setattr(attributes.add(key=key).value, kind, value)


def metric(
    name: str, value: Any = 1, *, kind: str = "sum", temporality: Any = CUMULATIVE, start: int = BEGAN, time: int = BEGAN + 10**9, **labels: Any
) -> Metric:
    """Give a metric of one data point; `labels` are its attributes, their dots written as two underscores."""
    one = Metric(name=name)
    data = getattr(one, kind)
    if kind != "gauge":
        data.aggregation_temporality = temporality
    point = data.data_points.add(start_time_unix_nano=start, time_unix_nano=time)
    if kind == "histogram":
        point.count = value
    elif isinstance(value, float):
        point.as_double = value
    elif value is not None:
        point.as_int = value
    set_attributes(point.attributes, {key.replace("__", "."): text for key, text in labels.items()})
    return one


def dropped(number: Any, error: str = "queue_full", **more: Any) -> Metric:
    """Give what an SDK says of spans that its processor dropped."""
    return metric(DROPPED, number, error__type=error, otel__component__name="batching_span_processor/0", **more)


def request(*metrics: Metric, **resource: str) -> ExportMetricsServiceRequest:
    """Give a request of one resource: cart, instance cart-1, unless said otherwise."""
    whole = ExportMetricsServiceRequest()
    under = whole.resource_metrics.add()
    set_attributes(under.resource.attributes, resource or {"service.name": "cart", "service.instance.id": "cart-1"})
    under.scope_metrics.add().metrics.extend(metrics)
    return whole
