"""A consumer used the old schema of a migration.

Criteria:
    A message of the old side of a configured migration that a service used: it took it from the old destination, or said that it handled it, or recorded
    the old version. Improvement while consumers move; violation where the consumer had no old use for a whole window. One occurrence a span.

Rationale:
    As long as anybody uses the old schema, publishing it cannot stop. Use that comes back after none was seen (a rollback, a job that runs once a month, a
    forgotten instance) is how a migration that was called done loses messages.

How to fix:
    Move the consumer to the new schema. Where the use came back, look at what was deployed or rolled back, and at jobs that run rarely.

    If the service only copies messages and does not interpret them, list it with `role: relay`; if what it takes does not count, with `excluded: WHY`.

When it is wrong:
    A consumer that takes from the old destination and throws the messages away uses nothing; let it say so (`message.schema.disposition` = `ignored`). Where
    old and new are messages on one destination, receipts without that attribute are no use, and nothing is said of them. Other environments than the
    migration's are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "old_schema_consumer"
LEVEL = Level.VIOLATION


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each use into an occurrence at the consumer's span."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=Level.VIOLATION if row["was_quiet"] else Level.IMPROVEMENT,
            cause="returned" if row["was_quiet"] else "",
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["producer"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            context={
                "migration": row["migration"],
                "destination": row["destination"],
                "message_schema_version": row["version"],
                "version_key": row["version_key"],
                "consumer_group": row["consumer_group"],
                "instance": row["instance"],
                "replayed": row["replayed"],
                "messages": row["messages"],
            },
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    of, times = occurrence.context["migration"], "once" if count == 1 else f"{count} times"
    again = " again, after a whole window without" if occurrence.cause else ""
    return f"{occurrence.service} used the old schema of {of} {times}{again}."
