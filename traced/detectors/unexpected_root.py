"""A request or a message began a trace of its own though it should have had a caller, and none can be named.

Criteria:
    A SERVER or CONSUMER span has neither parent nor link, no caller of it was found in any trace (`broken_propagation` names those), and one
    of two holds. Spans of its operation name a parent so regularly that the lower 95 % bound of the share (Wilson) is at least 0.95. Or its trace
    has another root, which began before it, and at least half of its operation's spans name a parent by the same bound. An operation is told
    by the span's name, and where that is only HTTP's verb, by the shape of the route or path beside it; without either nothing is said of it. Left out are
    health checks, probes, scrapers, command line clients (curl, wget), and requests from public addresses and from the own host.

Rationale:
    An inner operation is called by somebody. Where that caller sends no span for the call and its context did not come along either, the trace is
    cut here, and what it cost its caller is not to be seen.

How to fix:
    Find who called: the client's address, the access log, the trace's time. Then either that caller is not instrumented (install its SDK, or
    its HTTP, gRPC or messaging client's instrumentation), or what lies between drops the headers `traceparent` and `tracestate`.

When it is wrong:
    A job, a test or a person may call an inner operation once in a while and is then no fault; let such callers send a context of their
    own. While an operation is new its habits are not known, and it is not spoken of. Behind a sidecar all requests come from the own host, and of none of
    them is anything said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from traced.detectors import Row, iterate
from traced.graph.addresses import outside, own_host
from traced.graph.called import VERB
from traced.graph.shares import least_share
from traced.model.occurrence import Level, Occurrence

ID = "unexpected_root"
LEVEL = Level.VIOLATION
WHOLE_VIEW = True

MIN_SPANS: Final = 20
MIN_SHARE: Final = 0.95
MIN_SHARE_OF_SECOND: Final = 0.5


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Keep the entries whose operation is regularly called."""
    for trace_id, row in iterate(rows):
        bound = least_share(row["named"], row["named"] + row["rootless"])
        if row["named"] < MIN_SPANS or bound < (MIN_SHARE_OF_SECOND if row["second"] else MIN_SHARE):
            continue
        # whose operation is only a verb, of many routes one may be a health check; others' clients, and the own host's, send no context of ours
        if VERB.match(row["called"]) or outside(row["client_address"]) or own_host(row["client_address"]):
            continue
        yield Occurrence(
            id=ID,
            level=LEVEL,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=0.9 if row["second"] else round(0.95 * bound, 4),
            context={
                "spans_with_a_parent": row["named"],
                "without": row["rootless"],
                "usual_caller": row["usual_caller"],
                "second_root_of_its_trace": row["second"],
                "client_address": row["client_address"],
            },
        )


def fix(occurrence: Occurrence) -> str:
    """Say where to look for the caller."""
    address = occurrence.context["client_address"]
    where = f"whoever calls from {address}" if address else f"who else calls {occurrence.service}, by its access log"
    usual = occurrence.context["usual_caller"]
    mostly = f" Mostly that is {usual}: see whether it injects its context on every path." if usual else ""
    return f"Find {where}: it sends no context, or what lies between drops the headers `traceparent` and `tracestate`.{mostly}"


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    spans = "span" if count == 1 else "spans"
    named = occurrence.context["spans_with_a_parent"]
    return f"{count} {spans} {occurrence.signal_name!r} of {occurrence.service} began a trace of their own, where {named} others name a parent."
