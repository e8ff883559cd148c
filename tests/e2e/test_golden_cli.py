"""Other tools' own test cases through the whole command, under the settings that each tool's graph assumes; one of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from daemon_process import traced

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "golden"
COLLECTOR = {"TRACED_GRAPH__VIRTUAL_CALLERS": "user", "TRACED_GRAPH__VIRTUAL_CALLEES": "peer_or_unknown"}
OPENZIPKIN = {"TRACED_GRAPH__VIRTUAL_CALLERS": "peer", "TRACED_GRAPH__VIRTUAL_CALLEES": "peer"}
SUITES = {"otelcol_service_graph": (COLLECTOR, 1), "jaeger_spark_dependencies": (OPENZIPKIN, 1), "zipkin_dependency_linker": (OPENZIPKIN, 1)}
LINKED_DIRECTLY = {
    "messagingSpansDontLinkWithoutBroker_consumer",
    "messagingSpansDontLinkWithoutBroker_producer",
    "messagingWithBroker_both_sides_same",
    "messagingWithBroker_different",
    "messagingWithoutBroker_noLinks",
}
"""Zipkin makes the broker a node; here a producer and its consumer are linked."""

Edges = dict[tuple[str, str], tuple[int, int]]


def edges_of(edges: list[dict[str, Any]], *, without_nameless: bool) -> Edges:
    """Give (calls, errors) by (client, server); what one tool invents and another does not may be left out."""
    counted: Edges = {}
    for edge in edges:
        nameless = edge.get("connection_type") == "virtual_node" and (edge["client"] == "user" or edge["server"] == "unknown")
        if not (nameless and without_nameless):
            calls, errors = counted.get((edge["client"], edge["server"]), (0, 0))
            counted[edge["client"], edge["server"]] = (calls + edge["calls"], errors + edge.get("errors", 0))
    return counted


@pytest.mark.parametrize("suite", SUITES)
def test_cases_of_other_tools_give_the_edges_that_they_expect(suite: str, tmp_path: Path):
    if not GOLDEN.is_dir():
        pytest.skip("the golden cases (shared/data/golden beside the checkout) are not here")
    settings, count = SUITES[suite]
    cases = [case for case in json.loads((GOLDEN / f"{suite}.json").read_text())["cases"] if case["name"] not in LINKED_DIRECTLY]
    # those with the most to get wrong
    cases.sort(key=lambda case: -len(json.dumps(case["expected_edges"])))
    assert len(cases) >= count
    for case in cases[:count]:
        path = tmp_path / "case.json"
        path.write_text(json.dumps(case["otlp"]))
        ran = traced("analyze", path, "--format", "json", environment=settings)
        assert ran.returncode == 0, ran.stderr
        found = edges_of(json.loads(ran.stdout)["service_graph"]["edges"], without_nameless=suite != "otelcol_service_graph")
        assert found == {(e["client"], e["server"]): (e["calls"], e["errors"]) for e in case["expected_edges"]}, case["name"]


def test_the_settings_decide_who_calls_a_root_and_whom_an_unanswered_call_reaches(tmp_path: Path):
    path = tmp_path / "case.jsonl"
    ids = {"traceId": "01" * 16, "spanId": "02" * 8, "startTimeUnixNano": "1", "endTimeUnixNano": "2", "name": "x"}
    spans = [ids | {"kind": 2}, ids | {"spanId": "03" * 8, "parentSpanId": "02" * 8, "kind": 3}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}
    path.write_text(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}))
    expected = {("user", "peer_or_unknown"): {("user", "web"), ("web", "unknown")}, ("none", "none"): set()}
    for (callers, callees), pairs in expected.items():
        environment = {"TRACED_GRAPH__VIRTUAL_CALLERS": callers, "TRACED_GRAPH__VIRTUAL_CALLEES": callees}
        ran = traced("analyze", path, "--format", "json", environment=environment)
        assert set(edges_of(json.loads(ran.stdout)["service_graph"]["edges"], without_nameless=False)) == pairs, (callers, callees)
