"""Sends export requests to an OTLP endpoint over gRPC or HTTP, as OTLP asks of a client.

What is retried, and when, follows opentelemetry-proto's `docs/specification.md`: UNAVAILABLE and its like after the
delay of `RetryInfo`, 429/502/503/504 after `Retry-After`, everything else never.
"""

from __future__ import annotations

import email.utils
import http.client
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from traced.errors import ConfigurationError, TracedError
from traced.model.batch import Signal
from traced.receiver.walking import varint

_METHODS: Final = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_RESPONSES: Final = {Signal.TRACES: ExportTraceServiceResponse, Signal.LOGS: ExportLogsServiceResponse, Signal.METRICS: ExportMetricsServiceResponse}
_REJECTED: Final = {Signal.TRACES: "rejected_spans", Signal.LOGS: "rejected_log_records", Signal.METRICS: "rejected_data_points"}
_RETRYABLE_CODES: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    },
)
_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_MAX_ANSWER_BYTES: Final = 4 * 2**20
"""OTLP's own limit on a response."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A success, full or partial.

    Attributes:
        rejected: items the endpoint did not take and never will.
        message: its reason, or a warning.
    """

    rejected: int = 0
    message: str = ""


class ComeBackError(TracedError):
    """Nothing was stored and the same request may be sent again.

    Attributes:
        after_seconds: when the endpoint wants it, or None if it did not say.
        answered: whether the endpoint said so itself (False: there was no connection, or it broke).
    """

    status = 503
    error_code = "endpoint_busy"

    def __init__(self, message: str, *, after_seconds: float | None = None, answered: bool = True) -> None:
        """Keep when to come back."""
        super().__init__(message)
        self.after_seconds = after_seconds
        self.answered = answered


class RefusedError(TracedError):
    """The endpoint will never take this request."""

    status = 400
    error_code = "request_refused"


