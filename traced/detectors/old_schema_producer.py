"""A service published the old schema of a migration after that was to stop, or never the new one.

Criteria:
    A message of the old side of a configured migration, sent after its `cutoff` (`after_cutoff`); or sent by a service of which at least 20 old messages and
    no new one were seen in the migration's window (`never_new`, an improvement). One occurrence a span.

Rationale:
    After the cutoff nobody may be left who understands it. A service that sends only the old keeps every consumer from moving.

How to fix:
    After the cutoff: stop what still publishes it, or correct `cutoff`. Before: let the service publish the new schema too.

When it is wrong:
    What is sent again out of dead letters is no new message, and is left out where that can be told. Whether a message is of after the cutoff goes by its
    sender's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "old_schema_producer"
LEVEL = Level.VIOLATION

_AFTER = "after_cutoff"
_FIX = {
    _AFTER: "Stop {service} from publishing the old schema of {migration}, or correct its `cutoff`.",
    "never_new": "Let {service} publish the new schema of {migration} too.",
}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each publication into an occurrence at the producer's span."""
    for trace_id, row in iterate(rows):
        after = row["after_cutoff"]
        yield Occurrence(
            id=ID,
            level=Level.VIOLATION if after else Level.IMPROVEMENT,
            cause=_AFTER if after else "never_new",
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            context={
                "migration": row["migration"],
                "destination": row["destination"],
                "message_schema_version": row["version"],
                "version_key": row["version_key"],
                "instance": row["instance"],
                "messages": row["messages"],
            },
        )


def fix(occurrence: Occurrence) -> str:
    """Say what to stop, or to begin."""
    return _FIX[occurrence.cause].format(service=occurrence.service, migration=occurrence.context["migration"])


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    times = "once" if count == 1 else f"{count} times"
    when = "after the cutoff" if occurrence.cause == _AFTER else "and never the new one"
    return f"{occurrence.service} published the old schema of {occurrence.context['migration']} {times} {when}."
