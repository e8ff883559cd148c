"""One service's own OpenTelemetry SDK, and the spans it makes, by the semantic conventions.

Nothing global is set: every service has its tracer provider, its exporters and its clock, as if it were alone in its process.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from traced import __version__
from traced.demo.rollout import Schema
from traced.demo.sdk import (
    ALWAYS_ON,
    BatchSpanProcessor,
    Context,
    Link,
    Resource,
    Span,
    SpanExporter,
    SpanKind,
    Status,
    StatusCode,
    TraceContextTextMapPropagator,
    TraceIdRatioBased,
    TracerProvider,
    get_current_span,
    use_span,
)

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
SCHEDULE_DELAY_MILLISECONDS = 1000
MAX_EXPORT_BATCH_SIZE = 512
MAX_QUEUE_SIZE = 4096

DATABASE_ADDRESS = "postgres"
DATABASE_PORT = 5432
MESSAGING_SYSTEM = "sqlite"
"""Not in the conventions' list of systems, which then asks for a name of one's own."""

Attributes = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a service is and on which host it runs.

    Attributes:
        service: service.name.
        host: host.name, which stands for a clock.
        clock_ahead_seconds: how far that clock is ahead of the true time.
        version: service.version.
        sampled: with which probability it keeps a trace.
    """

    service: str
    host: str = "shop-a"
    clock_ahead_seconds: float = 0.0
    version: str = __version__
    sampled: float = 1.0


