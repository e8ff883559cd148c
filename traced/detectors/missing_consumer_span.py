"""A message was taken by a service that reports, and its CONSUMER span never came.

Criteria:
    A PRODUCER span that no span of a service answers which usually takes its messages; and in the same trace, later, that service has left spans whose
    parent was in its own process and is absent. One occurrence a message.

Rationale:
    What the consumer did is here, the span around it is not. The message is not stuck: it was taken, and only its span was lost. The graph of messages
    lacks an edge, and how long the message waited cannot be said.

How to fix:
    Look at the exporter of the consuming service (queue, timeouts, flush at shutdown and before a batch worker ends), and at handlers that end the process
    or swallow an exception before the CONSUMER span ends.

When it is wrong:
    The absent parent may be another span of the consuming service in the same trace, while the message waits. A message of which nothing shows
    that it was taken is not spoken of here. A consumer that begins a trace of its own, as with span links, leaves its remains there: then nothing is
    said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from traced.detectors import Row, iterate
from traced.graph.causes import CALLEE_LOSS
from traced.model.occurrence import Level, Occurrence

ID = "missing_consumer_span"
LEVEL = Level.VIOLATION
WHOLE_VIEW = True

_SURE: Final = 0.97


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each message into an occurrence at its PRODUCER."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=LEVEL,
            cause=CALLEE_LOSS,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["consumer"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=_SURE,
            context={"messaging_system": row["system"], "destination": row["destination"], "evidence": "spans of the consumer without their parent"},
        )


def fix(occurrence: Occurrence) -> str:
    """Say where the span was lost."""
    return f"Look at the exporter of {occurrence.peer} (queue, timeouts, flush at shutdown), and at handlers that end before their CONSUMER span does."


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    messages, were = ("message", "was") if count == 1 else ("messages", "were")
    to = f" to {occurrence.context['destination']}" if occurrence.context["destination"] else ""
    return f"{count} {messages} of {occurrence.service}{to} {were} taken by {occurrence.peer}, whose CONSUMER span is lost."
