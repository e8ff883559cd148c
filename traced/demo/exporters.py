"""Where the shop's spans go: real OTLP exporters, one that loses batches, and a lid on the SDK's own complaints."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from traced.demo.sdk import GrpcSpanExporter, HttpSpanExporter, ReadableSpan, SpanExporter, SpanExportResult, SpanKind, requests

_log = logging.getLogger("traced.demo")


def grpc_exporter(endpoint: str) -> SpanExporter:
    """Make an OTLP/gRPC exporter.

    Args:
        endpoint: HOST:PORT, or a URL of which only that part counts.
    """
    # The environment's proxies and headers are for the user's own programs: the shop talks to the given address, without detour.
    return GrpcSpanExporter(
        endpoint=f"http://{_host_port(endpoint)}",
        insecure=True,
        channel_options=(("grpc.enable_http_proxy", 0),),  # type: ignore[arg-type]  # gRPC wants a number here, the exporter's annotation says text
    )


def http_exporter(endpoint: str) -> SpanExporter:
    """Make an OTLP/HTTP exporter.

    Args:
        endpoint: HOST:PORT, or a URL of which only that part counts.
    """
    session = requests.Session()
    session.trust_env = False
    return HttpSpanExporter(endpoint=f"http://{_host_port(endpoint)}/v1/traces", session=session)


def _host_port(endpoint: str) -> str:
    return urlsplit(endpoint).netloc if "://" in endpoint else endpoint


class BatchLosingExporter(SpanExporter):
    """Loses a whole batch now and then and reports success, as a broken pipeline does.

    Attributes:
        exports: batches it was given.
        lost_batches: batches of them that it lost.
        lost_spans: spans in those.
    """

    def __init__(self, inner: SpanExporter, *, first: int, every: int) -> None:
        """Keep the real exporter and the schedule.

        Args:
            inner: takes every batch that is not lost.
            first: the number (from 1) of the first batch that may be lost.
            every: batches from one loss to the next.
        """
        self._inner = inner
        self._next_loss = first
        self._every = every
        self.exports = 0
        self.lost_batches = 0
        self.lost_spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass a batch on, or lose it when its turn has come; exports of one processor never overlap."""
        self.exports += 1
        if self.exports < self._next_loss or not _holds_a_whole_call(spans):
            return self._inner.export(spans)
        self._next_loss = self.exports + self._every
        self.lost_batches += 1
        self.lost_spans += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Shut the real exporter down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the real exporter."""
        return self._inner.force_flush(timeout_millis)


def _holds_a_whole_call(spans: Sequence[ReadableSpan]) -> bool:
    """A SERVER span with its own CLIENT span: its loss shows on both sides, at the caller and at the callee."""
    parents = {span.parent.span_id for span in spans if span.kind is SpanKind.CLIENT and span.parent is not None}
    return any(span.kind is SpanKind.SERVER and span.context.span_id in parents for span in spans)


class SdkComplaints(logging.Handler):
    """Passes on the first warning of the OpenTelemetry SDK and counts the rest: a daemon that went away needs saying once.

    Attributes:
        count: warnings and errors of the SDK since `install`.
    """

    def __init__(self) -> None:
        """Start with nothing said."""
        super().__init__(level=logging.WARNING)
        self.count = 0
        self._guard = threading.Lock()
        self._logger = logging.getLogger("opentelemetry")
        self._propagated = True

    def install(self) -> None:
        """Stand between the SDK's loggers and the terminal."""
        self._propagated = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self)

    def remove(self) -> None:
        """Leave the SDK's loggers as they were."""
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record; say the first."""
        with self._guard:
            self.count += 1
            first = self.count == 1
        if first:
            _log.warning("the shop's exporters report a problem (further ones are not shown): %s", record.getMessage())
