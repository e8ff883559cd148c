"""Real traces of other people's systems, whole and damaged in known ways: what is said of them is what is known of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from shared_data import analyzed, edges, found, levels, mutate, needs_data, truth

from traced.file_analysis import AnalysisReport
from traced.model.edge import EdgeKey
from traced.model.span import span_id_hex, trace_id_hex

pytestmark = [needs_data, pytest.mark.timeout(300)]

MISSING = ("orphan_span", "missing_root_span", "missing_server_span")
SETS = ("dsb_hotel", "node_chain", "dsb_media", "dsb_social", "hotrod", "opensearch_otel", "zipkin_real", "trainticket_zipkin_v1", "datadog_messaging", "genai")


# ---------------------------------------------------------------------- as they are


@pytest.mark.parametrize("name", [n for n in SETS if n not in ("opensearch_otel", "zipkin_real", "trainticket_zipkin_v1", "datadog_messaging", "genai")])
def test_the_edges_between_services_are_those_that_are_known(name: str) -> None:
    known = truth(f"otlp/{name}")
    assert edges(analyzed(f"otlp/{name}")) == known["cross_service_edges"]


@pytest.mark.parametrize("name", SETS)
def test_spans_traces_and_repeats_add_up(name: str) -> None:
    known, counts = truth(f"otlp/{name}"), analyzed(f"otlp/{name}").counts
    assert counts["spans"] + counts["duplicate_spans"] + counts["rejected_spans"] == known["spans"]
    assert counts["traces"] == known["traces"]


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_the_orphans_that_are_known(name: str) -> None:
    known = truth(f"otlp/{name}")
    assert len(found(analyzed(f"otlp/{name}"), "orphan_span")) == known.get("orphans", 1 if name == "genai" else 0)


def test_opensearch_has_the_13_edges_that_data_prepper_drew_and_31_traces_without_root() -> None:
    report, known = analyzed("otlp/opensearch_otel"), truth("otlp/opensearch_otel")
    golden = known["golden_edges_from_data_prepper_service_map"]
    pairs = {f"{e['client']} -> {e['server']}" if isinstance(e, dict) else " -> ".join(e) if isinstance(e, list) else e for e in golden}
    assert set(edges(report)) == pairs
    assert len(pairs) == 13
    orphans = [o for o in report.occurrences if o.id == "orphan_span"]
    assert len(orphans) == 184
    assert len({(o.trace_id, o.missing_span_id) for o in orphans}) == 174
    assert len({o.trace_id for o in orphans}) == 56
    assert len(found(report, "missing_root_span")) == 31


def test_messages_whose_id_came_without_a_context_are_named_with_their_producers() -> None:
    report = analyzed("otlp/datadog_messaging")
    broken = [o for o in report.occurrences if o.id == "broken_propagation"]
    # tests of Azure's queues with propagation switched off: the same message id on both sides, and neither parent nor link
    assert {(o.peer, o.service) for o in broken} == {("azure_servicebus", "test-func"), ("azure_eventhubs", "test-func")}
    assert len(broken) == 12
    assert {level for detector, level in levels(report) if detector != "broken_propagation"} <= {"improvement", "information"}


@pytest.mark.parametrize("name", ["dsb_hotel", "node_chain", "dsb_media", "dsb_social", "hotrod", "trainticket_zipkin_v1"])
def test_of_a_set_that_lacks_nothing_nothing_is_said_to_be_missing_and_nothing_is_a_violation(name: str) -> None:
    said = levels(analyzed(f"otlp/{name}"))
    assert {d for d, _ in said} & set(MISSING) == set()
    assert [key for key in said if key[1] == "violation"] == []


def test_the_whole_hotel_is_five_edges_of_a_thousand_calls() -> None:
    report = analyzed("otlp/dsb_hotel")
    assert sorted(edges(report).values()) == [1000] * 5
    assert levels(report) == {("clock_skew", "information"): 2}
    # two of the five edges; the bounds of the others contain zero
    bounds = {(o.peer, o.service): [round(o.context[f"offset_at_{side}_ms"], 1) for side in ("least", "most")] for o in report.occurrences}
    assert bounds == {("frontend", "search"): [-3.7, -2.3], ("frontend", "reservation"): [-3.6, -2.3]}


def test_zipkin_sets_show_the_ids_that_five_receivers_share_and_six_orphans() -> None:
    report = analyzed("otlp/zipkin_real")
    assert levels(report) == {
        ("orphan_span", "violation"): 6,
        # taken over from the span that sent
        ("conflicting_span", "improvement"): 2,
        # in traces of hundreds of spans: auth twice, bookie once; the 84 INTERNAL spans of platformapi are pieces of its SERVER spans
        ("span_flood", "information"): 3,
    }
    conflicts = [o for o in report.occurrences if o.id == "conflicting_span"]
    assert {o.context["repeats"] for o in conflicts} == {4}


def test_a_trace_that_two_runs_exported_has_its_three_duplicates() -> None:
    assert levels(analyzed("otlp/genai"))["duplicate_span", "information"] == 3


# ---------------------------------------------------------------------- damaged, as it was given


def _orphans(known: dict[str, Any]) -> set[tuple[str, str]]:
    return {(t["trace"], child) for t in known["truth"] for child in t.get("kept_children", [])}


def _lonely(known: dict[str, Any]) -> set[tuple[str, str]]:
    """Callers whose SERVER span is gone."""
    return {(t["trace"], t["parent"]) for t in known["truth"] if t["kind"] == 2 and t.get("parent_kept")}


def test_dropped_servers_are_the_orphans_and_the_lonely_clients_of_the_truth() -> None:
    report, known = analyzed("mutated/dsb_hotel.drop_server"), truth("mutated/dsb_hotel.drop_server")
    assert Counter(found(report, "orphan_span")) == Counter(_orphans(known))
    assert Counter(found(report, "missing_server_span")) == Counter(_lonely(known))
    assert (len(_orphans(known)), len(_lonely(known))) == (112, 248)
    assert len({(o.trace_id, o.missing_span_id) for o in report.occurrences if o.id == "orphan_span"}) == 56
    assert set(levels(report)) == {("orphan_span", "violation"), ("missing_server_span", "violation"), ("clock_skew", "information")}


def test_callees_that_began_a_new_trace_are_named_with_their_callers() -> None:
    report, known = analyzed("mutated/dsb_hotel.cut_newtrace"), truth("mutated/dsb_hotel.cut_newtrace")
    assert found(report, "orphan_span") == found(report, "missing_server_span") == []
    assert Counter(found(report, "broken_propagation")) == Counter((t["new_trace"], t["span"]) for t in known["truth"])
    # the caller may have moved to a new trace too, when a cut hit further up: its span id tells
    callers = {(trace_id_hex(*o.trace_id), span_id_hex(o.span_id)): o for o in report.occurrences if o.id == "broken_propagation"}
    right = [t for t in known["truth"] if span_id_hex((callers[t["new_trace"], t["span"]].matched or (0, 0, 0))[2]) == t["true_parent"]]
    assert len(right) >= 0.99 * len(known["truth"])
    assert len(known["truth"]) == 246


# ---------------------------------------------------------------------- damaged while we look


@pytest.mark.parametrize("seed", ["1", "2"])
def test_random_losses_are_exactly_the_orphans_and_lonely_clients_that_they_make(tmp_path: Path, seed: str) -> None:
    report, known = mutate(tmp_path, "dsb_hotel", "drop_random", "--rate", "0.05", "--seed", seed)
    assert Counter(found(report, "orphan_span")) == Counter(_orphans(known))
    assert Counter(found(report, "missing_server_span")) == Counter(_lonely(known))
    assert levels(report).keys() - {("clock_skew", "information")} == {("orphan_span", "violation"), ("missing_server_span", "violation")}


def test_a_service_that_reports_nothing_leaves_orphans_but_its_callers_are_not_said_to_lack_a_span(tmp_path: Path) -> None:
    report, known = mutate(tmp_path, "dsb_hotel", "drop_service", "--service", "search")
    assert Counter(found(report, "orphan_span")) == Counter(_orphans(known))
    assert found(report, "missing_server_span") == []
    assert "search" not in report.services


def test_lost_batches(tmp_path: Path) -> None:
    report, known = mutate(tmp_path, "dsb_hotel", "drop_batch", "--rate", "0.05")
    assert Counter(found(report, "orphan_span")) == Counter(_orphans(known))
    lonely = _lonely(known)
    assert Counter(found(report, "missing_server_span")) == Counter(lonely)
    rootless = {t["trace"] for t in known["truth"] if not t["parent"]}
    assert {trace for trace, _ in found(report, "missing_root_span")} == rootless


@pytest.mark.parametrize("source", ["dsb_hotel", "node_chain", "dsb_media"])
def test_lost_roots(tmp_path: Path, source: str) -> None:
    report, known = mutate(tmp_path, source, "drop_root", "--rate", "0.05")
    assert Counter(found(report, "orphan_span")) == Counter(_orphans(known))
    assert Counter(trace for trace, _ in found(report, "missing_root_span")) == Counter(t["trace"] for t in known["truth"] if t["kept_children"])
    assert found(report, "missing_server_span") == []


def test_lost_subtrees_leave_only_the_lonely_clients(tmp_path: Path) -> None:
    report, known = mutate(tmp_path, "dsb_hotel", "drop_subtree", "--rate", "0.03")
    assert found(report, "orphan_span") == []
    assert Counter(found(report, "missing_server_span")) == Counter(_lonely(known))


def test_lost_clients_leave_orphans_and_nobody_to_miss_a_server(tmp_path: Path) -> None:
    report, known = mutate(tmp_path, "dsb_hotel", "drop_client", "--rate", "0.05")
    assert Counter(found(report, "orphan_span")) == Counter(_orphans(known))
    assert found(report, "missing_server_span") == []


@pytest.mark.parametrize("source", ["dsb_hotel", "node_chain", "zipkin_real", "opensearch_otel"])
def test_spans_sent_twice_change_nothing_but_what_is_said_of_duplicates(tmp_path: Path, source: str) -> None:
    report, known = mutate(tmp_path, source, "dup_export", "--rate", "0.05")
    whole = analyzed(f"otlp/{source}")
    assert edges(report, within=True) == edges(whole, within=True)
    assert _counts(report) == _counts(whole)
    assert report.counts["duplicate_spans"] == whole.counts["duplicate_spans"] + len(known["truth"])
    assert report.counts["spans"] == whole.counts["spans"]
    for detector in {o.id for o in whole.occurrences} - {"duplicate_span", "conflicting_span"}:
        assert Counter(found(report, detector)) == Counter(found(whole, detector)), detector
    twice = {(t["trace"], t["span"]) for t in known["truth"]}
    # of ids that stand for several spans, a copy may be taken for one of the others
    shared = set(found(whole, "conflicting_span"))
    assert twice - shared <= set(found(report, "duplicate_span")) <= twice | set(found(whole, "duplicate_span"))


def _counts(report: AnalysisReport) -> dict[EdgeKey, Any]:
    """Give calls, errors and histograms; sums of seconds differ in their last digits with the order of adding."""
    return {
        e.key: (e.counts.calls, e.counts.errors, *(d.buckets for d in (e.counts.client_seconds, e.counts.server_seconds, e.counts.messaging_seconds)))
        for e in report.edges
    }


def test_a_clock_that_is_wrong_is_found_and_nothing_is_called_missing_for_it(tmp_path: Path) -> None:
    report, _ = mutate(tmp_path, "dsb_hotel", "skew", "--service", "search", "--offset", "2000")
    assert edges(report) == edges(analyzed("otlp/dsb_hotel"))
    assert {d for d, _ in levels(report)} == {"clock_skew"}
    wrong = {(o.service, o.peer): o for o in report.occurrences if str(o.level) == "violation"}
    # ahead of its caller, and its callees are behind it
    assert set(wrong) == {("search", "frontend"), ("geo", "search"), ("rate", "search")}
    ahead = wrong["search", "frontend"].context
    assert 1990 < ahead["offset_at_least_ms"] <= ahead["offset_at_most_ms"] < 2000
    assert wrong["geo", "search"].context["offset_at_most_ms"] < -1990


def test_a_redelivery_is_another_message_and_nothing_is_wrong(tmp_path: Path) -> None:
    report, known = mutate(tmp_path, "datadog_messaging", "redeliver", "--rate", "0.5")
    whole = analyzed("otlp/datadog_messaging")
    assert known["truth"]
    assert report.counts["spans"] > whole.counts["spans"]
    assert {key for key in levels(report) if key[1] == "violation"} == {("broken_propagation", "violation")}
    assert len(found(report, "broken_propagation")) == len(found(whole, "broken_propagation"))


@pytest.mark.parametrize("source", ["dsb_hotel", "node_chain"])
def test_mangled_parents_are_orphans_and_their_callers_are_not_said_to_lack_a_span(tmp_path: Path, source: str) -> None:
    report, known = mutate(tmp_path, source, "cut_wrongparent", "--rate", "0.05")
    assert Counter(found(report, "orphan_span")) == Counter((t["trace"], t["span"]) for t in known["truth"])
    assert {o.cause for o in report.occurrences if o.id == "orphan_span"} == {"propagation_mangled"}
    assert found(report, "missing_server_span") == []
    assert found(report, "missing_root_span") == []


def test_a_second_root_in_its_trace_is_named_with_its_caller_which_is_not_said_to_lack_it(tmp_path: Path) -> None:
    report, known = mutate(tmp_path, "dsb_hotel", "cut_sametrace", "--rate", "0.05")
    assert Counter(found(report, "broken_propagation")) == Counter((t["trace"], t["span"]) for t in known["truth"])
    assert {d for d, _ in levels(report)} == {"clock_skew", "broken_propagation"}


def test_a_consumer_that_begins_a_trace_with_a_link_is_as_good_as_a_child(tmp_path: Path) -> None:
    report, known = mutate(tmp_path, "datadog_messaging", "link_newtrace", "--rate", "1")
    assert known["truth"] or edges(report) == edges(analyzed("otlp/datadog_messaging"))
    assert edges(report, within=True) == edges(analyzed("otlp/datadog_messaging"), within=True)
    assert found(report, "broken_propagation") == found(analyzed("otlp/datadog_messaging"), "broken_propagation")
