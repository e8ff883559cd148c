"""A request waits inside a span, and no child says for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import NOW, look, new_passes, place
from spans import many, spans

from traced.detectors.blind_gap import fix, sentence
from traced.model.occurrence import Level

DETECTOR = "blind_gap"

ROOT = "web SERVER a ~200ms name=buy"
ONE = "web CLIENT b<a +0ms ~50ms name=one"
TWO = "web CLIENT c<a +120ms ~80ms name=two"
GAP = [ROOT, ONE, TWO]


def everywhere(span: str, count: int = 10, **fields: object) -> Expected:
    """Expect it at one span of each trace that `many` makes."""
    return {f"m{n}:{span}": dict(fields) for n in range(count)}


FIRES: Fires = {
    "70 ms of 200 between two calls, in ten traces": (
        many(10, *GAP),
        everywhere(
            "a",
            service="web",
            level=Level.IMPROVEMENT,
            signal_name="buy: one → two",
            before="one",
            after="two",
            gap_ms=70,
            trace_ms=200,
            traces=10,
            hidden_ms=700,
            share_of_these_traces=0.35,
            rank=1,
            places=1,
        ),
    ),
    "exactly 20 ms, exactly a fifth": (many(10, "web SERVER a ~100ms", "web CLIENT b<a +0ms ~80ms"), everywhere("a", before="web client", after="", gap_ms=20)),
    "before the first child": (many(10, ROOT, TWO), everywhere("a", before="", after="two", gap_ms=120)),
    "in INTERNAL work below a request": (
        many(10, ROOT, "web INTERNAL i<a +0ms ~199ms name=work", "web CLIENT b<i +1ms ~50ms name=one"),
        everywhere("i", signal_name="work: one → end", gap_ms=148),
    ),
    "in a service further down, which everything above waited for": (
        many(10, "web SERVER a ~300ms", "web CLIENT b<a +10ms ~280ms", "cart SERVER s<b +20ms ~260ms name=get", "cart CLIENT d<s +20ms ~100ms name=read"),
        everywhere("s", service="cart", signal_name="get: read → end", gap_ms=160, trace_ms=300),
    ),
    "while a message is handled": (
        many(10, "bill CONSUMER a ~200ms op=process msg=kafka name=handle", "bill INTERNAL b<a +0ms ~20ms name=parse"),
        everywhere("a", service="bill", signal_name="handle: parse → end"),
    ),
    "beside a child that goes on after its parent, and nobody waits for": (
        many(10, ROOT, ONE, "web INTERNAL l<a +190ms ~90ms name=later"),
        everywhere("a", before="one", after="later", gap_ms=140),
    ),
    "of several that a span has, the longest": (
        many(10, "web SERVER a ~300ms", "web CLIENT b<a +60ms ~10ms name=one", "web CLIENT c<a +140ms ~10ms name=two"),
        everywhere("a", before="two", after="", gap_ms=150),
    ),
    "of several spans of one place in a trace, the one that waited longest": (
        many(10, "web SERVER r ~500ms", *(f"web INTERNAL {i}<r +{at}ms ~{takes}ms name=step" for i, at, takes in (("i", 0, 240), ("j", 240, 260))))
        + many(10, "web CLIENT k<i +0ms ~100ms name=ask", "web CLIENT l<j +240ms ~100ms name=ask"),
        everywhere("j", gap_ms=160, traces=10, hidden_ms=1600),
    ),
    "two places, the one that hides more in all first": (
        many(10, *GAP)
        + [line.replace(" m", " n").replace("web", "cart") for line in many(10, "web SERVER a ~900ms name=get", "web CLIENT b<a +0ms ~50ms name=read")],
        {**everywhere("a", rank=2, places=2), **{f"n{n}:a": {"rank": 1, "places": 2} for n in range(10)}},
    ),
    "also where now and then something lies between": (
        many(9, *GAP) + [line.replace(" m", " n") for line in many(3, *GAP)] + ["web CLIENT n0:x<a +60ms ~20ms name=seldom"],
        {f"{n}:a": {"traces": 11} for n in ("m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "n1", "n2")},
    ),
}

STAYS_SILENT: Silent = {
    "nine traces": many(9, *GAP),
    "19 ms": many(10, "web SERVER a ~80ms", "web CLIENT b<a +0ms ~61ms"),
    "less than a fifth of the trace": many(10, "web SERVER a ~200ms", "web CLIENT b<a +0ms ~161ms"),
    "spans without children": many(10, ROOT),
    "a span whose children cover it": many(10, ROOT, "web CLIENT b<a +0ms ~100ms", "web CLIENT c<a +90ms ~110ms"),
    "a stretch that a longer child covers": many(10, ROOT, ONE, TWO, "web INTERNAL d<a +40ms ~90ms"),
    "work beside a call that took longer: nobody waited for it": many(
        10, "web SERVER a ~300ms", "web CLIENT b<a +0ms ~299ms", "web INTERNAL i<a +0ms ~200ms", "web CLIENT c<i +0ms ~20ms"
    ),
    "work that goes on after the answer": many(10, "web SERVER a ~30ms", "web INTERNAL i<a +25ms ~200ms", "web CLIENT c<i +30ms ~20ms"),
    "a job that waits between its calls: nobody waits for it": many(10, *(line.replace("SERVER", "INTERNAL") for line in GAP)),
    "a program's call": many(10, "cli CLIENT a ~200ms", "cli INTERNAL b<a +0ms ~50ms"),
    "the network between caller and callee": many(10, "web CLIENT a ~200ms", "cart SERVER b<a +80ms ~100ms"),
    "a poll that waits for messages": many(10, "bill CONSUMER a ~200ms op=receive msg=kafka", "bill INTERNAL b<a +190ms ~5ms"),
    "work below a poll": many(10, "bill CONSUMER a ~200ms op=poll msg=kafka", "bill INTERNAL b<a +0ms ~200ms", "bill CLIENT c<b +150ms ~50ms"),
    "a WebSocket": many(10, "web SERVER a ~200ms status=101", "web INTERNAL b<a +0ms ~50ms"),
    "a child of another service, timed by another clock": many(10, "edge SERVER a ~200ms", "cart SERVER b<a +80ms ~100ms"),
    "a child of another machine": many(10, "web SERVER a ~200ms host=one", "web SERVER b<a +80ms ~100ms host=two"),
    "a child of the same service, on who knows what machine": many(10, "web SERVER a ~200ms", "web SERVER b<a +80ms ~100ms"),
    "a child whose flags say that its parent is remote": many(10, "web SERVER a ~200ms", "web INTERNAL b<a +80ms ~100ms remote"),
    "a message to oneself": many(10, "web SERVER a ~200ms host=one", "web CONSUMER b<a +80ms ~100ms host=one"),
    "children that begin before their parent": many(10, "web SERVER a ~200ms", "web CLIENT b<a +-5ms ~50ms"),
    "children that end before they begin": many(10, "web SERVER a ~200ms", "web CLIENT b<a +50ms ~-5ms"),
    "a server that goes on after its caller: a stream, or it was given up": many(
        10, "web SERVER a ~220ms", "web CLIENT b<a +10ms ~200ms", "cart SERVER s<b +20ms ~260ms", "cart CLIENT d<s +20ms ~100ms"
    ),
    "traces with an orphan": many(10, *GAP, "web INTERNAL o<x +60ms ~10ms"),
    "traces with two roots": many(10, *GAP, "web SERVER o +60ms ~10ms"),
    "traces without a root": many(10, "web SERVER a<x ~200ms", ONE, TWO),
    "traces with a loop": many(10, *GAP, "web INTERNAL o<o +60ms ~10ms"),
    "what lies between the two was lost in half of the traces": many(10, *GAP)
    + [line.replace(" m", " n") for line in many(10, *GAP, "web CLIENT d<a +50ms ~70ms name=query")],
    "what begins the span was lost in half of the traces": many(10, ROOT, TWO)
    + [line.replace(" m", " n") for line in many(10, ROOT, "web CLIENT b<a +0ms ~120ms", TWO)],
    "pauses that hit one in fifty": many(10, "web SERVER a ~100ms", "web CLIENT b<a +0ms ~79ms")
    + [line.replace(" m", " n") for line in many(490, "web SERVER a ~100ms", "web CLIENT b<a +0ms ~100ms")],
    "an operation whose children have a new name each time": [
        f"web {line}"
        for n in range(70)
        for line in (f"SERVER m{n}:a ~200ms", f"CLIENT m{n}:b<a +0ms ~20ms name=get-{n}", f"CLIENT m{n}:c<a +150ms ~50ms name=end")
    ],
    "spans without a time": many(10, "web SERVER a +-1700000000s ~200ms", "web CLIENT b<a +-1700000000s ~50ms"),
    "a span that ends before it begins": many(10, "web SERVER a ~-200ms", "web CLIENT b<a +0ms ~50ms"),
    "a span of two hours": many(10, "web SERVER a ~2h", "web CLIENT b<a +0ms ~50ms"),
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


@pytest.mark.parametrize(
    ("lines", "said", "mend"),
    [
        (
            GAP,
            "0.7 s of 10 traces (35% of their time) pass in 'buy' between 'one' and 'two', and no span says on what.",
            "In web, add a span to 'buy' between 'one' and 'two', around what the code does or waits for there.",
        ),
        (
            [ROOT, ONE],
            "1.5 s of 10 traces (75% of their time) pass in 'buy' after 'one', and no span says on what.",
            "In web, add a span to 'buy' after 'one', around what the code does or waits for there.",
        ),
        (
            [ROOT, "web CLIENT c<a +120ms ~80ms name="],
            "1.2 s of 10 traces (60% of their time) pass in 'buy' before '(unnamed)', and no span says on what.",
            "In web, add a span to 'buy' before '(unnamed)', around what the code does or waits for there.",
        ),
    ],
)
def test_its_sentence_says_where_and_how_much(lines: list[str], said: str, mend: str) -> None:
    one = next(iter(look(many(10, *lines), only=DETECTOR).found(DETECTOR).values()))
    assert sentence(one, 3) == said
    assert fix(one) == mend


def test_ten_traces_may_come_in_several_passes() -> None:
    passes = new_passes(only=DETECTOR)
    first, second = spans(*many(6, *GAP)), spans(*(line.replace(" m", " n") for line in many(4, *GAP)))
    assert passes.run(first.settled(), NOW).occurrences == []
    found = passes.run(second.settled(), NOW + 1).occurrences
    assert {place(second, o) for o in found} == {f"n{n}:a" for n in range(4)}
    assert {o.context["traces"] for o in found} == {10}


def test_what_was_learned_outlives_a_restart() -> None:
    before, after = new_passes(only=DETECTOR), new_passes(only=DETECTOR)
    before.run(spans(*many(6, *GAP)).settled(), NOW)
    after.restore(before.dump())
    second = spans(*(line.replace(" m", " n") for line in many(4, *GAP)))
    assert {o.context["traces"] for o in after.run(second.settled(), NOW + 1).occurrences} == {10}


def test_a_state_of_before_there_was_this_detector_is_taken() -> None:
    before, after = new_passes(only=DETECTOR), new_passes(only=DETECTOR)
    before.run(spans(*many(6, *GAP)).settled(), NOW)
    after.restore({name: part for name, part in before.dump().items() if name != "structure"})
    assert after.run(spans(*many(9, *GAP)).settled(), NOW + 1).occurrences == []


def test_a_first_round_that_only_learns_counts_nothing_twice() -> None:
    passes = new_passes(only=DETECTOR)
    given = spans(*many(10, *GAP))
    passes.run(given.settled(), NOW, learn_only=True)
    assert {o.context["traces"] for o in passes.run(given.settled(), NOW).occurrences} == {10}


def test_a_child_that_comes_late_takes_its_trace_back() -> None:
    passes = new_passes(only=DETECTOR)
    first = spans(*many(10, *GAP))
    assert len(passes.run(first.settled(), NOW).occurrences) == 10
    whole = spans(*many(10, *GAP, "web CLIENT l<a +50ms ~70ms name=late"))
    late = pc.equal(whole.staged().column("name"), "late").to_numpy()
    again = replace(whole.settled(), again=np.ones(len(whole), bool), fresh=late, before=first.staged())
    outcome = passes.run(again, NOW + 1)
    assert outcome.occurrences == []
    assert len(outcome.again) == 10
    # of the ten nothing counts any more
    assert passes.run(spans(*(line.replace(" m", " n") for line in many(9, *GAP))).settled(), NOW + 2).occurrences == []
