"""A trace begins with a CLIENT span: work that nobody asked for called somebody.

Criteria:
    The span has no parent id and its kind is CLIENT. This is Instrumentation Score's rule SPA-004.

Rationale:
    A call should be part of what caused it. A CLIENT root is a background job without a span of its own, or a context that was
    lost on the way from a request to a thread, an executor or a callback.

How to fix:
    Wrap the job that makes the call in a span (kind INTERNAL, named after the job). If requests of the same service surround the
    call in time, its context is lost in a thread or callback: propagate the current context there.

When it is wrong:
    Browsers, command line tools and load drivers rightly begin with a CLIENT span; those of the browser SDK, polls of a message
    broker (of SQS also those that only look like a call of AWS's API), and calls that failed without any response are left out.
    Others can be ignored: this is an improvement, no violation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "root_client_span"
LEVEL = Level.IMPROVEMENT


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each CLIENT root into an occurrence."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=LEVEL,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["peer"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=0.99,
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    traces = "trace begins" if count == 1 else "traces begin"
    return f"{count} {traces} with the CLIENT span {occurrence.signal_name!r}."
