"""Other tools' own test cases of the service graph, each suite under the settings of virtual nodes that it assumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shared_data import DATA, analyze, needs_data

from traced.config import GraphSettings, Settings

DEVIATIONS = {
    "messagingSpansDontLinkWithoutBroker_consumer": "a consumer's peer is its broker: Zipkin draws broker -> consumer",
    "messagingSpansDontLinkWithoutBroker_producer": "a producer's peer is its broker: Zipkin draws producer -> broker",
    "messagingWithBroker_both_sides_same": "Zipkin draws producer -> broker -> consumer; here the producer and its consumer are linked directly",
    "messagingWithBroker_different": "Zipkin draws each side's own broker; here the producer and its consumer are linked directly",
    "messagingWithoutBroker_noLinks": "Zipkin draws nothing without a broker's name; here the producer and its consumer are linked directly",
}
"""Cases of Zipkin's suite that make the broker a node."""

SUITES = {
    "zipkin_dependency_linker": (GraphSettings(virtual_callers="peer"), 42),
    "otelcol_service_graph": (GraphSettings(virtual_callers="user", virtual_callees="peer_or_unknown"), 10),
    "jaeger_spark_dependencies": (GraphSettings(), 3),
}


def _cases() -> list[Any]:
    cases = []
    for suite, (settings, _) in SUITES.items():
        path = DATA / "golden" / f"{suite}.json"
        known = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.exists() else []
        cases += [pytest.param(suite, settings, case, id=f"{suite}-{case['name']}") for case in known]
    return cases or [pytest.param("", None, {}, id="none", marks=pytest.mark.skip(reason="no folder `shared/data/golden` beside the checkout"))]


def _graph(tmp_path: Path, suite: str, settings: GraphSettings, case: dict[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    path = tmp_path / "case.json"
    path.write_text(json.dumps(case["otlp"]), encoding="utf-8")
    graph: dict[tuple[str, str], tuple[int, int]] = {}
    for edge in analyze(path, settings=Settings(graph=settings)).edges:
        ends = (edge.key.client, edge.key.server)
        # an end that nobody named is drawn by the Collector only
        invented = str(edge.key.connection_type) == "virtual_node" and (ends[0] == "user" or ends[1] == "unknown")
        if not invented or suite.startswith("otelcol"):
            calls, errors = graph.get(ends, (0, 0))
            graph[ends] = (calls + edge.counts.calls, errors + edge.counts.errors)
    return graph


@pytest.mark.parametrize(("suite", "settings", "case"), _cases())
def test_case(tmp_path: Path, suite: str, settings: GraphSettings, case: dict[str, Any]) -> None:
    expected = {(e["client"], e["server"]): (e["calls"], e["errors"]) for e in case["expected_edges"]}
    graph = _graph(tmp_path, suite, settings, case)
    if case["name"] in DEVIATIONS:
        assert graph != expected, "this is no deviation any more: take it off the list"
    else:
        assert graph == expected


@needs_data
@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_whole(suite: str) -> None:
    cases = json.loads((DATA / "golden" / f"{suite}.json").read_text(encoding="utf-8"))["cases"]
    assert len(cases) == SUITES[suite][1]
    if suite.startswith("zipkin"):
        assert set(DEVIATIONS) <= {case["name"] for case in cases}
