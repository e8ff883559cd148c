"""A call was made to a service that reports, and its SERVER span never came.

Criteria:
    A CLIENT span without an answering span; no database call, no call of a messaging client, not the outer of nested CLIENT
    spans. Calls of the same kind (service, span name, peer) and the same outcome (error or not, response status) are answered
    by a span so regularly that the lower 95 % bound of the share (Wilson) is at least 0.8, over at least 20 calls. Left out are answers
    with 502, 503 or 504, which a proxy may have given, and calls of a service that sends nothing at all (`silent_service`).

    The cause is the first that holds. `not_reached`: the call failed without any response; information only, since it may never have arrived.
    `sampled_out`: the service that answers such calls does not sample this trace, by the threshold that its spans carry (`tracestate`), by a cut through trace
    ids as ratio samplers make it, or because traces are kept in parts: traces without the caller and traces without the callee are interleaved with whole ones,
    as independent choices make it. `callee_loss`: somebody answered, as these calls are answered with a span in at least nine of ten cases. `unknown`: in
    fewer, so that an instance without instrumentation or a sampler that leaves no sign may be why; or too little is known to tell a sampler from a loss.

Rationale:
    The service answers such calls with a span nearly always, so this one span was lost, not left uninstrumented. Below it a whole
    part of the trace may be missing.

How to fix:
    Look at the exporter of the service that should have answered (queue, timeouts, shutdown) and at handlers or routes of it that
    lose their span; where the call's context did not arrive, its SERVER span began a trace of its own.

When it is wrong:
    An answer from a cache or a proxy makes no span; where that is a minority of otherwise answered calls of the same outcome it is
    taken for a loss. A server that still runs when its caller has given up comes late, and the finding is withdrawn. A server
    that did not get the call's context began a trace of its own: then its span is not lost, but elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.graph.causes import CALLEE_LOSS, NOT_REACHED, SAMPLED_OUT, UNKNOWN
from traced.graph.sampling import DROPPED, PERHAPS
from traced.graph.shares import least_share
from traced.model.occurrence import Level, Occurrence

ID = "missing_server_span"
LEVEL = Level.VIOLATION
WHOLE_VIEW = True

MIN_CALLS = 20
MIN_ANSWERED_SHARE = 0.8
MOSTLY = 0.9


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Keep the unanswered calls whose kind is regularly answered."""
    for trace_id, row in iterate(rows):
        bound = least_share(row["answered"], row["calls"])
        if row["calls"] < MIN_CALLS or bound < MIN_ANSWERED_SHARE:
            continue
        cause, sure = _cause(row)
        yield Occurrence(
            id=ID,
            level=LEVEL if cause in (CALLEE_LOSS, UNKNOWN) else Level.INFORMATION,
            cause=cause,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["callee"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            # the bound is of the share of such calls; of those that stood out so, next to all lacked a span
            confidence=round((1 - (1 - bound) / 4) * sure, 4),
            context={
                "calls": row["calls"],
                "answered": row["answered"],
                "answered_share_at_least": round(bound, 4),
                "outcome": row["outcome"],
                **({"known_by": row["sampled_by"]} if cause == SAMPLED_OUT else {}),
            },
        )


def _cause(row: Row) -> tuple[str, float]:
    """Give the cause and the chance that it is right, provided that a span is missing at all."""
    if not row["responded"]:
        return NOT_REACHED, 1.0
    if row["sampled"] == DROPPED:
        return SAMPLED_OUT, 0.95
    if row["sampled"] == PERHAPS or row["answered"] < MOSTLY * (row["calls"] - 1):
        return UNKNOWN, 0.5
    return CALLEE_LOSS, 1.0


def fix(occurrence: Occurrence) -> str:
    """Say what to do, by cause."""
    callee = occurrence.peer
    return {
        NOT_REACHED: f"Look at why these calls fail: {callee} may never have got them. If it did, its SERVER span was lost.",
        SAMPLED_OUT: f"Let {callee} sample as its callers do: a parent-based sampler, or one Collector that decides for whole traces.",
    }.get(
        occurrence.cause, f"Look at the exporter of {callee} (queue, timeouts, shutdown), and at handlers of {occurrence.signal_name!r} that lose their span."
    )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    calls = "call" if count == 1 else "calls"
    if occurrence.cause == NOT_REACHED:
        return (
            f"{count} {calls} {occurrence.signal_name!r} to {occurrence.peer} failed without a response and left no SERVER span: perhaps it was never reached."
        )
    if occurrence.cause == SAMPLED_OUT:
        return f"{count} {calls} {occurrence.signal_name!r} to {occurrence.peer} have no SERVER span, because {occurrence.peer} does not sample their traces."
    return f"{count} {calls} {occurrence.signal_name!r} to {occurrence.peer} left no SERVER span, though such calls nearly always do."
