"""From measurements to what a finding says, over passes, late counts and restarts."""

from __future__ import annotations

import json
from typing import Any

from arrivals import watched
from looking import NOW, Seen, new_passes
from metric_requests import dropped, request
from spans import EPOCH, many, spans

from traced.analysis.inbox import Inbox
from traced.analysis.wording import wording
from traced.config import FindingsSettings, load
from traced.detectors.orphan_span import fix, sentence
from traced.file_analysis import analyze_requests
from traced.findings.ledger import Ledger
from traced.model.batch import Signal
from traced.model.input import InputRequest
from traced.model.measurement import Measurement, Quantity, Temporality
from traced.telemetry import Telemetry

SECOND = 1_000_000_000
SELF_METRICS = request(dropped(412, time=EPOCH + 20 * SECOND), **{"service.name": "web", "service.instance.id": "web-1"})
HABITS = many(25, "web CLIENT c", "cart SERVER s<c remote")
ORPHANS = ["web SERVER lost:a", "cart SERVER lost:b<x remote +5s"]


def measured(value: int, quantity: Quantity = Quantity.DROPPED, until: int = 10, **changed: Any) -> Measurement:
    facts: dict[str, Any] = {
        "service": "web",
        "instance": "web-1",
        "quantity": quantity,
        "reason": "queue_full",
        "component": "",
        "origin": "",
        "series": str(quantity),
        "temporality": Temporality.CUMULATIVE,
        "start_time_unix_nano": EPOCH,
        "time_unix_nano": EPOCH + until * SECOND,
        "value": value,
    }
    return Measurement(**{**facts, **changed})


def look(*points: Measurement) -> Seen:
    passes = new_passes()
    passes.losses.turn(NOW)
    passes.losses.learn(points)
    given = spans(*HABITS, *ORPHANS)
    return Seen(passes.run(given.settled(), NOW), given, passes)


def test_the_finding_says_who_lost_how_many_why_and_what_to_do() -> None:
    capacity = measured(64, Quantity.QUEUE_CAPACITY, reason="", temporality=Temporality.LEVEL)
    (found,) = look(measured(412), capacity).found("orphan_span").values()
    assert (found.cause, found.peer, found.confidence) == ("upstream_loss", "web", 0.99)
    assert sentence(found, 1) == (
        "1 'cart server' span names a parent that never arrived: a span of web was lost; the exporter of web (instance web-1) dropped 412 spans, queue full."
    )
    assert fix(found) == (
        "Enlarge the queue of web (OTEL_BSP_MAX_QUEUE_SIZE, now 64), or export more often (OTEL_BSP_SCHEDULE_DELAY); see whether its endpoint is slow."
    )
    expected = {"lost_by": "web", "lost_instance": "web-1", "lost_how": "dropped", "lost_reason": "queue_full", "lost_spans": 412, "queue_capacity": 64}
    assert {name: found.context[name] for name in expected} == expected
    assert found.context["lost_since"] == "2023-11-14T22:13:20.000000000Z"
    assert json.loads(json.dumps(found.context)) == found.context


def test_every_reason_has_its_words_and_its_fix() -> None:
    (found,) = look(measured(3, reason="already_shutdown")).found("orphan_span").values()
    assert sentence(found, 1).endswith("a span of web was lost; the exporter of web (instance web-1) dropped 3 spans, already shut down.")
    assert fix(found) == "Let web end its spans before it shuts its SDK down."
    (found,) = look(measured(3, Quantity.EXPORT_FAILED, reason="UNAVAILABLE")).found("orphan_span").values()
    assert sentence(found, 1).endswith("the exporter of web (instance web-1) failed to send 3 spans, UNAVAILABLE.")
    assert "fails (UNAVAILABLE)" in fix(found)
    (found,) = look(measured(3, reason="")).found("orphan_span").values()
    assert sentence(found, 1).endswith("dropped 3 spans.")
    assert fix(found) == "See why the span processor of web drops spans: it names no reason."
    (found,) = look(measured(3, Quantity.COLLECTOR_SEND_FAILED, service="otelcol", instance="", reason="")).found("orphan_span").values()
    assert sentence(found, 1).endswith("a span of web was lost; meanwhile the Collector otelcol failed to send 3 spans.")
    assert fix(found).startswith("Look at the exporter of web")


def test_without_measurements_nothing_is_different() -> None:
    (plain,) = look().found("orphan_span").values()
    assert (plain.confidence, plain.cause) == (0.99, "upstream_loss")
    assert not [name for name in plain.context if name.startswith("lost")]
    assert sentence(plain, 1).endswith(": a span of web was lost.")


def test_a_trace_whose_loss_may_still_be_reported_is_looked_at_again() -> None:
    early = look(measured(0, until=0, start_time_unix_nano=0))
    (found,) = early.found("orphan_span").values()
    assert early.outcome.undecided == {found.trace_id}
    assert look(measured(412)).outcome.undecided == frozenset()
    assert look().outcome.undecided == frozenset()


