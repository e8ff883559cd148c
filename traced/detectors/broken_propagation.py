"""A call was made and answered, but its context did not travel: the receiver began a trace, or a branch, of its own.

Criteria:
    A SERVER or CONSUMER span has neither parent nor link, and a CLIENT or PRODUCER span in another trace (or elsewhere in the same one)
    that nobody answered called it: names or addresses lead from one to the other, method, path and status do not contradict, and
    both delays of the pair (request and response) are what calls between the two services take. A span that usually calls a service
    straight, without a CLIENT of its own, and did not this time counts as a caller too. Where neither names the other, the same request id on both
    (`x-request-id`, `request_id`) leads from one to the other, if the caller's service surrounds the receivers in time without exception, and is the
    innermost that does. Callers and receivers are assigned one to one. The claim is
    made only where the same number of fits does not come about when the receivers are moved in time at random (1 %), and where the pair,
    or at least the calling service, is clear among all rivals.

Rationale:
    Both halves of the call were reported, so nothing was lost but the connection. Everything that starts from traces (who called whom, where
    time goes, which root failed) is wrong on this edge until the context travels.

How to fix:
    Make the caller inject its context into what it sends, and the receiver extract it; let both use the same propagators (OTEL_PROPAGATORS, by
    default tracecontext and baggage), and let proxies and message bridges between them keep the headers `traceparent` and `tracestate`.

    Where one side works with everybody else, the other one is at fault: the cause says which, as far as the traces show it. Where both work with
    others, no context arrives between them, and only one makes trace ids of 64 bits, their formats differ (`format_mismatch`).

When it is wrong:
    Under heavy load the callers of one service look alike: the pair of spans may be the wrong one though the two services are right; its
    confidence says so. A receiver that begins a new trace on purpose, as a webhook may, should carry a span link to its caller, and is then not
    reported. Where the calling service emits nothing at all, no caller can be named; if it passes on the request's id, a SERVER span before it may be taken
    for the caller, with a confidence of 0.9 at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence
from traced.model.span import SpanKind

ID = "broken_propagation"
LEVEL = Level.VIOLATION

NOT_INJECTED = "not_injected"
NOT_EXTRACTED = "not_extracted"
FORMAT_MISMATCH = "format_mismatch"
UNKNOWN = "unknown"
MIN_ELSEWHERE = 20
"""Contexts that arrive elsewhere from which on a side is known to work."""

_INJECT = {
    "java": "the OpenTelemetry Java agent, or the instrumentation library of its HTTP, gRPC or messaging client",
    "python": "the opentelemetry-instrumentation package of its client library (requests, httpx, aiohttp, grpc, kafka)",
    "nodejs": "@opentelemetry/instrumentation-http, or that of its client library, registered before the library is loaded",
    "go": "otelhttp.NewTransport, otelgrpc.NewClientHandler, or propagation.TextMapPropagator.Inject, with the request's context passed on",
    "dotnet": "OpenTelemetry.Instrumentation.Http or GrpcNetClient",
    "ruby": "the opentelemetry-instrumentation gem of its client library",
    "php": "the auto-instrumentation package of its client library",
}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each match into an occurrence at the receiver."""
    for trace_id, row in iterate(rows):
        halves_differ = (trace_id[0] == 0) != (row["caller_trace_id_high"] == 0)
        same_trace = trace_id == (row["caller_trace_id_high"], row["caller_trace_id_low"])
        yield Occurrence(
            id=ID,
            level=LEVEL,
            cause=cause(row["arrived"], row["injected_elsewhere"], row["extracted_from_others"], formats_differ=halves_differ),
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["peer"],
            signal_name=f"{row['peer']} → {row['service']}",
            time_unix_nano=row["time_unix_nano"],
            confidence=round(row["confidence"], 4),
            matched=(row["caller_trace_id_high"], row["caller_trace_id_low"], row["caller_span_id"]),
            context={
                "calls_without_context": row["broken"],
                "calls_with_context": row["arrived"],
                "contexts_of_the_caller_that_arrive_elsewhere": row["injected_elsewhere"],
                "contexts_of_others_that_arrive_here": row["extracted_from_others"],
                "span": row["signal_name"],
                "caller_span": row["caller_name"],
                "same_trace": same_trace,
                "message": row["kind"] == SpanKind.CONSUMER,
                "confidence_of_the_service": round(row["service_confidence"], 4),
                "rival_callers": row["rivals"],
                "by_chance_at_most": float(f"{row['chance']:.2g}"),
                "sdk": row["sdk_language"],
                "caller_sdk": row["caller_sdk_language"],
            },
        )


def cause(arrived: int, injected_elsewhere: int, extracted_from_others: int, *, formats_differ: bool = False) -> str:
    """Say which side is at fault: the one that works with nobody, where the other one works with others; or that both speak other formats."""
    if not arrived and min(injected_elsewhere, extracted_from_others) >= MIN_ELSEWHERE and formats_differ:
        return FORMAT_MISMATCH
    if arrived or (injected_elsewhere > 0) == (extracted_from_others > 0):
        return UNKNOWN
    if extracted_from_others >= MIN_ELSEWHERE:
        return NOT_INJECTED
    return NOT_EXTRACTED if injected_elsewhere >= MIN_ELSEWHERE else UNKNOWN


def fix(occurrence: Occurrence) -> str:
    """Say what to do on which side."""
    caller, callee, facts = occurrence.peer, occurrence.service, occurrence.context
    inject = f"Let {caller} inject its context into its calls: {_INJECT.get(facts['caller_sdk'], 'enable the instrumentation of its client library')}."
    extract = f"Let {callee} extract the context of what it receives: enable the instrumentation of its server or consumer library, before the handler runs."
    if occurrence.cause == NOT_INJECTED:
        return f"{inject} {callee} takes the contexts of others, so it is not at fault."
    if occurrence.cause == NOT_EXTRACTED:
        return f"{extract} The contexts of {caller} arrive elsewhere, so it is not at fault."
    if occurrence.cause == FORMAT_MISMATCH:
        return (
            f"One of {caller} and {callee} makes trace ids of 64 bits, the other of 128: let both use the same propagators "
            "(OTEL_PROPAGATORS=tracecontext,baggage, or b3 on both sides) and ids of 128 bits."
        )
    carrier = "the message's headers" if facts["message"] else "the headers `traceparent` and `tracestate`"
    both = f"{inject} {extract} " if not facts["calls_with_context"] else ""
    return f"{both}Compare OTEL_PROPAGATORS on both sides, and see that nothing between {caller} and {callee} drops or replaces {carrier}."


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    whole = count + occurrence.context["calls_with_context"]
    what = "messages" if occurrence.context["message"] else "calls"
    return f"{occurrence.peer} does not pass its context to {occurrence.service}: {count} of {whole} {what}."
