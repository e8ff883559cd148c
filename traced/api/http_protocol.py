"""What the port for people and programs answers to what is no request."""

from __future__ import annotations

import json
from http import HTTPStatus

from traced.errors import TracedError
from traced.listening import MAX_HEADER_BYTES, BoundedHttpProtocol

_ACTIONS = {HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"Send the path and the headers within {MAX_HEADER_BYTES:,} bytes."}


class ApiHttpProtocol(BoundedHttpProtocol):
    """HTTP/1.1 whose own errors have the shape of all others."""

    def error_body(self, status: HTTPStatus, message: str, retry_after_seconds: int | None) -> bytes:
        """Give the error as JSON."""
        action = _ACTIONS.get(status, "Send an HTTP/1.1 request.") if retry_after_seconds is None else f"Connect again in {retry_after_seconds} s."
        error = TracedError(message, status=status.value, error_code=status.name.lower(), next_safe_actions=(action,))
        return json.dumps(error.as_dict()).encode()
