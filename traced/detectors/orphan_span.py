"""A span names a parent that never arrived.

Criteria:
    The span's parent id is not zero, and no span of its trace has that id once the trace has settled. Either half of a shared
    span id counts as the parent. Each orphan is one occurrence; several under one absent parent name the same missing span.

    The cause is the first that holds. `propagation_mangled`: the parent was in another process, and an unanswered caller that fits lies in the same
    trace, or the parent is in a trace of whose id this one has half, or the absent id is half of the trace id (the lower one only where no root here has
    that for its own id, as Zipkin's and Jaeger's tracers give it) or is named in several traces. `pending`: the orphan began more recently than those
    spans last that are usually its parent, ten minutes at most; it is decided then. `local_loss`: the parent was in the same process, by the span's
    flags, or where these say nothing by its kind and by where its like have their parents. `sampled_out`: a service that usually calls this operation has
    no span in the trace and does not sample it, by the threshold that its spans carry (`tracestate`), or because all its traces lie below a cut through
    the trace ids, as ratio samplers make it, and this one above, or because traces are kept in parts. `upstream_silent`: the parent was in another
    process, and what calls so reports nothing: no span of this operation ever had a parent here, or none from this client address. `upstream_loss`: the
    parent was in another process, and its service reports otherwise. `unknown`: none of these can be told. Where all spans are of one host, callers may be
    on others: a loss above is told only where nearly all callers of the operation are here, or the caller has other spans in the trace.

    Where the service that is said to have lost the parent counts its own losses (OTLP metrics of its SDK) and counted some at that time, the finding says
    how many and why, and two thirds of the doubt about the cause are gone; so it is where a caller that is said to sample counts what it did not sample.
    Where nothing else tells the cause, and all known parents of the operation are of one other service that counted losses then, it is `upstream_loss`.
    What a Collector lost meanwhile is named and changes nothing.

Rationale:
    The absent parent is proof that a span is missing: the child saw its id. What lies above it in the trace, who called and how
    long that took, is gone. This is Instrumentation Score's rule SPA-002.

How to fix:
    Look at the service that should have sent the absent span (the caller of this operation in intact traces): is its exporter
    configured for this collector, does its queue overflow, is it flushed at shutdown, and does every service sample by the same,
    parent-based rule? SDKs that send their own metrics (`otel.sdk.processor.span.processed` and the like) here let the finding say which it is.

When it is wrong:
    The parent may still be running when its trace has long been quiet: it is found when it ends, and the finding is withdrawn.
    That a parent is absent is near certain; doubt belongs to the cause, and the confidence is that of the cause. Where spans carry no flags
    (`Span.flags`, bits 8 and 9), kind and habit decide whether the parent was in the same process. A caller that is external (a browser, another
    team's gateway) is silent and no fault of yours: then the finding is an improvement at most. With few calls there is no habit yet, and the cause
    is `unknown`. The cause says whose span it was, not where on its way it was lost: a Collector, or an extract that was cut, looks like the exporter.
    Where many services lose spans at one time, look for what lies behind all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from traced.detectors import Row, iterate
from traced.graph.causes import LOCAL_LOSS, MIN_SEEN, PENDING, PROPAGATION_MANGLED, SAMPLED_OUT, UNKNOWN, UPSTREAM_LOSS, UPSTREAM_SILENT
from traced.model.finding import timestamp
from traced.model.losses import fix_of_reported, reported_in_words
from traced.model.occurrence import Level, Occurrence
from traced.model.span import SpanKind, span_id_hex, trace_id_hex

ID = "orphan_span"
LEVEL = Level.VIOLATION

ALWAYS: Final = 0.95
FILTERED: Final = "filtered"
"""Shape of a loss that always hits the same spans."""

_KINDS = {int(kind): kind.name for kind in SpanKind}
_LEVELS = {PENDING: Level.INFORMATION, SAMPLED_OUT: Level.INFORMATION, UPSTREAM_SILENT: Level.IMPROVEMENT}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each orphan into an occurrence with its cause; many have all but their ids and times in common."""
    known: dict[tuple[str, int], _Verdict] = {}
    for trace_id, row in iterate(rows):
        facts = (row["service"], row["alike"])
        verdict = known.get(facts)
        if verdict is None:
            verdict = known[facts] = _judge(row)
        yield Occurrence(
            id=ID,
            level=_LEVELS.get(verdict.cause, LEVEL),
            cause=verdict.cause,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=verdict.peer,
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=verdict.confidence,
            missing_span_id=row["missing_span_id"],
            # a loss of its own process is the instance's
            context={**verdict.context, "instance": row["instance"]} if verdict.cause == LOCAL_LOSS and row["instance"] else verdict.context,
        )


@dataclass(frozen=True, slots=True)
class _Verdict:
    cause: str
    confidence: float
    peer: str
    context: dict[str, Any]


