"""A trace has only half of the id of the trace that it belongs to: a hop cut the id to 64 bits.

Criteria:
    The upper (or lower) 8 bytes of the trace id are zero, and the other half is that half of a whole trace id seen in the same window. It is
    certain where an absent parent of one of the two traces is a span of the other. One occurrence for each cut trace, at its earliest span.

Rationale:
    One request became two traces: the second half looks like a tree without a root, and searching by the id of the first does not find it.

How to fix:
    Let every tracer between the two services generate and forward 128-bit trace ids: turn 128-bit ids on, send W3C `traceparent` or the long form
    of `X-B3-TraceId`, and never store a trace id in a 64-bit field. Datadog's tracers carry the upper half in the tag `_dd.p.tid`: whatever
    converts their spans must put it back.

    The first service of the cut trace, and its peer, the service that called it, are the two ends of the hop.

When it is wrong:
    Nothing is said of systems that only have 64-bit ids, nor of ids below 2^32, which are counted up and agree by chance. Ids that begin with
    the time, as X-Ray's do, share much with their neighbours: of these only certain cases are told.

    Whole ids (the newest 100,000) are remembered from one pass of the analysis to the next, those of cut traces are not: a cut trace that
    settles before the trace that it belongs to is missed, unless both are looked at in one pass. Of a whole trace seen in an earlier pass
    nothing but its id is known, so that confidence is lower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence
from traced.model.span import span_id_hex, trace_id_hex

ID = "truncated_trace_id"
LEVEL = Level.VIOLATION

_CERTAIN, _BY_ID_ALONE = 0.99, 0.75


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each cut trace into an occurrence at its earliest span."""
    for trace_id, row in iterate(rows):
        whole = (row["whole_trace_id_high"], row["whole_trace_id_low"])
        certain = row["orphan_span_id"] != 0
        called = certain and not row["whole_is_below"]
        yield Occurrence(
            id=ID,
            level=LEVEL,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["parent_service"] if called else "",
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=_CERTAIN if certain else _BY_ID_ALONE,
            matched=(*whole, row["parent_span_id"]) if called else None,
            context={
                "whole_trace_id": trace_id_hex(*whole),
                "lost_half": "upper" if row["upper_half_lost"] else "lower",
                "orphan_span_id": span_id_hex(row["orphan_span_id"]),
                "parent_span_id": span_id_hex(row["parent_span_id"]),
                "orphan_of_the_whole_trace": row["whole_is_below"],
            },
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    traces = "trace that begins" if count == 1 else "traces that begin"
    caller = f", and belong{'s' if count == 1 else ''} below {occurrence.peer}" if occurrence.peer else ""
    return f"{count} {traces} with {occurrence.signal_name!r} lost the {occurrence.context['lost_half']} half of the trace id{caller}."
