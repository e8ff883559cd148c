"""A call was made and answered, but its context did not travel."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from cases import Fires, Silent, check_silent, fires, stays_silent
from looking import Seen, look
from spans import many, parse, span_id, trace_id

from traced.detectors.broken_propagation import FORMAT_MISMATCH, NOT_EXTRACTED, NOT_INJECTED, STRIPPED_BETWEEN, UNKNOWN, Contexts, cause, fix, sentence

DETECTOR = "broken_propagation"


def spread(lines: Sequence[str], every_seconds: float = 3.0) -> list[str]:
    """Give each of the traces a time of its own, in the order in which they come; a line that says a start keeps it."""
    traces: dict[str, int] = {}
    placed = []
    for line in lines:
        trace = parse(line).trace.split(".")[0]
        at = traces.setdefault(trace, len(traces)) * every_seconds
        words = line.split(" ")
        offset = next((float(w[1:-2]) for w in words if w.startswith("+") and w.endswith("ms")), 0.0)
        placed.append(" ".join([*(w for w in words if not w.startswith("+")), f"+{at * 1000 + offset:.3f}ms"]))
    return placed


INTACT = many(30, "web SERVER a", "web CLIENT b<a addr=cart +1ms ~90ms", "cart SERVER c<b +2ms ~88ms")
BROKEN = ["web SERVER n:a", "web CLIENT n:b<a addr=cart +1ms ~90ms", "cart SERVER n.2:c +2.1ms ~88ms"]
CALL = {"n.2:c": ("n:b", "web")}


def _matched(seen: Seen) -> dict[str, tuple[str, str]]:
    names = {(*trace_id(line.trace), span_id(line.span)): f"{line.trace}:{line.span}" for line in seen.spans.lines}
    return {place: (names[o.matched], o.peer) for place, o in seen.found(DETECTOR).items() if o.matched}


REQUESTS = [
    line
    for n in range(40)
    for line in (
        f"gate SERVER t{n}:g request=r{n} +1ms ~90ms",
        f"web SERVER t{n}:w<g request=r{n} +2ms ~80ms",
        # a relative, called before cart and mostly still at work when cart is
        f"user SERVER t{n}:u<w request=r{n} +{3 + n % 5 / 10}ms ~{70 if n % 5 else 1}ms",
        f"cart SERVER t{n}.2:c request=r{n} +{5 + n % 7 / 10}ms ~60ms",
    )
]
"""Services without CLIENT spans; cart begins traces of its own."""


FIRES: Fires = {
    "one call of 31 whose receiver began a trace of its own": (spread([*INTACT, *BROKEN]), CALL),
    "the receiver is a second root in the trace of its caller": (
        spread([*INTACT, "web SERVER n:a", "web CLIENT n:b<a addr=cart +1ms ~90ms", "cart SERVER n:c +2.1ms ~88ms"]),
        {"n:c": ("n:b", "web")},
    ),
    "two broken calls, each with its own caller": (
        spread([*INTACT, *BROKEN, "web SERVER o:a", "web CLIENT o:b<a addr=cart +1ms ~90ms", "cart SERVER o.2:c +2ms ~88ms"]),
        {**CALL, "o.2:c": ("o:b", "web")},
    ),
    "the one of two callers at the time whose delays and route fit": (
        spread(
            [
                *INTACT,
                "web CLIENT n:b addr=cart url.path=/items/7 +1ms ~90ms",
                "web CLIENT n.9:b addr=cart url.path=/orders +1.2ms ~90ms",
                "cart SERVER n.2:c route=/items/{id} +2.1ms ~88ms",
            ],
        ),
        {"n.2:c": ("n:b", "web")},
    ),
    "a service that makes calls without CLIENT spans": (
        spread([*many(30, "web SERVER a ~90ms", "cart SERVER c<a +2ms ~80ms"), "web SERVER n:a ~90ms", "cart SERVER n.2:c +2.1ms ~80ms"]),
        {"n.2:c": ("n:a", "web")},
    ),
    "a message, by its id": (
        spread(
            [
                *many(9, "shop PRODUCER p msg=kafka dest=orders +0ms ~1ms", "billing CONSUMER k<p msg=kafka dest=orders +20ms ~5ms"),
                "shop PRODUCER n:p msg=kafka dest=orders messaging.message.id=m7 +0ms ~1ms",
                "billing CONSUMER n.2:k msg=kafka dest=orders messaging.message.id=m7 +950ms ~5ms",
            ],
        ),
        {"n.2:k": ("n:p", "shop")},
    ),
    "clocks that differ by two seconds on this edge": (
        spread(
            [
                *many(30, "web CLIENT b addr=cart +3000ms ~90ms", "cart SERVER c<b +1001ms ~88ms"),
                "web CLIENT n:b addr=cart +3000ms ~90ms",
                "cart SERVER n.2:c +1001.1ms ~88ms",
            ],
        ),
        {"n.2:c": ("n:b", "web")},
    ),
    "none of forty calls is intact, nobody names anybody, but both sides carry the id of the request": (
        spread(REQUESTS, 1.7),
        {f"t{n}.2:c": (f"t{n}:w", "web") for n in range(40)},
    ),
    "the same, where the caller has a CLIENT that does not say whom it called, and a proxy wrote the path anew": (
        spread(
            [
                w
                for n in range(40)
                for w in (
                    f"web SERVER t{n}:w request=r{n} +1ms ~95ms",
                    f"web CLIENT t{n}:b<w request=r{n} url.path=/shop/cart +2ms ~90ms",
                    f"cart SERVER t{n}.2:c http.request.header.x-request-id=r{n} url.path=/items +{3 + n % 7 / 10}ms ~80ms",
                )
            ],
            1.7,
        ),
        {f"t{n}.2:c": (f"t{n}:b", "web") for n in range(40)},
    ),
    "none of forty calls is intact, and their delays are alike": (
        spread([w for n in range(40) for w in (f"web CLIENT t{n}:b addr=cart +1ms ~90ms", f"cart SERVER t{n}.2:c +{2 + n % 7 / 10}ms ~85ms")], 1.7),
        {f"t{n}.2:c": (f"t{n}:b", "web") for n in range(40)},
    ),
}

STAYS_SILENT: Silent = {
    "one request id of all, as a session has it": spread(
        [line.replace(f"request=r{n}", "request=r") for n in range(40) for line in REQUESTS[4 * n : 4 * n + 4]], 0.02
    ),
    "both sides carry the request's id, but the caller says that it called another": spread(
        [
            w
            for n in range(40)
            for w in (
                f"web CLIENT t{n}:b request=r{n} peer=proxy +1ms ~95ms",
                f"cart SERVER t{n}.2:c request=r{n} +{3 + n % 7 / 10}ms ~80ms",
            )
        ],
        1.7,
    ),
    "services that serve one request beside each other": spread(
        [
            w
            for n in range(40)
            for w in (
                f"user SERVER t{n}:u request=r{n} +{3 + n % 5}ms ~60ms",
                f"cart SERVER t{n}.2:c request=r{n} +{3 + n % 7}ms ~60ms",
            )
        ],
        1.7,
    ),
    "too few requests to tell who surrounds whom without exception": spread(REQUESTS[: 4 * 12], 1.7),
    "every call is intact": spread(INTACT),
    "an entry point that nobody here calls": spread([*INTACT, "web SERVER n:a", "web SERVER o:a"]),
    "a root while no call of its service is under way": spread([*INTACT, "web CLIENT n:b addr=cart +1ms ~90ms", "cart SERVER o:c +2ms ~80ms"]),
    "a root that began before the caller did": spread([*INTACT, "web CLIENT n:b addr=cart +50ms ~90ms", "cart SERVER n.2:c +2ms ~88ms"]),
    "a root that outlived the caller by far": spread([*INTACT, "web CLIENT n:b addr=cart +1ms ~90ms", "cart SERVER n.2:c +2ms ~900ms"]),
    "a call to another address": spread([*INTACT, "web CLIENT n:b addr=payments +1ms ~90ms", "cart SERVER n.2:c +2.1ms ~88ms"]),
    "another method": spread(
        [
            *INTACT,
            "web CLIENT n:b addr=cart http.request.method=GET +1ms ~90ms",
            "cart SERVER n.2:c http.request.method=POST +2.1ms ~88ms",
        ],
    ),
    "another path": spread([*INTACT, "web CLIENT n:b addr=cart url.path=/a +1ms ~90ms", "cart SERVER n.2:c route=/b/{id} +2.1ms ~88ms"]),
    "another status": spread([*INTACT, "web CLIENT n:b addr=cart status=200 +1ms ~90ms", "cart SERVER n.2:c status=404 +2.1ms ~88ms"]),
    "a consumer that begins a trace with a link": spread(
        [
            *many(9, "shop PRODUCER p msg=kafka dest=orders +0ms ~1ms", "billing CONSUMER k<p msg=kafka dest=orders +20ms ~5ms"),
            "shop PRODUCER n:p msg=kafka dest=orders +0ms ~1ms",
            "billing CONSUMER n.2:k msg=kafka dest=orders +20ms ~5ms ->n:p",
        ],
    ),
    "messages of which nothing but the time agrees": spread(
        [
            w
            for n in range(40)
            for w in (f"shop PRODUCER t{n}:p msg=kafka dest=orders +0ms ~1ms", f"billing CONSUMER t{n}.2:k msg=kafka dest=orders +20ms ~5ms")
        ],
    ),
    "a database": spread([*INTACT, "web CLIENT n:b addr=cart db=postgresql +1ms ~90ms", "cart SERVER n.2:c +2.1ms ~88ms"]),
    "ten entries at the time of one call that is answered": spread(
        [*INTACT, "web CLIENT n:b addr=cart +1ms ~90ms", "cart SERVER n:c<b +2ms ~88ms", *[f"cart SERVER n.{i}:c +{i}ms ~8ms" for i in range(10)]],
    ),
    "a SERVER whose caller sends no spans": spread([*INTACT, "cart SERVER n:c +1ms ~88ms"]),
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: dict[str, tuple[str, str]]) -> None:
    seen = look(lines, only=DETECTOR)
    assert _matched(seen) == expected
    for one in seen.found(DETECTOR).values():
        assert 0.5 <= one.confidence <= 1


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_two_callers_that_fit_alike_are_named_as_a_service_and_doubted_as_a_pair() -> None:
    lines = spread([*INTACT, *[f"web CLIENT n.{i}:b addr=cart +1ms ~90ms" for i in range(4)], "cart SERVER n:c +2ms ~88ms"])
    (one,) = look(lines, only=DETECTOR).found(DETECTOR).values()
    assert one.peer == "web"
    assert one.confidence < 0.5 < one.context["confidence_of_the_service"]
    assert one.context["rival_callers"] == 3


def test_two_services_that_fit_alike_name_none() -> None:
    lines = [*INTACT, *(line.replace("web", "app") for line in many(30, "web SERVER d", "web CLIENT e<d addr=cart +1ms ~90ms", "cart SERVER f<e +2ms ~88ms"))]
    lines = spread([*lines, "web CLIENT n:b addr=cart +1ms ~90ms", "app CLIENT n.1:e addr=cart +1ms ~90ms", "cart SERVER n.2:c +2ms ~88ms"])
    assert look(lines, only=DETECTOR).found(DETECTOR) == {}


def test_the_order_of_arrival_changes_nothing() -> None:
    lines, expected = FIRES["none of forty calls is intact, and their delays are alike"]
    for seed in range(3):
        shuffled = list(lines)
        random.Random(seed).shuffle(shuffled)
        assert _matched(look(shuffled, only=DETECTOR)) == expected


@pytest.mark.parametrize(
    ("arrived", "elsewhere", "others", "expected"),
    [
        (0, 0, 50, NOT_INJECTED),
        (0, 50, 0, NOT_EXTRACTED),
        (0, 50, 50, UNKNOWN),
        (0, 0, 0, UNKNOWN),
        (0, 0, 5, UNKNOWN),
        (300, 0, 50, UNKNOWN),
    ],
)
def test_the_side_that_works_with_nobody_is_at_fault_where_the_other_one_works_with_others(arrived: int, elsewhere: int, others: int, expected: str) -> None:
    assert cause(Contexts(arrived, elsewhere, others)) == expected


@pytest.mark.parametrize(
    ("arrived", "elsewhere", "others", "expected"),
    [(0, 50, 50, FORMAT_MISMATCH), (0, 19, 50, UNKNOWN), (3, 50, 50, UNKNOWN), (0, 0, 50, NOT_INJECTED), (0, 50, 0, NOT_EXTRACTED)],
)
def test_formats_differ_where_both_sides_work_with_others_and_only_one_makes_short_ids(arrived: int, elsewhere: int, others: int, expected: str) -> None:
    assert cause(Contexts(arrived, elsewhere, others), formats_differ=True) == expected


def test_its_sentence_names_both_sides_and_counts_and_its_fix_says_what_to_do_where() -> None:
    (one,) = look(spread([*INTACT, *BROKEN]), only=DETECTOR).found(DETECTOR).values()
    assert sentence(one, 1) == "web does not pass its context to cart: 1 of 31 calls."
    # a finding that is open for longer than habits are remembered says both numbers of one time
    assert sentence(one, 24) == "web does not pass its context to cart: 1 of 31 calls lately, 24 since it was first seen."
    assert "Compare OTEL_PROPAGATORS" in fix(one)


def test_a_caller_that_is_matched_is_not_said_to_lack_its_server() -> None:
    seen = look(spread([*INTACT, *BROKEN]))
    assert not seen.found("missing_server_span")
    assert set(seen.found(DETECTOR)) == set(CALL)


def _shop(n: int, version: str, *, broken: bool, instance: str = "1") -> list[str]:
    trace = f"s{n}"
    inner = f"cart SERVER {trace}.2:c" if broken else f"cart SERVER {trace}:c<b"
    return [f"web SERVER {trace}:a", f"web CLIENT {trace}:b<a addr=cart version={version} instance={instance} +1ms ~90ms", f"{inner} +{2 + n % 5 / 10}ms ~88ms"]


def test_the_version_of_the_caller_that_tells_broken_calls_from_intact_ones_is_named_and_is_at_fault() -> None:
    seen = look(spread([w for n in range(80) for w in _shop(n, "2.0" if n % 4 == 0 else "1.9", broken=n % 4 == 0, instance=str(n % 8))]))
    found = list(seen.found(DETECTOR).values())
    assert len(found) == 20
    facts = found[0].context
    assert (facts["separated_by"], facts["separating_value"]) == ("service.version of the caller", "2.0")
    assert (facts["broken_with_it"], facts["intact_with_it"], facts["broken_without_it"], facts["intact_without_it"]) == (20, 0, 0, 60)
    assert {o.cause for o in found} == {NOT_INJECTED}
    assert fix(found[0]).startswith("Look at web where its service.version is 2.0: 20 of 20 calls with it lose their context, 0 of 60 without it. ")


def test_where_nothing_tells_broken_calls_apart_nothing_is_named_and_the_cause_is_unknown() -> None:
    chance = random.Random(3)
    lines = [w for n in range(120) for w in _shop(n, chance.choice(["1", "2"]), broken=chance.random() < 0.3, instance=str(chance.randrange(6)))]
    found = list(look(spread(lines)).found(DETECTOR).values())
    assert found
    assert {(o.cause, "separated_by" in o.context) for o in found} == {(UNKNOWN, False)}


def test_a_proxy_through_which_others_are_reached_with_their_context_strips_it() -> None:
    lines = []
    for n in range(30):
        call = f"rpc.system.name=grpc name=shop.Cart/Get +{1 + n % 5 / 10}ms"
        lines += [f"web SERVER p{n}:a", f"web CLIENT p{n}:b<a addr=envoy {call} ~90ms", f"cart SERVER p{n}.2:c {call.replace('+1', '+2')} ~85ms"]
        lines += [f"web CLIENT u{n}:b addr=envoy name=shop.User/Get +1ms ~90ms", f"user SERVER u{n}:c<b name=shop.User/Get +2ms ~88ms"]
        lines += [f"gate CLIENT g{n}:b addr=cart {call} ~90ms", f"cart SERVER g{n}:c<b name=shop.Cart/Get +2ms ~88ms"]
    found = list(look(spread(lines), only=DETECTOR).found(DETECTOR).values())
    assert len(found) == 30
    assert {(o.peer, o.service, o.cause, o.context["called_through"]) for o in found} == {("web", "cart", STRIPPED_BETWEEN, "envoy")}
    assert fix(found[0]).startswith("Let the proxy at envoy keep the headers")


@pytest.mark.parametrize(
    ("seen", "formats_differ", "expected"),
    [
        pytest.param(Contexts(0, 30, 30), False, STRIPPED_BETWEEN, id="both work with others"),
        pytest.param(Contexts(0, 30, 30), True, FORMAT_MISMATCH, id="and their formats differ"),
        pytest.param(Contexts(3, 30, 30), False, UNKNOWN, id="some contexts pass"),
        pytest.param(Contexts(0, 30, 3), False, UNKNOWN, id="too few contexts of others to tell"),
    ],
)
def test_a_proxy_is_at_fault_only_where_no_context_passes_and_both_sides_work(seen: Contexts, formats_differ: bool, expected: str) -> None:  # noqa: FBT001
    assert cause(seen, formats_differ=formats_differ, proxied=True) == expected