def test_a_finding_says_what_is_known_at_the_second_look() -> None:
    ledger = Ledger(FindingsSettings(), Telemetry(), wording())
    early, later = look(), look(measured(412))
    trace = {o.trace_id for o in early.found("orphan_span").values()}
    ledger.record(early.outcome.occurrences, [], frozenset(), NOW)
    before = next(f for f in ledger.findings() if f.id == "orphan_span")
    ledger.record(later.outcome.occurrences, trace, frozenset(), NOW + 60)
    after = next(f for f in ledger.findings() if f.id == "orphan_span")
    assert (before.fingerprint, before.count, after.count) == (after.fingerprint, 1, 1)
    assert "dropped 412 spans" not in before.message
    assert "dropped 412 spans" in after.message
    assert (before.confidence, after.confidence) == (0.99, 0.99)
    ledger.record([], trace, frozenset(), NOW + 120)
    assert [f for f in ledger.findings() if f.id == "orphan_span"] == []


def test_passes_remember_the_ledger_across_a_restart() -> None:
    seen = look(measured(412))
    again = new_passes()
    again.restore(json.loads(json.dumps(seen.passes.dump())))
    assert again.losses.lost() == seen.passes.losses.lost()
    assert again.losses.counted == {("web", "dropped", "queue_full"): 412}


def test_a_state_from_before_there_was_a_ledger_is_taken() -> None:
    state = new_passes().dump()
    del state["losses"]
    new_passes().restore(state)


def test_a_count_that_comes_after_the_orphan_was_judged_is_in_the_finding_a_minute_later() -> None:
    run = watched(*HABITS, *ORPHANS, settle_seconds=30)
    run.analysis.inbox.measured((measured(0, until=1),))
    run.at(40)
    before = next(f for f in run.ledger.findings() if f.id == "orphan_span")
    assert before.message.endswith("a span of web was lost.")
    run.analysis.inbox.measured((measured(412, until=60),))
    run.at(70)
    assert next(f for f in run.ledger.findings() if f.id == "orphan_span").message == before.message
    run.at(101)
    after = next(f for f in run.ledger.findings() if f.id == "orphan_span")
    assert after.message.endswith("a span of web was lost; the exporter of web (instance web-1) dropped 412 spans, queue full.")
    assert (after.fingerprint, after.count) == (before.fingerprint, 1)
    assert run.counter("traced_traces_reanalyzed") == 1
    assert sum(run.counters()[key] for key in run.counters() if key[0] == "found" and key[1] == "orphan_span") == 1


def test_what_services_say_is_known_before_any_span_came_and_after_a_restart() -> None:
    run = watched()
    run.analysis.inbox.measured((measured(412), measured(100, Quantity.EXPORTED, reason="")))
    run.at(10)
    (account,) = run.analysis.accounts
    assert (account.service, account.exported, account.losses[0].spans) == ("web", 100, 412)
    assert run.analysis.tallies().reported_losses == {}, "not saved yet: a crash would take it back"
    run.restart()
    assert run.analysis.accounts == (account,)
    assert run.analysis.tallies().reported_losses == {("web", "dropped", "queue_full"): 412}
    run.analysis.inbox.measured((measured(412), measured(420, until=20)))
    run.at(20)
    run.analysis._save()
    assert run.analysis.tallies().reported_losses == {("web", "dropped", "queue_full"): 420}


def test_files_may_hold_metrics_anywhere() -> None:
    traces = [InputRequest(Signal.TRACES, body, "spans") for _, body in spans(*HABITS, *ORPHANS).requests()]
    metrics = InputRequest(Signal.METRICS, SELF_METRICS.SerializeToString(), "metrics")
    for requests in ([metrics, *traces], [*traces, metrics], [metrics, *traces, metrics]):
        report = analyze_requests(requests, load())
        (found,) = (f for f in report.findings if f.id == "orphan_span")
        assert found.message.endswith("a span of web was lost; the exporter of web (instance web-1) dropped 412 spans, queue full.")
    assert report.as_dict()["input"]["data_points"] == 2
    (plain,) = (f for f in analyze_requests(traces, load()).findings if f.id == "orphan_span")
    assert plain.fingerprint == found.fingerprint
    assert plain.message.endswith("a span of web was lost.")


def test_a_broken_request_of_metrics_is_told_and_costs_nothing_else() -> None:
    told: list[str] = []
    requests = [InputRequest(Signal.METRICS, b"\xff", "broken"), *(InputRequest(Signal.TRACES, body, "spans") for _, body in spans("web SERVER a").requests())]
    report = analyze_requests(requests, load(), lambda request, _: told.append(request.origin))
    assert (report.counts["spans"], report.counts["data_points"], told) == (1, 0, ["broken"])


def test_the_inbox_takes_all_or_nothing_and_one_large_request_when_it_is_empty() -> None:
    inbox = Inbox(3)
    one = measured(1)
    assert inbox.measured((one,) * 5)
    assert not inbox.measured((one,))
    assert len(inbox.take()) == 5
    assert inbox.measured((one, one))
    assert not inbox.measured((one, one))
    assert inbox.measured((one,))
    assert len(inbox.take()) == 3
    assert inbox.take() == []
