"""When a trace is looked at, and what becomes of what was said of it when more of it comes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from arrivals import Watched, watched
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from spans import EPOCH
from thorough import rounds

CART = ["web SERVER a", "web CLIENT b<a", "cart SERVER c<b"]


def late(line: str, seconds: float) -> str:
    """Let a line's span arrive later."""
    return f"{line} @{seconds}s"


# ---------------------------------------------------------------------- quiet


def test_a_trace_is_looked_at_once_it_has_been_quiet_for_the_settle_time() -> None:
    run = watched(*CART)
    run.at(29)
    assert run.analysis.traces_analyzed == 0
    run.at(31)
    assert run.analysis.traces_analyzed == 1
    assert run.analysis.spans_analyzed() == {"web": 2, "cart": 1}
    assert run.graph() == {("user", "web", "virtual_node"): (1, 0), ("web", "cart", ""): (1, 0)}
    for later in (33, 60, 3600):
        run.at(later)
    assert run.analysis.traces_analyzed == 1
    assert run.graph()["web", "cart", ""] == (1, 0)


def test_a_trace_that_still_grows_waits_and_is_counted_as_waiting() -> None:
    run = watched("web SERVER a", *[late(f"web INTERNAL i{n}<a", 20 * n) for n in range(1, 6)])
    for now in (35, 60, 90, 120, 129):
        run.at(now)
        assert run.analysis.traces_analyzed == 0
    assert run.analysis.waiting_traces == 1
    run.at(131)
    assert run.analysis.traces_analyzed == 1
    assert run.analysis.waiting_traces == 0
    assert run.analysis.spans_analyzed() == {"web": 6}


def test_with_a_settle_time_of_zero_a_trace_is_looked_at_at_once() -> None:
    run = watched(late("web CLIENT b<a", 1), late("web SERVER a", 5), settle_seconds=0)
    run.at(2)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    run.at(6)
    assert run.counts() == {}
    assert run.counter("traced_traces_analyzed") == 1
    assert run.counter("traced_traces_reanalyzed") == 1


@pytest.mark.parametrize("parent_comes", [35, 600, 3000])
def test_a_late_parent_withdraws_what_was_said_and_counters_stay_honest(parent_comes: int) -> None:
    run = watched("web CLIENT b<a", "cart SERVER c<b", late("web SERVER a", parent_comes))
    run.at(31)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    before = run.counters()
    run.at(parent_comes + 29)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    run.at(parent_comes + 31)
    assert run.counts() == {}
    assert run.graph() == {("user", "web", "virtual_node"): (1, 0), ("web", "cart", ""): (1, 0)}
    after = run.counters()
    assert all(after[k] >= n for k, n in before.items())
    assert after["found", "orphan_span", "web", "", "local_loss"] == after["withdrawn", "orphan_span", "web", "", "local_loss"] == 1
    assert run.analysis.spans_analyzed() == {"web": 2, "cart": 1}
    assert run.analysis.traces_analyzed == 1


def test_a_late_span_that_explains_nothing_withdraws_nothing_and_counts_nothing_twice() -> None:
    run = watched("web CLIENT b<a", late("web INTERNAL i<b", 100))
    run.at(31)
    run.at(140)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    assert run.counters()["found", "orphan_span", "web", "", "local_loss"] == 1
    assert run.counters()["missing", "web", "local_loss"] == 1
    assert ("withdrawn", "orphan_span", "web", "", "local_loss") not in run.counters()
    assert run.analysis.spans_analyzed() == {"web": 2}


def test_a_late_server_takes_the_place_of_the_virtual_node_that_was_drawn() -> None:
    run = watched("web SERVER a", "web CLIENT b<a addr=10.0.0.7", late("cart SERVER c<b ~300ms", 60))
    run.at(31)
    assert ("web", "10.0.0.7", "virtual_node") in run.graph()
    before = run.counters()
    run.at(100)
    assert run.graph() == {("user", "web", "virtual_node"): (1, 0), ("web", "cart", ""): (1, 0)}
    assert all(run.counters()[k] >= n for k, n in before.items())


