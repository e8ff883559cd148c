"""Halves of calls wait for their other half, whichever comes first, and what was said of them is taken back when it no longer holds."""

from __future__ import annotations

from arrivals import Watched, watched
from test_settling import late

CALLS = [
    line
    for n in range(30)
    for line in (
        f"web SERVER t{n}:a +{3 * n}s",
        f"web CLIENT t{n}:b<a addr=cart +{3 * n + 0.001:.3f}s ~90ms",
        f"cart SERVER t{n}:c<b +{3 * n + 0.002:.3f}s ~88ms",
    )
]
CALLER = ["web SERVER n:a +100s", "web CLIENT n:b<a addr=cart +100.001s ~90ms"]
RECEIVER = "cart SERVER m:c +100.002s ~88ms"


def counts(run: Watched) -> dict[str, int]:
    """Give what is open of the two detectors."""
    return {name: n for name, n in run.counts().items() if name in ("broken_propagation", "missing_server_span")}


def test_a_receiver_that_comes_after_its_caller_was_looked_at_is_named_and_nothing_was_said_meanwhile() -> None:
    run = watched(*CALLS, *CALLER, late(RECEIVER, 20))
    for now in range(31, 80, 5):
        run.at(now)
        assert counts(run) in ({}, {"broken_propagation": 1})
    run.at(85)
    assert counts(run) == {"broken_propagation": 1}
    assert not any(key[:2] == ("found", "missing_server_span") for key in run.counters())


def test_a_caller_that_comes_after_its_receiver_was_looked_at_is_named() -> None:
    run = watched(*CALLS, RECEIVER, *[late(line, 20) for line in CALLER])
    run.at(31)
    run.at(51)
    run.at(90)
    assert counts(run) == {"broken_propagation": 1}


def test_a_call_that_nobody_answered_is_told_when_it_was_waited_for() -> None:
    run = watched(*CALLS, *CALLER)
    run.at(31)
    assert counts(run) == {}
    run.at(62)
    assert counts(run) == {"missing_server_span": 1}


def test_a_receiver_that_comes_minutes_later_takes_back_that_it_was_missing() -> None:
    run = watched(*CALLS, *CALLER, late(RECEIVER, 200))
    run.at(31)
    run.at(70)
    assert counts(run) == {"missing_server_span": 1}
    run.at(231)
    run.at(262)
    assert counts(run) == {"broken_propagation": 1}
    assert run.counters()["withdrawn", "missing_server_span", "web", "cart", "callee_loss"] == 1


def test_an_answer_that_comes_late_in_the_callers_own_trace_takes_back_that_the_context_was_lost() -> None:
    run = watched(*CALLS, *CALLER, RECEIVER, late("cart SERVER n:d<b +100.002s ~88ms", 200))
    run.at(31)
    run.at(62)
    assert counts(run) == {"broken_propagation": 1}
    run.at(231)
    assert counts(run) == {}
    assert run.counters()["withdrawn", "broken_propagation", "cart", "web", "unknown"] == 1


def test_a_late_span_that_changes_nothing_leaves_what_was_said() -> None:
    run = watched(*CALLS, *CALLER, RECEIVER, late("web INTERNAL n:i<a +100.05s", 200), late("cart INTERNAL m:j<c +100.05s", 300))
    run.at(31)
    run.at(62)
    before = run.findings()
    for now in (231, 262, 331, 362):
        run.at(now)
        assert run.findings() == before
    assert counts(run) == {"broken_propagation": 1}
    assert not any(key[0] == "withdrawn" for key in run.counters())


def test_a_lost_answer_is_told_once_it_is_known_that_such_calls_are_answered() -> None:
    run = watched(*CALLER, *[late(line, 50) for line in CALLS])
    run.at(31)
    run.at(62)
    assert counts(run) == {}
    run.at(92)
    assert counts(run) == {"missing_server_span": 1}
    for now in (200, 400, 632, 800):
        run.at(now)
    assert counts(run) == {"missing_server_span": 1}
    assert run.counters()["found", "missing_server_span", "web", "cart", "callee_loss"] == 1
    assert not any(key[:2] == ("withdrawn", "missing_server_span") for key in run.counters())


