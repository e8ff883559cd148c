"""A service is called and answers, but no span of it ever comes.

Criteria:
    At least 30 calls to one callee, by the name or address that their CLIENT spans give or else the RPC's service in their name, were answered by
    the service itself (no error without a response, no 502, 503 or 504), and none has an answering span; nothing that reports bears that
    name, in whatever namespace. Or
    (cause `went_silent`): a service that used to answer these calls with spans has sent none since a moment, and at least 30 calls to it were
    answered since. What is since is told in each caller's own time: the service's last span is moved by the most that a call ended later at the caller
    than where it was answered, so that clocks that differ make nobody silent.

Rationale:
    What happens in a service that emits nothing is dark: its own time, its calls, its errors. Where it passes its caller's context on, what it calls
    names parents that never come; where it does not, each of its calls begins a trace of its own.

How to fix:
    Install the OpenTelemetry SDK or agent for that service's language, set OTEL_SERVICE_NAME, and let OTEL_EXPORTER_OTLP_ENDPOINT lead to the
    collector that its callers report to.

    Of a service that fell silent look first at what changed at that moment: a deployment, its exporter's endpoint, credentials, a full disk of its collector.

When it is wrong:
    Databases, brokers and caches are left out where their client's span says so; one that is called over plain HTTP is not told from a service. Left out
    too are public addresses and names, the caller's own host, and calls that begin a trace of a service that else serves requests: heart-beats and
    registrations, for which no request waits. An alias in `service.peer.name` that is not the service's own name hides a service
    that does report, until one call by that alias is answered. Where everything of the service is sampled out it looks silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from traced.detectors import Row, iterate
from traced.graph.causes import WENT_SILENT
from traced.model.occurrence import Level, Occurrence

ID = "silent_service"
LEVEL = Level.VIOLATION
WHOLE_VIEW = True

_NEVER: Final = 0.97
_SINCE: Final = 0.97


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each call that nobody answered with a span into an occurrence."""
    for trace_id, row in iterate(rows):
        gone = row["cause"] == WENT_SILENT
        yield Occurrence(
            id=ID,
            level=LEVEL if gone else Level.IMPROVEMENT,
            cause=row["cause"],
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["silent"],
            peer=row["caller"],
            reporter=row["caller"],
            signal_name=row["silent"],
            time_unix_nano=row["time_unix_nano"],
            confidence=_SINCE if gone else _NEVER,
            context={"calls_answered_without_a_span": row["calls"], "called_as": row["address"], **({"last_span_unix_nano": row["since"]} if gone else {})},
        )


def fix(occurrence: Occurrence) -> str:
    """Say what to do for a service that never reported, and for one that stopped."""
    if occurrence.cause == WENT_SILENT:
        return (
            f"Look at what changed at {occurrence.service} when its last span came: a deployment, its exporter's endpoint or credentials, "
            "the collector that it sends to."
        )
    return (
        f"Install the OpenTelemetry SDK or agent in {occurrence.service}, with OTEL_SERVICE_NAME={occurrence.service}, and let OTEL_EXPORTER_OTLP_ENDPOINT "
        "lead to the collector that its callers report to."
    )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    calls = "call" if count == 1 else "calls"
    if occurrence.cause == WENT_SILENT:
        return f"{occurrence.service} has sent no span since it last did, though it answered {count} {calls} of {occurrence.peer} since."
    return f"{occurrence.service} sends no spans: it answered {count} {calls} of {occurrence.peer}, each without a SERVER span."