class ServiceTelemetry:
    """Tracer provider, exporters and clock of one service."""

    def __init__(self, identity: Identity, exporters: Sequence[SpanExporter], *, max_export_batch_size: int = MAX_EXPORT_BATCH_SIZE) -> None:
        """Connect each exporter with a batch processor; with no exporter spans are made and go nowhere."""
        self.service = identity.service
        self._ahead_nano = int(identity.clock_ahead_seconds * 1_000_000_000)
        self._exporters = tuple(exporters)
        self._propagator = TraceContextTextMapPropagator()
        resource = Resource.create(
            {
                "service.name": identity.service,
                "service.namespace": "shop",
                "service.version": identity.version,
                "service.instance.id": str(uuid.uuid4()),
                "host.name": identity.host,
            },
        )
        sampler = ALWAYS_ON if identity.sampled >= 1 else TraceIdRatioBased(identity.sampled)
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        for exporter in self._exporters:
            self._provider.add_span_processor(
                BatchSpanProcessor(
                    exporter,
                    max_queue_size=MAX_QUEUE_SIZE,
                    schedule_delay_millis=SCHEDULE_DELAY_MILLISECONDS,
                    max_export_batch_size=max_export_batch_size,
                ),
            )
        self._tracer = self._provider.get_tracer("traced.demo", __version__, SCHEMA_URL)

    def shutdown(self) -> None:
        """Send what is queued and end the exporters; ended spans are not lost."""
        self._provider.shutdown()

    def abandon(self) -> None:
        """Break off exports that wait for an absent daemon, so that a `shutdown` elsewhere returns."""
        for exporter in self._exporters:
            exporter.shutdown()

    def inject(self) -> dict[str, str]:
        """Give the W3C headers that carry the current span's context."""
        headers: dict[str, str] = {}
        self._propagator.inject(headers)
        return headers

    @contextmanager
    def server_span(self, method: str, route: str, path: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Span of a request that came in, below the caller's span if the headers carry its context.

        Args:
            method: HTTP method.
            route: the path's template; empty if no route fits.
            path: the path as asked for.
            headers: header names are lower-case.
        """
        address, _, port = headers.get("host", "").partition(":")
        attributes: Attributes = {
            "http.request.method": method,
            "url.path": path,
            "url.scheme": "http",
            "server.address": address,
            "client.address": "127.0.0.1",
            "network.protocol.version": "1.0",
            "user_agent.original": headers.get("user-agent", ""),
        }
        if route:
            attributes["http.route"] = route
        if port.isdecimal():
            attributes["server.port"] = int(port)
        with self._span(f"{method} {route}".strip(), SpanKind.SERVER, attributes, context=self._extract(headers)) as span:
            yield span

    @contextmanager
    def client_span(self, method: str, template: str, path: str, peer: str, port: int) -> Iterator[Span]:
        """Span of a request that goes out.

        Args:
            method: HTTP method.
            template: the path's template, known to generated clients.
            path: the path as asked for.
            peer: the called service, which is its host name too.
            port: its port.
        """
        attributes: Attributes = {
            "http.request.method": method,
            "url.full": f"http://{peer}:{port}{path}",
            "url.template": template,
            "server.address": peer,
            "server.port": port,
            "network.peer.address": "127.0.0.1",
            "network.peer.port": port,
            "network.protocol.version": "1.0",
            "service.peer.name": peer,
        }
        with self._span(f"{method} {template}", SpanKind.CLIENT, attributes) as span:
            yield span

    @contextmanager
    def database_span(self, operation: str, collection: str) -> Iterator[Span]:
        """Span of a statement; the database itself is not instrumented."""
        attributes: Attributes = {
            "db.system.name": "postgresql",
            "db.namespace": "shop",
            "db.operation.name": operation,
            "db.collection.name": collection,
            "db.query.summary": f"{operation} {collection}",
            "server.address": DATABASE_ADDRESS,
            "server.port": DATABASE_PORT,
        }
        with self._span(f"{operation} {collection}", SpanKind.CLIENT, attributes) as span:
            yield span

    @contextmanager
    def producer_span(self, schema: Schema, message_id: str) -> Iterator[Span]:
        """Span of sending one message of a schema; its context is to travel in the message's headers."""
        attributes = _messaging("send", schema, message_id)
        with self._span(f"send {schema.destination}", SpanKind.PRODUCER, attributes) as span:
            yield span

    @contextmanager
    def consumer_span(self, schema: Schema, message_id: str, group: str, headers: Mapping[str, str], *, linked: bool) -> Iterator[Span]:
        """Span of processing one message.

        Args:
            schema: where it came from, and as which version it is read.
            message_id: the message's id.
            group: consumer group name.
            headers: the message's headers.
            linked: begin a trace of its own with a span link to the producer, instead of being the producer's child.
        """
        attributes = _messaging("process", schema, message_id) | {"messaging.consumer.group.name": group}
        context = self._extract(headers)
        links: list[Link] = []
        if linked:
            links = [Link(get_current_span(context).get_span_context())]
            context = Context()
        with self._span(f"process {schema.destination}", SpanKind.CONSUMER, attributes, context=context, links=links) as span:
            yield span

    @contextmanager
    def internal_span(self, name: str) -> Iterator[Span]:
        """Span of work inside the service."""
        with self._span(name, SpanKind.INTERNAL, {}) as span:
            yield span

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """Make a span current; its times come from the service's own clock. Without context, the thread's current span is the parent."""
        span = self._tracer.start_span(name, context=context, kind=kind, attributes=attributes, links=links, start_time=self._now())
        try:
            with use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
                yield span
        except Exception as error:
            failed(span, type(error).__qualname__)
            raise
        finally:
            span.end(self._now())

    def _extract(self, headers: Mapping[str, str]) -> Context:
        # From an empty context: whatever the thread holds is not the caller's.
        return self._propagator.extract(headers, context=Context())

    def _now(self) -> int:
        return time.time_ns() + self._ahead_nano


def answered(span: Span, status: int, *, error_from: int) -> None:
    """Note the HTTP status of a finished call.

    Args:
        span: a SERVER or CLIENT span.
        status: HTTP status code.
        error_from: the least status that is an error: 500 for servers, 400 for clients.
    """
    span.set_attribute("http.response.status_code", status)
    if status >= error_from:
        failed(span, str(status))


def failed(span: Span, error_type: str) -> None:
    """Note that a span's work failed."""
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))


def _messaging(operation: str, schema: Schema, message_id: str) -> Attributes:
    return {
        "messaging.system": MESSAGING_SYSTEM,
        "messaging.destination.name": schema.destination,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.message.id": message_id,
        "message.schema.version": schema.version,
    }
