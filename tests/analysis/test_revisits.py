"""What could not be decided for want of habits is decided when there are some."""

from __future__ import annotations

from typing import Any

from arrivals import watched
from test_propagation import CALLER, CALLS, RECEIVER
from test_settling import late

from traced.analysis.revisits import MAX_AT_ONCE, MAX_WAITING, Revisits

FEW = [f"tax SERVER t{n}:b<x{n}" for n in range(5)]


def test_the_first_orphans_of_an_operation_get_their_cause_when_more_have_come() -> None:
    run = watched(*FEW, *[late(f"tax SERVER u{n}:b<y{n}", 30) for n in range(20)])
    run.at(31)
    assert {(f.cause, f.count) for f in run.ledger.findings() if f.id == "orphan_span"} == {("unknown", 5)}
    run.at(61)
    assert {f.cause: f.count for f in run.ledger.findings() if f.id == "orphan_span"} == {"unknown": 5, "upstream_silent": 20}
    run.at(92)
    assert {f.cause: f.count for f in run.ledger.findings() if f.id == "orphan_span"} == {"upstream_silent": 25}
    assert run.analysis.spans_analyzed() == {"tax": 25}
    assert run.analysis.traces_analyzed == 25


def test_what_stays_undecided_is_looked_at_twice_more_and_then_left_alone() -> None:
    run = watched(*FEW)
    for now in (31, 60, 92, 400, 632, 700, 1300, 3000):
        run.at(now)
        assert {(f.cause, f.count) for f in run.ledger.findings() if f.id == "orphan_span"} == {("unknown", 5)}
    assert run.counter("traced_traces_reanalyzed") == 10
    assert run.counters()["found", "orphan_span", "tax", "", "unknown"] == 5


def taken(revisits: Revisits, now: float) -> list[tuple[int, int]]:
    """Take what is due, and look at it."""
    due = revisits.due(now)
    revisits.looked_at(due)
    return due


def test_what_a_failed_pass_was_to_revisit_comes_again() -> None:
    run = watched(*FEW, *[late(f"tax SERVER u{n}:b<y{n}", 30) for n in range(20)])
    run.at(31)
    run.at(61)
    passes, run.analysis._passes.run = run.analysis._passes.run, _fails  # type: ignore[method-assign]
    run.at(92)
    run.analysis._passes.run = passes  # type: ignore[method-assign]
    run.at(93)
    assert {f.cause: f.count for f in run.ledger.findings() if f.id == "orphan_span"} == {"upstream_silent": 25}


def _fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a pass that cannot be run")


def test_traces_come_when_their_time_has_come_and_no_more_often() -> None:
    revisits = Revisits()
    revisits.note([(0, 1), (0, 2)], 100.0)
    assert taken(revisits, 159.0) == []
    assert taken(revisits, 160.0) == [(0, 1), (0, 2)]
    assert taken(revisits, 161.0) == []
    revisits.note([(0, 1)], 162.0)
    assert taken(revisits, 700.0) == [(0, 1), (0, 2)]
    assert taken(revisits, 10_000.0) == []


def test_more_than_the_limit_are_let_go_and_counted_and_few_come_at_once() -> None:
    revisits = Revisits()
    revisits.note([(0, n) for n in range(MAX_WAITING + 7)], 0.0)
    assert revisits.dropped == 7
    assert len(taken(revisits, 60.0)) == MAX_AT_ONCE


def test_what_waits_survives_a_restart_and_traces_of_which_something_waited_are_looked_at_when_all_has_settled() -> None:
    before, after = Revisits(), Revisits()
    before.note([(0, 1), (0, 2)], 100.0)
    taken(before, 160.0)
    before.note([(0, 3)], 170.0)
    after.load(before.dump(), [[0, 1], [0, 4]], 230.0)
    assert taken(after, 229.0) == []
    assert taken(after, 230.0) == [(0, 3), (0, 4)]
    assert taken(after, 700.0) == [(0, 1), (0, 2)]


