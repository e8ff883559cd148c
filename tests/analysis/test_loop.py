"""The loop keeps up, says how far behind it is, survives what goes wrong, and goes on after a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import structlog
from arrivals import watched
from spans import EPOCH
from test_settling import late

from traced.analysis.loop import Analysis
from traced.model.views import Tallies

# ---------------------------------------------------------------------- keeping up


def test_a_backlog_is_worked_off_in_slices_that_read_no_more_than_the_limit() -> None:
    run = watched(*(late(f"web SERVER t{n}:a", n / 10) for n in range(3000)), max_spans_per_pass=1000, settle_seconds=5)
    passes = run.at(400)
    assert passes >= 3
    assert max(run.store.windows) <= 1000
    assert sum(run.store.windows) == 3000
    assert run.analysis.traces_analyzed == 3000


def test_a_burst_that_came_at_one_moment_is_read_at_once() -> None:
    run = watched(*(f"web SERVER t{n}:a" for n in range(1500)), max_spans_per_pass=1000, settle_seconds=5)
    run.at(10)
    assert run.analysis.traces_analyzed == 1500


def test_hours_in_which_nothing_came_are_passed_over_at_once() -> None:
    run = watched("web SERVER one:a", late("web SERVER two:a", 20 * 3600), settle_seconds=5)
    run.at(10)
    assert run.at(20 * 3600 + 4) <= 2
    assert run.at(20 * 3600 + 6) <= 2
    assert run.analysis.traces_analyzed == 2


def test_logs_without_spans_move_the_analysis_on() -> None:
    run = watched(other_arrivals=[1, 50, 51, 300], settle_seconds=5)
    for now in (10, 100, 400):
        run.at(now)
        assert run.lag == 0
    assert run.analysis.traces_analyzed == 0
    assert run.counter("traced_analysis_errors") == 0


def test_without_any_arrival_nothing_is_done_and_nothing_is_behind() -> None:
    run = watched()
    for now in (10, 100, 1000):
        assert run.at(now) == 1
        assert run.lag == 0
        assert run.store.windows == []


def test_what_is_held_is_let_go_even_when_its_later_spans_are_gone() -> None:
    run = watched("web SERVER a", late("web INTERNAL b<a", 20), settle_seconds=30)
    run.at(35)
    assert run.analysis.waiting_traces == 1
    run.store._spans = run.store._spans.slice(0, 1)  # dropped by retention before they were read
    run.at(100)
    assert run.analysis.waiting_traces == 0
    assert run.analysis.traces_analyzed == 1


# ---------------------------------------------------------------------- lag


def test_the_lag_is_zero_after_every_pass_that_keeps_up() -> None:
    run = watched(*(late(f"web SERVER t{n}:a", n) for n in range(100)))
    for now in range(0, 200, 3):
        run.at(now)
        assert run.lag == 0


def test_the_lag_is_that_of_the_oldest_settled_span_that_waits() -> None:
    run = watched(*(late(f"web SERVER t{n}:a", n) for n in range(0, 500, 5)), settle_seconds=30)
    run.at(40)
    run.now = run.store.now = 440
    seen: list[float] = []
    advance = run.analysis._settling.advance

    def watching(*window: int) -> Any:
        seen.append(run.lag)
        return advance(*window)

    run.analysis._settling.advance = watching  # type: ignore[method-assign]
    while run.analysis.turn():
        pass
    # the oldest span that waits came at 15 s (what came up to 10 s was looked at), and 410 s is settled
    assert seen[0] == pytest.approx(395, abs=0.01)
    assert seen == sorted(seen, reverse=True)
    assert run.lag == 0


def test_the_lag_grows_while_passes_fail() -> None:
    run = watched(*(late(f"web SERVER t{n}:a", n) for n in range(100)))
    run.at(40)
    run.analysis._passes.run = _raise  # type: ignore[method-assign]
    lags = []
    for now in (60, 80, 100):
        run.now = run.store.now = now
        assert run.analysis.turn() is False
        lags.append(run.lag)
    assert lags == sorted(lags)
    assert lags[0] > 15
    assert lags[-1] > 50
    assert run.counter("traced_analysis_errors") == 3


def _raise(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a pass that cannot be run")


# ---------------------------------------------------------------------- what goes wrong


def test_what_a_failed_pass_was_to_look_at_is_looked_at_again() -> None:
    run = watched("web CLIENT b<a", late("web SERVER a", 60), late("web INTERNAL c<a", 80))
    good = run.analysis._passes.run
    for now in (31, 100):
        run.analysis._passes.run = _raise  # type: ignore[method-assign]
        run.at(now)
        run.at(now + 1)
        run.analysis._passes.run = good  # type: ignore[method-assign]
        run.at(now + 2)
    run.at(200)
    assert run.analysis.spans_analyzed() == {"web": 3}
    assert run.analysis.traces_analyzed == 1
    assert run.counts() == {}
    assert run.counters()["withdrawn", "orphan_span", "web", "", "local_loss"] == 1


def test_what_fails_again_and_again_is_given_up_and_counted_and_the_rest_goes_on() -> None:
    run = watched("web SERVER bad:a", late("web SERVER good:a", 100))
    good = run.analysis._passes.run
    run.analysis._passes.run = _raise  # type: ignore[method-assign]
    for now in (31, 32, 33):
        run.at(now)
    assert run.counter("traced_analysis_dropped", limit="failed_pass") == 1
    run.analysis._passes.run = good  # type: ignore[method-assign]
    run.at(200)
    assert run.analysis.spans_analyzed() == {"web": 1}


def test_a_store_that_cannot_be_read_for_a_while_loses_nothing() -> None:
    run = watched("web SERVER a", "web CLIENT b<a")
    window = run.store.window
    run.store.window = _raise  # type: ignore[method-assign]
    for now in range(31, 40):
        run.at(now)
    run.store.window = window  # type: ignore[method-assign]
    run.at(40)
    assert run.analysis.spans_analyzed() == {"web": 2}
    assert run.counter("traced_analysis_dropped", limit="failed_pass") == 0
    assert run.counter("traced_analysis_errors") == 9


def test_a_clock_that_is_set_back_stops_the_analysis_until_it_has_caught_up_and_the_lag_says_for_how_long() -> None:
    run = watched("web SERVER one:a", late("web SERVER two:a", 50), late("web SERVER three:a", 101))
    run.at(100)
    assert run.analysis.traces_analyzed == 2
    run.now = 40  # the store's clock does not go back: arrivals never do
    run.store.now = 101
    assert run.analysis.turn() is False
    assert run.lag == pytest.approx(60, abs=0.1)
    run.at(102)
    assert run.lag == 0
    run.at(140)
    assert run.analysis.traces_analyzed == 3
    assert run.counter("traced_analysis_errors") == 0


def test_a_state_that_cannot_be_saved_stops_nothing() -> None:
    run = watched("web SERVER a")
    run.store.save_state = _no_space  # type: ignore[method-assign]
    run.analysis._save()
    run.at(40)
    assert run.analysis.traces_analyzed == 1
    assert run.counter("traced_analysis_errors") == 1
    run.analysis._save()
    assert run.analysis.tallies().spans_analyzed == {"web": 1}, "a counter that stands still is worse than one that may fall"


@pytest.fixture
def _unlogged() -> Iterator[None]:
    """Spare the drawing of trace-backs, which takes a second each."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("traced.analysis.loop.log", structlog.wrap_logger(None, processors=[_drop]))
        yield


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


