"""Nobody knows of which version of its schema a message on the channel of a migration is.

Criteria:
    A message on a destination of a configured migration (or taken by a listed consumer from a destination without a name) of which no attribute, header or name
    gives a version (`no_version`), or gives one that is neither old nor new nor said to be of another subject (`other_version`). One occurrence a span.

Rationale:
    It may be an old one. As long as there are such messages, no gate of the migration is safe.

How to fix:
    Set `message.schema.version` on the spans that send and process messages, or name in `version_attributes` where the version stands.

    Where a version is only spelt otherwise, add the spelling to `old` or `new`; where it is of another subject, to `other_versions`.

When it is wrong:
    Tombstones have no schema and are left out, and so are messages that hold both schemas, on the side of who sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "unknown_schema_version"
LEVEL = Level.IMPROVEMENT

_NONE = "no_version"
_FIX = {
    _NONE: "Set message.schema.version on the spans of {service}, or name in `version_attributes` where the version stands.",
    "other_version": "Add {version} to `old` or `new` of {migration} if it is another spelling, or to `other_versions` if it is of another subject.",
}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each message into an occurrence at its span."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=LEVEL,
            cause="other_version" if row["version"] else _NONE,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            context={
                "migration": row["migration"],
                "destination": row["destination"],
                "message_schema_version": row["version"],
                "role": row["role"],
                "instance": row["instance"],
                "messages": row["messages"],
            },
        )


def fix(occurrence: Occurrence) -> str:
    """Say what to set, or what to configure."""
    said = occurrence.context
    return _FIX[occurrence.cause].format(service=occurrence.service, version=said["message_schema_version"], migration=said["migration"])


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    messages, verb = ("message", "is") if count == 1 else ("messages", "are")
    does = "publishes" if occurrence.context["role"] == "producer" else "takes"
    what = f"of version {occurrence.context['message_schema_version']}" if occurrence.context["message_schema_version"] else "without a version"
    return f"{count} {messages} that {occurrence.service} {does} on the channel of {occurrence.context['migration']} {verb} {what}."
