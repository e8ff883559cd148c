"""A span names a parent that never arrived.

Criteria:
    The span's parent id is not zero, and no span of its trace has that id once the trace has settled. Either half of a shared
    span id counts as the parent. Each orphan is one occurrence; several under one absent parent name the same missing span.

    The cause is the first that holds. `propagation_mangled`: the parent was in another process, and an unanswered caller that fits lies in the same
    trace, or the parent is in a trace of whose id this one has half, or the absent id is half of the trace id (the lower one only where no root here has
    that for its own id, as Zipkin's and Jaeger's tracers give it), or the parent was in another process and its id is named in three traces or more.
    `pending`: the orphan began more recently than those spans last that are usually its parent (all but one in a hundred); it is decided then, or, where its
    trace would be too old to be joined by then, `unknown`, as information. `local_loss`: the parent was in the same process, by the span's
    flags, or where these say nothing by its kind and by where its like have their parents. `sampled_out`: a service that usually calls this operation has
    no span in the trace and does not sample it. Only callers count that may have called there: something that the trace shows calls them, or they begin
    traces and this one has no root; and none where another usual caller is there and its call is not, unless an unanswered call leads to the one that is
    gone. That it does not sample the trace is known by the threshold that its spans carry (`tracestate`); by a cut through the trace ids, as ratio samplers
    make it, below which all its traces lie, and this one and others that it is gone from above; or because traces are kept in parts: those without the
    caller, those without the callee and whole ones are interleaved, as independent choices make it (runs test and Kolmogorov-Smirnov), nearer in time than
    batches are. `upstream_silent`: the parent was in another process, and what calls so reports nothing: no span of this operation ever had a parent here, or
    none from this client address. `upstream_loss`: the parent was in another process, and its service reports otherwise. `unknown`: none of these
    can be told; so it is where a caller may sample, and too little is known to tell that from a loss. Where all spans are of one host, callers may be
    on others: a loss above is told only where nearly all callers of the operation are here, or the caller has other spans in the trace.

    The peer is the one usual caller that the trace leaves over, of several the one that nearly all parents are of, else nobody.

    A loss has a shape (`loss_shape`) where the data decide. `filtered`: such parents never come. `batch`: one instance ended nothing between two moments, while
    others went on; ten traces or more before and after say how unlikely that is, and that all its losses lie there. `restart`: it ended nothing more, and
    another instance of the service began within two minutes. `queue_full`: for a while a fifth to four fifths of its spans that have children are absent,
    before and after next to none. Each is told where its chance without such a loss is at most one in 1,000.

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
    is `unknown`. A caller of which one instance among several is dead looks as if it sampled, and is `unknown` too. The cause says whose span it was, not
    where on its way it was lost: a Collector, or an extract that was cut, looks like the exporter.
    Where many services lose spans at one time, look for what lies behind all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from traced.detectors import Row, iterate
from traced.graph.causes import LOCAL_LOSS, MIN_SEEN, PENDING, PROPAGATION_MANGLED, SAMPLED_OUT, UNKNOWN, UPSTREAM_LOSS, UPSTREAM_SILENT
from traced.model.finding import timestamp
from traced.model.loss_shapes import FILTERED, QUEUE_FULL, fix_of_shape, shape_in_words
from traced.model.losses import fix_of_reported, reported_in_words
from traced.model.occurrence import Level, Occurrence
from traced.model.span import SpanKind, span_id_hex, trace_id_hex

ID = "orphan_span"
LEVEL = Level.VIOLATION

ALWAYS: Final = 0.95
"""Share of an operation's spans without their parent from which on that is filtered, not lost."""

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
            level=verdict.level,
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
    level: Level
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
    level = Level.INFORMATION if row["running"] and cause == UNKNOWN else _LEVELS.get(cause, LEVEL)
    return _Verdict(level, cause, row["confidence"], _peer(row, cause), context)


def _peer(row: Row, cause: str) -> str:
    if cause == PROPAGATION_MANGLED:
        return row["mangled_caller"] or row["whole_service"] or ""
    if cause in (LOCAL_LOSS, UPSTREAM_SILENT):
        return ""  # who reports nothing is none of those that usually call
    if cause == SAMPLED_OUT:
        return str(row["dropped_by"])
    return str(row["likely_caller"])


def _more(row: Row, cause: str) -> dict[str, Any]:
    """Give the facts that decided, beside the habits."""
    if cause == PROPAGATION_MANGLED:
        named = {"caller_span_id": span_id_hex(row["mangled_span_id"])} if row["mangled_span_id"] else {}
        if row["whole_service"] is not None:
            named = {"trace_of_the_parent": trace_id_hex(row["whole_trace_id_high"], row["whole_trace_id_low"])}
        return {**named, "traces_with_this_parent_id": row["traces_with_this_id"], "parent_id_is": row["id_shape"]}
    if row["running"] and cause in (PENDING, UNKNOWN):
        return {"seconds_since_it_began": row["elapsed"] // 10**9, "its_parents_last_seconds": round(row["parent_lasts"] / 1e9, 1)}
    if cause == LOCAL_LOSS:
        return _shape(row)
    if cause == SAMPLED_OUT:
        return {"sampling_known_by": row["sampled_by"]}
    if cause in (UPSTREAM_LOSS, UPSTREAM_SILENT):
        return {
            "caller_in_this_trace": row["caller_in_trace"],
            "from_this_address_with_a_parent": row["address_present"],
            "from_this_address_without": row["address_absent"],
            "sampled_by_its_callers": row["sampled"],
            **(_shape(row) if cause == UPSTREAM_LOSS else {}),
        }
    return {}


def _shape(row: Row) -> dict[str, Any]:
    """Give the shape of a loss and what it is known by; nothing where the data do not decide."""
    if row["cause"] == LOCAL_LOSS and row["absent"] >= ALWAYS * (row["present"] + row["absent"]) and row["absent"] >= MIN_SEEN:
        return {"loss_shape": FILTERED}
    if row["loss_shape"] is None:
        return {}
    facts = {"loss_shape": row["loss_shape"], "loss_instance": row["shape_instance"], "shape_by_chance": float(f"{row['shape_chance']:.2g}")}
    facts |= {"loss_began": timestamp(row["shape_since"]), "loss_ended": timestamp(row["shape_until"])}
    if row["loss_shape"] == QUEUE_FULL:
        names = ("missing", "seen", "missing_elsewhere", "seen_elsewhere")
        return facts | {name if "elsewhere" in name else f"{name}_in_burst": row[f"shape_{name}"] for name in names}
    return facts | {"traces_of_the_instance_beside": row["shape_seen"]} | ({"replaced_by": row["replaced_by"]} if row["replaced_by"] else {})


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
    PENDING: "Wait: it is decided when its like have ended, and withdrawn if the parent comes.",
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
    lossy = occurrence.service if occurrence.cause == LOCAL_LOSS else occurrence.peer or "its caller"
    known = fix_of_reported(occurrence.context) or fix_of_shape(occurrence.context, lossy, occurrence.signal_name)
    return known or _FIX[occurrence.cause].format(service=occurrence.service, peer=occurrence.peer or "its caller")


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    spans = "span names" if count == 1 else "spans name"
    why = _WHY[occurrence.cause].format(service=occurrence.service, peer=occurrence.peer or "its caller")
    if occurrence.cause == UNKNOWN and "its_parents_last_seconds" in occurrence.context:
        why = "it may still be running, and would come too late for its trace"
    shape, reported = shape_in_words(occurrence.context), reported_in_words(occurrence.context)
    return f"{count} {occurrence.signal_name!r} {spans} a parent that never arrived: {why}{shape}{reported}."
