"""A request waits inside a span, and no child says for what: here a span is worth adding.

Criteria:
    Of a span that serves a request or handles a message, or of INTERNAL work straight below one, the longest stretch that none of its
    children covers is at least 20 ms and a fifth of what the trace's root took, and lies on the trace's critical path: the root waited for
    the last child to end, that one for its own last child, and so on. At one place (after one child of the operation and before another, or at
    either end of the span) this was so in at least 10 traces of the last one to two hours, and hid at least a twentieth of the operation's time.
    Places are ranked by the time that they hid in all. One occurrence for each trace and place, of a pass at most the 200 longest of a place.

Rationale:
    A trace that shows where time goes but for its largest part sends whoever reads it to the wrong place. The stretch that traces waited for most
    is where one more span tells most.

How to fix:
    Add a span between the two children that are named, around what the code does there: waiting for a lock or a connection, serialising, a client
    library without instrumentation. Enabling that library's instrumentation does the same.

When it is wrong:
    A handler that waits on purpose (long polling, a delay, a stream that stays open) does nothing in that time; a span that says so ends the finding.
    Nothing is said of leaf spans: of an operation that never has children nobody knows whether it has parts. Nor of spans with children of
    another process, where clocks and networks decide, of spans that outlive the call which they answer, of polls and WebSockets, of traces of
    which anything is missing, nor where another child usually lies between the two, which then was lost or not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "blind_gap"
LEVEL = Level.IMPROVEMENT

_CONFIDENCE = 0.95


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each trace that waited at such a place into an occurrence."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=LEVEL,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=f"{row['signal_name']}: {row['before'] or 'start'} → {row['after'] or 'end'}",
            time_unix_nano=row["time_unix_nano"],
            confidence=_CONFIDENCE,
            context={
                "operation": row["signal_name"],
                "before": row["before"],
                "after": row["after"],
                "gap_ms": round(row["gap_nanos"] / 1e6, 3),
                "trace_ms": round(row["root_nanos"] / 1e6, 3),
                "traces": row["traces"],
                "hidden_ms": round(row["hidden_nanos"] / 1e6, 3),
                "share_of_these_traces": round(row["hidden_nanos"] / max(1, row["roots_nanos"]), 3),
                "rank": row["rank"],
                "places": row["places"],
            },
        )


def _where(occurrence: Occurrence) -> str:
    before, after = occurrence.context["before"], occurrence.context["after"]
    if before and after:
        return f"between {before!r} and {after!r}"
    return f"after {before!r}" if before else f"before {after!r}"


def fix(occurrence: Occurrence) -> str:
    """Say where the span is to be added."""
    return f"In {occurrence.service}, add a span to {occurrence.context['operation']!r} {_where(occurrence)}, around what the code does or waits for there."


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    del count
    facts = occurrence.context
    seconds, share, traces = facts["hidden_ms"] / 1e3, facts["share_of_these_traces"], facts["traces"]
    ranked = f", place {facts['rank']} of {facts['places']}" if facts["places"] > 1 else ""
    return (
        f"{seconds:.3g} s of {traces} traces ({share:.0%} of their time) pass in {facts['operation']!r} {_where(occurrence)}, and no span says on what{ranked}."
    )
