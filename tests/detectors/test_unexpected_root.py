"""A request or a message began a trace of its own though it should have had a caller, and none can be named."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import NOW, look, new_passes
from spans import many, spans

from traced.model.occurrence import Level

DETECTOR = "unexpected_root"

CALLED = many(100, "web SERVER a", "web CLIENT b<a addr=cart", "cart SERVER c<b name=fetch")
ALONE = "cart SERVER x name=fetch"
ONE = {"x": {"service": "cart", "peer": "", "level": Level.VIOLATION, "spans_with_a_parent": 100, "without": 1, "usual_caller": "web"}}

FIRES: Fires = {
    "one of 101 requests has no parent": ([*CALLED, ALONE], ONE),
    "the others' parents are absent, but named": (
        [*many(100, "cart SERVER c<z name=fetch remote"), ALONE],
        {"x": {"spans_with_a_parent": 100, "usual_caller": ""}},
    ),
    "a message without a context, among many with one": (
        [
            *many(100, "shop PRODUCER p msg=kafka dest=orders", "mail CONSUMER c<p msg=kafka dest=orders name=take"),
            "mail CONSUMER x msg=kafka dest=orders name=take",
        ],
        {"x": {"service": "mail"}},
    ),
    "a second root in a trace, of an operation that mostly has a parent": (
        [
            *many(30, "web CLIENT b addr=cart", "cart SERVER c<b name=fetch"),
            *many(10, "cart SERVER e name=fetch"),
            "web SERVER a",
            "cart SERVER x name=fetch +5s",
        ],
        {"x": {"second_root_of_its_trace": True, "spans_with_a_parent": 30, "without": 11}},
    ),
    "told by its route, where the name is only a verb": (
        [*many(100, "web CLIENT b addr=cart", "cart SERVER c<b name=GET route=/cart/{id}"), "cart SERVER x name=GET url.path=/cart/17"],
        {"x": {"spans_with_a_parent": 100, "without": 1}},
    ),
    "from an address within the cluster": ([*CALLED, f"{ALONE} client.address=10.0.0.9"], {"x": {"client_address": "10.0.0.9"}}),
}

VERBS = many(100, "web SERVER a", "web CLIENT b<a addr=cart", "cart SERVER c<b name=GET route=/cart/{id}")
"""Calls of an operation whose name is only a verb."""

STAYS_SILENT: Silent = {
    "an entry point": many(100, "web SERVER a"),
    "every request has a parent": CALLED,
    "20 requests with a parent are too few for one without": [*many(20, "web CLIENT b addr=cart", "cart SERVER c<b name=fetch"), ALONE],
    "one in ten has none: an operation that others call too": [*CALLED, *many(10, "cart SERVER e name=fetch")],
    "another operation of a service that is always called": [*CALLED, "cart SERVER x name=admin"],
    "a consumer with a link": [
        *many(100, "shop PRODUCER p msg=kafka dest=orders", "mail CONSUMER c<p msg=kafka dest=orders name=take"),
        "mail CONSUMER x msg=kafka dest=orders name=take ->gone:y",
    ],
    "a health check": [*many(100, "web CLIENT b addr=cart", "cart SERVER c<b route=/healthz name=fetch"), "cart SERVER x route=/healthz name=fetch"],
    "a health check over gRPC": [
        *many(100, "web CLIENT b addr=cart", "cart SERVER c<b name=grpc.health.v1.Health/Check"),
        "cart SERVER x name=grpc.health.v1.Health/Check",
    ],
    "a scraper": [*many(100, "web CLIENT b addr=cart", "cart SERVER c<b url.path=/metrics name=fetch"), "cart SERVER x url.path=/metrics name=fetch"],
    "a probe of Kubernetes": [*CALLED, f"{ALONE} user_agent.original=kube-probe/1.31"],
    **{
        f"a health check at {path}": [*VERBS, f"cart SERVER x name=GET url.path={path}"]
        for path in ("/healthcheck", "/-/healthy", "/liveness", "/api/readiness", "/health_check", "/readyz")
    },
    "a health check that is asked for by others too": [
        *many(100, "web CLIENT b addr=cart", "cart SERVER c<b name=GET url.path=/-/healthy"),
        "cart SERVER x name=GET url.path=/-/healthy",
    ],
    "another route under the same verb": [*VERBS, "cart SERVER x name=GET url.path=/admin"],
    "names that are only a verb, of routes that nobody knows": [*many(100, "web CLIENT b addr=cart", "cart SERVER c<b name=GET"), "cart SERVER x name=GET"],
    "an operation of the same name in another namespace, where people call it": [*(f"prod/{line}" for line in CALLED), f"staging/{ALONE}"],
    "from the own host": [*CALLED, f"{ALONE} client.address=127.0.0.1"],
    **{
        f"by {agent}": [*CALLED, f"{ALONE} user_agent.original={agent}"]
        for agent in ("curl/8.5.0", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Prometheus/2.51.0", "Wget/1.21")
    },
    "from a public address": [*CALLED, f"{ALONE} client.address=93.184.216.34"],
    "its caller is found in another trace": [*CALLED, "web CLIENT other:b addr=cart +1ms ~20ms", "cart SERVER x name=fetch +2ms ~18ms"],
    "a span of its own process above": [*CALLED, "cart INTERNAL i", "cart SERVER x<i name=fetch"],
    "an INTERNAL root": [*CALLED, "cart INTERNAL x name=fetch"],
    "a second root of an operation that mostly has none": [*many(60, "cart SERVER e name=fetch"), "web SERVER a", "cart SERVER x name=fetch +5s"],
    "it names a parent that is absent: an orphan": [*CALLED, "cart SERVER x<gone name=fetch"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_a_span_is_either_a_root_without_a_caller_or_a_broken_call() -> None:
    cut = [line for n in range(4) for line in (f"web CLIENT a{n}:b addr=cart +{n}s ~20ms", f"cart SERVER b{n}:c name=fetch +{n}001ms ~18ms")]
    seen = look([*many(100, "web CLIENT b addr=cart ~20ms", "cart SERVER c<b name=fetch +1ms ~18ms"), *cut, "cart SERVER x name=fetch +100s"])
    assert (set(seen.found("broken_propagation")), set(seen.found(DETECTOR))) == ({f"b{n}:c" for n in range(4)}, {"x"})


def test_a_caller_that_comes_late_withdraws_the_claim() -> None:
    passes = new_passes()
    shared = [line.replace(" b<a addr=cart", " b<a addr=cart +1ms ~20ms").replace(" c<b name=fetch", " c<b name=fetch +2ms ~18ms") for line in CALLED]
    first = passes.run(spans(*shared, "cart SERVER late:x name=fetch +60s ~18ms").settled(), NOW, 10**9)
    [claim] = [o for o in first.occurrences if o.id == DETECTOR]
    second = passes.run(spans("web SERVER later:a +59s ~3s", "web CLIENT later:b<a addr=cart +59999ms ~20ms").settled(), NOW + 60, 2 * 10**9)
    assert {o.id for o in second.occurrences} == {"broken_propagation"}
    assert second.withdrawn == {claim.key}
