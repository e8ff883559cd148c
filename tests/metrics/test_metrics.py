"""What Prometheus scrapes: honest sums, bounded series, and text that every parser takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

sys.path.insert(0, str(Path(__file__).parent))

from fake_views import FakeViews, durations, edge, finding
from hostile import hostile_names

from traced.metrics.exposition import Exposition, expose
from traced.metrics.series import OTHER, clean_label
from traced.model.edge import ConnectionType, Edge, EdgeCounts, EdgeKey
from traced.model.occurrence import Level
from traced.model.views import Tallies
from traced.telemetry import Telemetry

GRAPH = "traces_service_graph"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def exposition(views: FakeViews, max_series: int = 100) -> Exposition:
    return expose(CollectorRegistry(), views, views, views, views, views, max_series=max_series, version="1.2.3")


def rendered(shown: Exposition) -> bytes:
    """Give everything in Prometheus' text format."""
    return shown.negotiate("")[0]


def samples(shown: Exposition) -> Samples:
    """Read the text as Prometheus would; a series that comes twice fails."""
    found: Samples = {}
    for family in parse_text(rendered(shown).decode("utf-8")):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def test_every_family_is_there_before_anything_came():
    text = rendered(exposition(FakeViews())).decode()
    for name in (
        "traced_findings_open gauge",
        f"{GRAPH}_request_total counter",
        f"{GRAPH}_request_failed_total counter",
        f"{GRAPH}_unpaired_spans_total counter",
        f"{GRAPH}_dropped_spans_total counter",
        "traced_finding_occurrences_total counter",
        "traced_missing_spans_total counter",
        "traced_spans_analyzed_total counter",
        f"{GRAPH}_request_server_seconds histogram",
        f"{GRAPH}_request_client_seconds histogram",
        f"{GRAPH}_request_messaging_system_seconds histogram",
        "traced_metrics_series_dropped gauge",
    ):
        assert f"# TYPE {name}\n" in text
    assert 'traced_build_info{version="1.2.3"} 1.0' in text


def test_findings_with_the_same_labels_are_summed():
    views = FakeViews([finding("cart"), finding("cart", signal_name="POST /cart"), finding("web", level=Level.INFORMATION, peer="", cause="")])
    found = samples(exposition(views))
    labels = {"finding": "orphan_span", "level": "violation", "service": "cart", "peer": "web", "cause": "upstream_loss"}
    assert value(found, "traced_findings_open", **labels) == 2
    assert value(found, "traced_findings_open", **{**labels, "level": "information", "service": "web", "peer": "", "cause": ""}) == 1


def test_a_resolved_finding_is_gone_at_the_next_scrape():
    views = FakeViews([finding("cart")])
    shown = exposition(views)
    assert any(name == "traced_findings_open" for name, _ in samples(shown))
    views.all_findings.clear()
    assert not any(name == "traced_findings_open" for name, _ in samples(shown))


