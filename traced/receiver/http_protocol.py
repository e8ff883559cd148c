"""What the OTLP port answers to what is no request."""

from __future__ import annotations

from http import HTTPStatus

from traced.listening import BoundedHttpProtocol
from traced.receiver.status import RpcCode, Status


class OtlpHttpProtocol(BoundedHttpProtocol):
    """HTTP/1.1 whose own errors are a `google.rpc.Status` too."""

    def error_body(self, status: HTTPStatus, message: str, retry_after_seconds: int | None) -> bytes:
        """Give the Status as JSON: the encoding of a request that could not be read is not known."""
        code = RpcCode.UNAVAILABLE if status is HTTPStatus.SERVICE_UNAVAILABLE else RpcCode.INVALID_ARGUMENT
        return Status(code, message, retry_after_seconds=retry_after_seconds).to_json()
