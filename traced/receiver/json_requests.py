"""OTLP/JSON export requests to the protobuf bytes of the same request, so that both go one way from here.

What is read beyond the specification: enum names, snake_case names, decimal strings for any number. What is refused: wrong
types, with the path of the member. An id that is no hex of the right length rejects its span only, not the request.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from traced.errors import InvalidRequestError, TooLargeError
from traced.receiver.json_fields import Conversion, Members, encode_members, members_of
from traced.receiver.self_metrics import meaning_of

MAX_JSON_DEPTH: Final = 256
"""Brackets inside each other: twelve of an attribute's value and four for each of 33 nested ones, and some to spare.
Checked before parsing, since how deep the standard library's parser may recurse depends on the thread's stack."""
MAX_JSON_CONTAINERS: Final = 4_000_000
"""Objects and arrays in one text: each takes at least 64 bytes once parsed, and 4 KB of gzip can hold a million.
Real traces have one in 20 bytes, so 64 MiB of them stay below."""
_CONTAINERS_PER_ITEM: Final = 40
"""Where items are limited, so many more per item are allowed (real spans: 33), and in any case those below."""
_MIN_CONTAINERS: Final = 100_000

_WINDOW: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


def traces_from_json(body: bytes, max_items: int = sys.maxsize) -> tuple[bytes, bool]:
    """Read an ExportTraceServiceRequest in OTLP/JSON.

    Args:
        body: UTF-8 text; bytes that are no UTF-8 become U+FFFD.
        max_items: stop converting beyond so many items, or so many envelopes; the decoder then counts both exactly.

    Returns:
        The same request as protobuf, and whether it used names that OTLP/JSON does not allow (read all the same).

    Raises:
        InvalidRequestError: it is no JSON, nested too deep, or a member has the wrong type (its path is named).
        TooLargeError: it holds more items, or more objects and arrays, than are allowed.
    """
    return _convert(body, _traces(), max_items)


def logs_from_json(body: bytes, max_items: int = sys.maxsize) -> tuple[bytes, bool]:
    """Read an ExportLogsServiceRequest in OTLP/JSON; the same as `traces_from_json` in everything else."""
    return _convert(body, _logs(), max_items)


def metrics_from_json(body: bytes, max_items: int = sys.maxsize) -> tuple[bytes, bool]:
    """Read an ExportMetricsServiceRequest in OTLP/JSON; of metrics that are of no use here only the names are carried over.

    The rest is the same as `traces_from_json`.
    """
    _check_size(body, max_items)
    document = _parse(body)
    for metrics in _lists_of_metrics(document):
        metrics[:] = [_name_alone(metric) for metric in metrics]
    conversion = Conversion(2 * max_items)
    return encode_members(document, _metrics(), conversion), conversion.nonconformant


def all_metrics_from_json(body: bytes, max_items: int = sys.maxsize) -> tuple[bytes, bool]:
    """Read an ExportMetricsServiceRequest in OTLP/JSON with everything in it; the same as `traces_from_json` in everything else."""
    return _convert(body, _metrics(), max_items)


def _lists_of_metrics(document: Any) -> Iterator[list[Any]]:
    """Give the lists of metrics in a document; what is shaped otherwise is left to the conversion, which says where that is."""
    for resource in _members(document, "resourceMetrics", "resource_metrics"):
        for scope in _members(resource, "scopeMetrics", "scope_metrics"):
            metrics = scope.get("metrics") if type(scope) is dict else None
            if type(metrics) is list:
                yield metrics


def _members(value: Any, *names: str) -> Iterator[Any]:
    if type(value) is dict:
        for name in names:
            found = value.get(name)
            if type(found) is list:
                yield from found


def _name_alone(metric: Any) -> Any:
    """Give a metric as it is if it is of use here, else only its name."""
    name = metric.get("name") if type(metric) is dict else None
    if type(name) is not str or meaning_of(name.encode("utf-8", "replace")) is not None:
        return metric
    return {"name": name}


@cache
def _traces() -> Members:
    return members_of(ExportTraceServiceRequest.DESCRIPTOR)


@cache
def _logs() -> Members:
    return members_of(ExportLogsServiceRequest.DESCRIPTOR)


@cache
def _metrics() -> Members:
    return members_of(ExportMetricsServiceRequest.DESCRIPTOR)


def _check_size(body: bytes, max_items: int) -> None:
    check_nesting(body, min(MAX_JSON_CONTAINERS, max(_MIN_CONTAINERS, _CONTAINERS_PER_ITEM * max_items)))


def _convert(body: bytes, members: Members, max_items: int) -> tuple[bytes, bool]:
    _check_size(body, max_items)
    conversion = Conversion(2 * max_items)
    return encode_members(_parse(body), members, conversion), conversion.nonconformant


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body.removeprefix(_BOM).decode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        # a number of more than 4,300 digits
        raise InvalidRequestError(f"the body is not usable JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("the body is nested too deep") from None


def check_nesting(body: bytes, max_containers: int = MAX_JSON_CONTAINERS) -> None:
    """Refuse JSON that is nested too deep or holds too many objects and arrays, without parsing it.

    Raises:
        InvalidRequestError: deeper than MAX_JSON_DEPTH.
        TooLargeError: more than `max_containers`.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_JSON_DEPTH:
        return
    if b"\\" in body:
        # escaped backslashes first, then escaped quotes: the quotes left begin or end strings
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    depth = containers = quotes = 0
    data = np.frombuffer(body, np.uint8)
    for start in range(0, len(data), _WINDOW):
        window = data[start : start + _WINDOW]
        steps, quotes = _brackets_outside_strings(window, quotes)
        if not len(steps):
            continue
        levels = depth + np.cumsum(steps)
        if int(levels.max()) > MAX_JSON_DEPTH:
            raise InvalidRequestError(f"the JSON is nested deeper than {MAX_JSON_DEPTH} levels")
        containers += int(np.count_nonzero(steps > 0))
        if containers > max_containers:
            raise TooLargeError(f"the JSON holds more than {max_containers} objects and arrays")
        depth = int(levels[-1])


def _brackets_outside_strings(window: npt.NDArray[np.uint8], quotes_before: int) -> tuple[npt.NDArray[np.int64], int]:
    """Give +1 and -1 for each bracket that opens and closes, in order, and how many quotes came so far."""
    # ASCII: [ and { have bits 0x5B and 0x7B, ] and } 0x5D and 0x7D; without bit 0x20 they are two values
    folded = window & 0xDF
    positions = np.flatnonzero((folded == 0x5B) | (folded == 0x5D))
    quotes = np.flatnonzero(window == 0x22)
    inside = (np.searchsorted(quotes, positions) + quotes_before) & 1
    outside = positions[inside == 0]
    return np.where(folded[outside] == 0x5B, 1, -1), quotes_before + len(quotes)