def test_an_edge_has_tempo_s_names_and_cumulative_buckets():
    one = edge("web", "cart", 4, 1, unpaired=2, server_seconds=durations(0.05, 0.15, 0.15, 99.0))
    found = samples(exposition(FakeViews(all_edges=[one])))
    labels = {"client": "web", "server": "cart", "connection_type": ""}
    assert value(found, f"{GRAPH}_request_total", **labels) == 4
    assert value(found, f"{GRAPH}_request_failed_total", **labels) == 1
    assert value(found, f"{GRAPH}_unpaired_spans_total", **labels) == 2
    bounds = ["0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "12.8", "+Inf"]
    assert [value(found, f"{GRAPH}_request_server_seconds_bucket", **labels, le=b) for b in bounds] == [1, 3, 3, 3, 3, 3, 3, 3, 4]
    assert value(found, f"{GRAPH}_request_server_seconds_count", **labels) == 4
    assert value(found, f"{GRAPH}_request_server_seconds_sum", **labels) == pytest.approx(99.35)
    assert value(found, f"{GRAPH}_request_messaging_system_seconds_count", **labels) is None


def test_calls_that_never_failed_show_zero_failures():
    found = samples(exposition(FakeViews(all_edges=[edge("web", "cart", 4)])))
    assert value(found, f"{GRAPH}_request_failed_total", client="web", server="cart", connection_type="") == 0


def test_a_call_without_its_other_half_is_unpaired_but_no_request():
    alone = Edge(EdgeKey("web", "cart"), EdgeCounts(unpaired=3))
    of_edge = [name for name, labels in samples(exposition(FakeViews(all_edges=[alone]))) if ("client", "web") in labels]
    assert of_edge == [f"{GRAPH}_unpaired_spans_total"]


def test_delays_of_messages_are_a_histogram_of_their_own():
    one = edge("order", "billing", 2, kind=ConnectionType.MESSAGING_SYSTEM, messaging_seconds=durations(0.3, 7.0))
    found = samples(exposition(FakeViews(all_edges=[one])))
    labels = {"client": "order", "server": "billing", "connection_type": "messaging_system"}
    assert value(found, f"{GRAPH}_request_messaging_system_seconds_sum", **labels) == pytest.approx(7.3)


def test_edges_that_differ_only_in_namespace_are_summed():
    plain = edge("a", "b", 3)
    other = Edge(EdgeKey("a", "b", ConnectionType.CALL, "left", "right"), plain.counts)
    found = samples(exposition(FakeViews(all_edges=[plain, other])))
    assert value(found, f"{GRAPH}_request_total", client="a", server="b", connection_type="") == 6


def test_what_is_over_the_limit_is_summed_not_lost():
    views = FakeViews([finding(f"s{i}") for i in range(25)], all_edges=[edge("web", f"s{i}", i + 1, 1) for i in range(25)])
    found = samples(exposition(views, max_series=10))
    for name, total, per_family in (("traced_findings_open", 25, 11), (f"{GRAPH}_request_total", sum(range(1, 26)), 11)):
        series = {labels: v for (n, labels), v in found.items() if n == name}
        assert (len(series), sum(series.values())) == (per_family, total)
        assert any(all(v == OTHER for _, v in labels) for labels in series)
    assert value(found, "traced_metrics_series_dropped", metric="traced_findings_open") == 15
    assert value(found, "traced_metrics_series_dropped", metric=f"{GRAPH}_request_total") == 15
    assert value(found, f"{GRAPH}_request_server_seconds_count", client=OTHER, server=OTHER, connection_type=OTHER) == sum(range(11, 26))


def test_a_counter_never_shrinks_when_busier_edges_come():
    views = FakeViews(all_edges=[edge("web", f"s{i}", 5) for i in range(12)])
    shown = exposition(views, max_series=10)
    before = samples(shown)
    views.all_edges[:0] = [edge("new", f"s{i}", 500) for i in range(12)]
    after = samples(shown)
    counters = [key for key in before if key[0].startswith(GRAPH)]
    assert len(counters) > 30
    assert all(after[key] >= before[key] for key in counters)


def test_a_service_called_like_the_overflow_does_not_hide_it():
    views = FakeViews(all_edges=[edge("web", f"s{i}", 1) for i in range(3)] + [edge(OTHER, OTHER, 7)])
    found = samples(exposition(views, max_series=3))
    assert sum(v for (name, _), v in found.items() if name == f"{GRAPH}_request_total") == 10


def test_a_thousand_hostile_names_still_parse_in_both_formats():
    names = hostile_names(1_000, 7)
    views = FakeViews([finding(n, peer=n, cause=n) for n in names], all_edges=[edge(a, b, 3, 1) for a, b in zip(names, names[::-1], strict=True)])
    shown = exposition(views, max_series=2_000)
    found = samples(shown)
    assert sum(v for (name, _), v in found.items() if name == "traced_findings_open") == 1_000
    assert sum(v for (name, _), v in found.items() if name == f"{GRAPH}_request_total") == 3_000
    for _, labels in found:
        for _, text in labels:
            assert not set(text) & set("<>&\"'\n\r\x00\x1b\x85\u2028\u202e\u2066\u200f")
            assert len(text) <= 128
    body, content_type = shown.negotiate("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert {f.name for f in parse_openmetrics(body.decode())} >= {"traced_findings_open", f"{GRAPH}_request", "traced_build"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("cart", "cart"),
        ("caf\u00e9 \u65e5\u672c \U0001f600", "caf\u00e9 \u65e5\u672c \U0001f600"),
        ("<a href='x'>&\"", "_a href=_x____"),
        ("a\x00b\nc\x7fd\x85e\u2028f", "abcdef"),
        ("\u202eevil\u2066", "evil"),
        ("\ud800x", "?x"),
        ("x" * 500, "x" * 128),
    ],
)
def test_a_label_is_cleaned_of_what_disturbs(text: str, clean: str):
    assert clean_label(text) == clean


