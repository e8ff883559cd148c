"""A span names a parent that never arrived.

Criteria:
    The span's parent id is not zero, and no span of its trace has that id once the trace has settled. Either half of a shared
    span id counts as the parent. Each orphan is one occurrence; several under one absent parent name the same missing span.

Rationale:
    The absent parent is proof that a span is missing: the child saw its id. What lies above it in the trace, who called and how
    long that took, is gone. This is Instrumentation Score's rule SPA-002.

How to fix:
    Look at the service that should have sent the absent span (the caller of this operation in intact traces): is its exporter
    configured for this collector, does its queue overflow (`otel.sdk.processor.span.processed` with `error.type`), is it flushed
    at shutdown, and does every service sample by the same, parent-based rule?

When it is wrong:
    The parent may still be running when its trace has long been quiet: it is found when it ends, and the finding is withdrawn.
    The caller may lie outside what this daemon sees (a browser, a gateway, another team): then nothing is lost here.
    A sampler that decides per service drops parents on purpose. Why a span is absent is not decided by this detector yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence
from traced.model.span import FLAGS_HAS_IS_REMOTE, FLAGS_IS_REMOTE, SpanKind

ID = "orphan_span"
LEVEL = Level.VIOLATION

_KINDS = {int(kind): kind.name for kind in SpanKind}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each orphan into an occurrence."""
    for trace_id, row in iterate(rows):
        flags = row["flags"]
        remote = bool(flags & FLAGS_IS_REMOTE) if flags & FLAGS_HAS_IS_REMOTE else None
        yield Occurrence(
            id=ID,
            level=LEVEL,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=0.99,
            missing_span_id=row["missing_span_id"],
            context={"kind": _KINDS.get(row["kind"], str(row["kind"])), "parent_is_remote": remote},
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    spans = "span names" if count == 1 else "spans name"
    return f"{count} {occurrence.signal_name!r} {spans} a parent that never arrived."