def test_a_ghost_of_before_becomes_the_service_once_its_address_is_known() -> None:
    run = watched(
        "web CLIENT one:a addr=10.0.0.7",
        "web CLIENT two:a peer=stock",
        late("web CLIENT three:a addr=10.0.0.7", 100),
        late("cart SERVER three:b<a", 100),
        late("stock SERVER four:b", 100),
    )
    run.at(31)
    assert {k[1:] for k in run.graph()} == {("10.0.0.7", "virtual_node"), ("stock", "virtual_node")}
    run.at(140)
    assert run.graph() == {("web", "cart", ""): (2, 0), ("web", "stock", ""): (1, 0), ("user", "stock", "virtual_node"): (1, 0)}


def test_a_nameless_span_counts_once_though_a_late_parent_names_it() -> None:
    run = watched(*[f"- INTERNAL i{n}<a" for n in range(5)], late("web SERVER a", 60))
    run.at(31)
    run.at(100)
    assert sum(run.analysis.spans_analyzed().values()) == 6


def test_a_repeat_of_a_trace_that_was_looked_at_tells_its_duplicate_and_withdraws_nothing() -> None:
    run = watched("cart SERVER b<x", late("cart SERVER b<x", 100), late("cart SERVER b<x", 200))
    run.at(31)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    run.at(131)
    run.at(231)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1, "duplicate_span": 1}
    assert run.analysis.spans_analyzed() == {"cart": 1}
    assert ("withdrawn", "orphan_span", "cart", "", "unknown") not in run.counters()


def test_a_repeat_of_a_trace_that_is_forgotten_does_not_withdraw_what_was_found() -> None:
    run = watched("cart SERVER b<x", late("cart SERVER b<x", 10_000), late_window_seconds=600, settle_seconds=1)
    run.at(5)
    run.at(9_000)
    run.restart()  # what was looked at so long ago is not remembered
    run.at(10_005)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1, "duplicate_span": 1}


def test_a_repeat_is_counted_once_for_its_instance_however_often_its_trace_is_looked_at() -> None:
    run = watched("web SERVER a instance=i", late("web SERVER a instance=i", 40), *[late(f"web INTERNAL i{n}<a instance=i", 100 * n) for n in range(1, 6)])
    for now in range(31, 700, 50):
        run.at(now)
    table = run.analysis._passes.history.tables([("web", "i")])["instance_history"].to_pylist()
    assert table == [{"service": "web", "instance": "i", "spans": 6, "repeats": 1}]


def test_calls_are_counted_once_in_the_history_however_often_their_trace_is_looked_at() -> None:
    run = watched("web SERVER a", "web CLIENT b<a addr=x", *[late(f"web INTERNAL i{n}<a", 100 * n) for n in range(1, 4)], late("cart SERVER c<b", 400))
    for now in range(31, 331, 50):
        run.at(now)
        assert run.analysis._passes.history.tables()["slot_history"].num_rows == 0
    run.at(450)
    (slot,) = run.analysis._passes.history.tables()["slot_history"].to_pylist()
    assert (slot["callee"], slot["answered"], slot["calls"]) == ("cart", 1, 1)


def test_a_call_that_a_late_span_shows_otherwise_is_another_one_in_the_minute_in_which_it_was_counted() -> None:
    # two SERVERs under one CLIENT: each call fails by its own status
    run = watched("web SERVER one:a", "web CLIENT one:b<a err", "cart SERVER one:c<b", late("cart SERVER one:d<b", 300), *WELL)
    run.at(31)
    assert run.graph()["web", "cart", ""] == (1, 1)
    run.at(400)
    assert run.graph()["web", "cart", ""] == (4, 0)
    first, last = ({(e.key.client, e.key.server): (e.counts.calls, e.counts.errors) for e in run.edges.edges(*_minute(at))} for at in (0, 300))
    assert first["web", "cart"] == (2, 0)
    assert last["web", "cart"] == (2, 0)
    assert [(e.key, e.counts.calls) for e in run.edges.edges(0, 2**40)] == [(e.key, e.counts.calls) for e in run.edges.edges(None, None)]


WELL = [late(line, 301) for n in range(2) for line in (f"web CLIENT w{n}:a", f"cart SERVER w{n}:b<a")]