@pytest.mark.usefixtures("_unlogged")
@pytest.mark.parametrize("room", ["settling", "revisits", "passes", "ledger", "edges"])
def test_a_state_that_cannot_be_gathered_ends_no_thread(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = watched("web SERVER a", interval_seconds=0.01)
    run.now = run.store.now = 40
    monkeypatch.setattr(getattr(run.analysis, f"_{room}"), "dump", _raise)
    run.analysis.start()
    try:
        for _ in range(500):
            if run.counter("traced_analysis_errors"):
                break
            time.sleep(0.01)
        assert run.counter("traced_analysis_errors") > 0
        assert run.analysis.alive
    finally:
        run.analysis.close()
    assert "analysis" not in run.store.states
    assert run.analysis.tallies().spans_analyzed == {"web": 1}, "a counter that stands still is worse than one that may fall"


PARTS = [("edges", "add"), ("edges", "explain"), ("ledger", "record"), ("ledger", "resolve"), ("revisits", "note")]
"""What is done, in this order, with what a pass found."""
TWO_BATCHES = ["web SERVER x", "web CLIENT b<a", "cart SERVER c<b", late("web SERVER a", 60), late("web CLIENT y<z", 60)]


def _state_of(run: Any) -> Any:
    return run.findings(), run.graph(), run.counters(), run.edges.edges(0, 2**40), json.dumps(run.analysis._passes.dump())


@cache
def _smooth() -> dict[int, Any]:
    """Give the state after each batch of a run in which nothing fails."""
    run, states = watched(*TWO_BATCHES), {}
    for now in (31, 100):
        run.at(now)
        states[now] = _state_of(run)
    return states


@pytest.mark.usefixtures("_unlogged")
@pytest.mark.parametrize(("room", "part"), PARTS, ids=str)
def test_what_could_not_be_told_at_first_is_told_later_and_nothing_is_counted_or_learned_twice(room: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = watched(*TWO_BATCHES)
    for now, expected in _smooth().items():
        monkeypatch.setattr(getattr(run.analysis, f"_{room}"), part, _raise)
        run.at(now)
        run.analysis._save()
        assert "analysis" not in run.store.states, "half of a pass is not kept: a restart would not look at the rest again"
        monkeypatch.undo()
        run.at(now)
        assert _state_of(run) == expected
    assert run.counter("traced_analysis_dropped", limit="failed_pass") == 0
    assert run.counter("traced_analysis_errors") == 2
    run.analysis._save()
    assert run.store.states.keys() == {"analysis", "capture"}


@pytest.mark.usefixtures("_unlogged")
@pytest.mark.parametrize(("room", "part"), PARTS, ids=str)
def test_what_can_never_be_told_is_given_up_and_counted_and_the_rest_is_told(room: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = watched("cart SERVER b<x", late("web SERVER good:a", 100))
    monkeypatch.setattr(getattr(run.analysis, f"_{room}"), part, _raise)
    for now in (31, 32):
        run.at(now)
    assert run.counter("traced_analysis_dropped", limit="failed_pass") == 0
    run.at(33)
    assert run.counter("traced_analysis_dropped", limit="failed_pass") == 1
    run.at(34)
    assert run.analysis.spans_analyzed() == {"cart": 1}
    assert bool(run.counts()) == (part != "record")
    monkeypatch.undo()
    run.at(200)
    assert run.analysis.spans_analyzed() == {"web": 1, "cart": 1}
    assert run.graph()["user", "web", "virtual_node"] == (1, 0)
    assert run.counter("traced_analysis_dropped", limit="failed_pass") == 1


@pytest.mark.usefixtures("_unlogged")
def test_a_run_that_ends_while_something_is_untold_looks_at_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run = watched("cart SERVER b<x")
    monkeypatch.setattr(run.analysis._ledger, "record", _raise)
    run.at(31)
    monkeypatch.undo()
    run.restart()
    run.at(32)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    assert run.analysis.spans_analyzed() == {"cart": 1}


def test_no_counter_that_prometheus_saw_falls_by_a_crash_and_none_counts_twice() -> None:
    run = watched("web CLIENT one:b<a", "cart SERVER two:a", *(f"{line} @100s" for line in ("web CLIENT three:b<a", "cart SERVER four:a")))
    run.at(40)
    assert run.analysis.tallies() == Tallies(), "not saved yet: a crash would take it back"
    run.analysis._save()
    saved = run.analysis.tallies()
    assert saved.spans_analyzed == {"web": 1, "cart": 1}
    assert sum(saved.occurrences.values()) == 2
    assert [(e.key.client, e.counts.calls) for e in saved.edges if e.counts.calls] == [("user", 1)]
    run.at(140)
    assert run.analysis.tallies() == saved
    run.crash()
    assert run.analysis.tallies() == saved
    run.at(141)
    run.analysis._save()
    assert run.analysis.tallies().spans_analyzed == {"web": 2, "cart": 2}
    assert sum(run.analysis.tallies().occurrences.values()) == 4


def test_the_loop_saves_after_a_pass_that_looked_at_something_and_shows_the_counters_then() -> None:
    run = watched("web SERVER a")
    run.now = run.store.now = 40
    run.analysis.start()
    try:
        for _ in range(500):
            if run.analysis.tallies().spans_analyzed:
                break
            time.sleep(0.01)
        assert run.analysis.tallies().spans_analyzed == {"web": 1}
        assert "analysis" in run.store.states
    finally:
        run.analysis.close()


def _no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "state",
    [
        {},
        [],
        {"version": 99},
        {"version": 2},
        {"version": 2, "ledger": {}, "edges": [], "spans": {}},
        {"cut": 5, "held_since": 5},
        {"version": 2, "ledger": {"findings": [[1]], "occurrences": [], "tallies": [], "withdrawn": [], "missing": []}, "edges": [[]], "spans": {}},
    ],
    ids=["empty", "a list", "another version", "nothing inside", "half of it", "of an earlier form", "findings of another form"],
)
def test_a_state_that_cannot_be_read_is_as_none_and_everything_is_looked_at_again(state: Any) -> None:
    run = watched("cart SERVER b<x")
    run.at(40)
    run.analysis._save()
    run.store.load_state = lambda _: state  # type: ignore[method-assign]
    run.crash()
    assert run.counts() == {}
    run.at(41)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    assert run.analysis.spans_analyzed() == {"cart": 1}


def test_a_state_that_is_damaged_in_the_middle_leaves_nothing_of_it_behind() -> None:
    run = watched("cart SERVER b<x")
    run.at(40)
    run.analysis._save()
    whole = run.store.load_state("analysis")
    assert whole is not None
    whole["settling"] = {"cut": "soon"}
    run.store.load_state = lambda _: whole  # type: ignore[method-assign]
    run.crash()
    run.at(41)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    assert run.counters()["found", "orphan_span", "cart", "", "unknown"] == 1
    assert run.analysis.spans_analyzed() == {"cart": 1}
    assert run.analysis.traces_analyzed == 1


# ---------------------------------------------------------------------- restarts


def test_open_findings_counters_and_what_was_learned_go_on_after_a_restart() -> None:
    calls = [line for n in range(30) for line in (f"web CLIENT t{n}:a addr=cart", f"cart SERVER t{n}:b<a")]
    run = watched(*calls, "cart SERVER o:b<x", late("web CLIENT lost:a addr=cart", 100))
    run.at(40)
    before = run.findings(), run.graph(), run.analysis.spans_analyzed()
    run.restart()
    assert (run.findings(), run.graph(), run.analysis.spans_analyzed()) == before
    run.at(140)
    run.at(171)
    # what 30 calls taught before the restart tells what is missing after it, when its answer has been waited for in other traces too
    assert run.counts()["missing_server_span"] == 1
    assert sum(n for key, n in run.counters().items() if key[:3] == ("found", "orphan_span", "cart")) == 1


def test_a_crash_before_the_first_save_looks_at_everything_again() -> None:
    run = watched("cart SERVER b<x")
    run.at(40)
    run.crash()
    run.at(41)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    assert run.analysis.spans_analyzed() == {"cart": 1}


def test_how_many_traces_were_analysed_and_up_to_when_is_known_after_a_restart_though_nothing_new_comes() -> None:
    run = watched("cart SERVER a", late("cart SERVER two:a", 100))
    assert run.analysis.analyzed_until is None
    run.at(40)
    run.restart()
    assert run.analysis.traces_analyzed == 1
    assert run.analysis.analyzed_until == pytest.approx(EPOCH / 1e9 + 10)
    run.at(140)
    run.crash()
    assert run.analysis.traces_analyzed == 1, "what was not saved is looked at again"
    run.at(140)
    assert run.analysis.traces_analyzed == 2


def test_what_a_pass_that_failed_was_to_look_at_still_waits() -> None:
    run = watched("cart SERVER a", late("cart SERVER two:a", 100))
    run.at(40)
    run.analysis._passes.run = _raise  # type: ignore[method-assign]
    run.at(140)
    assert run.analysis.analyzed_until == pytest.approx(EPOCH / 1e9 + 10)
    seen = []
    run.analysis._passes.run = lambda *_, **__: seen.append(run.analysis.analyzed_until) or _raise()  # type: ignore[method-assign, func-returns-value]
    run.at(141)
    assert seen == [pytest.approx(EPOCH / 1e9 + 10)], "nor was it looked at while it is"


# ---------------------------------------------------------------------- resolving


def test_a_finding_is_resolved_after_inactivity_only_if_its_service_was_looked_at() -> None:
    run = watched("cart SERVER b<x", *(late(f"other SERVER t{n}:a", 100 * n) for n in range(1, 80)), late("cart SERVER later:a", 9000))
    for now in range(40, 8000, 200):
        run.at(now)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    run.at(9040)
    assert run.counts() == {}
    # a counter does not fall when a finding is resolved, and nothing was withdrawn
    assert run.counters()["found", "orphan_span", "cart", "", "unknown"] == 1
    assert ("withdrawn", "orphan_span", "cart", "", "unknown") not in run.counters()


def test_a_finding_that_goes_on_occurring_stays_open() -> None:
    run = watched(*(late(f"cart SERVER t{n}:b<x", 600 * n) for n in range(20)))
    for now in range(40, 12000, 200):
        run.at(now)
        assert run.counts()["orphan_span"] >= 1


def test_skew_stays_open_while_its_traces_are_looked_at_again() -> None:
    calls = [line for n in range(25) for line in (f"web CLIENT t{n}:a host=h1 +10ms ~20ms", f"cart SERVER t{n}:b<a host=h2 +2s ~16ms")]
    run = watched(*calls, *(late(f"cart INTERNAL t{n}:c<b host=h2", 100) for n in range(25)))
    run.at(40)
    run.at(140)
    assert run.counts() == {"clock_skew": 1, "root_client_span": 25}


# ---------------------------------------------------------------------- the thread


def test_the_thread_runs_passes_and_closing_saves_where_it_was() -> None:
    run = watched("web SERVER a", settle_seconds=0, interval_seconds=0.01)
    run.now = run.store.now = 10
    analysis: Analysis = run.analysis
    analysis.start()
    try:
        for _ in range(500):
            if analysis.traces_analyzed:
                break
            analysis._closing.wait(0.01)
        assert analysis.alive
    finally:
        analysis.close()
    assert analysis.traces_analyzed == 1
    assert not analysis.alive
    assert run.store.load_state("analysis")["spans"] == {"web": 1}  # type: ignore[index]
