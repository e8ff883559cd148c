"""Changes whole export requests before they are sent on: tells their signal, moves their times, splits them.

Works on opentelemetry-proto's reference messages; nothing here is on the path of received data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from traced.errors import InvalidRequestError
from traced.model.batch import Signal
from traced.model.span import MAX_TIME_UNIX_NANO
from traced.receiver.walking import varint

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_REQUESTS: Final[dict[Signal, Any]] = {
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.METRICS: ExportMetricsServiceRequest,
}
_LISTS: Final = {
    Signal.TRACES: ("resource_spans", "scope_spans", "spans"),
    Signal.LOGS: ("resource_logs", "scope_logs", "log_records"),
    Signal.METRICS: ("resource_metrics", "scope_metrics", "metrics"),
}
_LOG_RECORD_FIELDS: Final = frozenset({(1, _FIXED64), (2, _VARINT), (11, _FIXED64)})
"""(field, wire type) of times and severity, with which a LogRecord begins; a Span begins with its ids, which are bytes."""


def signal_of(body: bytes) -> Signal:
    """Tell logs from traces: both requests share their envelope, so the first field of the first item decides.

    A request without items counts as traces.

    Raises:
        InvalidRequestError: the bytes are no export request.
    """
    try:
        for resource in _fields(body, (0, len(body)), 1):
            for scope in _fields(body, resource, 2):
                for start, end in _fields(body, scope, 2):
                    if start < end:
                        tag, _ = varint(body, start)
                        return Signal.LOGS if (tag >> 3, tag & 7) in _LOG_RECORD_FIELDS else Signal.TRACES
    except (IndexError, ValueError) as error:
        raise InvalidRequestError(f"not an OTLP export request: {error}") from None
    return Signal.TRACES


def newest_time(signal: Signal, body: bytes) -> int:
    """Find the latest span end (or log time, or end of a measurement), in nanoseconds since 1970; 0 if there is none."""
    newest = 0
    for _, item in _items(signal, _parse(signal, body)):
        for timed, names in _timed(signal, item):
            # a span's beginning is not its end, whatever its clock says
            newest = max(newest, *(getattr(timed, name) for name in names[signal is Signal.TRACES :]))
    return min(newest, MAX_TIME_UNIX_NANO)


def shifted(signal: Signal, body: bytes, by_nanoseconds: int) -> bytes:
    """Move every time of a request by the same amount; times of zero mean absent and stay so."""
    request = _parse(signal, body)
    for _, item in _items(signal, request):
        for timed, names in _timed(signal, item):
            _shift(timed, names, by_nanoseconds)
        if signal is Signal.TRACES:
            for span_event in item.events:
                _shift(span_event, ("time_unix_nano",), by_nanoseconds)
    return bytes(request.SerializeToString())


def _timed(signal: Signal, item: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Give what bears times in a span, a log record or a metric, and the names of these."""
    if signal is Signal.METRICS:
        kind = item.WhichOneof("data")
        points = getattr(item, kind).data_points if kind else ()
        yield from ((point, ("start_time_unix_nano", "time_unix_nano")) for point in points)
    else:
        yield item, ("start_time_unix_nano", "end_time_unix_nano") if signal is Signal.TRACES else ("time_unix_nano", "observed_time_unix_nano")


def parts(signal: Signal, body: bytes, max_items: int) -> Iterator[bytes]:
    """Split a request into requests of at most `max_items` spans, log records or metrics, in order."""
    taken = _REQUESTS[signal]()
    count = 0
    for envelope, item in _items(signal, _parse(signal, body)):
        if count == max_items:
            yield taken.SerializeToString()
            taken, count = _REQUESTS[signal](), 0
        _append(signal, taken, envelope, item)
        count += 1
    yield taken.SerializeToString()


def _append(signal: Signal, part: Any, envelope: tuple[Any, Any], item: Any) -> None:
    """Add one item to the last envelope, or to a new one where resource or scope differ from the last."""
    resource_items, scope_items = envelope
    of_resources, of_scopes, of_items = _LISTS[signal]
    resources = getattr(part, of_resources)
    if not resources or resources[-1].resource != resource_items.resource or resources[-1].schema_url != resource_items.schema_url:
        resources.add(resource=resource_items.resource, schema_url=resource_items.schema_url)
    scopes = getattr(resources[-1], of_scopes)
    if not scopes or scopes[-1].scope != scope_items.scope or scopes[-1].schema_url != scope_items.schema_url:
        scopes.add(scope=scope_items.scope, schema_url=scope_items.schema_url)
    getattr(scopes[-1], of_items).append(item)


def _parse(signal: Signal, body: bytes) -> Any:
    request = _REQUESTS[signal]()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise InvalidRequestError(f"not an OTLP {signal} request: {error}") from None
    return request


def _items(signal: Signal, request: Any) -> Iterator[tuple[tuple[Any, Any], Any]]:
    """Yield ((resource envelope, scope envelope), item) for all signals alike."""
    of_resources, of_scopes, of_items = _LISTS[signal]
    yield from (((r, s), item) for r in getattr(request, of_resources) for s in getattr(r, of_scopes) for item in getattr(s, of_items))


def _shift(message: Any, names: tuple[str, ...], by_nanoseconds: int) -> None:
    for name in names:
        time = getattr(message, name)
        if time:
            setattr(message, name, min(max(time + by_nanoseconds, 1), MAX_TIME_UNIX_NANO))


def _fields(body: bytes, within: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the length-delimited fields with the wanted number."""
    position, end = within
    while position < end:
        tag, position = varint(body, position)
        if tag & 7 == _LENGTH:
            length, position = varint(body, position)
            if position + length > end:
                raise ValueError("a field ends after its message")
            if tag >> 3 == wanted:
                yield position, position + length
            position += length
        elif tag & 7 == _VARINT:
            _, position = varint(body, position)
        elif tag & 7 in (_FIXED64, _FIXED32):
            position += 8 if tag & 7 == _FIXED64 else 4
        else:
            raise ValueError("an unknown wire type")
