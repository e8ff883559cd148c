"""A request or message was handled in the context of an earlier one that was over: its trace is not its own.

Criteria:
    A SERVER or CONSUMER span began after its parent had ended, and so had the entry above that; all in the same process, so by one clock. It
    must be later by more than 1 ms where flags do not say that the parent is local. A CONSUMER that leads up, through INTERNAL spans and
    polls, to an earlier CONSUMER of the same name that had ended counts too.

    Or one trace holds at least 20 entries of one operation (SERVER or CONSUMER spans without parent and link, or SERVER spans whose absent
    parent is said to be of their own process), all in one process, that begin over at least a second and ten times the 99th percentile of
    their durations.

Rationale:
    Unrelated requests become one trace: it grows for hours, its durations and errors say nothing of any of them, and one sampling decision
    is taken for all.

How to fix:
    Put the context back where the work ends: detach the token that attaching it gave (or use `with`), also when the work fails, and wrap
    executors and callbacks so that a pooled thread is handed back without it. Start each CONSUMER span from the context in its message.

    A loop that never ends should not run inside a span: start a span, or a trace with a link, for each turn.

When it is wrong:
    A queue inside the process that records no PRODUCER span and says nothing of remote parents looks the same when its messages begin after the
    request that sent them; so does a request that a page, or an application without an SDK, makes later with the context of the request that
    answered it. Confidence is lower where flags do not say that the parent is local, and where only the host, not the instance, is known.

    Left out are: what a CLIENT or PRODUCER span asked for, parents said to be remote, batches that were received before they are processed,
    WebSockets, doubled instrumentation (its outer span is still open), times of zero or of no duration, and processes whose resource names
    neither an instance nor a host, of which nothing can be said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence
from traced.model.span import SpanKind, span_id_hex

ID = "leaked_context"
LEVEL = Level.VIOLATION

_TWO_FACTS, _ONE_FACT = 0.97, 0.75
_WEAKER = 0.85
"""What each fact that is only likely takes off."""


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each entry under what was over, and each operation that one trace entered too often, into an occurrence."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=LEVEL,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=_ONE_FACT if row["entries"] else _confidence(row),
            context=_crowd(row) if row["entries"] else _late(row),
        )


def _confidence(row: Row) -> float:
    """Two facts decide: it began when all above it was over, and its parent is said to be local."""
    doubts = [not row["said_local"], not row["instance"], row["kind"] == SpanKind.CONSUMER and row["above_kind"] != SpanKind.CONSUMER]
    return round(_TWO_FACTS * float(_WEAKER ** sum(doubts)), 4)


def _late(row: Row) -> dict[str, object]:
    return {
        "above": row["above_name"],
        "above_span_id": span_id_hex(row["above_span_id"]),
        "above_kind": SpanKind(row["above_kind"]).name,
        "began_after_its_end_ms": round(row["late_nanos"] / 1e6, 3),
        "parent_said_to_be_local": row["said_local"],
        "instance": row["instance"],
        "host": row["host"],
    }


def _crowd(row: Row) -> dict[str, object]:
    return {"entries": row["entries"], "spread_seconds": round(row["spread_nanos"] / 1e9, 3), "p99_ms": round(row["p99_nanos"] / 1e6, 3)}


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    context, name = occurrence.context, occurrence.signal_name
    if "entries" in context:
        traces = "trace holds" if count == 1 else "traces each hold"
        return f"{count} {traces} very many requests of {name!r}, one of them {context['entries']} over {context['spread_seconds']:g} s."
    spans = "span" if count == 1 else "spans"
    return f"{count} {name!r} {spans} began in the context of work of the same process that was over, such as {context['above']!r}."
