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
    others and no context arrives between them, their formats differ if only one makes trace ids of 64 bits (`format_mismatch`), and a proxy
    strips it if others than the receiver are reached at the address that the caller called (`stripped_between`). Where only a share of the calls breaks, the
    finding names the version, process or operation of either side that tells them apart, if one does: one version or process is then at fault.

When it is wrong:
    Under heavy load the callers of one service look alike: the pair of spans may be the wrong one though the two services are right; its
    confidence says so. A receiver that begins a new trace on purpose, as a webhook may, should carry a span link to its caller, and is then not
    reported. Where the calling service emits nothing at all, no caller can be named; if it passes on the request's id, a SERVER span before it may be taken
    for the caller, with a confidence of 0.9 at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from traced.detectors import Row, iterate
from traced.graph.causes import UNKNOWN
from traced.model.occurrence import Level, Occurrence
from traced.model.span import SpanKind

ID = "broken_propagation"
LEVEL = Level.VIOLATION

NOT_INJECTED = "not_injected"
NOT_EXTRACTED = "not_extracted"
FORMAT_MISMATCH = "format_mismatch"
STRIPPED_BETWEEN = "stripped_between"
MIN_ELSEWHERE = 20
"""Contexts that arrive elsewhere from which on a side is known to work."""

_OF_A_PROCESS = ("service.version", "service.instance.id")
"""Properties by which one side's processes differ: those that have the value work with nobody, and the others of their service do."""

_INJECT = {
    "java": "the OpenTelemetry Java agent, or the instrumentation library of its HTTP, gRPC or messaging client",
    "python": "the opentelemetry-instrumentation package of its client library (requests, httpx, aiohttp, grpc, kafka)",
    "nodejs": "@opentelemetry/instrumentation-http, or that of its client library, registered before the library is loaded",
    "go": "otelhttp.NewTransport, otelgrpc.NewClientHandler, or propagation.TextMapPropagator.Inject, with the request's context passed on",
    "dotnet": "OpenTelemetry.Instrumentation.Http or GrpcNetClient",
    "ruby": "the opentelemetry-instrumentation gem of its client library",
    "php": "the auto-instrumentation package of its client library",
}

