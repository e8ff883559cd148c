"""Why a request was answered with an error: a closed list, and what each error means to a sender."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from traced.errors import InvalidRequestError, OverloadedError, TooLargeError, TracedError
from traced.receiver.status import RpcCode, Status, http_status


class Transport(StrEnum):
    """How a request came, in the words of OTEL_EXPORTER_OTLP_PROTOCOL."""

    GRPC = "grpc"
    HTTP_PROTOBUF = "http/protobuf"
    HTTP_JSON = "http/json"
    HTTP = "http"
    """HTTP whose Content-Type does not say which."""


class RefusalReason(StrEnum):
    """The label `reason` of `traced_receiver_refused_total`; nothing else ever gets there."""

    QUEUE_FULL = "queue_full"
    SHUTTING_DOWN = "shutting_down"
    DISK_FULL = "disk_full"
    STORE_REOPENING = "store_reopening"
    STORE_FAILED = "store_failed"
    COMMIT_TIMEOUT = "commit_timeout"
    BODY_TIMEOUT = "body_timeout"
    BODY_INCOMPLETE = "body_incomplete"
    TOO_LARGE = "too_large"
    TOO_MANY_ITEMS = "too_many_items"
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_PATH = "unknown_path"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INTERNAL_ERROR = "internal_error"
    OTHER = "other"
    """A retryable refusal by the consumer, for a reason that this list does not know."""


_REASONS: Final = frozenset(reason.value for reason in RefusalReason)


class RefusedError(TracedError):
    """A request is answered with an error; nothing of it is acknowledged.

    Attributes:
        reason: why, for the counter.
        code: gRPC's status code.
        retry_after_seconds: when to send the same request again; None where that would not help.
    """

    def __init__(self, message: str, *, reason: RefusalReason, code: RpcCode, retry_after_seconds: int | None = None, status: int | None = None) -> None:
        """Keep what both transports need; the HTTP status follows from the code unless given."""
        super().__init__(message, status=status or http_status(code, retryable=retry_after_seconds is not None), error_code=reason.value)
        self.reason = reason
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    def rpc_status(self) -> Status:
        """Give the error as `google.rpc.Status`."""
        bad = self.message if self.code is RpcCode.INVALID_ARGUMENT else None
        return Status(self.code, self.message, retry_after_seconds=self.retry_after_seconds, bad_request=bad)


def too_large(message: str) -> RefusedError:
    """Refuse a body over the byte limit, for good."""
    return RefusedError(message, reason=RefusalReason.TOO_LARGE, code=RpcCode.RESOURCE_EXHAUSTED)


def incomplete(message: str) -> RefusedError:
    """Refuse a request of which not everything came."""
    return RefusedError(message, reason=RefusalReason.BODY_INCOMPLETE, code=RpcCode.INVALID_ARGUMENT)


def refusal_of(error: TracedError) -> RefusedError:
    """Say what an error from admission, decoder or consumer means to the sender."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, OverloadedError):
        reason = RefusalReason(error.reason) if error.reason in _REASONS else RefusalReason.OTHER
        return RefusedError(error.message, reason=reason, code=RpcCode.UNAVAILABLE, retry_after_seconds=max(1, error.retry_after_seconds))
    if isinstance(error, TooLargeError):
        return RefusedError(error.message, reason=RefusalReason.TOO_MANY_ITEMS, code=RpcCode.RESOURCE_EXHAUSTED)
    if isinstance(error, InvalidRequestError):
        return RefusedError(error.message, reason=RefusalReason.INVALID_REQUEST, code=RpcCode.INVALID_ARGUMENT)
    return RefusedError(error.message, reason=RefusalReason.INTERNAL_ERROR, code=RpcCode.INTERNAL)
