"""Why a parent is absent: a sampler, a lost batch, a call that went missing, a job that still runs; and who is named for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from looking import NOW, look, new_passes
from spans import EPOCH, many, spans, trace_id

from traced.analysis.passes import Passes
from traced.model.occurrence import Level, Occurrence

DETECTOR = "orphan_span"
SECOND = 10**9


def causes(found: Iterable[Occurrence], service: str = "cart") -> Counter[tuple[str, str]]:
    return Counter((o.cause, o.peer) for o in found if o.id == DETECTOR and o.service == service)


def call(trace: str, at: str, *, web: bool = True, cart: bool = True, batch: bool = False) -> list[str]:
    """Give a call of web, or of batch, to cart, without the spans of the one or the other."""
    who = "batch" if batch else "web"
    caller = [f"{who} SERVER {trace}:a{trace} {at}", f"{who} CLIENT {trace}:b{trace}<a{trace} {at} name=get addr=cart status=200"]
    return [*(caller if web else ()), *([f"cart SERVER {trace}:c{trace}<b{trace} {at} name=get"] if cart else ())]


def each(number: int, gone: dict[int, str], apart_ms: int = 100) -> list[str]:
    """Give calls one after another, of which some lack web or cart as a whole."""
    return [line for n in range(number) for line in call(f"m{n}", f"+{n * apart_ms}ms", web=gone.get(n) != "web", cart=gone.get(n) != "cart")]


BATCHES = {**dict.fromkeys(range(40, 75), "web"), **dict.fromkeys(range(150, 160), "cart")}
BY_TURNS = {n: "web" if n % 5 == 1 else "cart" for n in range(300) if n % 5 in (1, 3)}


def test_a_lost_batch_of_each_of_two_services_is_no_sampling() -> None:
    seen = look(each(300, BATCHES))
    assert causes(seen.found(DETECTOR).values()) == {("upstream_loss", "web"): 35}
    assert Counter(o.cause for o in seen.found("missing_server_span").values()) == {"callee_loss": 10}
    assert {o.level for o in seen.outcome.occurrences} == {Level.VIOLATION}


def test_traces_of_which_now_the_one_half_and_now_the_other_is_kept_are_sampled() -> None:
    seen = look(each(300, BY_TURNS))
    assert causes(seen.found(DETECTOR).values()) == {("sampled_out", "web"): 60}
    assert {o.cause for o in seen.found("missing_server_span").values()} <= {"sampled_out"}


def test_where_each_trace_may_have_been_a_batch_of_its_own_it_is_not_known() -> None:
    seen = look(each(300, BY_TURNS, apart_ms=10_000))
    assert causes(seen.found(DETECTOR).values()) == {("unknown", "web"): 60}
    assert not seen.found("missing_root_span"), "they may have been sampled"


def test_a_caller_that_fell_silent_lost_its_spans_also_where_few_traces_come_at_a_time() -> None:
    passes = new_passes()
    lines = each(120, dict.fromkeys(range(60, 120), "web"))
    told: Counter[tuple[str, str]] = Counter()
    for first in range(0, 120, 4):
        some = [line for line in lines if first <= int(line.split()[2].split(":")[0][1:]) < first + 4]
        told += causes(passes.run(spans(*some).settled(), NOW).occurrences)
    assert told == {("upstream_loss", "web"): 60}


def paid(n: int, *, pay: bool) -> list[str]:
    """Give a call of web to pay, which calls cart; or without the spans of pay."""
    at = f"+{n * 100 + 5}ms"
    called = [f"pay SERVER m{n}:e{n}<d{n} {at} name=pay", f"pay CLIENT m{n}:f{n}<e{n} {at} name=get addr=cart status=200"]
    client = f"web CLIENT m{n}:d{n}<a{n} +{n * 100}ms name=pay addr=pay status=200"
    return [f"web SERVER m{n}:a{n} +{n * 100}ms", client, *(called if pay else ()), f"cart SERVER m{n}:g{n}<f{n} {at} name=get"]


def test_of_two_callers_one_that_fell_silent_explains_the_gaps_of_whom_both_call() -> None:
    passes = new_passes()
    told: Counter[tuple[str, str]] = Counter()
    for n in range(120):
        lines = call(f"m{n}", f"+{n * 100}ms") if n % 2 else paid(n, pay=n < 60)
        told += causes(passes.run(spans(*lines).settled(), NOW).occurrences)
    assert told == {("upstream_loss", "pay"): 30}


# ---------------------------------------------------------------------- whose call it was


def kept(number: int, share: float, *, sampled: bool = True) -> list[str]:
    """Name traces that a ratio sampler of Python or Go keeps, or does not."""
    names = (f"r{n}" for n in range(10_000))
    return [name for name in names if (trace_id(name)[1] < share * 2**64) is sampled][:number]


def test_a_caller_that_is_there_and_misses_its_call_lost_it_though_another_caller_samples() -> None:
    lines = [line for name in kept(100, 1) for line in call(name, "")]
    lines += [line for name in kept(60, 0.3) for line in call(f"{name}", "", batch=True)]
    lost = [f"r{n}" for n in range(9_000, 9_030)]
    lines = [line for line in lines if not any(f" {name}:" in line for name in lost)]
    lines += [line for name in lost for line in call(name, "") if " CLIENT " not in line]
    assert causes(look(lines).found(DETECTOR).values()) == {("upstream_loss", "web"): 30}


def mixed(*lost: str) -> list[str]:
    """Let web call cart, and pay, which calls cart; then the same without some spans."""
    usual = ["web SERVER a", "web CLIENT b<a name=get addr=cart status=200", "cart SERVER c<b name=get"]
    paid = [
        "web CLIENT d<a name=pay addr=pay status=200",
        "pay SERVER e<d name=pay",
        "pay CLIENT f<e name=get addr=cart status=200",
        "cart SERVER g<f name=get",
    ]
    return [*many(30, *usual), *many(30, usual[0], *paid), *lost]


def test_who_was_called_there_and_is_gone_is_named_before_who_is_there() -> None:
    lost = ["web SERVER a", "web CLIENT d<a name=pay addr=pay status=200", "cart SERVER g<f name=get +10ms"]
    assert causes(look(mixed(*lost)).found(DETECTOR).values()) == {("upstream_loss", "pay"): 1}


def test_who_was_not_called_there_is_not_named() -> None:
    lost = ["web SERVER a", "cart SERVER c<b name=get"]
    assert causes(look(mixed(*lost)).found(DETECTOR).values()) == {("upstream_loss", "web"): 1}


def test_an_unanswered_call_at_another_time_names_nobody() -> None:
    lost = ["web SERVER a ~9s", "web CLIENT d<a name=pay addr=pay status=200 ~10ms", "cart SERVER g<f name=get +5s"]
    assert causes(look(mixed(*lost)).found(DETECTOR).values()) == {("upstream_loss", ""): 1}


def test_of_several_callers_that_may_have_begun_the_trace_nobody_is_named_but_the_usual_one() -> None:
    half = [line for n in range(30) for line in (*call(f"w{n}", ""), *call(f"b{n}", "", batch=True))]
    assert causes(look([*half, "cart SERVER c<gone name=get"]).found(DETECTOR).values()) == {("upstream_loss", ""): 1}
    mostly = [line for n in range(60) for line in call(f"w{n}", "")] + call("b0", "", batch=True)
    assert causes(look([*mostly, "cart SERVER c<gone name=get"]).found(DETECTOR).values()) == {("upstream_loss", "web"): 1}


def test_a_caller_that_calls_several_times_a_trace_may_have_lost_one_of_its_calls() -> None:
    usual = ["web SERVER a", *(line for n in range(3) for line in (f"web CLIENT b{n}<a name=get", f"cart SERVER c{n}<b{n} name=get"))]
    usual += ["pay SERVER d<a", "pay CLIENT e<d name=get", "cart SERVER f<e name=get"]
    lost = [line for line in usual if "CLIENT b2" not in line and "CLIENT e" not in line]
    seen = look([*many(30, *usual), *lost])
    assert {o.peer for o in seen.found(DETECTOR).values()} == {""}


# ---------------------------------------------------------------------- restarts


def test_what_samplers_let_through_survives_a_restart() -> None:
    def some(passes: Passes, names: Sequence[str]) -> Counter[tuple[str, str]]:
        lines = [line for name in names for line in call(name, "", web=trace_id(name)[1] < 0.3 * 2**64)]
        return causes(passes.run(spans(*lines).settled(), NOW).occurrences)

    names = [f"r{n}" for n in range(210)]
    dropped = sum(trace_id(name)[1] >= 0.3 * 2**64 for name in names[200:])
    passes, after = new_passes(), new_passes()
    some(passes, names[:200])
    after.restore(json.loads(json.dumps(passes.dump())))
    assert some(after, names[200:]) == {("sampled_out", "web"): dropped}


def test_after_a_restart_with_a_state_that_lacks_the_samplers_nothing_is_called_lost_of_what_they_may_have_dropped() -> None:
    passes, after = new_passes(), new_passes()
    kept_ones, others = kept(100, 0.3), kept(40, 0.3, sampled=False)
    passes.run(spans(*(line for name in [*kept_ones, *others[:20]] for line in call(name, "", web=name in kept_ones))).settled(), NOW)
    state = json.loads(json.dumps(passes.dump()))
    del state["absences"]
    after.restore(state)
    outcome = after.run(spans(*(line for name in others[20:] for line in call(name, "", web=False))).settled(), NOW)
    assert causes(outcome.occurrences) == {("unknown", "web"): 20}
    assert len(outcome.undecided) == 20


# ---------------------------------------------------------------------- ids that many traces name


@pytest.mark.parametrize(("flags", "cause"), [("local", "local_loss"), ("remote", "propagation_mangled"), ("", "propagation_mangled")])
def test_only_what_came_from_another_process_can_have_been_changed_on_the_way(flags: str, cause: str) -> None:
    lines = [f"cart SERVER {trace}:b<x {flags}".strip() for trace in ("one", "two", "three")]
    assert {o.cause for o in look(lines).found(DETECTOR).values()} == {cause}


def test_a_trace_that_is_looked_at_by_turns_with_another_does_not_make_an_id_constant() -> None:
    passes = new_passes()
    for trace in ("one", "two") * 3:
        found = passes.run(spans(f"cart SERVER {trace}:b<x remote").settled(), NOW).occurrences
        assert {o.cause for o in found if o.id == DETECTOR} == {"unknown"}


# ---------------------------------------------------------------------- parents that may still be running


JOBS = many(30, "batch INTERNAL a name=job ~4000s", "batch INTERNAL b<a name=step local ~1s")
YOUNG = "batch INTERNAL late:b<x name=step local +400s ~1s @400s"


def at(seconds: int, lasting: str = "4000s", **settings: float) -> tuple[Occurrence, dict[tuple[int, int], float]]:
    passes = new_passes(analysis=settings)
    passes.run(spans(*(line.replace("4000s", lasting) for line in JOBS)).settled(), NOW, EPOCH + SECOND)
    outcome = passes.run(spans(YOUNG).settled(), NOW, EPOCH + seconds * SECOND)
    [one] = [o for o in outcome.occurrences if o.id == DETECTOR]
    return one, outcome.later


def test_a_parent_is_waited_for_as_long_as_its_like_last_and_looked_at_then() -> None:
    one, later = at(400 + 2000)
    assert (one.cause, one.level) == ("pending", Level.INFORMATION)
    assert later == {one.trace_id: pytest.approx(2700 - 2000)}


def test_what_would_come_too_late_for_its_trace_is_not_known_and_never_called_lost() -> None:
    one, later = at(400 + 2701)
    assert (one.cause, one.level) == ("unknown", Level.INFORMATION)
    assert later == {}
    kept_longer, _ = at(400 + 2701, late_window_seconds=36_000.0)
    assert kept_longer.cause == "pending"


def test_what_has_not_come_when_its_like_have_ended_is_lost() -> None:
    one, later = at(400 + 1100, lasting="1000s")
    assert (one.cause, one.level) == ("local_loss", Level.VIOLATION)
    assert later == {}
