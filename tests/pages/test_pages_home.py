"""The first page: findings worst first, or which of three reasons there are none."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from asgi_client import app_over, ask
from fake_views import NOW, NOW_NANO, FakeViews, edge, finding, nothing_received, status

from traced.model.edge import ConnectionType
from traced.model.finding import Example
from traced.model.occurrence import Level
from traced.model.views import DetectorHealth, StoreHealth
from traced.pages.home import MAX_EXPLAINED, MAX_FINDINGS, MAX_SUSPECTS, by_service, reachable, state_of

BROWSER = {"accept": "text/html"}


def text_of(views: FakeViews, path: str = "/") -> str:
    """Give a page's text without its tags, in single spaces."""
    answer = ask(app_over(views), path, headers=BROWSER)
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def test_nothing_received_shows_the_variables_with_the_bound_addresses_and_live_counters():
    html = ask(app_over(FakeViews(now=nothing_received())), "/").text
    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:14317\nexport OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in html
    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:14318\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in html
    assert '<strong data-status="received.spans">0</strong>' in html
    assert "traced demo" in html
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert "Service graph" not in html


def test_nothing_received_says_which_metrics_are_of_use():
    text = text_of(FakeViews(now=nothing_received()))
    assert "metrics are not" not in text
    assert "Of metrics only those are read by which SDKs and Collectors count their own spans" in text


def test_nothing_received_but_something_refused_says_where_to_look():
    assert "the requests are refused" in text_of(FakeViews(now=nothing_received(refused_requests=9)))


def test_received_and_not_settled_says_how_long_still():
    text = text_of(FakeViews(now=status(traces_analyzed=0, spans_analyzed=0, traces_waiting=7, last_arrival_unix_seconds=NOW - 12, settle_seconds=30.0)))
    assert "Received, not yet settled" in text
    assert "about 18 s" in text
    assert "Waiting: 7 traces" in text


def test_received_and_quiet_long_enough_says_that_the_analysis_is_under_way():
    assert "the first analysis is under way" in text_of(FakeViews(now=status(traces_analyzed=0, spans_analyzed=0, last_arrival_unix_seconds=NOW - 31)))


@pytest.mark.parametrize("store", [StoreHealth(0, 3, 1000), StoreHealth(200, 0, 0), StoreHealth(0, 0, 0)], ids=["sealed", "hot", "not counted yet"])
def test_after_a_restart_stored_spans_that_were_not_analysed_are_no_empty_start(store: StoreHealth):
    now = nothing_received(store=store, last_arrival_unix_seconds=NOW - 12, analyzed_until_unix_seconds=NOW - 60)
    text = text_of(FakeViews(now=now))
    assert "Received, not yet settled" in text
    assert "about 18 s" in text
    assert "Last arrival 12 s ago" in text


def test_after_a_restart_a_quiet_daemon_says_what_it_found_before():
    was = {"traces_analyzed": 12, "spans_analyzed": 40, "last_arrival_unix_seconds": NOW - 7200, "analyzed_until_unix_seconds": NOW - 30}
    text = text_of(FakeViews(now=nothing_received(store=StoreHealth(0, 3, 1000), **was)))
    assert "Looked, and found nothing" in text
    assert "on 12 traces (40 spans)" in text
    assert "Last arrival 2 h ago" in text


def test_a_count_of_traces_that_an_earlier_version_did_not_keep_is_not_said_to_be_zero():
    was = {"spans_analyzed": 40, "last_arrival_unix_seconds": NOW - 7200, "analyzed_until_unix_seconds": NOW - 30}
    assert "on 40 spans and found nothing" in text_of(FakeViews(now=nothing_received(store=StoreHealth(0, 3, 1000), **was)))


def test_when_retention_dropped_everything_the_last_arrival_was_not_never():
    text = text_of(FakeViews(now=nothing_received(traces_analyzed=12, spans_analyzed=40)))
    assert "Looked, and found nothing" in text
    assert "Last arrival long ago" in text
    assert "Last arrival never" in text_of(FakeViews(now=nothing_received()))


