"""A call was made to a service that reports, and its SERVER span never came."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import look
from spans import many

from traced.graph.shares import least_share
from traced.model.occurrence import Level

DETECTOR = "missing_server_span"

ANSWERED = many(30, "web SERVER a", "web CLIENT b<a addr=cart", "cart SERVER c<b")
ONE = {"b": {"service": "web", "peer": "cart", "level": Level.VIOLATION, "cause": "callee_loss", "calls": 31, "answered": 30}}

BOTH = [*many(400, "prod/web CLIENT b addr=cart", "prod/cart SERVER c<b"), *(f"staging/web CLIENT s{n}:b addr=cart" for n in range(40))]
"""Two namespaces with services of the same names; in one of them the callee has no SDK."""

FIRES: Fires = {
    "one of 31 calls alike has no answer": ([*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart"], ONE),
    "also where nothing but the span's name tells the callee": (
        [*many(30, "web CLIENT b", "cart SERVER c<b"), "web CLIENT b"],
        {"b": {"peer": "cart", "calls": 31}},
    ),
    "the children of the lost span are here, as orphans": ([*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart", "cart CLIENT d<x"], ONE),
    "the call got the same error as others that were answered": (
        [*many(30, "web CLIENT b addr=cart status=500 err", "cart SERVER c<b err"), "web CLIENT b addr=cart status=500 err"],
        {"b": {"level": Level.VIOLATION, "outcome": "error 500 "}},
    ),
    "it failed without any response, as few answered calls do: information only": (
        [*many(30, "web CLIENT b addr=cart err error=timeout", "cart SERVER c<b"), "web CLIENT b addr=cart err error=timeout"],
        {"b": {"level": Level.INFORMATION, "cause": "not_reached", "peer": "cart"}},
    ),
    "a gRPC client that says unavailable may say it of its own": (
        [*many(30, "web CLIENT b addr=cart err rpc.grpc.status_code=14", "cart SERVER c<b"), "web CLIENT b addr=cart err rpc.grpc.status_code=14"],
        {"b": {"level": Level.INFORMATION, "cause": "not_reached"}},
    ),
    "calls through spans of a mesh": (
        [*many(30, "web CLIENT b addr=cart", "mesh INTERNAL m<b", "cart SERVER c<m"), "web CLIENT b addr=cart", "mesh INTERNAL m<b"],
        {"b": {"peer": "cart"}},
    ),
    "the receiving half of a shared id is lost": (
        [*many(30, "web CLIENT b addr=cart", "cart SERVER b"), "web CLIENT b addr=cart"],
        {"b": {"peer": "cart", "calls": 31}},
    ),
    "the inner of two nested CLIENTs": (
        [*many(30, "web CLIENT a name=sdk", "web CLIENT b<a addr=cart", "cart SERVER c<b"), "web CLIENT a name=sdk", "web CLIENT b<a addr=cart"],
        {"b": {"peer": "cart"}},
    ),
    "the SERVER of the trace began long before the call and is no answer": (
        [*many(30, "cart SERVER a", "cart CLIENT b<a", "cart SERVER c<b +3ms ~1ms"), "cart SERVER a", "cart CLIENT b<a +3s ~1ms"],
        {"b": {"peer": "cart"}},
    ),
    "the callee does not sample this trace, by the threshold of its spans: information": (
        [
            *many(30, "web CLIENT b addr=cart state=ot=th:0", "cart SERVER c<b state=ot=th:8;rv:f0000000000000"),
            "web CLIENT b addr=cart state=ot=th:0;rv:10000000000000",
        ],
        {"b": {"level": Level.INFORMATION, "cause": "sampled_out", "known_by": "threshold"}},
    ),
    "the callee samples this trace": (
        [
            *many(30, "web CLIENT b addr=cart state=ot=th:0", "cart SERVER c<b state=ot=th:8;rv:f0000000000000"),
            "web CLIENT b addr=cart state=ot=th:0;rv:90000000000000",
        ],
        {"b": {"level": Level.VIOLATION, "cause": "callee_loss"}},
    ),
    "one in eight calls has no answer: perhaps an instance without instrumentation": (
        [*many(140, "web CLIENT b addr=cart", "cart SERVER c<b"), *[f"web CLIENT c{n}:b addr=cart" for n in range(20)]],
        {f"c{n}:b": {"cause": "unknown", "answered": 140, "calls": 160} for n in range(20)},
    ),
    "in one of two namespaces with services of the same names": (
        [*BOTH, "prod/web CLIENT b addr=cart"],
        {"b": {"service": "web", "peer": "cart", "calls": 401, "answered": 400}},
    ),
    "three of 103": (
        [*many(100, "web CLIENT b addr=cart", "cart SERVER c<b"), "web CLIENT one:b addr=cart", "web CLIENT two:b addr=cart", "web CLIENT three:b addr=cart"],
        {"one:b": {"calls": 103}, "two:b": {}, "three:b": {}},
    ),
}

STAYS_SILENT: Silent = {
    "the like of it is answered in another namespace only": BOTH,
    "every call is answered": ANSWERED,
    "ten calls alike are too few to know": [*many(10, "web CLIENT b addr=cart", "cart SERVER c<b"), "web CLIENT b addr=cart"],
    "a third of the calls is answered by a cache": [
        *many(20, "web CLIENT b addr=cart", "cart SERVER c<b"),
        *[f"web CLIENT c{n}:b addr=cart" for n in range(10)],
    ],
    "a callee that never sends a span": many(30, "web SERVER a", "web CLIENT b<a addr=payments.example.com"),
    "a callee that never sends a span, beside one that does": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=payments.example.com"],
    "a database": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart db=postgresql"],
    "a database without any attribute": many(30, "cart SERVER a", "cart CLIENT b<a name=find"),
    "a bucket": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=s3.amazonaws.com rpc.system=aws-api"],
    "a client that receives messages": [*ANSWERED, "web CLIENT b addr=cart msg=kafka op=receive"],
    "a client that settles messages": [*ANSWERED, "web CLIENT b addr=cart msg=servicebus op=settle"],
    "a producer without a consumer": [*ANSWERED, "web PRODUCER b addr=cart"],
    "the outer of nested CLIENTs": many(30, "web CLIENT a addr=cart", "web CLIENT b<a addr=cart", "cart SERVER c<b"),
    "a proxy's 503, where answered calls also got 503": [
        *many(30, "web CLIENT b addr=cart status=503 err", "cart SERVER c<b err"),
        "web CLIENT b addr=cart status=503 err",
    ],
    "a refused call to a service that answers the others": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart err error=ECONNREFUSED"],
    "a call that timed out, unlike the answered ones": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart err error=timeout"],
    "a status that no answered call had": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart status=429 err"],
    "the answer is here under a wrong parent id": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart", "cart SERVER c<x +3ms ~10ms"],
    "the answer is here as a second root of the trace": [*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart", "cart SERVER c +3ms ~10ms"],
    "INTERNAL spans between CLIENT and SERVER": [*ANSWERED, "web CLIENT b addr=cart", "web INTERNAL i<b", "cart INTERNAL j<i", "cart SERVER c<j"],
    "a SERVER instrumented twice": [*ANSWERED, "web CLIENT b addr=cart", "cart SERVER c<b", "cart SERVER d<c"],
    "one CLIENT that two SERVERs answer": [*ANSWERED, "web CLIENT b addr=cart", "cart SERVER c<b", "cart SERVER d<b"],
    "shared ids": [*ANSWERED, "web CLIENT b addr=cart", "cart SERVER b"],
    "a SERVER 3 ms before its CLIENT": [*ANSWERED, "web CLIENT b addr=cart +5ms", "cart SERVER c<b +2ms"],
    "a SERVER that outlives its CLIENT": [*ANSWERED, "web CLIENT b addr=cart ~5ms", "cart SERVER c<b ~5s"],
    "an orphan of the callee without any call": [*ANSWERED, "cart SERVER c<x"],
    "a CLIENT of another service straight below: the call was answered": [*ANSWERED, "web CLIENT b addr=cart", "cart CLIENT d<b db=redis"],
    "a health probe": many(30, "probe CLIENT a addr=cart name=probe"),
    "a browser whose calls other services answer": many(30, "shop CLIENT a sdk=webjs addr=cart", "cart SERVER b<a"),
    "a span of no kind": [*ANSWERED, "web UNSPECIFIED b peer=cart"],
    "calls that were resent": [*ANSWERED, *ANSWERED],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_a_trace_of_which_spans_were_left_out_is_said_to_lack_none() -> None:
    big = ["web SERVER a", "web CLIENT b<a addr=cart +1ms", *[f"web INTERNAL i{n}<a +2ms" for n in range(20)], "cart SERVER c<b +1s"]
    assert set(look([*ANSWERED, *big[:-1]]).found(DETECTOR)) == {"b"}
    assert look([*ANSWERED, *big], analysis={"max_spans_per_trace": 15}).found(DETECTOR) == {}


@pytest.mark.parametrize(("answered", "calls", "at_least"), [(0, 0, 0.0), (0, 30, 0.0), (20, 20, 0.88), (30, 31, 0.86), (95, 100, 0.9), (1000, 1000, 0.997)])
def test_the_bound_is_below_the_share_and_rises_with_the_number_of_calls(answered: int, calls: int, at_least: float) -> None:
    bound = least_share(answered, calls)
    assert at_least - 0.005 <= bound <= (answered / calls if calls else 0.0) + 1e-12


def test_confidence_grows_with_the_bound_and_the_evidence_names_the_numbers() -> None:
    one = look([*ANSWERED, "web SERVER a", "web CLIENT b<a addr=cart"]).found(DETECTOR)["b"]
    bound = least_share(30, 31)
    assert one.confidence == pytest.approx(1 - (1 - bound) / 4, abs=1e-4)
    assert one.context == {"calls": 31, "answered": 30, "answered_share_at_least": pytest.approx(bound, abs=1e-4), "outcome": "ok  "}
