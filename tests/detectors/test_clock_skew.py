"""Two hosts' clocks provably differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from cases import Silent, check_silent, stays_silent
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import NOW, look, new_passes
from spans import many, spans

from traced.detectors.clock_skew import proven_skew, sentence
from traced.graph.clocks import SHOW_AGAIN_SECONDS, Clocks, Slice, Slices
from traced.model.occurrence import Level

DETECTOR = "clock_skew"


def calls(server: str, client: str = "+10ms ~20ms", count: int = 25) -> list[str]:
    """Give calls from host h1 to host h2, each in a trace of its own."""
    return many(count, f"web CLIENT a host=h1 {client}", f"cart SERVER b<a host=h2 {server}")


def spread(offsets: Sequence[float], every_seconds: float = 3, trace: str = "d") -> list[str]:
    """Give calls of 20 ms one after the other, each with the server's clock ahead by so many milliseconds."""
    starts = [round(1000 * every_seconds * n, 3) for n in range(len(offsets))]
    clients = [f"web CLIENT {trace}{n}:a host=h1 +{start}ms ~20ms" for n, start in enumerate(starts)]
    return clients + [f"cart SERVER {trace}{n}:b<a host=h2 +{round(starts[n] + 2 + offset, 3)}ms ~16ms" for n, offset in enumerate(offsets)]


DRIFTING = spread([500 + 0.06 * n for n in range(600)])
"""Half a second ahead, and 20 ppm too fast, over half an hour."""

FIRES: dict[str, tuple[Sequence[str], dict[str, Any]]] = {
    "the server 2 s ahead": (
        calls("+2012ms ~16ms"),
        {"level": Level.VIOLATION, "service": "cart", "peer": "web", "offset_at_least_ms": 1998.0, "offset_at_most_ms": 2002.0, "calls": 25},
    ),
    "the server 2 s behind": (
        calls("+12ms ~16ms", "+2010ms ~20ms"),
        {"level": Level.VIOLATION, "offset_at_least_ms": -2002.0, "offset_at_most_ms": -1998.0},
    ),
    "the server 300 ms ahead": (calls("+312ms ~16ms"), {"level": Level.IMPROVEMENT}),
    "30 ms, more than the calls take: the order of spans is wrong": (calls("+42ms ~16ms"), {"level": Level.IMPROVEMENT}),
    "30 ms between calls that take a second": (calls("+42ms ~999ms", "+10ms ~1s"), {"level": Level.INFORMATION}),
    "a few milliseconds": (calls("+15ms ~17ms"), {"level": Level.INFORMATION, "offset_at_least_ms": 2.0, "offset_at_most_ms": 5.0}),
    "exactly 20 calls": (calls("+2012ms ~16ms", count=20), {"calls": 20}),
    "calls that each prove little prove more together": (
        [*calls("+25ms ~1ms"), *calls("+13ms ~19ms", count=28)[50:]],
        {"offset_at_least_ms": 2.0, "offset_at_most_ms": 3.0, "calls": 28, "calls_that_exclude_zero_alone": 3},
    ),
    "a clock that drifts away by 20 ppm over half an hour": (
        DRIFTING,
        {"level": Level.IMPROVEMENT, "calls_in_all": 600},
    ),
    "one call of 600 that proves the opposite": (
        [*spread([500.0] * 600), "web CLIENT one:a host=h1 +10ms ~20ms", "cart SERVER one:b<a host=h2 +12ms ~16ms"],
        {"level": Level.IMPROVEMENT, "offset_at_least_ms": 498.0, "offset_at_most_ms": 502.0, "calls": 601, "calls_that_exclude_zero_alone": 600},
    ),
    "a clock that was set wrong a few minutes ago": (
        spread([0.0] * 400 + [2000.0] * 60),
        {"level": Level.VIOLATION, "offset_at_least_ms": 1998.0, "calls_in_all": 460},
    ),
    "shared ids": (many(25, "web CLIENT a host=h1 +10ms ~20ms", "cart SERVER a host=h2 +2012ms ~16ms"), {"level": Level.VIOLATION}),
    "resources without a host: the services stand for their clocks": (
        many(25, "web CLIENT a +10ms ~20ms", "cart SERVER b<a +2012ms ~16ms"),
        {"client_clock": "service web", "server_clock": "service cart"},
    ),
    "in one of two namespaces with services of the same names": (
        [
            *many(25, "prod/web CLIENT a +10ms ~20ms", "prod/cart SERVER b<a +2012ms ~16ms"),
            *(f"staging/{line}" for n in range(25) for line in (f"web CLIENT s{n}:a +10ms ~20ms", f"cart SERVER s{n}:b<a +12ms ~16ms")),
        ],
        {"client_clock": "service prod/web", "server_clock": "service prod/cart", "calls": 25},
    ),
    "INTERNAL spans between the halves": (
        many(25, "web CLIENT a host=h1 +10ms ~20ms", "web INTERNAL i<a host=h1", "cart SERVER b<i host=h2 +2012ms ~16ms"),
        {"level": Level.VIOLATION},
    ),
}

