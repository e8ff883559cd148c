"""`google.rpc.Status`, the one error body of OTLP, in protobuf and JSON, without the package that declares it.

Fields: Status {code 1, message 2, details 3 (Any)}, Any {type_url 1, value 2}, RetryInfo {retry_delay 1 (Duration)},
Duration {seconds 1}, BadRequest {field_violations 1}, FieldViolation {field 1, description 2}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from traced.receiver.encoding import delimited, number

MAX_MESSAGE_CHARACTERS: Final = 1024
"""OTLP limits a response to 4 MiB and wants messages cut first; nobody reads more than this."""

_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"


class RpcCode(IntEnum):
    """gRPC's status codes, as far as a receiver answers or maps them."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_HTTP: Final = {
    RpcCode.CANCELLED: 503,
    RpcCode.DEADLINE_EXCEEDED: 503,
    RpcCode.ABORTED: 503,
    RpcCode.OUT_OF_RANGE: 503,
    RpcCode.UNAVAILABLE: 503,
    RpcCode.DATA_LOSS: 503,
    RpcCode.RESOURCE_EXHAUSTED: 429,
    RpcCode.INVALID_ARGUMENT: 400,
    RpcCode.UNAUTHENTICATED: 401,
    RpcCode.PERMISSION_DENIED: 403,
    RpcCode.NOT_FOUND: 404,
    RpcCode.UNIMPLEMENTED: 404,
}


def http_status(code: RpcCode, *, retryable: bool) -> int:
    """Give the HTTP status that means the same to an OTLP sender.

    RESOURCE_EXHAUSTED that is not to be retried is 413: only oversize is answered so, and 429 would be sent again for ever.
    """
    if code is RpcCode.RESOURCE_EXHAUSTED and not retryable:
        return 413
    return _HTTP.get(code, 500)


@dataclass(frozen=True, slots=True)
class Status:
    """One `google.rpc.Status`.

    Attributes:
        code: gRPC's code, also in HTTP bodies.
        message: for people, in English.
        retry_after_seconds: adds a RetryInfo: come back after so many seconds. None: do not come back.
        bad_request: what was wrong with the request, as the description of a BadRequest's one field violation.
    """

    code: RpcCode
    message: str
    retry_after_seconds: int | None = None
    bad_request: str | None = None

    def to_protobuf(self) -> bytes:
        """Encode as protobuf."""
        encoded = number(1, self.code) + delimited(2, _text(self.message))
        if self.retry_after_seconds is not None:
            encoded += _detail(_RETRY_INFO, delimited(1, number(1, self.retry_after_seconds)))
        if self.bad_request is not None:
            encoded += _detail(_BAD_REQUEST, delimited(1, delimited(1, b"body") + delimited(2, _text(self.bad_request))))
        return encoded

    def to_json(self) -> bytes:
        """Encode as proto3 JSON."""
        details: list[dict[str, Any]] = []
        if self.retry_after_seconds is not None:
            details.append({"@type": _RETRY_INFO, "retryDelay": f"{self.retry_after_seconds}s"})
        if self.bad_request is not None:
            violation = {"field": "body", "description": _text(self.bad_request).decode()}
            details.append({"@type": _BAD_REQUEST, "fieldViolations": [violation]})
        status: dict[str, Any] = {"code": int(self.code), "message": _text(self.message).decode()}
        if details:
            status["details"] = details
        return json.dumps(status).encode()


def _detail(type_url: str, value: bytes) -> bytes:
    return delimited(3, delimited(1, type_url.encode()) + delimited(2, value))


def _text(message: str) -> bytes:
    return message[:MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace")
