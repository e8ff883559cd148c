"""A span names a parent that never arrived."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import NOW, look, new_passes
from spans import EPOCH, many, spans

from traced.detectors.orphan_span import fix, sentence
from traced.model.occurrence import Level

DETECTOR = "orphan_span"

FIRES: Fires = {
    "a SERVER whose caller never arrived": (["cart SERVER b<x"], {"b": {"service": "cart", "missing": "x"}}),
    "an INTERNAL span below one that was lost, with the root there": (
        ["cart SERVER a", "cart INTERNAL c<x"],
        {"c": {"service": "cart", "missing": "x", "kind": "INTERNAL"}},
    ),
    "three children of one lost span are three orphans with one missing span": (
        ["web SERVER a", "web CLIENT b<x", "web CLIENT c<x", "web INTERNAL d<x"],
        {"b": {"missing": "x"}, "c": {"missing": "x"}, "d": {"missing": "x"}},
    ),
    "two lost spans in one trace": (["web SERVER a", "web CLIENT b<x", "cart SERVER c<y"], {"b": {"missing": "x"}, "c": {"missing": "y"}}),
    "only the topmost span below a lost one is an orphan": (["cart SERVER b<x", "cart INTERNAL c<b", "cart CLIENT d<c"], {"b": {"missing": "x"}}),
    "the parent is in another trace only": (["cart SERVER b<a", "web CLIENT other:a"], {"b": {"missing": "a"}}),
    "an id that another trace uses is no parent here": (
        ["web SERVER one:a", "web CLIENT one:b<a", "web SERVER two:c", "web CLIENT two:d<a"],
        {"two:d": {"missing": "a"}},
    ),
    "a CONSUMER whose producer's span was lost": (["billing CONSUMER k<p"], {"k": {"missing": "p", "kind": "CONSUMER"}}),
    "a CONSUMER with a lost parent and a link to a span that is here": (["shop PRODUCER p", "billing CONSUMER k<x ->p"], {"k": {"missing": "x"}}),
    "the sending half of a shared id whose parent was lost": (["web CLIENT b<x", "cart SERVER b<x"], {"b": {"service": "web", "missing": "x"}}),
    "a lone receiving half of a shared id whose parent is not here": (["cart SERVER b<x"], {"b": {"missing": "x"}}),
    "one absent parent id in many traces": (
        ["cart SERVER one:b<x", "cart SERVER two:c<x", "cart SERVER three:d<x"],
        {"one:b": {"missing": "x"}, "two:c": {"missing": "x"}, "three:d": {"missing": "x"}},
    ),
    "flags that say the parent was in this process": (["cart SERVER a", "cart INTERNAL c<x local"], {"c": {"parent_is_remote": False}}),
    "flags that say the parent was in another process": (["cart SERVER b<x remote"], {"b": {"parent_is_remote": True}}),
    "no flags about the parent: by its kind a SERVER's is in another process": (
        ["cart SERVER b<x"],
        {"b": {"parent_is_remote": True, "known_by": "kind", "cause": "unknown"}},
    ),
    "no flags and no kind: nothing is said of where the parent was": (
        ["cart UNSPECIFIED b<x"],
        {"b": {"parent_is_remote": None, "known_by": "", "cause": "unknown"}},
    ),
    "a low byte of 0, as Python's exporter sends of sampled spans": (["cart INTERNAL b<x flags=0x100"], {"b": {"parent_is_remote": False}}),
    "bits that mean nothing yet are not read": (["cart SERVER b<x flags=0xfffff400"], {"b": {"parent_is_remote": True, "known_by": "kind"}}),
    "a span sent twice whose parent was lost is one orphan": (["cart SERVER b<x", "cart SERVER b<x"], {"b": {"missing": "x"}}),
    "one process that exports a lost span's child under two names is one line": (["cart SERVER b<x", "basket SERVER b<x"], {"b": {"service": "basket"}}),
    "a child of an orphan's orphan, each with its own lost parent": (["a SERVER b<x", "b SERVER c<y"], {"b": {"missing": "x"}, "c": {"missing": "y"}}),
    "a span without a service name": (["- INTERNAL b<x"], {"b": {"service": "unknown_service"}}),
}

STAYS_SILENT: Silent = {
    "a root": ["web SERVER a"],
    "a whole trace": ["web SERVER a", "web CLIENT b<a", "cart SERVER c<b", "cart CLIENT d<c db=postgresql"],
    "a span that names itself as its parent: a loop": ["web SERVER a<a"],
    "two spans that name each other: a loop": ["web SERVER a<b", "web INTERNAL b<a"],
    "a child of a loop": ["web SERVER a<a", "web INTERNAL b<a"],
    "the receiving half of a shared id, its parent the sender's parent": ["web SERVER a", "web CLIENT b<a", "cart SERVER b<a"],
    "the receiving half of a shared id that names the shared id itself": ["web SERVER a", "web CLIENT b<a", "cart SERVER b<b"],
    "the receiving half of a shared id whose parent was not sent along": ["web SERVER a", "web CLIENT b<a", "cart SERVER b"],
    "the receiving half of a shared id that names a lost parent, beside its sender": ["web SERVER a", "web CLIENT b<a", "cart SERVER b<x"],
    "a child of a shared id": ["web CLIENT b", "cart SERVER b", "cart INTERNAL c<b", "web INTERNAL d<b"],
    "shared ids of a producer and a consumer": ["shop PRODUCER p", "billing CONSUMER p<p"],
    "a consumer that begins a trace, with a link to its producer": ["shop PRODUCER one:p", "billing CONSUMER two:k ->one:p"],
    "a consumer with a hundred links": ["billing CONSUMER k " + " ".join(f"->gone{n}:p" for n in range(100))],
    "a link to a span that never arrived": ["billing CONSUMER k ->gone:x"],
    "a message replayed long after its producer's span was dropped": ["billing CONSUMER k ->ancient:x +100h"],
    "a child that ends after its parent": ["web SERVER a ~10ms", "web INTERNAL b<a +2ms ~500ms"],
    "a child that begins after its parent ended": ["web SERVER a ~10ms", "web INTERNAL b<a +20ms"],
    "a child that begins before its parent: 3 ms of skew": ["web CLIENT a +10ms", "cart SERVER b<a +7ms"],
    "a child that begins before its parent: 2 s of skew": ["web CLIENT a +3s", "cart SERVER b<a +1s"],
    "a parent that came 35 s after its child": ["cart SERVER b<a", "web CLIENT a @35s"],
    "a parent that came 10 minutes after its child": ["cart SERVER b<a", "web CLIENT a @10min"],
    "the same span id in every trace": ["web SERVER one:a", "web CLIENT one:b<a", "web SERVER two:a", "web CLIENT two:b<a"],
    "every span sent twice": ["web SERVER a", "web SERVER a", "web CLIENT b<a", "web CLIENT b<a"],
    "a parent that ends before it starts": ["web SERVER a ~-5ms", "web INTERNAL b<a +1ms ~1ms"],
    "a parent of no duration": ["web SERVER a ~0ms", "web INTERNAL b<a"],
    "a SERVER under a SERVER": ["web SERVER a", "cart SERVER b<a"],
    "a SERVER instrumented twice": ["web SERVER a", "web SERVER b<a"],
    "INTERNAL spans between a CLIENT and its SERVER": ["web CLIENT a", "mesh INTERNAL b<a", "cart SERVER c<b"],
    "a CLIENT inside a CLIENT": ["web CLIENT a", "web CLIENT b<a", "s3 SERVER c<b"],
    "two roots in one trace": ["web SERVER a", "cart SERVER b"],
    "a hop without an SDK that hands the context through": ["web CLIENT a", "cart SERVER b<a remote"],
    "parents of another service and another kind": ["web PRODUCER a", "cart SERVER b<a", "cart UNSPECIFIED c<b", "- INTERNAL d<c"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_a_trace_of_which_spans_were_left_out_is_said_to_lack_none() -> None:
    # 20 spans are looked at; the parents of the last are among those left out
    lines = ["web SERVER a"] + [f"web INTERNAL s{n}<{'a' if not n else f's{n - 1}'} +{1000 - n}ms" for n in range(40)]
    seen = look(lines, analysis={"max_spans_per_trace": 20})
    assert seen.outcome.truncated == 1
    assert seen.found(DETECTOR) == {}
    assert look(lines).found(DETECTOR) == {}


def test_its_sentence_counts() -> None:
    one = look(["cart SERVER b<x"]).found(DETECTOR)["b"]
    assert sentence(one, 1) == "1 'cart server' span names a parent that never arrived: why is not known."
    assert sentence(one, 7) == "7 'cart server' spans name a parent that never arrived: why is not known."


def test_a_parent_whose_like_last_long_may_still_be_running_and_is_decided_in_the_end() -> None:
    passes = new_passes()
    usual = many(30, "batch INTERNAL a name=job ~200s", "batch INTERNAL b<a name=step local ~1s")
    passes.run(spans(*usual).settled(), NOW, EPOCH + 300 * 10**9)
    young = spans("batch INTERNAL late:b<x name=step local +400s ~1s")
    first = passes.run(young.settled(), NOW + 1, EPOCH + 450 * 10**9)
    [pending] = [o for o in first.occurrences if o.id == DETECTOR]
    assert (pending.cause, pending.level) == ("pending", Level.INFORMATION)
    assert pending.context["seconds_since_it_began"] == 50
    assert first.undecided == {pending.trace_id}
    assert "missing_root_span" not in {o.id for o in first.occurrences}
    second = passes.run(young.settled(), NOW + 700, EPOCH + 1100 * 10**9)
    [decided] = [o for o in second.occurrences if o.id == DETECTOR]
    assert (decided.cause, decided.level) == ("local_loss", Level.VIOLATION)


def test_a_short_parent_is_not_waited_for() -> None:
    passes = new_passes()
    passes.run(spans(*many(30, "web SERVER a name=get ~1s", "web INTERNAL b<a name=step local ~1s")).settled(), NOW, EPOCH + 10**9)
    [o] = [o for o in passes.run(spans("web INTERNAL b<x name=step local +9s").settled(), NOW, EPOCH + 50 * 10**9).occurrences if o.id == DETECTOR]
    assert o.cause == "local_loss"


def test_parents_that_never_come_are_filtered_or_never_ended_and_the_fix_says_so() -> None:
    lines = [line for n in range(20) for line in (f"web SERVER m{n}:a", f"web INTERNAL m{n}:b<x{n} local name=render instance=web-1")]
    seen = look(lines).found(DETECTOR)
    assert {(o.cause, o.context["loss_shape"], o.instance) for o in seen.values()} == {("local_loss", "filtered", "web-1")}
    assert "finally" in fix(next(iter(seen.values())))
    sometimes = look([*many(20, "web SERVER a", "web INTERNAL b<a local name=render"), "web INTERNAL c<x local name=render"]).found(DETECTOR)["c"]
    assert "loss_shape" not in sometimes.context
    assert "queue" in fix(sometimes)


def test_of_two_usual_callers_in_the_trace_the_one_whose_own_call_is_whole_did_not_lose_a_span() -> None:
    usual = ["web SERVER a", "web CLIENT b<a", "cart SERVER c<b name=get", "pay SERVER d<a", "pay CLIENT e<d", "cart SERVER f<e name=get"]
    lost = ["web SERVER a", "web CLIENT b<a", "cart SERVER c<b name=get", "pay SERVER d<a", "cart SERVER f<gone name=get"]
    assert {o.peer for o in look([*many(30, *usual), *lost]).found(DETECTOR).values()} == {"pay"}
    both = ["web SERVER a", "pay SERVER d<a", "cart SERVER f<gone name=get"]
    assert {o.peer for o in look([*many(30, *usual), *both]).found(DETECTOR).values()} == {""}


HIGH, LOW = "5b8aa5a2d2c872e8", "321cf37308d69df2"


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        pytest.param(["web SERVER a", f"web CLIENT {HIGH}{LOW}:b<{HIGH}"], "propagation_mangled", id="the upper half of the trace id: nobody's span id"),
        pytest.param(["web SERVER a", f"web CLIENT {HIGH}{LOW}:b<{LOW}"], "propagation_mangled", id="the lower half, beside a root with an id of its own"),
        pytest.param([f"web CLIENT {HIGH}{LOW}:b<{LOW}"], "local_loss", id="the lower half, and no root to say whether roots bear it"),
        pytest.param(
            [f"web SERVER {LOW}{HIGH}:{HIGH}", f"web CLIENT {HIGH}{LOW}:b<{LOW}"],
            "local_loss",
            id="the lower half, as another root bears its own: the absent span is the root",
        ),
        pytest.param(["web SERVER a", f"web CLIENT {'0' * 16}{LOW}:b<{LOW}"], "local_loss", id="the whole of a trace id of 64 bits: the root's id"),
    ],
)
def test_an_absent_id_that_is_half_of_the_trace_id_was_changed_unless_roots_bear_such_ids(lines: Sequence[str], cause: str) -> None:
    (one,) = look(lines).found(DETECTOR).values()
    assert one.cause == cause
