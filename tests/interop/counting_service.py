"""Two services in one process, with the SDK's metrics about itself on: `web` calls `cart`, and web's queue is too small.

Arguments: transport, gRPC address, HTTP address, name of web, temporality, calls. Prints, as JSON, how many spans the SDK said it dropped.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

os.environ["OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"] = "true"

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags


def providers(transport: str, grpc: str, http: str, name: str, temporality: str, queue: int) -> tuple[TracerProvider, MeterProvider, InMemoryMetricReader]:
    """Give what makes spans of a service and counts them, exported by one transport."""
    resource = Resource.create({"service.name": name, "service.instance.id": f"{name}-1"})
    preferred = {Counter: AggregationTemporality.DELTA if temporality == "delta" else AggregationTemporality.CUMULATIVE}
    memory = InMemoryMetricReader()
    if transport == "grpc":
        exporter: Any = GrpcMetricExporter(endpoint=grpc, insecure=True, preferred_temporality=preferred)
    else:
        exporter = HttpMetricExporter(endpoint=f"http://{http}/v1/metrics", preferred_temporality=preferred)
    meters = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=300), memory], resource)
    if transport == "grpc":
        spans: Any = GrpcSpanExporter(endpoint=grpc, insecure=True, meter_provider=meters)
    else:
        spans = HttpSpanExporter(endpoint=f"http://{http}/v1/traces", meter_provider=meters)
    tracers = TracerProvider(resource=resource, meter_provider=meters)
    processor = BatchSpanProcessor(spans, max_queue_size=queue, max_export_batch_size=min(8, queue), schedule_delay_millis=100, meter_provider=meters)
    tracers.add_span_processor(processor)
    return tracers, meters, memory


def dropped(memory: InMemoryMetricReader) -> int:
    """Give how many spans the SDK says that its processor dropped."""
    data = memory.get_metrics_data()
    metrics = [m for r in (data.resource_metrics if data else []) for s in r.scope_metrics for m in s.metrics]
    points = [p for m in metrics if m.name == "otel.sdk.processor.span.processed" for p in m.data.data_points]
    return sum(p.value for p in points if p.attributes.get("error.type") == "queue_full")


def main() -> None:
    logging.disable(logging.WARNING)
    transport, grpc, http, name, temporality, calls = sys.argv[1:]
    web, web_meters, memory = providers(transport, grpc, http, name, temporality, 8)
    cart, cart_meters, _ = providers(transport, grpc, http, f"cart-of-{name}", temporality, 4096)
    client, server = web.get_tracer("web"), cart.get_tracer("cart")
    for number in range(int(calls)):
        with client.start_as_current_span("GET /", kind=SpanKind.SERVER), client.start_as_current_span("GET", kind=SpanKind.CLIENT) as call:
            own = call.get_span_context()
            seen = SpanContext(own.trace_id, own.span_id, is_remote=True, trace_flags=TraceFlags(1))
            server.start_span("GET /cart", trace.set_span_in_context(NonRecordingSpan(seen)), SpanKind.SERVER).end()
        if number % 60 < 30:
            # half of the calls are slow enough for the queue, so that who calls is known
            time.sleep(0.03)
    for provider in (web, cart):
        provider.force_flush()
    time.sleep(0.5)
    for meters in (web_meters, cart_meters):
        meters.force_flush()
    sys.stdout.write(json.dumps({"dropped": dropped(memory)}) + "\n")
    for provider in (web, cart, web_meters, cart_meters):
        provider.shutdown()


main()
