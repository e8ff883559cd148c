"""What was damaged is what to fix first, and most of what is found goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_data import analyze

from .damages import DAMAGES
from .otlp_lines import write
from .worlds import world

pytestmark = pytest.mark.slow

SEED = 7


@pytest.mark.parametrize(
    ("damage", "kind", "defect"),
    [
        pytest.param("loss_5", "service", "loses_spans", id="a service that loses spans"),
        pytest.param("queue_full", "service", "loses_spans", id="an instance whose queue is full"),
        pytest.param("dead", "service", "reports_nothing", id="a service that never reports"),
        pytest.param("cut_100", "edge", "loses_context", id="an edge that loses context"),
        pytest.param("cut_caller", "service", "injects_no_context", id="a caller that injects nothing"),
        pytest.param("cut_callee", "service", "extracts_no_context", id="a callee that extracts nothing"),
        pytest.param("mangled", "edge", "changes_ids", id="a proxy that changes ids"),
        pytest.param("skew_200ms", "host", "clock_ahead", id="a clock that is ahead"),
    ],
)
def test_what_was_damaged_comes_first(damage: str, kind: str, defect: str, tmp_path: Path):
    clean = world("shop", SEED, None)
    damaged = DAMAGES[damage].done_to(clean, SEED)
    write(tmp_path / "damaged.jsonl", damaged.spans)
    report = analyze(tmp_path / "damaged.jsonl").as_dict()
    suspect = report["suspects"][0]
    assert (suspect["kind"], suspect["defect"]) == (kind, defect)
    assert 2 * suspect["count"] > len(report["findings"])
    lost = {s.service for s in clean.spans if s.uid in damaged.fates and s.uid not in clean.fates}
    cut = {s.service for s in clean.spans if s.uid in damaged.cuts}
    if damaged.skewed:
        assert suspect["place"] in damaged.skewed
    elif defect == "injects_no_context":
        assert suspect["service"] not in cut
    else:
        assert {suspect["service"]} == (lost or cut)
