"""A call was made to a service that reports, and its SERVER span never came.

Criteria:
    A CLIENT span without an answering span; no database call, no call of a messaging client, not the outer of nested CLIENT
    spans. Calls of the same kind (service, span name, peer) and the same outcome (error or not, response status) are answered
    by a span so regularly that the lower 95 % bound of the share (Wilson) is at least 0.8, over at least 20 calls. Left out are answers
    with 502, 503 or 504, which a proxy may have given, and calls in whose time the same trace holds a SERVER span of that service
    without its caller. A call that failed without any response has the cause `not_reached` and is information only.

Rationale:
    The service answers such calls with a span nearly always, so this one span was lost, not left uninstrumented. Below it a whole
    part of the trace may be missing.

How to fix:
    Look at the exporter of the service that should have answered (queue, timeouts, shutdown) and at handlers or routes of it that
    lose their span; where the call's context did not arrive, its SERVER span began a trace of its own.

When it is wrong:
    An answer from a cache or a proxy makes no span; where that is a minority of otherwise answered calls of the same outcome it is
    taken for a loss. A server that still runs when its caller has given up comes late, and the finding is withdrawn. A server
    that did not get the call's context began a trace of its own: then its span is not lost, but elsewhere. Other causes than
    `not_reached` are not told apart by this detector yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.graph.shares import least_share
from traced.model.occurrence import Level, Occurrence

ID = "missing_server_span"
LEVEL = Level.VIOLATION

NOT_REACHED = "not_reached"
MIN_CALLS = 20
MIN_ANSWERED_SHARE = 0.8


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Keep the unanswered calls whose kind is regularly answered."""
    for trace_id, row in iterate(rows):
        bound = least_share(row["answered"], row["calls"])
        if row["calls"] < MIN_CALLS or bound < MIN_ANSWERED_SHARE:
            continue
        responded = row["responded"]
        yield Occurrence(
            id=ID,
            level=LEVEL if responded else Level.INFORMATION,
            cause="" if responded else NOT_REACHED,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["callee"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=round(bound, 4),
            context={"calls": row["calls"], "answered": row["answered"], "answered_share_at_least": round(bound, 4), "outcome": row["outcome"]},
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    calls = "call" if count == 1 else "calls"
    if occurrence.cause == NOT_REACHED:
        return (
            f"{count} {calls} {occurrence.signal_name!r} to {occurrence.peer} failed without a response and left no SERVER span: perhaps it was never reached."
        )
    return f"{count} {calls} {occurrence.signal_name!r} to {occurrence.peer} left no SERVER span, though such calls nearly always do."