STAYS_SILENT: Silent = {
    "clocks that agree": calls("+12ms ~16ms"),
    "one server span that ended late, no host named": [
        *many(25, "web CLIENT a +10ms ~20ms", "cart SERVER b<a +13ms ~10ms"),
        "web CLIENT one:a +10ms ~20ms",
        "cart SERVER one:b<a +13500us ~18ms",
    ],
    "two calls of 25 that prove it: servers that ended their spans late": [*calls("+15ms ~10ms", count=23), *calls("+14ms ~18ms", count=25)[46:]],
    "three of 100": [*calls("+15ms ~10ms", count=97), *calls("+14ms ~18ms", count=100)[194:]],
    "19 calls are too few": calls("+2012ms ~16ms", count=19),
    "half a millisecond": calls("+12500us ~18ms"),
    "a server that seems to start first, within what its call leaves open": calls("+9500us ~20ms", "+10ms ~21ms"),
    "one clock for both": many(25, "web CLIENT a host=h1 +10ms ~20ms", "cart SERVER b<a host=h1 +2012ms ~16ms"),
    "one service that calls itself, no host named": many(25, "web CLIENT a +10ms ~20ms", "web SERVER b<a +2012ms ~16ms"),
    "calls that contradict each other: a clock that drifts, or several hosts under one name": [
        *calls("+2012ms ~16ms"),
        "web CLIENT one:a host=h1 +2010ms ~20ms",
        "cart SERVER one:b<a host=h2 +12ms ~16ms",
    ],
    "a clock that was set right a few minutes ago": spread([2000.0] * 400 + [0.0] * 60),
    "two hosts under one name, one of them half a second ahead": spread([0.0, 500.0] * 300),
    "three hosts under one name, in turn for a while": spread([0.0, 500.0, -500.0, 500.0] * 150, 0.5),
    "one call in ten that waits long and is answered late, where the others leave little open": [
        *calls("+10100us ~19800us", count=90),
        *(line for n in range(10) for line in (f"web CLIENT l{n}:a host=h1 +10ms ~20ms", f"cart SERVER l{n}:b<a host=h2 +25ms ~15ms")),
    ],
    "messages, hours later": many(25, "shop PRODUCER a host=h1 +10ms ~20ms", "billing CONSUMER b<a host=h2 +2h ~16ms"),
    "messages through a CLIENT": many(25, "shop CLIENT a host=h1 msg=sqs +10ms ~20ms", "billing CONSUMER b<a host=h2 +2h ~16ms"),
    "an RPC from a PRODUCER": many(25, "shop PRODUCER a host=h1 +10ms ~20ms", "billing SERVER b<a host=h2 +2012ms ~16ms"),
    "links": many(25, "shop PRODUCER a host=h1 +10ms ~20ms", "billing CONSUMER b host=h2 ->a +2h ~16ms"),
    "callers that timed out": many(25, "web CLIENT a host=h1 err +10ms ~20ms", "cart SERVER b<a host=h2 +2012ms ~16ms"),
    "servers that outlive their clients": calls("+2012ms ~25ms"),
    "retries under one CLIENT": many(25, "web CLIENT a host=h1 +10ms ~20ms", "cart SERVER b<a host=h2 +2s ~6ms", "cart SERVER c<a host=h2 +3s ~6ms"),
    "servers that end before they start": calls("+2012ms ~-16ms"),
    "clients that end before they start": calls("+2012ms ~16ms", "+10ms ~-20ms"),
    "a SERVER straight under a SERVER": many(25, "web SERVER a host=h1 +10ms ~20ms", "cart SERVER b<a host=h2 +2012ms ~16ms"),
    "3 ms between well kept clocks, within what the calls leave open": calls("+13ms ~15ms"),
    "orphans": many(25, "cart SERVER b<x host=h2 +2012ms ~16ms"),
    "the same 13 calls sent twice": calls("+2012ms ~16ms", count=13) * 2,
}


