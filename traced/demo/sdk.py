"""The OpenTelemetry SDK, an optional extra: the one place where the shop imports it."""

from __future__ import annotations

from traced.errors import TracedError


class DemoExtraMissingError(TracedError):
    """The OpenTelemetry SDK is not installed, so there can be no shop."""

    status = 500
    error_code = "demo_extra_missing"


try:
    import requests
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, TraceIdRatioBased
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span, use_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise DemoExtraMissingError(
        f"the demo shop needs the OpenTelemetry SDK and its OTLP exporters, and {error.name} cannot be imported",
        next_safe_actions=("Install them: pip install 'traced[demo]'", "Or start the daemon without the shop: traced serve"),
    ) from error

__all__ = [
    "ALWAYS_ON",
    "BatchSpanProcessor",
    "Context",
    "DemoExtraMissingError",
    "GrpcSpanExporter",
    "HttpSpanExporter",
    "Link",
    "ReadableSpan",
    "Resource",
    "Span",
    "SpanExportResult",
    "SpanExporter",
    "SpanKind",
    "Status",
    "StatusCode",
    "TraceContextTextMapPropagator",
    "TraceIdRatioBased",
    "TracerProvider",
    "get_current_span",
    "requests",
    "use_span",
]