def _minute(seconds: float) -> tuple[float, float]:
    """Give the minute in which a time of arrival lies."""
    begin = (EPOCH // 10**9 + seconds) // 60 * 60
    return begin, begin + 59


# ---------------------------------------------------------------------- never quiet


def test_a_trace_that_is_never_quiet_is_looked_at_after_max_open_and_nothing_is_called_absent_in_it() -> None:
    lines = ["web INTERNAL i0<root", *[late(f"web INTERNAL i{n}<root", 10 * n) for n in range(1, 60)]]
    run = watched(*lines, max_open_seconds=200)
    for now in range(31, 600, 7):
        run.at(now)
        assert run.counts().keys() <= {"span_flood"}
    assert run.analysis.traces_analyzed == 1
    assert 0 < sum(run.analysis.spans_analyzed().values()) < 60
    assert run.counter("traced_analysis_dropped", limit="max_open_seconds") >= 2
    run.at(700)
    assert run.counts() == {"orphan_span": 60, "missing_root_span": 1, "span_flood": 1}
    assert run.analysis.spans_analyzed() == {"web": 60}


def test_when_too_much_is_held_the_oldest_traces_are_let_go_and_counted() -> None:
    lines = [line for n in range(300) for line in (late(f"web SERVER t{n}:a", n / 100), *[late(f"web INTERNAL t{n}:i{k}<a", 5 * k) for k in range(1, 12)])]
    run = watched(*lines, max_spans_per_pass=1000)
    for now in range(31, 60, 2):
        run.at(now)
        held = run.analysis._settling._place.spans
        assert held is None or held.num_rows <= 1000
    assert run.counter("traced_analysis_dropped", limit="max_held_spans") > 0
    run.at(200)
    assert run.analysis.spans_analyzed() == {"web": 3600}
    assert run.analysis.traces_analyzed == 300
    assert run.counts() == {"span_flood": 300}


def test_a_span_later_than_the_late_window_is_not_judged_without_the_others_and_withdraws_nothing() -> None:
    run = watched("web SERVER a", "cart SERVER b<x", late("web CLIENT c<a", 5000), late_window_seconds=600)
    run.at(31)
    assert run.counts() == {"orphan_span": 1}
    run.at(5040)
    # its parent is older than what is looked at: no orphan, and the other one stays
    assert run.counts() == {"orphan_span": 1}
    assert run.counter("traced_analysis_dropped", limit="late_window_seconds") == 1
    assert run.analysis.spans_analyzed() == {"web": 2, "cart": 1}


def test_a_giant_trace_is_marked_and_makes_no_absence_claims() -> None:
    run = watched("web SERVER root", *[f"web INTERNAL i{n}<gone +{n}ms" for n in range(150)], max_spans_per_trace=100)
    run.at(40)
    assert run.counter("traced_traces_truncated") == 1
    assert run.counter("traced_traces_analyzed", complete="false") == 1
    assert run.counts() == {"span_flood": 1}
    assert run.analysis.spans_analyzed() == {"web": 100}


def test_of_a_giant_trace_of_which_spans_still_come_the_first_are_looked_at_and_it_is_never_read_again() -> None:
    lines = [late(f"web INTERNAL i{n}<gone", n / 10) for n in range(3000)]
    run = watched(*lines, "cart SERVER other:a", late("cart INTERNAL other:b<a", 250), max_spans_per_trace=100, max_spans_per_pass=1000, settle_seconds=5)
    for now in range(6, 330, 5):
        run.at(now)
        held = run.analysis._settling._place.spans
        assert held is None or held.num_rows <= 150, "no more than is looked at, and what came since the last pass"
    assert run.analysis.spans_analyzed() == {"web": 100, "cart": 2}
    assert run.counter("traced_analysis_dropped", limit="max_spans_per_trace") == 2900
    assert run.counter("traced_traces_truncated") == 1
    assert run.counter("traced_traces_analyzed", complete="false") == 1
    assert run.counts() == {"span_flood": 1}, "nothing is called absent in it"
    assert run.store.reread == [2], "the other trace's"


def test_a_trace_that_grows_into_a_giant_keeps_what_was_looked_at_and_takes_in_the_rest_of_what_is() -> None:
    first = [f"web INTERNAL i{n}<a +{1000 + n}ms" for n in range(60)]
    calls = [late(line, 100) for n in range(60) for line in (f"web CLIENT b{n}<a", f"cart SERVER c{n}<b{n}")]
    run = watched("web SERVER a", *first, *calls, late("web SERVER more<a", 200), late("web SERVER evenmore<a", 300), max_spans_per_trace=100)
    run.at(40)
    assert run.graph() == {("user", "web", "virtual_node"): (1, 0)}
    before = run.counters()
    run.at(140)
    # what was looked at first stays, though all of the later ones began before it
    assert sum(run.analysis.spans_analyzed().values()) == 100
    assert run.graph()["user", "web", "virtual_node"] == (1, 0)
    assert run.counter("traced_traces_truncated") == 1
    assert run.counter("traced_analysis_dropped", limit="max_spans_per_trace") == 61 + 120 - 100
    for now in (240, 340):
        run.at(now)
    assert run.store.reread == [61 + 120]
    assert run.counter("traced_analysis_dropped", limit="max_spans_per_trace") == 61 + 122 - 100
    assert all(run.counters()[k] >= n for k, n in before.items())


def test_a_giant_stays_one_across_a_restart_and_until_nothing_came_for_the_late_window() -> None:
    lines = [f"web INTERNAL i{n}<gone" for n in range(150)]
    run = watched(
        *lines,
        *[late(f"web INTERNAL j{n}<gone", 100 * n) for n in range(1, 9)],
        late("web INTERNAL k<gone", 2000),
        max_spans_per_trace=100,
        late_window_seconds=600,
    )
    for now in (40, 140, 240, 340):
        run.at(now)
    run.restart()
    for now in (440, 540, 640, 740, 840):
        run.at(now)
    assert run.store.reread == []
    run.at(2040)
    assert run.analysis.spans_analyzed() == {"web": 101}, "the last one is a trace of its own by now"
    assert run.counts().keys() == {"span_flood"}, "with its other spans out of reach"


def test_what_was_left_out_is_counted_once_though_the_pass_fails_at_first() -> None:
    run = watched(*[f"web INTERNAL i{n}<gone" for n in range(150)], *[late(f"web INTERNAL j{n}<gone", 100) for n in range(30)], max_spans_per_trace=100)
    good = run.analysis._passes.run
    for now in (31, 131):
        run.analysis._passes.run = _fails  # type: ignore[method-assign]
        run.at(now)
        run.at(now + 1)
        run.analysis._passes.run = good  # type: ignore[method-assign]
        run.at(now + 2)
    assert run.counter("traced_analysis_dropped", limit="max_spans_per_trace") == 80
    assert run.analysis.spans_analyzed() == {"web": 100}
    assert run.counter("traced_traces_truncated") == 1


def _fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a pass that cannot be run")


def test_a_repeat_of_a_giant_is_told_and_does_not_read_it_again() -> None:
    run = watched("web SERVER a", *[f"web INTERNAL i{n}<a" for n in range(150)], late("web SERVER a", 100), max_spans_per_trace=100)
    run.at(40)
    run.at(140)
    assert run.counts() == {"span_flood": 1, "duplicate_span": 1}
    assert run.store.reread == []


def test_a_giant_is_not_revisited_though_something_of_it_was_undecided() -> None:
    run = watched("cart SERVER b<x", *[late(f"cart INTERNAL i{n}<b", 35) for n in range(150)], max_spans_per_trace=100)
    run.at(31)
    assert run.counts() == {"missing_root_span": 1, "orphan_span": 1}
    for now in (70, 100, 140, 700, 1300):
        run.at(now)
    assert run.store.reread == [151]
    assert run.counts()["orphan_span"] == 1, "nothing is withdrawn of what was not looked at whole"


def test_reopened_traces_are_read_no_more_than_fit_into_a_pass_and_the_others_wait() -> None:
    lines = [line for n in range(50) for line in (f"web CLIENT t{n}:b<a", *[f"web INTERNAL t{n}:i{k}<b" for k in range(49)])]
    roots = [late(f"web SERVER t{n}:a", 40 + n / 100) for n in range(50)]
    run = watched(*lines, *roots, max_spans_per_pass=1000)
    run.at(31)
    assert run.counts()["orphan_span"] == 50
    run.at(80)
    assert max(run.store.reread) <= 1000
    assert sum(run.store.reread) == 50 * 51, "each once"
    assert run.counts().keys() == {"span_flood"}
    assert run.graph() == {("user", "web", "virtual_node"): (50, 0)}
    assert run.analysis.spans_analyzed() == {"web": 51 * 50}
    assert run.counter("traced_traces_reanalyzed") == 50
    assert run.analysis.waiting_traces == 0


def test_a_trace_that_is_larger_than_a_pass_is_read_alone() -> None:
    lines = [line for n in range(3) for line in (f"web CLIENT t{n}:b<a", *[f"web INTERNAL t{n}:i{k}<b" for k in range(1200)])]
    run = watched(*lines, *[late(f"web SERVER t{n}:a", 40) for n in range(3)], max_spans_per_pass=1000)
    run.at(31)
    run.at(80)
    assert run.store.reread == [1202] * 3
    assert run.counts().keys() == {"span_flood"}


def test_what_waits_for_a_later_pass_waits_across_a_restart_and_a_failure_too() -> None:
    lines = [line for n in range(50) for line in (f"web CLIENT t{n}:b<a", *[f"web INTERNAL t{n}:i{k}<b" for k in range(49)])]
    run = watched(*lines, *[late(f"web SERVER t{n}:a", 40) for n in range(50)], max_spans_per_pass=1000)
    run.at(31)
    run.now = run.store.now = 80
    while not run.analysis._settling.put_off:
        run.analysis.turn()
    good = run.analysis._passes.run
    run.analysis._passes.run = _fails  # type: ignore[method-assign]
    run.analysis.turn()
    run.analysis._passes.run = good  # type: ignore[method-assign]
    run.restart()
    assert run.analysis.waiting_traces > 0
    run.at(85)
    assert run.counts().keys() == {"span_flood"}
    assert run.analysis.spans_analyzed() == {"web": 51 * 50}
    assert run.counter("traced_traces_reanalyzed") < 50


def test_revisits_wait_too_where_there_is_too_much_to_read() -> None:
    lines = [line for n in range(50) for line in (f"cart SERVER t{n}:b<x", *[f"cart INTERNAL t{n}:i{k}<b" for k in range(49)])]
    run = watched(*lines, max_spans_per_pass=1000)
    run.at(31)
    run.at(95)
    assert max(run.store.reread) <= 1000
    assert sum(run.store.reread) >= 50 * 50
    assert run.counter("traced_traces_reanalyzed") == sum(run.store.reread) / 50


# ---------------------------------------------------------------------- whatever comes, whenever

LINES = [
    "web SERVER one:a", "web CLIENT one:b<a", "cart SERVER one:c<b", "cart CLIENT one:d<c db=mysql", "cart SERVER one:e<x", "web INTERNAL one:f<b",
    "- INTERNAL one:g<a", "shop PRODUCER two:p", "billing CONSUMER two:k<p", "billing CONSUMER three:l ->two:p", "web CLIENT three:m peer=cart",
    "stock SERVER four:n<z", "stock CLIENT four:o<n err", "stock CLIENT four:q<r", "web CLIENT four:r<q", "web CLIENT five:s peer=bank err",
    "pay CLIENT six:t", "pay SERVER six:t<t", "pay INTERNAL six:u<t", "web UNSPECIFIED six:v peer=stock",
]  # fmt: skip


SLOW = settings(max_examples=rounds(6, 30), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.too_slow])
"""Without shrinking: each example takes a dozen passes."""


