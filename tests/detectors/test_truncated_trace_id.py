"""A trace has only half of the id of the trace that it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from cases import Expected, Fires, Silent, check_silent, fires, stays_silent
from looking import NOW, look, new_passes
from spans import EPOCH, spans, trace_id

from traced.detectors.truncated_trace_id import sentence
from traced.graph import relation
from traced.graph.calls import Naming
from traced.graph.forest import Forest
from traced.graph.trace_ids import MAX_RECENT, RecentTraceIds
from traced.model.occurrence import Level

DETECTOR = "truncated_trace_id"
ZEROS = "0" * 16


def half(said: str) -> str:
    """Give 16 hex digits that nobody else has, and no time."""
    return "f" + hashlib.blake2b(said.encode(), digest_size=8).hexdigest()[1:]


def cut(said: str, high: str = "", low: str = "") -> tuple[str, str, str]:
    """Give a whole trace id, and the same without its upper, and without its lower half."""
    high, low = high or half(said + " high"), low or half(said + " low")
    return high + low, ZEROS + low, high + ZEROS


def call(whole: str, other: str, parent: str = "b") -> list[str]:
    """Give a call whose caller is in one trace and whose receiver in another."""
    return [f"web SERVER {whole}:a", f"web CLIENT {whole}:b<a", f"cart SERVER {other}:c<{parent}", f"cart INTERNAL {other}:d<c"]


def time_prefixed(said: str, low_bits: str = "", ago: int = 5) -> str:
    """Give the upper half of an id that begins with the time."""
    return f"{EPOCH // 10**9 - ago:08x}" + (low_bits or half(said)[:8])


W, U, L = zip(*(cut(f"fires {n}") for n in range(20)), strict=True)
DATADOG = cut("datadog", time_prefixed("datadog", "0" * 8))
XRAY = cut("x-ray", time_prefixed("x-ray"))

FIRES: Fires = {
    "the upper half is lost on the way": (
        call(W[0], U[0]),
        {
            f"{U[0]}:c": {
                "service": "cart",
                "peer": "web",
                "level": Level.VIOLATION,
                "confidence": 0.99,
                "whole_trace_id": W[0],
                "lost_half": "upper",
            },
        },
    ),
    "the lower half is lost on the way": (call(W[1], L[1]), {f"{L[1]}:c": {"peer": "web", "lost_half": "lower", "confidence": 0.99}}),
    "the span that sent it is not here": (call(W[2], U[2], "x"), {f"{U[2]}:c": {"peer": "", "confidence": 0.75, "matched": None}}),
    "the parent id did not get through either": (
        [f"web SERVER {W[3]}:a", f"cart SERVER {U[3]}:c"],
        {f"{U[3]}:c": {"confidence": 0.75, "parent_span_id": ""}},
    ),
    "once for a trace that was entered twice, at its earliest span": (
        [*call(W[4], U[4]), f"web CLIENT {W[4]}:e<a +20ms", f"cart SERVER {U[4]}:f<e +21ms"],
        {f"{U[4]}:c": {}},
    ),
    "at its earliest span, which is no orphan": (
        [f"web SERVER {W[5]}:a", f"web CLIENT {W[5]}:b<a +30ms", f"cart SERVER {U[5]}:c<b +31ms", f"job INTERNAL {U[5]}:z +5ms"],
        {f"{U[5]}:z": {"service": "job", "peer": "web", "confidence": 0.99}},
    ),
    "two cut traces": ([*call(W[6], U[6]), *call(W[7], U[7])], {f"{U[6]}:c": {"whole_trace_id": W[6]}, f"{U[7]}:c": {"whole_trace_id": W[7]}}),
    "the lower and the upper half of one id": ([*call(W[8], U[8]), f"mail CONSUMER {L[8]}:k<b"], {f"{U[8]}:c": {}, f"{L[8]}:k": {"peer": "web"}}),
    "an exporter cuts what others continue whole": (
        [f"web SERVER {U[9]}:a", f"web CLIENT {U[9]}:b<a", f"cart SERVER {W[9]}:c<b"],
        {f"{U[9]}:a": {"service": "web", "confidence": 0.99, "peer": "", "orphan_of_the_whole_trace": True}},
    ),
    "an id of the time and zeros, as Datadog's: its lower half was drawn": (
        [f"web SERVER {DATADOG[0]}:a", f"cart SERVER {DATADOG[1]}:c"],
        {f"{DATADOG[1]}:c": {"confidence": 0.75}},
    ),
    "an X-Ray id, if the parent is there": (call(XRAY[0], XRAY[1]), {f"{XRAY[1]}:c": {"peer": "web", "confidence": 0.99}}),
    "of two whole ids with this half, the one where the parent is": (
        [*call("f000000000000001" + U[10][16:], U[10], "x")[::2], *call(W[10], U[10])[:2], f"cart SERVER {U[10]}:e<b +20ms"],
        {f"{U[10]}:c": {"whole_trace_id": W[10], "confidence": 0.99}},
    ),
}

S, T, B = zip(*(cut(f"silent {n}") for n in range(20)), strict=True)
SMALL = cut("small", low=f"{77:016x}")
SMALL_HIGH = cut("small high", high=f"{78:016x}")
PREFIXED = cut("prefixed", time_prefixed("prefixed"))
OTHER_PREFIXED = cut("other prefixed", time_prefixed("other prefixed"))
ONLY_TIME = cut("only time", time_prefixed("only time", "0" * 8))

STAYS_SILENT: Silent = {
    "a whole trace": call(S[0], S[0]),
    "two whole traces": call(S[1], S[2]),
    "a system that only has 64-bit ids": [*call(T[3], T[3]), *call(T[4], T[4])],
    "a 64-bit system whose context breaks": call(T[5], T[6]),
    "64-bit and whole ids side by side": [*call(T[7], T[7]), *call(S[8], S[8])],
    "half an id that nobody has whole": call(S[9], T[10]),
    "an orphan in a 64-bit trace": [*call(S[11], S[11]), f"cart SERVER {T[12]}:e<x"],
    "the upper half of one is the lower half of the other": call(S[13], ZEROS + S[13][:16]),
    "a small id, counted up": call(SMALL[0], SMALL[1]),
    "a small id on the other side": call(SMALL_HIGH[0], SMALL_HIGH[2]),
    "two small ids": [f"web SERVER {ZEROS}{5:016x}:a", f"web SERVER {3:016x}{5:016x}:b"],
    "an X-Ray id and its lower half, and nothing joins them": [f"web SERVER {PREFIXED[0]}:a", f"cart SERVER {PREFIXED[1]}:c"],
    "an X-Ray id and its upper half, and nothing joins them": [f"web SERVER {OTHER_PREFIXED[0]}:a", f"cart SERVER {OTHER_PREFIXED[2]}:c"],
    "the second in which a trace began": [f"web SERVER {ONLY_TIME[0]}:a", f"cart SERVER {ONLY_TIME[2]}:c"],
    "links between half and whole ids": [f"shop PRODUCER {S[14]}:p", f"bill CONSUMER {T[15]}:k ->{S[14]}:p"],
    "half the id, and one digit different": call(S[16], T[16][:-1] + ("1" if T[16][-1] != "1" else "2")),
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    found = look(lines, only=DETECTOR).found(DETECTOR)
    assert set(found) == set(expected)
    for place, fields in expected.items():
        for name, value in fields.items():
            assert (getattr(found[place], name) if hasattr(found[place], name) else found[place].context[name]) == value, (place, name)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_the_span_that_explains_it_is_the_parent_in_the_whole_trace() -> None:
    seen = look(call(*cut("matched")[:2]), only=DETECTOR)
    (one,) = seen.found(DETECTOR).values()
    assert one.matched is not None
    assert one.matched[:2] == trace_id(cut("matched")[0])
    assert seen.spans.names()[one.matched[2]] == "b"


@pytest.mark.parametrize(
    ("count", "parent", "said"),
    [
        (1, "b", "1 trace that begins with 'cart server' lost the upper half of the trace id, and belongs below web."),
        (3, "b", "3 traces that begin with 'cart server' lost the upper half of the trace id, and belong below web."),
        (3, "x", "3 traces that begin with 'cart server' lost the upper half of the trace id."),
    ],
)
def test_its_sentence_names_the_two_ends_of_the_hop(count: int, parent: str, said: str) -> None:
    (one,) = look(call(*cut("said")[:2], parent), only=DETECTOR).found(DETECTOR).values()
    assert sentence(one, count) == said


# ---------------------------------------------------------------------- across passes


def _truncated(lines: Sequence[str], recent: RecentTraceIds) -> list[int]:
    """Give the lower halves of the cut traces of one pass."""
    settled = spans(*lines).settled()
    made = relation.build(Forest(settled.spans), Naming())
    found = relation.tables(made, settled.again, settled.repeats, recent)["pass_truncated"]
    return found.column("trace_id_low").to_pylist()


def test_a_cut_trace_is_found_if_the_whole_one_was_seen_in_an_earlier_pass() -> None:
    recent, (whole, upper, _) = RecentTraceIds(), cut("passes")
    lines = call(whole, upper)
    assert _truncated(lines[:2], recent) == []
    assert _truncated(lines[2:], recent) == [trace_id(upper)[1]]
    assert _truncated(lines[2:], RecentTraceIds()) == []


def test_whole_ids_are_forgotten_by_the_pass_when_there_are_too_many() -> None:
    recent = RecentTraceIds()
    for first in range(1, MAX_RECENT * 2, MAX_RECENT // 4):
        ids = np.arange(first, first + MAX_RECENT // 4, dtype=np.uint64)
        recent.remember(ids, ids)
        assert len(recent.ids()[0]) <= MAX_RECENT
    assert recent.ids()[0].min() > MAX_RECENT // 2
    recent.remember(*[np.ones(MAX_RECENT * 2, np.uint64)] * 2)
    assert len(recent.ids()[0]) == MAX_RECENT


def test_a_trace_that_is_looked_at_again_is_found_again() -> None:
    passes = new_passes(only=DETECTOR)
    settled = spans(*call(*cut("again")[:2])).settled()
    keys = [[o.key for o in passes.run(settled, NOW).occurrences] for _ in range(2)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 1
