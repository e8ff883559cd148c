"""A service is called and answers, but no span of it ever comes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import NOW, look, new_passes
from spans import many, spans

from traced.graph.addresses import outside, own_host
from traced.model.occurrence import Level

DETECTOR = "silent_service"

CALLED = many(31, "web SERVER a", "web CLIENT b<a addr=pay status=200")
FIRST = {"m0:b": {"service": "pay", "peer": "web", "reporter": "web", "cause": "", "level": Level.IMPROVEMENT, "calls_answered_without_a_span": 31}}
TALKED = many(40, "web CLIENT b addr=cart status=200", "cart SERVER c<b")
"""Calls that cart answers with a span, before it falls silent."""


def later(number: int, *lines: str) -> list[str]:
    """Repeat calls an hour later, in traces of their own."""
    return [line.replace(" b", f" later{n}:b") + " +1h" for n in range(number) for line in lines]


def every(number: int, facts: dict[str, object], trace: str = "m") -> dict[str, dict[str, object]]:
    """Expect the same of the call of each trace."""
    return {f"{trace}{n}:b": facts for n in range(number)}


def apart(seconds: int, number: int = 400, lost: int = 10) -> list[str]:
    """Give calls to a service whose clock is so many seconds off, twenty a second; one in `lost` has no answer."""
    calls = [f"web CLIENT c{n}:b addr=cart status=200 +{60_000 + 50 * n}ms ~20ms" for n in range(number)]
    return calls + [f"cart SERVER c{n}:c<b +{60_001 + 50 * n + 1000 * seconds}ms ~18ms" for n in range(number) if n % lost]


FIRES: Fires = {
    "a service that nobody ever saw a span of": (CALLED, every(31, FIRST["m0:b"])),
    "a name given by hand": (many(30, "web CLIENT b peer=pay status=200"), every(30, {"service": "pay", "peer": "web"})),
    "a Kubernetes name: its first label is the service": (
        many(30, "web CLIENT b addr=pay.shop.svc.cluster.local status=200"),
        every(30, {"service": "pay", "called_as": "pay.shop.svc.cluster.local"}),
    ),
    "an address within the cluster": (many(30, "web CLIENT b addr=10.1.2.3 status=200"), every(30, {"service": "10.1.2.3"})),
    "behind its own sidecar, which answers to its name": (
        many(30, "web CLIENT a addr=pay status=200", "pay-proxy SERVER b<a name=in", "pay-proxy CLIENT c<b addr=pay status=200"),
        {f"m{n}:c": {"service": "pay", "peer": "pay-proxy"} for n in range(30)},
    ),
    "by a driver that serves nobody": (many(30, "driver CLIENT b addr=pay status=200"), every(30, {"service": "pay", "peer": "driver"})),
    "within what a service that serves requests does of its own": (
        [*many(30, "report INTERNAL a", "report CLIENT b<a addr=pay status=200"), *many(3, "report SERVER s")],
        every(30, {"service": "pay", "peer": "report"}),
    ),
    "named by nothing but its RPC": (many(30, "web CLIENT b name=/geo.Geo/Nearby"), every(30, {"service": "geo", "called_as": ""})),
    "errors of its own are answers too": (many(30, "web CLIENT b addr=pay status=500 err"), every(30, {"service": "pay"})),
    "it answered with spans, and an hour later none of 40 calls": (
        [*TALKED, *later(40, "web CLIENT b addr=cart status=200")],
        every(40, {"service": "cart", "peer": "web", "cause": "went_silent", "level": Level.VIOLATION}, "later"),
    ),
    "in one of two namespaces it fell silent, in the other it reports": (
        [
            *(f"prod/{line}" for line in TALKED),
            *(f"prod/{line}" for line in later(40, "web CLIENT b addr=cart status=200")),
            "staging/web CLIENT other:b addr=cart +3h",
            "staging/cart SERVER other:c<b",
        ],
        every(40, {"service": "cart", "peer": "web", "cause": "went_silent"}, "later"),
    ),
    "it fell silent, and its clock was 30 s ahead": (
        [*apart(30, 40, 100)[1:], *(f"web CLIENT later{n}:b addr=cart status=200 +{63_000 + 50 * n}ms ~20ms" for n in range(40))],
        every(40, {"service": "cart", "cause": "went_silent"}, "later"),
    ),
}

STAYS_SILENT: Silent = {
    "its clock is 30 s behind, and one in ten of its spans is lost": apart(-30),
    "its clock is 30 s ahead, and one in ten of its spans is lost": apart(30),
    "a service of that name reports in another namespace: whose is called is not said": [
        *many(30, "prod/web CLIENT b addr=cart status=200", "prod/cart SERVER c<b"),
        *(f"staging/web CLIENT s{n}:b addr=cart status=200" for n in range(40)),
    ],
    "29 calls are too few": many(29, "web CLIENT b addr=pay status=200"),
    "every call is answered with a span": TALKED,
    "one of 41 calls is": [*many(40, "web CLIENT b addr=pay"), "web CLIENT b addr=pay", "pay SERVER c<b"],
    "a database": many(40, "web CLIENT b addr=pg db=postgresql"),
    "a broker": many(40, "web PRODUCER b addr=kafka msg=kafka dest=orders"),
    "a client that polls a broker": many(40, "web CLIENT b addr=kafka msg=kafka op=receive"),
    "a public name": many(40, "web CLIENT b addr=api.stripe.com status=200"),
    "a public name behind an alias": many(40, "web CLIENT b peer=payments addr=api.stripe.com status=200"),
    "a public address": many(40, "web CLIENT b addr=8.8.8.8 status=200"),
    "heart-beats of a service that serves requests": [
        *many(40, "account CLIENT b addr=registry.internal name=PUT status=200"),
        *many(3, "account SERVER a name=/accounts"),
    ],
    "the caller's own host": many(40, "web CLIENT b addr=localhost status=200"),
    "a cloud's metadata service": many(40, "web CLIENT b addr=169.254.169.254 status=200"),
    "calls that only fail to reach anybody": many(40, "web CLIENT b addr=pay err error=ECONNREFUSED"),
    "answers that a proxy gave": many(40, "web CLIENT b addr=pay status=503 err"),
    "calls that name nobody": many(40, "web CLIENT b status=200"),
    "calls named by a path": many(40, "web CLIENT b name=/users/list"),
    "calls named by verb and path": many(40, 'web CLIENT b name="GET /users/list" status=200'),
    "an RPC of a service that reports": [*many(40, "web CLIENT b name=geo.Geo/Nearby"), "geo SERVER c"],
    "the service reports, though not these calls: a route without instrumentation": [*many(40, "web CLIENT b addr=pay status=200"), "pay SERVER c"],
    "the answers lie in traces of their own": [
        line for n in range(40) for line in (f"web CLIENT a{n}:b addr=pay +{n}s ~9ms", f"pay SERVER b{n}:c +{n}002ms ~5ms")
    ],
    "it answered with spans, and of 29 later calls none": [*TALKED, *later(29, "web CLIENT b addr=cart status=200")],
    "it answered with spans, and of 40 later calls the last one too": [
        *TALKED,
        *later(40, "web CLIENT b addr=cart status=200"),
        "web CLIENT last:b addr=cart +2h",
        "cart SERVER last:c<b",
    ],
    "it answered with spans, and later refuses": [*TALKED, *later(40, "web CLIENT b addr=cart err error=ECONNREFUSED")],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_evidence_names_the_service_of_the_span_and_the_finding_the_silent_one() -> None:
    one = look(CALLED).found(DETECTOR)["m0:b"]
    assert (one.service, one.peer) == ("pay", "web")
    line = one.as_evidence()
    assert (line["service"], line["peer"], line["missing_span_id"], line["matched"]) == ("web", "pay", None, None)


def test_all_calls_of_one_caller_are_one_finding() -> None:
    assert len({one.fingerprint for one in look([*CALLED, *many(30, "cart CLIENT d addr=pay status=200")]).found(DETECTOR).values()}) == 2


def test_who_begins_to_report_is_silent_no_more() -> None:
    passes = new_passes()
    assert {o.id for o in passes.run(spans(*CALLED).settled(), NOW).occurrences} == {DETECTOR}
    passes.run(spans("web CLIENT new:b addr=pay status=200", "pay SERVER new:c<b").settled(), NOW + 60)
    more = passes.run(spans(*(f"web CLIENT u{n}:b addr=pay status=200" for n in range(40))).settled(), NOW + 120)
    assert DETECTOR not in {o.id for o in more.occurrences}


def test_a_clock_that_was_set_right_delays_nothing_after_two_hours() -> None:
    passes = new_passes()
    passes.run(spans(*apart(-30, 40, 100)).settled(), NOW)
    later = [f"web CLIENT later{n}:b addr=cart status=200 +{63_000 + 50 * n}ms ~20ms" for n in range(40)]
    for hour, told in ((1.1, False), (2.2, True)):
        passes.run(spans(*apart(0, 40, 100)).settled(), NOW + 3600 * hour)
        outcome = passes.run(spans(*later).settled(), NOW + 3600 * hour + 60)
        assert (DETECTOR in {o.id for o in outcome.occurrences}) is told, hour


@pytest.mark.parametrize("address", ["api.stripe.com", "8.8.8.8", "2606:4700::1111", "shop.example.org.", "cart.shop"])
def test_what_is_public(address: str) -> None:
    assert outside(address)


@pytest.mark.parametrize(
    "address", ["cart", "", "10.0.0.1", "192.168.3.4", "fd00::1", "127.0.0.1", "cart.shop.svc", "cart.svc.cluster.local", "db.internal", "a.b.svc.x"]
)
def test_what_is_the_systems_own(address: str) -> None:
    assert not outside(address)


@pytest.mark.parametrize(("address", "own"), [("localhost", True), ("::1", True), ("127.9.9.9", True), ("0.0.0.0", True), ("cart", False), ("10.0.0.1", False)])  # noqa: S104 - an address to judge
def test_what_is_the_callers_own_host(address: str, own: bool) -> None:  # noqa: FBT001 - a case's fact
    assert own_host(address) is own
