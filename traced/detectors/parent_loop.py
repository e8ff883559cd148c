"""A span is its own ancestor.

Criteria:
    Walking up from the span by parent ids comes back to it; a span that names itself as its parent is the shortest case. Each span
    on the loop is one occurrence. The receiving half of a shared span id, whose parent id is the shared id, is no loop.

Rationale:
    No tree can be drawn, no root found, and tools that follow parents without a bound hang.

How to fix:
    Find who makes up ids: a header rewritten by a proxy, a library that reuses the incoming span id for its own span, or ids cut to a
    length at which they collide.

When it is wrong:
    Never by its own logic: the ids as they came form a loop. Which of the spans on it carries the wrong id cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "parent_loop"
LEVEL = Level.VIOLATION


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each span on a loop into an occurrence."""
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
            context={"itself": row["itself"]},
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    spans = "span is its" if count == 1 else "spans are their"
    return f"{count} {occurrence.signal_name!r} {spans} own ancestor."