@st.composite
def deliveries(draw: st.DrawFn) -> list[str]:
    """Draw lines with times of arrival, some of them sent twice."""
    chosen = draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=12, unique=True))
    repeated = draw(st.lists(st.sampled_from(chosen), max_size=2))
    return [late(line, draw(st.integers(0, 40)) * 5) for line in [*chosen, *repeated]]


def _final(run: Watched) -> tuple[Any, ...]:
    return run.findings(), run.graph(), sum(run.analysis.spans_analyzed().values()), run.counter("traced_traces_analyzed")


@SLOW
@given(deliveries(), st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_the_final_state_is_that_of_a_run_in_which_everything_came_at_once_and_no_counter_ever_falls(lines: list[str], steps: list[int]) -> None:
    run, now, before = watched(*lines, settle_seconds=20), 0.0, dict[Any, float]()
    for step in [*steps, 1000]:
        now += step
        run.at(now)
        after = run.counters()
        assert all(after[k] >= n - 1e-9 for k, n in before.items())
        before = after
        # what is open is what was found, less what was withdrawn
        tallies = run.ledger.tallies()
        assert sum(run.counts().values()) == sum(tallies.occurrences.values()) - sum(tallies.withdrawn.values())
    once = watched(*(line.rpartition(" @")[0] for line in lines), settle_seconds=20)
    once.at(1000)
    assert _final(run) == _final(once)


@SLOW
@given(deliveries(), st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["", "restart", "crash", "save"])), min_size=2, max_size=10))
def test_restarts_and_crashes_lose_nothing_and_count_nothing_twice(lines: list[str], steps: list[tuple[int, str]]) -> None:
    run, now = watched(*lines, settle_seconds=20), 0.0
    before = run.shown()
    for step, event in [*steps, (1000, "")]:
        now += step
        run.at(now)
        if event == "save":
            run.analysis._save()
        elif event:
            run.restart() if event == "restart" else run.crash()
        after = run.shown()
        assert all(after[k] >= n - 1e-9 for k, n in before.items()), "what Prometheus saw has fallen"
        before = after
    once = watched(*(line.rpartition(" @")[0] for line in lines), settle_seconds=20)
    once.at(1000)
    assert _final(run)[:3] == _final(once)[:3]


