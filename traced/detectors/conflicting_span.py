"""Two different spans of one trace carry the same span id.

Criteria:
    Same trace id and span id on the same side of a call (both sending, both receiving, or both neither), but another name, parent,
    start, end or status. The first that came is kept. Left out: the two halves of a shared span id, and the same span sent
    again with a later end.

Rationale:
    One of the two is lost to everybody who keeps one span per id, and children hang under the wrong one.

How to fix:
    Look for an id generator that is not random enough: a seed that is shared after a fork, a fixed seed, ids derived from time. In
    pre-forking servers initialise the SDK after the fork.

When it is wrong:
    Pipelines that rename spans on one of two ways (a Collector's transform processor) make copies that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "conflicting_span"
LEVEL = Level.VIOLATION


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each conflicting span id into an occurrence."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=LEVEL,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=0.99,
            context={"repeats": row["repeats"], "other_service": row["other_service"]},
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    ids = "span id stands" if count == 1 else "span ids stand"
    return f"{count} {ids} for two different spans of one trace, one of them {occurrence.signal_name!r}."