@pytest.mark.parametrize(
    "changed",
    [
        {"received_logs": 5, "last_arrival_unix_seconds": NOW},
        {"last_arrival_unix_seconds": NOW - 7200, "store": StoreHealth(0, 1, 500)},
    ],
    ids=["just came", "before a restart"],
)
def test_logs_alone_do_not_promise_findings(changed: dict[str, Any]):
    text = text_of(FakeViews(now=nothing_received(**changed)))
    assert "No spans yet" in text
    assert "Only log records came so far" in text
    assert "settled" not in text


def test_found_nothing_says_who_looked_and_at_how_much():
    text = text_of(FakeViews(now=status(detectors=(DetectorHealth("orphan_span", 0, 1), DetectorHealth("clock_skew", 2, 1)))))
    assert "Looked, and found nothing" in text
    assert "1 detector ran without fault on 321 traces (1,200 spans)" in text
    assert "clock_skew could not look" in text


def test_a_finding_shows_what_why_how_sure_how_often_an_example_and_the_first_step():
    views = FakeViews([finding("cart", examples=(Example((0, 0xABC), 0x11),), count=12345)])
    text, html = text_of(views), ask(app_over(views), "/").text
    for words in ("violation", "orphan_span", "12,345", "3 spans of cart name a parent", "cause upstream_loss , 97 % sure", "2025-10-09 08:53:20 UTC"):
        assert words in text
    assert "First step Look at the exporter of web." in text
    assert f'href="/traces/{0xABC:032x}#span-{0x11:016x}"' in html
    assert f'href="/findings/{views.all_findings[0].fingerprint}"' in html


def test_the_first_thing_after_health_is_what_to_fix_first():
    lost = finding("fraud", peer="payment", how_to_fix="Look at the exporter of payment.")
    unanswered = finding("order", id="missing_server_span", cause="callee_loss", peer="payment", message="3 calls left no SERVER span.")
    mild = finding("web", id="span_flood", cause="siblings", peer="", level=Level.IMPROVEMENT, count=999)
    views = FakeViews([mild, lost, unanswered])
    text, html = text_of(views), ask(app_over(views), "/").text
    assert text.index("What to fix first") < text.index("3 open findings, by service")
    first = text[text.index("What to fix first") : text.index("web records too many spans.")]
    for words in ("1 violation payment fix this, 2 findings go payment makes spans that never arrive. First step Look", "2 findings, 6&times;, 97 % sure"):
        assert words in first
    assert "3 calls left no SERVER span." in first
    suspects = html[html.index('id="suspects"') : html.index('id="findings"')]
    assert [f.fingerprint in suspects for f in (lost, unanswered, mild)] == [True] * 3
    assert "fix this, 1 finding goes" in text


def test_what_nobody_knows_how_to_mend_promises_nothing():
    text = text_of(FakeViews([finding("cart", cause="unknown", peer=""), finding("cart", cause="unknown", peer="", signal_name="POST /")]))
    assert "cart 2 findings of unknown cause Parents of spans of cart never arrived; who lost them is not known." in text
    assert "fix this" not in text


def test_more_suspects_and_explained_findings_than_fit_are_counted():
    found = [finding(f"s{n}", peer="") for n in range(MAX_SUSPECTS + 5)]
    found += [finding("cart", id="duplicate_span", cause="", signal_name=f"op {n}") for n in range(MAX_EXPLAINED + 3)]
    text = text_of(FakeViews(found))
    assert f"Showing {MAX_SUSPECTS} of {MAX_SUSPECTS + 6} things to fix" in text
    assert f"Showing {MAX_EXPLAINED} of {MAX_EXPLAINED + 3} findings that go with it" in text


def test_services_come_by_their_worst_finding_and_findings_worst_first():
    mild, bad, info = (Level.IMPROVEMENT, Level.VIOLATION, Level.INFORMATION)
    found = [finding("a", level=info), finding("b", level=mild), finding("b", id="x", level=bad), finding("c", level=mild), finding("c", id="y", level=mild)]
    groups = by_service(found)
    assert [(g.service, [f.level for f in g.findings]) for g in groups] == [("b", [bad, mild]), ("c", [mild, mild]), ("a", [info])]