def test_a_caller_that_waits_finds_its_receiver_though_the_daemon_ends_in_between() -> None:
    run = watched(*CALLS, *CALLER, late(RECEIVER, 200))
    run.at(31)
    run.at(62)
    assert run.counts()["missing_server_span"] == 1
    run.restart()
    run.at(95)
    assert run.counts()["missing_server_span"] == 1
    run.at(231)
    run.at(262)
    assert "missing_server_span" not in run.counts()
    assert run.counts()["broken_propagation"] == 1
    assert run.counters()["withdrawn", "missing_server_span", "web", "cart", "callee_loss"] == 1


def test_what_is_decided_at_a_known_time_is_looked_at_then_also_when_no_other_look_is_left() -> None:
    revisits = Revisits()
    revisits.note([(0, 1)], 100.0, {(0, 1): 3000.0, (0, 2): 30.0})
    assert revisits.due(129.0) == []
    assert revisits.due(130.0) == [(0, 2)]
    revisits.looked_at([(0, 2)])
    for now in (160.0, 700.0):
        assert revisits.due(now) == [(0, 1)]
        revisits.looked_at([(0, 1)])
        revisits.note([(0, 1)], now, {(0, 1): 3100.0 - now})
    assert revisits.due(3099.0) == []
    assert revisits.due(3100.0) == [(0, 1)]
    revisits.looked_at([(0, 1)])
    assert revisits.due(10_000.0) == []


def test_a_look_at_a_known_time_takes_the_place_of_no_other_one() -> None:
    revisits = Revisits()
    revisits.note([(0, 1)], 100.0, {(0, 1): 20.0})
    assert revisits.due(120.0) == [(0, 1)]
    revisits.looked_at([(0, 1)])
    assert revisits.due(121.0) == []
    assert revisits.due(160.0) == [(0, 1)]


def test_a_known_time_survives_a_restart() -> None:
    before, after = Revisits(), Revisits()
    before.note([(0, 1)], 100.0, {(0, 1): 3000.0, (0, 2): 50.0})
    for now in (160.0, 700.0):
        before.looked_at(before.due(now))
        before.note([], now, {(0, 1): 3100.0 - now})
    after.load(before.dump(), [], 800.0)
    assert after.due(3099.0) == []
    assert after.due(3100.0) == [(0, 1)]


def test_more_times_than_the_limit_are_let_go_and_counted() -> None:
    revisits = Revisits()
    revisits.note([], 0.0, {(0, n): 5.0 for n in range(MAX_WAITING + 3)})
    assert revisits.dropped == 3


JOBS = [line for n in range(30) for line in (f"batch INTERNAL j{n}:a name=job ~1500s", f"batch INTERNAL j{n}:b<a name=step local ~1s")]


def test_a_job_that_runs_for_long_is_pending_until_its_like_have_ended_and_then_lost() -> None:
    run = watched(*JOBS, late("batch INTERNAL late:b<x name=step local +10s ~1s", 30))
    run.at(31)
    told = {}
    for now in (62, 92, 700, 1500, 2200, 2245):
        run.at(now)
        told[now] = {f.cause for f in run.ledger.findings() if f.id == "orphan_span"}
    # spans of 1,500 s end within 2,199 s, to a power of two of nanoseconds
    assert told == {**{now: {"pending"} for now in (62, 92, 700, 1500, 2200)}, 2245: {"local_loss"}}


def test_a_job_that_ends_after_an_hour_leaves_nothing_behind() -> None:
    run = watched(*JOBS, late("batch INTERNAL late:b<x name=step local +10s ~1s", 30), late("batch INTERNAL late:x name=job +5s ~2000s", 2010))
    for now in (31, 62, 700):
        run.at(now)
    assert {f.cause for f in run.ledger.findings()} == {"pending"}
    run.at(2100)
    assert not [f for f in run.ledger.findings() if f.id == "orphan_span"]
