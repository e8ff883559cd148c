"""A whole trace came without its root.

Criteria:
    The trace has settled, none of its spans is without a parent id, and none of them is its own ancestor. One occurrence a
    trace, at its topmost orphan: the one that began first, with the cause that `orphan_span` has there. A loss is the root's cause only if the
    service of the orphan's usual parent begins such traces, by those that came whole; else the root is further up, and why it is absent is `unknown`.
    Where that span's caller did not sample the trace, or perhaps did not, nothing is said; where it reports nothing at all, it is information.

Rationale:
    Without the root nobody knows what was asked for, by whom, or how long it took in all; searches by root and by trace duration
    do not find the trace.

How to fix:
    Find the service that starts these traces and check that it exports to the same place, that it ends its root spans on every
    path (also on errors and at shutdown), and that nothing in front of it (a gateway, a mesh) makes up trace context.

When it is wrong:
    The root may be declared elsewhere on purpose: a browser, a mobile client or a cloud gateway that reports to another
    backend. A root that ends much later than its children arrives late, and the finding is withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from traced.detectors import Row, iterate
from traced.graph.causes import LOCAL_LOSS, UNKNOWN, UPSTREAM_LOSS, UPSTREAM_SILENT
from traced.model.occurrence import Level, Occurrence

ID = "missing_root_span"
LEVEL = Level.VIOLATION
WHOLE_VIEW = True

_UNDECIDED: Final = 0.5


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each rootless trace into an occurrence."""
    for trace_id, row in iterate(rows):
        # whose span the orphan's parent was says nothing of a root that lies in another service
        elsewhere = row["cause"] in (LOCAL_LOSS, UPSTREAM_LOSS) and not row["begins"]
        sure = _UNDECIDED if elsewhere else row["cause_confidence"]
        yield Occurrence(
            id=ID,
            level=Level.INFORMATION if row["cause"] == UPSTREAM_SILENT else LEVEL,
            cause=UNKNOWN if elsewhere else row["cause"],
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            # with several absent parents the root may be any of them, or none
            confidence=round((1.0 if row["absent"] == 1 else 0.9) * sure, 4),
            missing_span_id=row["missing_span_id"],
            context={"spans": row["spans"], "spans_without_parent": row["absent"], "parent_begins_traces": row["begins"]},
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    traces = "trace has" if count == 1 else "traces have"
    return f"{count} {traces} no root span; the topmost that came is {occurrence.signal_name!r}."