def test_more_findings_than_fit_are_counted():
    views = FakeViews([finding(f"service-{i}") for i in range(MAX_FINDINGS + 50)])
    assert f"Showing {MAX_FINDINGS} of {MAX_FINDINGS + 50} findings" in text_of(views)


def test_the_health_strip_warns_of_what_went_wrong():
    now = status(refused_requests=3, dropped_findings=9, ready=False, not_ready_reasons=("disk is full",), detectors=(DetectorHealth("orphan_span", 1, 1),))
    text = text_of(FakeViews(now=now))
    assert "Not ready: disk is full" in text
    assert "orphan_span failed 1 time. Earlier findings of it stay open" in text
    assert "9 occurrences" in text


def test_the_graph_is_a_picture_and_a_table_with_the_same_calls():
    edges = [edge("web", "cart", 1000, 7), edge("cart", "redis", 5, 0, ConnectionType.DATABASE), edge("user", "web", 3, 0, ConnectionType.VIRTUAL_NODE)]
    html = ask(app_over(FakeViews(all_edges=edges)), "/").text
    assert "web → cart: 1,000 calls, 7 failed" in html
    assert html.count('<g class="node node-') == 4
    assert 'class="node node-database"' in html
    assert 'class="node node-virtual"' in html
    assert 'class="node node-service failing"' in html
    rows = re.findall(r"<tr[^>]*>(<td>.*?)</tr>", html)
    assert next(re.sub(r"<[^>]+>", " ", row).split()[:5] for row in rows) == ["web", "cart", "call", "1,000", "7"]
    assert len(rows) == 3


def test_a_page_needs_no_inline_script_or_style_and_links_its_json():
    views = FakeViews([finding()], all_edges=[edge("web", "cart")])
    answer = ask(app_over(views), "/")
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|<style|\son\w+=", answer.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)
    for twin in ("/api/v1/findings", "/api/v1/graph"):
        assert f'href="{twin}"' in answer.text
        assert ask(app_over(views), twin).status_code == 200


def test_every_static_file_a_page_names_is_there():
    html = ask(app_over(FakeViews()), "/").text
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert len(names) == 3
    for name in names:
        assert ask(app_over(FakeViews()), name).status_code == 200


def test_counters_that_the_script_updates_are_paths_into_the_status():
    now = json.loads(json.dumps(status().as_dict()))
    waiting = status(traces_analyzed=0, spans_analyzed=0)
    logs = nothing_received(received_logs=5, last_arrival_unix_seconds=NOW)
    for views in (FakeViews(), FakeViews(now=nothing_received()), *(FakeViews(now=one) for one in (waiting, logs))):
        paths = re.findall(r'data-status="([^"]+)"', ask(app_over(views), "/").text)
        assert paths
        for path in paths:
            value = now
            for key in path.split("."):
                value = value[key]
            assert isinstance(value, int)


@pytest.mark.parametrize(("bound", "shown"), [("0.0.0.0:4317", "127.0.0.1:4317"), ("[::]:4317", "127.0.0.1:4317"), ("10.0.0.1:4317", "10.0.0.1:4317")])
def test_an_address_to_copy_can_be_reached(bound: str, shown: str):
    assert reachable(bound) == shown


def test_findings_are_shown_even_before_anything_new_came():
    assert state_of(nothing_received(), [finding()]) == "findings"


def test_a_finding_page_shows_evidence_documentation_and_its_twin():
    one = finding(context={"host": "node-7", "list": [1, 2]}, first_seen_unix_nano=NOW_NANO)
    views = FakeViews([one])
    text = text_of(views, f"/findings/{one.fingerprint}")
    for words in (
        "host node-7",
        "list [1, 2]",
        "How to fix it Look at the exporter.",
        "Then at the network.",
        "When this finding is wrong",
        "the trace has settled",
    ):
        assert words in text
    html = ask(app_over(views), f"/findings/{one.fingerprint}").text
    assert f'href="/api/v1/findings/{one.fingerprint}"' in html
    assert "<li>the parent is absent</li>" in html
