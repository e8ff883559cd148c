"""The same span came more than once, with the same content.

Criteria:
    Same trace id, span id, kind and service, with the same name, parent, times and status; or the same on one side of a shared
    span id under another service. It is stored once and counted once. Above 5 % of an instance's spans in the last hour or two (of at
    least 200) it is a violation, else information.

Rationale:
    A few repeats are retries after an answer that got lost, and harmless. Many mean that spans are exported twice: it costs twice,
    and whoever does not drop repeats counts every call double.

How to fix:
    Look for two span processors or exporters in the service's set-up, two pipelines of a Collector that end here, or an agent that
    instruments what the SDK instruments too.

When it is wrong:
    Exporters whose requests time out often, though they arrive, repeat whole batches: then the cure is the timeout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "duplicate_span"
LEVEL = Level.VIOLATION

VIOLATION_SHARE = 0.05
MIN_SPANS = 200


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each repeated span into an occurrence."""
    for trace_id, row in iterate(rows):
        total = row["instance_spans"]
        often = total >= MIN_SPANS and row["instance_repeats"] > VIOLATION_SHARE * total
        yield Occurrence(
            id=ID,
            level=Level.VIOLATION if often else Level.INFORMATION,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=0.99,
            context={"repeats": row["repeats"], "instance": row["instance"], "instance_spans": total, "instance_repeats": row["instance_repeats"]},
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    spans = "span" if count == 1 else "spans"
    return f"{count} {occurrence.signal_name!r} {spans} came more than once."