_EXTRACT = {
    "java": "the OpenTelemetry Java agent, or the instrumentation library of its server or consumer",
    "python": "the opentelemetry-instrumentation package of its framework (flask, django, fastapi, grpc, kafka), set up before the application is made",
    "nodejs": "@opentelemetry/instrumentation-http, or that of its framework or consumer, registered before the library is loaded",
    "go": "otelhttp.NewHandler, otelgrpc.NewServerHandler, or propagation.TextMapPropagator.Extract, and the handler given the context that comes of it",
    "dotnet": "OpenTelemetry.Instrumentation.AspNetCore",
    "ruby": "the opentelemetry-instrumentation gem of its framework or consumer",
    "php": "the auto-instrumentation package of its framework",
    "": "enable the instrumentation of its server or consumer library",
}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each match into an occurrence at the receiver."""
    for trace_id, row in iterate(rows):
        halves_differ = (trace_id[0] == 0) != (row["caller_trace_id_high"] == 0)
        same_trace = trace_id == (row["caller_trace_id_high"], row["caller_trace_id_low"])
        yield Occurrence(
            id=ID,
            level=LEVEL,
            cause=cause(_contexts(row), formats_differ=halves_differ, proxied=bool(row["through"])),
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
                "called_through": row["through"],
                **_separation(row),
            },
        )


class Contexts(NamedTuple):
    """How many contexts arrive between the two services, those of the caller elsewhere, of others at the receiver; and whose property tells broken calls."""

    arrived: int
    injected_elsewhere: int
    extracted_from_others: int
    separated_side: str | None = None


def _contexts(row: Row) -> Contexts:
    """Give them; where a property of one side tells the broken calls from the others, the two are like services of their own."""
    if row["separated_side"] and row["separated_name"] in _OF_A_PROCESS and not row["separated_intact"]:
        return Contexts(row["others_intact"], row["injected_elsewhere"], row["extracted_from_others"], row["separated_side"])
    return Contexts(row["arrived"], row["injected_elsewhere"], row["extracted_from_others"])


def cause(seen: Contexts, *, formats_differ: bool = False, proxied: bool = False) -> str:
    """Say which side is at fault: the one that works with nobody, where the other one works with others; or what lies between, where both do."""
    if seen.separated_side and seen.arrived >= MIN_ELSEWHERE:
        # the others of its kind work with the same other side
        return NOT_INJECTED if seen.separated_side == "caller" else NOT_EXTRACTED
    if not seen.arrived and min(seen.injected_elsewhere, seen.extracted_from_others) >= MIN_ELSEWHERE:
        return FORMAT_MISMATCH if formats_differ else STRIPPED_BETWEEN if proxied else UNKNOWN
    if seen.arrived or (seen.injected_elsewhere > 0) == (seen.extracted_from_others > 0):
        return UNKNOWN
    if seen.extracted_from_others >= MIN_ELSEWHERE:
        return NOT_INJECTED
    return NOT_EXTRACTED if seen.injected_elsewhere >= MIN_ELSEWHERE else UNKNOWN


def _separation(row: Row) -> dict[str, Any]:
    """Give what tells the broken calls of an edge from its intact ones, as evidence."""
    if not row["separated_side"]:
        return {}
    return {
        "separated_by": f"{row['separated_name']} of the {row['separated_side']}",
        "separating_value": row["separated_value"],
        "broken_with_it": row["separated_broken"],
        "intact_with_it": row["separated_intact"],
        "broken_without_it": row["others_broken"],
        "intact_without_it": row["others_intact"],
    }


def fix(occurrence: Occurrence) -> str:
    """Say what to do on which side."""
    caller, callee, facts = occurrence.peer, occurrence.service, occurrence.context
    inject = f"Let {caller} inject its context into its calls: {_INJECT.get(facts['caller_sdk'], 'enable the instrumentation of its client library')}."
    extract = f"Let {callee} extract the context of what it receives, before the handler runs: {_EXTRACT.get(facts['sdk'], _EXTRACT[''])}."
    where = _where(occurrence)
    if occurrence.cause == NOT_INJECTED:
        fault = f"{callee} takes the contexts of {'the others' if where else 'others'}, so it is not at fault."
        return f"{where}{inject} {fault}"
    if occurrence.cause == NOT_EXTRACTED:
        return f"{where}{extract} The contexts of {caller} arrive elsewhere, so it is not at fault."
    if occurrence.cause == FORMAT_MISMATCH:
        return (
            f"One of {caller} and {callee} makes trace ids of 64 bits, the other of 128: let both use the same propagators "
            "(OTEL_PROPAGATORS=tracecontext,baggage, or b3 on both sides) and ids of 128 bits."
        )
    carrier = "the message's headers" if facts["message"] else "the headers `traceparent` and `tracestate`"
    if occurrence.cause == STRIPPED_BETWEEN:
        return (
            f"Let the proxy at {facts['called_through']} keep {carrier} on its way to {callee}: both sides work with others, and others are reached there too."
        )
    both = f"{inject} {extract} " if not facts["calls_with_context"] else ""
    return f"{where}{both}Compare OTEL_PROPAGATORS on both sides, and see that nothing between {caller} and {callee} drops or replaces {carrier}."


def _where(occurrence: Occurrence) -> str:
    """Say what tells the broken calls from the others, where anything does."""
    facts = occurrence.context
    if "separated_by" not in facts:
        return ""
    service = occurrence.peer if facts["separated_by"].endswith("caller") else occurrence.service
    name = facts["separated_by"].rpartition(" of ")[0].removesuffix(" of the")
    broken = f"{facts['broken_with_it']} of {facts['broken_with_it'] + facts['intact_with_it']} calls"
    others = f"{facts['broken_without_it']} of {facts['broken_without_it'] + facts['intact_without_it']}"
    return f"Look at {service} where its {name} is {facts['separating_value']}: {broken} with it lose their context, {others} without it. "


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    # both of the same hours: the finding may have been open for longer
    facts = occurrence.context
    broken = facts["calls_without_context"]
    what = "messages" if facts["message"] else "calls"
    since = f" lately, {count} since it was first seen" if count > broken else ""
    return f"{occurrence.peer} does not pass its context to {occurrence.service}: {broken} of {broken + facts['calls_with_context']} {what}{since}."
