"""A service that publishes both schemas sent one without the other.

Criteria:
    Old and new messages of one migration, of one service, go together by their business key where one is configured, else by their trace. Fires where one side
    is there alone, in a trace that is complete, while at least five and at least three times as many of the service's in the pass went out together. One
    occurrence a span.

Rationale:
    Dual publishing has to be complete: a consumer that moved gets only the new messages, one that did not only the old. What is sent in one schema alone is
    lost for half of them, without an error.

How to fix:
    Publish both in one unit of work, as through one outbox; look at branches that return early, at errors that are swallowed between the two, and at retries
    that repeat only one.

When it is wrong:
    A service whose two schemas go out in different traces and that has no business key is not looked at: hardly any of its traces has both. Sends that
    failed, batches with dropped links and versions that nobody knows are left out. Few messages a pass say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "single_publish"
LEVEL = Level.VIOLATION

_SURE = 0.9
_OTHER = {"old": "new", "new": "old"}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each lonely publication into an occurrence at the producer's span."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=LEVEL,
            cause=f"{_OTHER[row['sent']]}_missing",
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=_SURE,
            context={
                "migration": row["migration"],
                "destination": row["destination"],
                "sent": row["sent"],
                "business_key": row["business_key"],
                "instance": row["instance"],
                "together": row["together"],
                "alone": row["alone"],
            },
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    sent, times = occurrence.context["sent"], "once" if count == 1 else f"{count} times"
    return f"{occurrence.service} published the {sent} schema of {occurrence.context['migration']} without the {_OTHER[sent]} one {times}."
