"""An error that tells a caller its status, error_code, message and next_safe_actions."""

from __future__ import annotations

from typing import Any


class TracedError(Exception):
    """Something that a person or a program can act upon.

    Attributes:
        status: the HTTP status that fits (also used to choose an exit code).
        error_code: a stable snake_case name for programs.
        message: one sentence for people.
        next_safe_actions: what to do next, each a sentence that can be followed without further risk.
    """

    status: int = 500
    error_code: str = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        next_safe_actions: tuple[str, ...] = (),
        status: int | None = None,
        error_code: str | None = None,
    ) -> None:
        """Keep the message and the next safe actions; class attributes give the rest unless overridden."""
        super().__init__(message)
        self.message = message
        self.next_safe_actions = next_safe_actions
        if status is not None:
            self.status = status
        if error_code is not None:
            self.error_code = error_code

    def as_dict(self) -> dict[str, Any]:
        """Give the one error shape that every surface (CLI, HTTP) prints."""
        return {
            "status": self.status,
            "error_code": self.error_code,
            "message": self.message,
            "next_safe_actions": list(self.next_safe_actions),
        }


class ConfigurationError(TracedError):
    """A setting is wrong; nothing was started."""

    status = 400
    error_code = "configuration_invalid"


class PortTakenError(TracedError):
    """An address cannot be bound."""

    status = 500
    error_code = "port_taken"


class InvalidRequestError(TracedError):
    """A request cannot be understood; sending it again will not help."""

    status = 400
    error_code = "invalid_request"


class TooLargeError(TracedError):
    """A request is over a size limit; sending it again will not help."""

    status = 413
    error_code = "request_too_large"


class OverloadedError(TracedError):
    """Nothing was stored; come back after `retry_after_seconds`.

    Attributes:
        retry_after_seconds: when to send the same request again, in whole seconds, at least 1.
        reason: one of the closed list of refusal reasons (the label of `traced_receiver_refused_total`).
    """

    status = 503
    error_code = "overloaded"

    def __init__(self, message: str, *, retry_after_seconds: int, reason: str) -> None:
        """Keep when to come back and why."""
        super().__init__(message, next_safe_actions=(f"Send the same request again in {retry_after_seconds} s.",))
        self.retry_after_seconds = retry_after_seconds
        self.reason = reason


class NotFoundError(TracedError):
    """What was asked for is not here."""

    status = 404
    error_code = "not_found"


class StoreError(TracedError):
    """The store cannot be opened or used as it is."""

    status = 500
    error_code = "store_unusable"


class InputUnreadableError(TracedError):
    """An input file cannot be read at all."""

    status = 400
    error_code = "input_unreadable"


class OutputUnwritableError(TracedError):
    """What was asked for could not be written: a full disk under the output."""

    status = 500
    error_code = "output_unwritable"


class UnreachableError(TracedError):
    """The daemon could not be reached."""

    status = 503
    error_code = "daemon_unreachable"


class QueryError(TracedError):
    """A query was refused, failed, or was stopped at a limit."""

    status = 400
    error_code = "query_failed"