@pytest.mark.parametrize(("lines", "fields"), [pytest.param(*case, id=said) for said, case in FIRES.items()])
def test_fires(lines: Sequence[str], fields: dict[str, Any]) -> None:
    found = look(lines).found(DETECTOR)
    assert len(found) == 1, sorted(found)
    ((where, one),) = found.items()
    assert where.rpartition(":")[2] in {"a", "b"}
    for name, value in fields.items():
        assert (getattr(one, name) if hasattr(one, name) else one.context[name]) == value, name


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_a_pair_is_told_again_when_more_is_known_or_after_a_while_but_not_in_every_pass() -> None:
    passes = new_passes()

    def told(server: str, seconds: float) -> int:
        return len([o for o in passes.run(spans(*calls(server)).settled(), NOW + seconds).occurrences if o.id == DETECTOR])

    assert told("+2012ms ~16ms", 0) == 1
    assert told("+2012ms ~16ms", 10) == 0
    assert told("+2011ms ~16ms", 20) == 1
    assert told("+2012ms ~16ms", 30) == 0
    assert told("+2012ms ~16ms", 30 + SHOW_AGAIN_SECONDS) == 1


def test_bounds_of_several_passes_add_up_and_a_pass_without_the_pair_tells_nothing() -> None:
    passes = new_passes()
    half = spans(*calls("+2012ms ~16ms", count=12)).settled()
    assert [o.id for o in passes.run(half, NOW).occurrences if o.id == DETECTOR] == []
    (one,) = [o for o in passes.run(half, NOW + 2).occurrences if o.id == DETECTOR]
    assert one.context["calls"] == 24
    assert [o.id for o in passes.run(spans("web SERVER z").settled(), NOW + 4).occurrences if o.id == DETECTOR] == []


def test_of_a_drifting_clock_the_newest_calls_count_and_it_is_not_told_in_every_pass() -> None:
    (one,) = look(DRIFTING).found(DETECTOR).values()
    lower, upper = one.context["offset_at_least_ms"], one.context["offset_at_most_ms"]
    assert 532 <= lower < upper <= 536.5, "what was true half an hour ago is not said"
    assert 20 <= one.context["calls"] < 100
    passes, told = new_passes(), 0
    for at in range(0, 1200, 24):
        some = spans(*DRIFTING[at // 2 : at // 2 + 12], *DRIFTING[600 + at // 2 : 612 + at // 2])
        told += len([o for o in passes.run(some.settled(), NOW + 1.5 * at).occurrences if o.id == DETECTOR])
    assert 1 <= told <= 8


def test_what_is_known_of_clocks_survives_a_restart_and_is_bounded() -> None:
    passes = new_passes()
    passes.run(spans(*DRIFTING).settled(), NOW)
    again = Clocks()
    again.load(json.loads(json.dumps(passes.history.clocks.dump())))
    assert again.dump() == passes.history.clocks.dump()
    [[_, _, slices]] = again.dump()["windows"][1]
    assert len(slices) <= 24
    assert sum(one[2] for one in slices) == 600
    with pytest.raises(KeyError):
        again.load({**again.dump(), "facts": []})


@settings(deadline=None)
@given(st.lists(st.integers(0, 2000), min_size=1, max_size=300))
def test_slices_lose_no_call_and_no_bound_and_keep_the_newest_apart(numbers: list[int]) -> None:
    slices = Slices()
    for number in numbers:
        slices.add(number, Slice(1, 0, 1, [number], [number + 5]))
    ordered = slices.ordered()
    assert len(ordered) <= 30
    assert sum(one.pairs for one in ordered) == len(numbers)
    assert max(one.lowers[0] for one in ordered) == max(numbers)
    assert min(one.uppers[0] for one in ordered) == min(numbers) + 5
    assert ordered[-1].lowers[0] == max(numbers)
    assert ordered[-1].pairs == numbers.count(max(numbers))


def test_a_clock_that_was_set_right_is_forgotten_after_two_hours() -> None:
    passes = new_passes()
    wrong, right = spans(*calls("+2012ms ~16ms")).settled(), spans(*calls("+12ms ~16ms")).settled()
    assert {o.id for o in passes.run(wrong, NOW).occurrences} >= {DETECTOR}
    for hour in (1.1, 2.2):
        assert DETECTOR not in {o.id for o in passes.run(right, NOW + 3600 * hour).occurrences}


@pytest.mark.parametrize(
    ("lower", "upper", "proven"),
    [(5, 9, 5), (-9, -5, 5), (-1, 1, 0), (0, 5, 0), (-5, 0, 0), (9, 5, 0), (-5, -9, 0)],
)
def test_skew_is_proven_only_by_bounds_that_exclude_zero_and_do_not_contradict(lower: int, upper: int, proven: int) -> None:
    assert proven_skew(lower, upper) == proven


@pytest.mark.parametrize(("server", "client", "said"), [("+2012ms", "+10ms", "1998 to 2002 ms ahead of"), ("+12ms", "+2010ms", "1998 to 2002 ms behind")])
def test_its_sentence_says_how_much_and_which_way(server: str, client: str, said: str) -> None:
    (one,) = look(calls(f"{server} ~16ms", f"{client} ~20ms")).found(DETECTOR).values()
    assert sentence(one, 1) == f"The clock of h2 is {said} that of h1."