def test_what_was_said_of_a_call_is_taken_back_once_such_calls_are_seldom_answered() -> None:
    unanswered = [f"web CLIENT u{n}:b addr=cart +{200 + 3 * n}s ~90ms" for n in range(30)]
    run = watched(*CALLS, *CALLER, *[late(line, 70) for line in unanswered])
    run.at(31)
    run.at(62)
    assert counts(run) == {"missing_server_span": 1}
    for now in (101, 132, 200, 632, 700):
        run.at(now)
    assert counts(run) == {}
    assert run.counters()["withdrawn", "missing_server_span", "web", "cart", "callee_loss"] == 1


def test_which_side_loses_contexts_is_said_anew_once_it_is_known_who_works_elsewhere() -> None:
    alone = [line.replace("<b", "").replace(" t", " w") if "SERVER" in line and "<b" in line else line for line in CALLS]
    others = [line.replace("web", "gate").replace(" t", " o") for line in CALLS]
    run = watched(*alone, *[late(line, 100) for line in others])
    run.at(31)
    run.at(62)
    causes = [(f.cause, f.count) for f in run.ledger.findings() if f.id == "broken_propagation"]
    assert causes == [("unknown", 30)]
    for now in (131, 162):
        run.at(now)
    assert [(f.cause, f.count) for f in run.ledger.findings() if f.id == "broken_propagation"] == [("not_injected", 30)]
    assert run.counters()["withdrawn", "broken_propagation", "cart", "web", "unknown"] == 30


def test_a_caller_that_comes_minutes_later_is_named_though_nobody_had_called_the_operation_before() -> None:
    alone = [line.replace("<b", "").replace(" t", " w") for line in CALLS if "SERVER" in line and "<b" in line]
    callers = [line for line in CALLS if "<b" not in line]
    known = ["gate CLIENT k:b addr=10.0.0.9"]  # a caller that nobody answered: without any, no entry point is kept
    run = watched(*alone, *known, *[late(line, 0 if int(line.split("t")[1].split(":")[0]) < 20 else 200) for line in callers])
    run.at(31)
    run.at(62)
    assert counts(run) == {"broken_propagation": 20}
    for now in (231, 262):
        run.at(now)
    assert counts(run) == {"broken_propagation": 30}


def test_halves_above_the_limit_are_let_go_and_counted(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("traced.analysis.propagation.MAX_WAITING", 10)
    run = watched(*CALLS, *[f"web CLIENT n{n}:b addr=cart +{100 + n}s ~90ms" for n in range(25)])
    run.at(31)
    run.at(62)
    assert run.counter("traced_analysis_dropped", limit="waiting_halves") == 15 + 20  # callers, and entry points
    assert counts(run) == {}


ASKED = [
    line
    for n in range(40)
    for line in (f"web SERVER q{n}:w request=r{n} +{2 * n}s ~90ms", f"cart SERVER q{n}.2:c request=r{n} +{2 * n + 0.003 + n % 7 / 10000:.4f}s ~60ms")
]
"""Calls between services without CLIENT spans, of which no context arrives: only the requests' ids tell who called."""


def test_halves_that_only_the_id_of_their_request_joins_are_named_whichever_comes_first() -> None:
    for first in ("web", "cart"):
        run = watched(*[line if line.startswith(first) else late(line, 45) for line in ASKED])
        run.at(31)
        assert counts(run) == {}
        for now in (76, 110):
            run.at(now)
        assert counts(run) == {"broken_propagation": 40}, first
        assert {f.peer for f in run.ledger.findings() if f.id == "broken_propagation"} == {"web"}


def test_a_server_that_might_have_called_is_not_said_to_miss_an_answer() -> None:
    run = watched(*ASKED[::2], late(ASKED[1].replace("q0", "p0").replace("request=r0", "request=another"), 45))
    for now in (31, 76, 110, 700):
        run.at(now)
    assert run.counts() == {}


def test_servers_beyond_the_limit_do_not_wait_for_a_receiver_and_are_counted(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("traced.analysis.standby.MAX_STANDBY", 10)
    run = watched(*[line if line.startswith("web") else late(line, 45) for line in ASKED])
    for now in (31, 76, 110):
        run.at(now)
    assert counts(run) == {}
    assert run.counter("traced_analysis_dropped", limit="standby") == 30
