"""What each path of the JSON API answers."""

from __future__ import annotations

import pytest
from asgi_client import app_over, ask
from fake_views import FakeViews, edge, finding, log, message_edge, occurrence, span, spans, status

from traced.model.edge import ConnectionType
from traced.model.occurrence import Level
from traced.model.schema import LOGS
from traced.model.views import QueryResult

ORPHAN = finding("cart")
SKEW = finding("payment", id="clock_skew", level=Level.IMPROVEMENT, cause="", peer="")


def three_spans() -> FakeViews:
    table = spans(span(1), span(2, parent=1), span(0x11, parent=0xFF))
    return FakeViews([ORPHAN, SKEW], [occurrence()], [edge("web", "cart")], {(0, 0xABC): table})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["orphan_span", "clock_skew"]),
        ("?service=payment", ["clock_skew"]),
        ("?id=orphan_span", ["orphan_span"]),
        ("?level=improvement", ["clock_skew"]),
        ("?cause=upstream_loss", ["orphan_span"]),
        ("?cause=", ["clock_skew"]),
        ("?service=cart&level=improvement", []),
    ],
)
def test_findings_pass_all_filters_that_are_named(query: str, expected: list[str]):
    body = ask(app_over(three_spans()), f"/api/v1/findings{query}").json()
    assert [f["id"] for f in body["findings"]] == expected
    assert (body["total"], body["truncated"]) == (len(expected), False)


def test_a_limit_cuts_the_list_but_not_the_total():
    body = ask(app_over(FakeViews([finding(f"s{i}") for i in range(7)])), "/api/v1/findings?limit=3").json()
    assert (len(body["findings"]), body["total"], body["truncated"]) == (3, 7, True)


def test_a_finding_is_the_same_alone_as_in_the_list():
    app = app_over(three_spans())
    alone = ask(app, f"/api/v1/findings/{ORPHAN.fingerprint.upper()}").json()
    assert alone == ask(app, "/api/v1/findings").json()["findings"][0] == ORPHAN.as_dict()


def test_the_graph_hands_its_time_range_on():
    views = FakeViews(all_edges=[edge("web", "db", 5, 1, ConnectionType.DATABASE)], all_messages=[message_edge("shop", "orders", "bill")])
    body = ask(app_over(views), "/api/v1/graph?start=100&end=200.5").json()
    counts = {"calls": 5, "errors": 1, "adjusted_calls": None}
    assert body == {
        "service_graph": {"edges": [{"client": "web", "server": "db", "connection_type": "database", **counts}]},
        "message_graph": {"edges": [message_edge("shop", "orders", "bill").as_dict()]},
    }
    assert views.asked == [(100.0, 200.5), (100.0, 200.5)]


def test_a_graph_without_a_range_is_asked_for_everything():
    views = FakeViews()
    ask(app_over(views), "/api/v1/graph")
    assert views.asked == [(None, None)] * 2


@pytest.mark.parametrize("typed", ["abc", "0ABC", "00000000000000000000000000000abc"])
def test_a_trace_id_may_be_typed_loosely(typed: str):
    body = ask(app_over(three_spans()), f"/api/v1/traces/{typed}").json()
    assert body["trace_id"] == "00000000000000000000000000000abc"
    assert [s["span_id"] for s in body["spans"]] == ["0000000000000001", "0000000000000002", "0000000000000011"]


def test_suspects_say_what_to_fix_first_and_which_findings_go():
    lost = finding("fraud", peer="payment", count=8, how_to_fix="Look at the exporter of payment.")
    unanswered = finding("order", id="missing_server_span", cause="callee_loss", peer="payment", count=2)
    body = ask(app_over(FakeViews([lost, unanswered, SKEW])), "/api/v1/findings").json()
    assert body["suspects"][0] == {
        "rank": 1,
        "kind": "service",
        "defect": "loses_spans",
        "known": True,
        "place": "payment",
        "service": "payment",
        "peer": None,
        "instance": None,
        "level": "violation",
        "confidence": 0.97,
        "count": 2,
        "occurrences": 10,
        "findings": [lost.fingerprint, unanswered.fingerprint],
        "message": "payment makes spans that never arrive.",
        "how_to_fix": "Look at the exporter of payment.",
    }
    assert [s["findings"] for s in body["suspects"][1:]] == [[SKEW.fingerprint]]
    assert body["not_grouped"] == 0


