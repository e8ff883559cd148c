"""JSON answers: how values become JSON, and the one shape of every error."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from traced.errors import OverloadedError, TracedError

_HTTP_ERRORS: dict[int, tuple[str, str]] = {
    400: ("invalid_request", "Read /api/v1/openapi.json and correct the request."),
    404: ("not_found", "Read /api/v1/openapi.json for the paths there are."),
    405: ("method_not_allowed", "Use a method named in the Allow header."),
    413: ("request_too_large", "Send a smaller request."),
}


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON whatever the values are: NaN and infinities become their names, bytes base64, lone surrogates `?`."""
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        # JSON has no NaN; looking for one costs a walk, so it is only done where one is
        text = json.dumps(_without_nan(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    return Response(text.encode("utf-8", "replace"), status, headers, "application/json")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    msg = f"{type(value).__name__} cannot be shown as JSON"
    raise TypeError(msg)


def _without_nan(value: Any) -> Any:
    """Replace non-finite floats by the names that proto3 JSON gives them; depth is bounded, json.dumps has walked it before."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return value


def error_response(error: TracedError, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an error's status and its one shape."""
    retry = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, OverloadedError) else {}
    return json_response(error.as_dict(), error.status, {**retry, **(headers or {})})


async def on_traced_error(_: Request, error: Exception) -> Response:
    """Answer an error that a handler raised on purpose."""
    if not isinstance(error, TracedError):
        raise error
    # what is still to come of a body that took too long is of no use
    return error_response(error, {"connection": "close"} if error.status == HTTPStatus.REQUEST_TIMEOUT else None)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: unknown paths, wrong methods."""
    if not isinstance(error, HTTPException):
        raise error
    code, action = _HTTP_ERRORS.get(error.status_code, ("http_error", "Read /api/v1/openapi.json and correct the request."))
    message = f"{error.detail}: {request.method} {request.url.path[:256]}"
    shaped = TracedError(message, next_safe_actions=(action,), status=error.status_code, error_code=code)
    return error_response(shaped, error.headers)


async def on_bug(_: Request, error: Exception) -> Response:
    """Answer what nobody expected; the server logs the error itself."""
    message = f"an internal error happened ({type(error).__name__}); it was logged"
    return error_response(TracedError(message, next_safe_actions=("Look at the daemon's log on standard error.", "Report it with that log.")))