def _judge(row: Row) -> _Verdict:
    cause = row["cause"]
    context = {
        "kind": _KINDS.get(row["kind"], str(row["kind"])),
        "parent_is_remote": row["parent_is_remote"],
        "known_by": row["known_by"],
        "spans_of_the_operation": row["spans"],
        "with_a_parent_here": row["present"],
        "without": row["absent"],
        **_more(row, cause),
        **_reported(row),
    }
    return _Verdict(cause, row["confidence"], _peer(row, cause), context)


def _peer(row: Row, cause: str) -> str:
    if cause == PROPAGATION_MANGLED:
        return row["mangled_caller"] or row["whole_service"] or ""
    if cause == LOCAL_LOSS:
        return ""
    if cause == SAMPLED_OUT:
        return str(row["dropped_by"])
    usual = row["usual_parent"] if row["usual_parent"] != row["service"] else ""
    return usual or row["likely_caller"]


def _more(row: Row, cause: str) -> dict[str, str | int]:
    """Give the facts that decided, beside the habits."""
    if cause == PROPAGATION_MANGLED:
        named = {"caller_span_id": span_id_hex(row["mangled_span_id"])} if row["mangled_span_id"] else {}
        if row["whole_service"] is not None:
            named = {"trace_of_the_parent": trace_id_hex(row["whole_trace_id_high"], row["whole_trace_id_low"])}
        return {**named, "traces_with_this_parent_id": row["traces_with_this_id"], "parent_id_is": row["id_shape"]}
    if cause == PENDING:
        return {"seconds_since_it_began": row["elapsed"] // 10**9, "its_parents_last_seconds": round(row["parent_lasts"] / 1e9, 1)}
    if cause == LOCAL_LOSS and row["absent"] >= ALWAYS * (row["present"] + row["absent"]) and row["absent"] >= MIN_SEEN:
        return {"shape": FILTERED}
    if cause == SAMPLED_OUT:
        return {"sampling_known_by": row["sampled_by"]}
    if cause in (UPSTREAM_LOSS, UPSTREAM_SILENT):
        return {
            "caller_in_this_trace": row["caller_in_trace"],
            "from_this_address_with_a_parent": row["address_present"],
            "from_this_address_without": row["address_absent"],
            "sampled_by_its_callers": row["sampled"],
        }
    return {}


def _reported(row: Row) -> dict[str, str | int]:
    """Give what SDKs and Collectors say of it by their own metrics; nothing where they say nothing."""
    if row["not_sampled"]:
        return {"spans_begun_by_the_caller": row["begun"], "of_them_not_sampled": row["not_sampled"]}
    if row["lost_by"] is None:
        return {}
    return {
        **{name: row[name] for name in ("lost_by", "lost_instance", "lost_how", "lost_reason", "lost_spans", "queue_capacity")},
        **{name: timestamp(row[name]) for name in ("lost_since", "lost_until") if row[name]},
    }


_WHY: Final = {
    PENDING: "it may still be running, as its like often are",
    PROPAGATION_MANGLED: "its id was changed on the way from {peer}",
    SAMPLED_OUT: "{peer} did not sample it",
    LOCAL_LOSS: "a span of {service} itself was lost",
    UPSTREAM_SILENT: "its caller reports nothing",
    UPSTREAM_LOSS: "a span of {peer} was lost",
    UNKNOWN: "why is not known",
}
_FIX: Final = {
    PENDING: "Wait: it is decided within ten minutes, and withdrawn if the parent comes.",
    PROPAGATION_MANGLED: "Look at what lies between {peer} and {service}: a proxy that makes up span ids or rewrites headers, or B3 beside W3C headers.",
    SAMPLED_OUT: "Nothing is lost. To have whole traces, let every service use a parent-based sampler, or sample at the tail by trace id.",
    LOCAL_LOSS: "Look at the exporter of {service}: its queue's size and export interval, the flush at shutdown, and spans that are never ended; "
    "then at the Collector before it, first of all if other services lose spans too.",
    UPSTREAM_SILENT: "Instrument what calls {service}, or point its exporter here; if it is external, nothing is wrong with {service}.",
    UPSTREAM_LOSS: "Look at the exporter of {peer}: its queue's size, timeouts, the flush at shutdown; then at the Collector before it.",
    UNKNOWN: "Let SDKs send Span.flags (OTLP 1.1 and newer) and, where they sample by probability, the threshold in tracestate: then this can be told.",
}


def fix(occurrence: Occurrence) -> str:
    """Say where to look, by cause."""
    if occurrence.context.get("shape") == FILTERED:
        return (
            f"The parents of {occurrence.signal_name!r} never come: a processor drops them, or {occurrence.service} never ends them. Drop whole subtrees, not "
            "single spans, and end spans in a `finally`."
        )
    return fix_of_reported(occurrence.context) or _FIX[occurrence.cause].format(service=occurrence.service, peer=occurrence.peer or "its caller")


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    spans = "span names" if count == 1 else "spans name"
    why = _WHY[occurrence.cause].format(service=occurrence.service, peer=occurrence.peer or "its caller")
    return f"{count} {occurrence.signal_name!r} {spans} a parent that never arrived: {why}{reported_in_words(occurrence.context)}."
