"""How a call ended, as its caller tells it; and whether anybody answered."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from traced.model.span import StatusCode

NOBODY: Final = ("", "1", "4", "14", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE")
"""Statuses of failed calls that a client also gives itself when nobody answers: none, and these of gRPC's codes."""
PROXY: Final = ("502", "503", "504")
"""Statuses of which it cannot be told whether the service answered or a proxy before it."""
SWITCHED: Final = "101"
"""HTTP's answer to a request that becomes a WebSocket: what comes through it later belongs to it."""


def outcomes(status_code: Any, response_status: Any, error_type: Any) -> pa.Array:
    """Give how calls ended, one text a call: `error` or `ok`, the response's status, the error's type. Calls are alike that say the same."""
    ended = pc.if_else(pc.equal(status_code, pa.scalar(int(StatusCode.ERROR), status_code.type)), "error", "ok")
    return pc.binary_join_element_wise(ended, response_status, error_type, " ")


def responded(outcome: str) -> bool:
    """Say of a call's outcome whether anybody answered: the service, or a proxy before it."""
    ended, status, _ = outcome.split(" ", 2)
    return ended == "ok" or status not in NOBODY


def answered_by_service(outcome: str) -> bool:
    """Say of a call's outcome whether the service itself answered."""
    return responded(outcome) and outcome.split(" ", 2)[1] not in PROXY