def test_a_held_trace_is_held_across_a_restart_and_its_spans_are_fresh_when_it_is_quiet() -> None:
    run = watched("web SERVER a", late("web INTERNAL b<a", 20), late("web SERVER other:z", 1), late("web INTERNAL c<a", 40))
    run.at(45)
    assert run.analysis.waiting_traces == 1
    run.restart()
    assert run.analysis.waiting_traces == 1
    assert run.analysis.traces_analyzed == 1, "the other one"
    run.at(80)
    assert run.counter("traced_traces_analyzed", complete="true") == 1
    assert run.counter("traced_traces_reanalyzed") == 0
    assert run.analysis.spans_analyzed() == {"web": 4}


def test_a_reopened_trace_that_is_held_across_a_restart_is_still_a_reopened_one() -> None:
    run = watched("web CLIENT b<a", late("web SERVER a", 100), late("web INTERNAL c<a", 125), late("web SERVER held:z", 99), late("web INTERNAL held:y<z", 124))
    run.at(50)
    run.at(135)
    assert run.analysis.waiting_traces == 2
    run.restart()
    run.at(200)
    assert run.counts() == {}
    assert run.counter("traced_traces_reanalyzed") == 1
    assert run.counter("traced_traces_analyzed", complete="true") == 1
    assert run.analysis.spans_analyzed() == {"web": 5}
    assert run.graph() == {("user", "web", "virtual_node"): (2, 0)}


def test_shuffled_spans_of_many_traces_settle_to_the_same() -> None:
    chance = random.Random(5)
    lines = [
        line
        for n in range(40)
        for line in (f"web SERVER t{n}:a", f"web CLIENT t{n}:b<a", f"cart SERVER t{n}:c<b", f"cart INTERNAL t{n}:d<{'c' if n % 4 else 'x'}")
    ]
    run = watched(*(late(line, chance.randint(0, 120)) for line in lines), settle_seconds=15)
    for now in range(5, 300, 11):
        run.at(now)
    assert run.counts() == {"orphan_span": 10}
    assert run.graph() == {("user", "web", "virtual_node"): (40, 0), ("web", "cart", ""): (40, 0)}
    assert run.analysis.spans_analyzed() == {"web": 80, "cart": 80}
