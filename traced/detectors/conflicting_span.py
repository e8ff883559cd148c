"""Two different spans of one trace carry the same span id.

Criteria:
    Same trace id and span id on the same side of a call (both sending, both receiving, or both neither), but another name, parent,
    start, end or status. The first that came is kept. Left out: the two halves of a shared span id, and the same span sent
    again with a later end.

    Where all of them received, bear one name and have the id of a span that sent (`sender_id`), they took it over from what they received, as Zipkin's
    tracers do: several receivers of one message, or tries of one call. That is an improvement; all else is a violation.

Rationale:
    One of the two is lost to everybody who keeps one span per id, and children hang under the wrong one.

How to fix:
    Look for an id generator that is not random enough: a seed that is shared after a fork, a fixed seed, ids derived from time. In
    pre-forking servers initialise the SDK after the fork. Of `sender_id`: let receivers begin a span of their own below the sender's (in Brave,
    `supportsJoin(false)`).

When it is wrong:
    Pipelines that rename spans on one of two ways (a Collector's transform processor) make copies that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "conflicting_span"
LEVEL = Level.VIOLATION

SENDER_ID = "sender_id"
"""Several receivers took over the id of the span that sent."""


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each conflicting span id into an occurrence."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=Level.IMPROVEMENT if row["of_the_sender"] else LEVEL,
            cause=SENDER_ID if row["of_the_sender"] else "",
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=0.99,
            context={"repeats": row["repeats"], "other_service": row["other_service"]},
        )


def fix(occurrence: Occurrence) -> str:
    """Say what gives each span an id of its own."""
    if occurrence.cause == SENDER_ID:
        return (
            f"Let {occurrence.service} begin a span of its own below the sender's for each message or try, not join the sender's span (in Brave: "
            "`supportsJoin(false)`). No id generator is at fault."
        )
    return (
        "Look for an id generator that is not random enough: a seed that is shared after a fork, a fixed seed, ids derived from time. In pre-forking "
        "servers initialise the SDK after the fork."
    )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    ids = "span id stands" if count == 1 else "span ids stand"
    if occurrence.cause == SENDER_ID:
        several = occurrence.context["repeats"] + 1
        return f"{count} {ids} for several spans {occurrence.signal_name!r} of one trace, one of them for {several}: each took over its sender's id."
    return f"{count} {ids} for two different spans of one trace, one of them {occurrence.signal_name!r}."