def test_it_goes_beside_the_daemon_s_own_metrics():
    telemetry = Telemetry()
    telemetry.accepted.labels("traces", "grpc").inc(5)
    shown = expose(telemetry.registry, FakeViews([finding()]), *[FakeViews()] * 4, max_series=10, version="1")
    text = rendered(shown).decode()
    assert 'traced_receiver_accepted_total{signal="traces",transport="grpc"} 5.0' in text
    assert "traced_findings_open{" in text
    with pytest.raises(ValueError, match="Duplicated"):
        expose(telemetry.registry, *[FakeViews()] * 5, max_series=10, version="1")


def test_counters_of_the_ledger_and_the_analysis_are_cleaned_summed_and_limited():
    occurrences = {("orphan_span", "cart", "web", "upstream_loss"): 3, ("orphan_span", "<cart>", "web", ""): 1, ("orphan_span", "_cart_", "web", ""): 2}
    missing = {(name, "unknown"): 1 for name in ("<b>", "'b'", "\ud800")}
    views = FakeViews(counted=Tallies(occurrences, {}, missing), spans_by_service={f"service-{number}": 2 for number in range(30)})
    shown = exposition(views, max_series=10)
    found = samples(shown)
    analysed = {labels: v for (name, labels), v in found.items() if name == "traced_spans_analyzed_total"}
    assert (len(analysed), sum(analysed.values())) == (11, 60)
    assert value(found, "traced_spans_analyzed_total", service=OTHER) == 40
    assert value(found, "traced_metrics_series_dropped", metric="traced_spans_analyzed_total") == 20
    assert value(found, "traced_missing_spans_total", service="_b_", cause="unknown") == 2
    assert value(found, "traced_finding_occurrences_total", finding="orphan_span", service="_cart_", peer="web", cause="") == 3
    views.spans_by_service["service-0"] += 1
    assert value(samples(shown), "traced_spans_analyzed_total", service="service-0") == 3


def test_calls_that_a_full_graph_left_out_are_counted_without_names():
    found = samples(exposition(FakeViews(dropped=7)))
    assert value(found, f"{GRAPH}_dropped_spans_total", client=OTHER, server=OTHER, connection_type=OTHER) == 7


def test_two_thousand_edges_are_scraped_within_seconds():
    views = FakeViews(all_edges=[edge(f"c{i}", f"s{i}", 3, 1) for i in range(2_000)])
    shown = exposition(views, max_series=2_000)
    began = time.perf_counter()
    assert len(rendered(shown)) > 1_000_000
    assert time.perf_counter() - began < 15


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
def test_promtool_finds_nothing_to_complain_about():
    telemetry = Telemetry()
    names = hostile_names(50, 3)
    views = FakeViews([finding(n) for n in names], all_edges=[edge("web", n, 2, 1, unpaired=1) for n in names])
    shown = expose(telemetry.registry, *[views] * 5, max_series=10, version="1")
    checked = subprocess.run(["promtool", "check", "metrics"], input=rendered(shown), capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
