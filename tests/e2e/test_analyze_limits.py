"""What is found in files is never left out because there is much of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from daemon_process import traced

pytestmark = [pytest.mark.e2e]

FEW = {"TRACED_FINDINGS__MAX_FINDINGS": "10", "TRACED_FINDINGS__MAX_OCCURRENCES": "100"}


def request(trace: int, name: str, parent: str = "") -> str:
    span = {"traceId": f"{trace:032x}", "spanId": f"{trace:016x}", "parentSpanId": parent, "name": name, "kind": 2}
    span |= {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000100000000"}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def test_the_one_violation_behind_many_mild_findings_is_shown_and_decides_the_exit_code(tmp_path: Path):
    path = tmp_path / "input.jsonl"
    twice = [request(n, f"GET /user/{n}") for n in range(1, 31)] * 2
    path.write_text("\n".join([*twice, request(99, "GET /orphan", parent="00000000000000aa")]) + "\n")
    ran = traced("analyze", path, "--format", "json", "--fail-on", "violation", environment=FEW)
    assert ran.returncode == 1, ran.stderr
    findings = json.loads(ran.stdout)["findings"]
    assert sorted(f["id"] for f in findings) == ["duplicate_span"] * 30 + ["missing_root_span", "orphan_span"]
