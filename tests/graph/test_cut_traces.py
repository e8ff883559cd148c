"""Traces that were cut in two under half of their id: neither the orphans below nor the callers above are told as losses."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

import pytest
from looking import NOW, Elsewhere, Seen, look, new_passes
from spans import spans, trace_id

from traced.analysis.passes import Passes
from traced.graph import cut_traces
from traced.graph.cut_traces import CutTraces
from traced.graph.forest import Forest
from traced.graph.trace_ids import RecentTraceIds

LOSSES = {"missing_server_span", "silent_service", "missing_consumer_span", "broken_propagation", "unexpected_root"}


def ids(said: object) -> tuple[str, str]:
    """Give a whole trace id and its lower half."""
    high, low = ("f" + hashlib.blake2b(f"{part} {said}".encode(), digest_size=8).hexdigest()[1:] for part in ("high", "low"))
    return high + low, "0" * 16 + low


def request(number: int, *, cut: bool, address: str = "cart") -> tuple[list[str], list[str]]:
    """Give what a request leaves in the whole trace, and in the one with half an id: two calls, one after the other."""
    whole, half = ids(number)
    at = half if cut else whole
    above = [
        f"web SERVER {whole}:a",
        f"web CLIENT {whole}:b<a addr={address} status=200 +1ms ~20ms",
        f"web CLIENT {whole}:d<a addr=stock status=200 +30ms ~20ms",
    ]
    return above, [f"cart SERVER {at}:c<b +2ms ~18ms", f"cart INTERNAL {at}:i<c", f"stock SERVER {at}:e<d +31ms ~18ms"]


def causes(seen: Iterable[Seen]) -> Counter[str]:
    return Counter(o.cause for one in seen for o in one.outcome.occurrences if o.id == "orphan_span")


def test_one_in_ten_requests_is_cut_and_each_makes_two_calls() -> None:
    seen = look([line for n in range(300) for part in request(n, cut=n % 10 == 0) for line in part])
    assert causes([seen]) == {"propagation_mangled": 60}
    assert {o.peer for o in seen.outcome.occurrences if o.id == "orphan_span"} == {"web"}
    assert seen.ids - {"blind_gap"} == {"orphan_span", "missing_root_span", "truncated_trace_id"}


def test_all_requests_are_cut_and_the_callee_is_called_by_its_address() -> None:
    seen = look([line for n in range(60) for part in request(n, cut=True, address="10.0.0.7") for line in part])
    assert causes([seen]) == {"propagation_mangled": 120}
    assert not seen.ids & LOSSES
    assert seen.passes.history.aliases()["10.0.0.7"] == "cart"


def test_the_orphans_of_a_whole_trace_may_have_their_parents_in_the_cut_one() -> None:
    whole, half = ids("below")
    seen = look([f"web CLIENT {half}:b addr=cart", f"cart SERVER {whole}:c<b", *(line for n in range(30) for part in request(n, cut=False) for line in part)])
    assert causes([seen]) == {"propagation_mangled": 1}
    assert not seen.ids & LOSSES


def test_a_gateway_that_calls_without_a_client_span_is_answered_in_the_other_part_too() -> None:
    lines = []
    for n in range(60):
        whole, half = ids(f"gate {n}")
        lines += [f"gate SERVER {whole}:a ~20ms", f"cart SERVER {half if n % 10 == 0 else whole}:c<a +1ms ~18ms"]
    seen = look(lines)
    assert causes([seen]) == {"propagation_mangled": 6}
    assert not seen.ids & LOSSES
    assert not seen.passes.propagation.callers.rows.num_rows


def test_what_is_lost_beside_what_was_cut_is_told() -> None:
    lines = [line for n in range(300) for part in request(n, cut=n % 10 == 0) for line in part]
    seen = look([line for line in lines if line not in request(0, cut=True)[1] and line not in request(5, cut=False)[1]])
    assert set(seen.found("missing_server_span")) == {f"{ids(n)[0]}:{span}" for n in (0, 5) for span in "bd"}
    assert {o.cause for o in seen.found("missing_server_span").values()} == {"callee_loss"}


def parts(number: int) -> tuple[list[str], list[str]]:
    """Give what is above in some cut requests, and what is below."""
    above, below = zip(*(request(n, cut=True) for n in range(number)), strict=True)
    return [line for lines in above for line in lines], [line for lines in below for line in lines]


def passes_over(first: list[str], second: list[str]) -> tuple[Passes, list[Seen]]:
    """Look at some lines and then, a minute later, at others; what comes first lies in the store then."""
    passes = new_passes(Elsewhere(*first), hold_nanos=10 * 10**9)
    known = [line for n in range(1000, 1040) for part in request(n, cut=False) for line in part]
    seen = []
    for at, lines in enumerate(([*known, *first], second)):
        read = spans(*lines)
        seen.append(Seen(passes.run(read.settled(), NOW + 60 * at, (1 + 60 * at) * 10**9), read, passes))
    return passes, seen


def test_a_cut_trace_may_settle_after_the_whole_one() -> None:
    above, below = parts(5)
    passes, seen = passes_over(above, below)
    assert not seen[0].ids - {"blind_gap"}
    assert causes(seen) == {"propagation_mangled": 10}
    assert not {o.id for one in (seen[1].outcome, passes.waited(10**12), passes.finish()) for o in one.occurrences} & LOSSES
    assert {key[1:3] for key in seen[1].outcome.withdrawn if key[0] == "missing_server_span"} == {trace_id(ids(n)[0]) for n in range(5)}


def test_a_cut_trace_may_settle_before_the_whole_one_and_is_looked_at_again() -> None:
    above, below = parts(5)
    passes, seen = passes_over(below, above)
    assert causes(seen)["propagation_mangled"] == 0
    cut = {trace_id(ids(n)[1]) for n in range(5)}
    assert seen[1].outcome.undecided >= cut
    again = spans(*below)
    outcome = passes.run(again.settled(), NOW + 120, 121 * 10**9)
    assert causes([Seen(outcome, again, passes)]) == {"propagation_mangled": 10}
    assert not {o.id for one in (seen[1].outcome, outcome, passes.finish()) for o in one.occurrences} & LOSSES


def test_only_so_many_are_remembered_and_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_traces, "MAX_REMEMBERED", 3)
    monkeypatch.setattr(cut_traces, "MAX_LOOKED_UP", 2)
    asked: list[int] = []

    def lookup(wanted: object) -> object:
        asked.append(len(wanted))  # type: ignore[arg-type]
        return Elsewhere().spans_by_id(wanted)  # type: ignore[arg-type]

    recent = RecentTraceIds()
    above = Forest(spans(*(line for n in range(5) for line in request(n, cut=True)[0])).staged())
    recent.remember(*(above.spans.column(name).to_numpy() for name in ("trace_id_high", "trace_id_low")))
    known = CutTraces(recent, lookup)  # type: ignore[arg-type]
    known.join(Forest(spans(*(line for n in range(5) for line in request(n, cut=True)[1])).staged()))
    assert asked == [2]
    assert known.dropped > 0
    assert len(known._alone) == 3


def test_systems_of_64_bit_ids_are_left_alone() -> None:
    known = CutTraces(RecentTraceIds(), lambda _: pytest.fail("nothing is to be looked up"))
    known.join(Forest(spans(*(f"web SERVER {ids(n)[1]}:a<x" for n in range(20))).staged()))
    assert not known._alone
