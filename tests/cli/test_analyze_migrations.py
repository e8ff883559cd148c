"""`traced analyze` judges migrations by the times of the spans, and finds those that nobody configured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Run

DAY = 86_400_000_000_000
BEGIN = 1_790_000_000_000_000_000
CONFIG = """
migrations:
  - name: orders
    old: {destination: orders.v1}
    new: {destination: orders.v2}
    consumers: [billing, shipping]
    sampling: {"*": 1.0}
    max_unseen_share: 0.05
"""


def span(number: int, kind: int, destination: str, start: int, *, trace: int, parent: int = 0) -> dict[str, Any]:
    """Give one span, as OTLP/JSON, that sends or takes a message."""
    attributes = {"messaging.system": "kafka", "messaging.destination.name": destination, "messaging.operation.type": "send" if kind == 4 else "process"}
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": destination,
        "kind": kind,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 1_000_000),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
    }


def days(straggles: int) -> str:
    """Give twenty days of orders, ten a day, in both schemas; shipping takes the old one for the first so many days."""
    spans: dict[str, list[dict[str, Any]]] = {"order": [], "billing": [], "shipping": []}
    for order in range(200):
        start, trace, base = BEGIN + order * DAY // 10, order + 1, order * 10
        spans["order"].append(span(base + 1, 4, "orders.v1", start, trace=trace))
        spans["order"].append(span(base + 2, 4, "orders.v2", start, trace=trace, parent=base + 1))
        spans["billing"].append(span(base + 3, 5, "orders.v2", start + 2_000_000, trace=trace, parent=base + 2))
        old = order < 10 * straggles
        spans["shipping"].append(span(base + 4, 5, f"orders.v{1 if old else 2}", start + 2_000_000, trace=trace, parent=base + (1 if old else 2)))
    return json.dumps(
        {
            "resourceSpans": [
                {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]}, "scopeSpans": [{"spans": its}]}
                for name, its in spans.items()
            ],
        },
    )


@pytest.mark.parametrize(("straggles", "verdict", "phase"), [(0, "SAFE", "consumers_moved"), (20, "NOT_SAFE", "consumers_moving")])
def test_the_verdict_is_that_of_the_time_that_the_spans_are_of(run: Run, tmp_path: Path, straggles: int, verdict: str, phase: str) -> None:
    spans, config = tmp_path / "spans.jsonl", tmp_path / "config.yaml"
    spans.write_text(days(straggles))
    config.write_text(CONFIG)
    ran = run("analyze", str(spans), "--config", str(config), "--format", "json")
    (one,) = json.loads(ran.out)["migrations"]
    stop = one["gates"][0]
    assert (one["name"], one["phase"], stop["gate"], stop["verdict"]) == ("orders", phase, "stop-publish", verdict), stop["reasons"]
    assert ran.code == 0
    text = run("analyze", str(spans), "--config", str(config)).out
    assert f"migration orders: {phase}" in text
    assert verdict.replace("_", " ") in text


def test_what_nobody_configured_is_found(run: Run, tmp_path: Path) -> None:
    spans = tmp_path / "spans.jsonl"
    spans.write_text(days(20))
    found = json.loads(run("analyze", str(spans), "--format", "json").out)
    assert found["migrations"] == []
    (one,) = found["found_migrations"]
    assert 'old: {destination: "orders.v1"}' in one["configuration"]
    assert "To watch it, add below `migrations:`" in run("analyze", str(spans)).out