class Target(Protocol):
    """An OTLP endpoint; safe to use from several threads."""

    def send(self, signal: Signal, body: bytes) -> Answer:
        """Send one request.

        Raises:
            ComeBackError: it may be sent again.
            RefusedError: it may not.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...


def target_for(to: str, timeout_seconds: float = 30.0) -> Target:
    """Choose the transport: `http://…` and `https://…` are OTLP/HTTP, HOST:PORT is OTLP/gRPC without TLS.

    Raises:
        ConfigurationError: `to` is neither.
    """
    if to.startswith(("http://", "https://")):
        return HttpTarget(to, timeout_seconds)
    host, separator, port = to.rpartition(":")
    if not separator or not host or "/" in to or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            f"{to!r} is not an OTLP endpoint",
            next_safe_actions=("Give HOST:PORT for OTLP/gRPC (127.0.0.1:4317), or a URL for OTLP/HTTP (http://127.0.0.1:4318).",),
        )
    return GrpcTarget(to, timeout_seconds)


class GrpcTarget:
    """OTLP/gRPC without TLS."""

    def __init__(self, target: str, timeout_seconds: float) -> None:
        """Open a channel; it connects with the first request."""
        # Retries are ours (gRPC's would hide them from the count); a proxy has no business between a file and its daemon.
        self._channel = grpc.insecure_channel(target, options=[("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)])
        self._calls = {signal: self._channel.unary_unary(method, request_serializer=None, response_deserializer=None) for signal, method in _METHODS.items()}
        self._timeout = timeout_seconds

    def send(self, signal: Signal, body: bytes) -> Answer:
        """Send one request."""
        try:
            response: bytes = self._calls[signal](body, timeout=self._timeout)
        except grpc.RpcError as error:
            raise _grpc_failure(error) from None
        return _answer(signal, response)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class HttpTarget:
    """OTLP/HTTP with protobuf bodies, one kept-alive connection per thread."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """Keep where to connect; nothing is opened yet."""
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigurationError(f"{url!r} is not a URL: {error}") from None
        if not self._host or parts.query or parts.username:
            raise ConfigurationError(f"{url!r} is not the URL of an OTLP endpoint", next_safe_actions=("Give it like http://127.0.0.1:4318.",))
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        base = parts.path.rstrip("/")
        for signal in Signal:
            base = base.removesuffix(f"/v1/{signal}")
        self._base = base
        self._timeout = timeout_seconds
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def send(self, signal: Signal, body: bytes) -> Answer:
        """Post one request and read its answer."""
        connection = self._connection()
        try:
            connection.request("POST", f"{self._base}/v1/{signal}", body, {"Content-Type": "application/x-protobuf"})
            response = connection.getresponse()
            content = response.read(_MAX_ANSWER_BYTES)
            if response.read(1):
                connection.close()
        except ssl.SSLError as error:
            connection.close()
            raise RefusedError(f"TLS failed: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ComeBackError(f"{type(error).__name__}: {error}", answered=False) from None
        if response.status == 200:
            return _answer(signal, content)
        message = f"HTTP {response.status} {response.reason}: {_status_message(content)}".rstrip(": ")
        if response.status in _RETRYABLE_STATUSES:
            raise ComeBackError(message, after_seconds=retry_after_seconds(response.headers.get("Retry-After"), time.time()))
        raise RefusedError(message)

    def close(self) -> None:
        """Close every thread's connection."""
        for connection in self._opened:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            if self._tls is not None:
                connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
            self._local.connection = connection
            self._opened.append(connection)
        return connection


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Read `Retry-After`: seconds, or an HTTP date against `now` (Unix seconds); None where it says nothing readable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def retry_info_seconds(status: bytes) -> float | None:
    """Find the delay of a `google.rpc.RetryInfo` inside the bytes of a `google.rpc.Status`; None if there is none.

    Read by hand: Status.details (3) → Any.type_url (1), Any.value (2) → RetryInfo.retry_delay (1) → Duration (1, 2).
    """
    try:
        for number, detail in _fields(status):
            if number == 3 and isinstance(detail, bytes):
                parts = dict(_fields(detail))
                type_url, value = parts.get(1, b""), parts.get(2, b"")
                if isinstance(type_url, bytes) and isinstance(value, bytes) and type_url.endswith(b"/google.rpc.RetryInfo"):
                    delay = dict(_fields(value)).get(1, b"")
                    duration = dict(_fields(delay)) if isinstance(delay, bytes) else {}
                    seconds, nanos = duration.get(1, 0), duration.get(2, 0)
                    return float(seconds) + float(nanos) / 1e9 if isinstance(seconds, int) and isinstance(nanos, int) else None
    except (IndexError, ValueError):
        return None
    return None


def _grpc_failure(error: Any) -> TracedError:
    code, details = error.code(), str(error.details() or "")
    trailers = {str(key): value for key, value in error.trailing_metadata() or ()}
    status = trailers.get("grpc-status-details-bin", b"")
    after = retry_info_seconds(status) if isinstance(status, bytes) else None
    message = f"{code.name}: {details}"
    if code in _RETRYABLE_CODES or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and after is not None):
        # Without trailers of the server's own, UNAVAILABLE is gRPC's word for: no connection.
        return ComeBackError(message, after_seconds=after, answered=code is not grpc.StatusCode.UNAVAILABLE or bool(trailers))
    return RefusedError(message)


def _answer(signal: Signal, content: bytes) -> Answer:
    response: Any = _RESPONSES[signal]()
    try:
        response.ParseFromString(content)
    except DecodeError:
        raise RefusedError("the endpoint answered 200 with something that is not OTLP") from None
    partial = response.partial_success
    return Answer(getattr(partial, _REJECTED[signal]), partial.error_message)


def _status_message(content: bytes) -> str:
    """Take the message (2) out of a `google.rpc.Status`, or nothing."""
    try:
        found = [value for number, value in _fields(content) if number == 2 and isinstance(value, bytes)]
    except (IndexError, ValueError):
        return ""
    return found[0].decode("utf-8", "replace") if found else ""


def _fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """Read the fields of one protobuf message: numbers for varints, bytes for length-delimited ones; others end the walk."""
    found: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(message):
        tag, position = varint(message, position)
        value, position = varint(message, position)
        if tag & 7 == 0:
            found.append((tag >> 3, value))
        elif tag & 7 == 2:
            found.append((tag >> 3, message[position : position + value]))
            position += value
        else:
            raise ValueError("an unexpected wire type")
    return found