def test_suspects_of_a_filtered_list_are_those_that_explain_it_and_keep_their_rank():
    views = FakeViews([finding("fraud", peer="payment"), finding("order", id="missing_server_span", cause="callee_loss", peer="payment"), SKEW])
    asked = [ask(app_over(views), f"/api/v1/findings?{query}").json()["suspects"] for query in ("service=order", f"id={SKEW.id}", "service=nobody", "limit=1")]
    assert [[(s["rank"], s["count"]) for s in suspects] for suspects in asked] == [[(1, 2)], [(2, 1)], [], [(1, 2)]]


def test_a_trace_carries_its_findings_as_evidence_lines():
    body = ask(app_over(three_spans()), "/api/v1/traces/abc").json()
    assert body["findings"] == [occurrence().as_evidence()]
    assert body["findings"][0]["missing_span_id"] == "00000000000000ff"


def test_a_trace_with_an_absent_parent_is_not_complete():
    assert ask(app_over(three_spans()), "/api/v1/traces/abc").json()["complete"] is False


@pytest.mark.parametrize(
    ("rows", "complete"),
    [([span(1), span(2, 1)], True), ([span(1), span(2)], True), ([span(2, 1)], False), ([span(1, 2), span(2, 1)], False)],
    ids=["a parent that is there", "two roots", "no root and an absent parent", "a loop without a root"],
)
def test_complete_means_a_root_and_every_parent(rows: list, complete: bool):  # noqa: FBT001
    views = FakeViews(rows={(0, 0xABC): spans(*rows)})
    assert ask(app_over(views), "/api/v1/traces/abc").json()["complete"] is complete


def test_log_records_of_a_trace_come_with_it_even_alone():
    views = FakeViews(logs={(0, 0xABC): LOGS.empty_table().from_pylist([log()], schema=LOGS)})
    body = ask(app_over(views), "/api/v1/traces/abc").json()
    assert (body["total_spans"], body["total_logs"], body["logs"][0]["body"], body["complete"]) == (0, 1, "hello", False)


def test_a_huge_trace_is_cut_and_says_so():
    views = FakeViews(rows={(0, 0xABC): spans(*(span(i, parent=max(0, i - 1)) for i in range(1, 10_052)))})
    body = ask(app_over(views), "/api/v1/traces/abc").json()
    assert (len(body["spans"]), body["total_spans"], body["truncated"], body["complete"]) == (10_000, 10_051, True, True)


def test_status_tells_what_was_received_and_how_far_the_analysis_is():
    body = ask(app_over(FakeViews(now=status(refused_requests=2))), "/api/v1/status").json()
    assert body["received"] == {"spans": 1234, "logs": 56, "data_points": 0}
    assert body["refused"] == {"requests": 2}
    assert body["last_arrival"] == "2025-10-09T08:53:08.000000000Z"
    assert body["analysis"]["traces_waiting"] == 4
    assert body["analysis"]["analyzed_until"] == "2025-10-09T08:52:50.000000000Z"
    fresh = ask(app_over(FakeViews(now=status(analyzed_until_unix_seconds=None))), "/api/v1/status").json()
    assert fresh["analysis"]["analyzed_until"] is None


def test_named_queries_are_listed_with_their_questions():
    body = ask(app_over(FakeViews()), "/api/v1/queries").json()
    assert body == {"queries": [{"name": "service_calls", "question": "Who calls whom?", "params": ["service"]}]}


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ({"name": "service_calls", "params": {"service": "cart"}}, ("service_calls", {"service": "cart"}, True)),
        ({"sql": "select 1"}, ("select 1", {}, False)),
    ],
)
def test_a_query_runs_by_name_or_as_sql(sent: dict, asked: tuple):
    views = FakeViews(result=QueryResult(["a", "b"], [[1, float("nan")], [None, b"\x00"]], truncated=True))
    answer = ask(app_over(views), "/api/v1/query", "POST", json=sent)
    assert answer.json() == {"columns": ["a", "b"], "rows": [[1, "NaN"], [None, "AA=="]], "truncated": True}
    assert views.asked == [asked]


def test_live_and_ready_are_two_things():
    app = app_over(FakeViews(now=status(ready=False, not_ready_reasons=("the store is opening",))))
    assert ask(app, "/livez").json() == {"alive": True}
    answer = ask(app, "/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the store is opening"]
    assert ask(app_over(FakeViews()), "/readyz").json() == {"ready": True}
    assert ask(app_over(FakeViews(now=status(alive=False))), "/livez").status_code == 503


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("", "text/plain"), ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text"), ("*/*", "text/plain")],
)
def test_metrics_come_in_the_format_that_is_asked_for(accept: str, content_type: str):
    answer = ask(app_over(three_spans()), "/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(content_type)
    assert 'traced_findings_open{cause="upstream_loss",finding="orphan_span"' in answer.text
    assert answer.text.endswith("# EOF\n") is (content_type != "text/plain")
