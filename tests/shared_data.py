"""Real data and other tools' test cases, which lie beside the checkout where there are any."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from traced.cli.inputs import Inputs
from traced.config import Settings
from traced.file_analysis import AnalysisReport, analyze_requests

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = SHARED / "data"
MUTATE = SHARED / "tools" / "mutate.py"

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no folder `shared/data` beside the checkout")


def analyze(*paths: Path, settings: Settings | None = None) -> AnalysisReport:
    """Analyse files as `traced analyze` does: real decoder, real store."""
    problems: list[str] = []
    report = analyze_requests(Inputs([str(p) for p in paths], problems.append), settings or Settings())
    assert problems == []
    return report


@cache
def analyzed(name: str) -> AnalysisReport:
    """Analyse one of the data sets, once."""
    return analyze(DATA / f"{name}.traces.jsonl.gz")


def truth(name: str) -> dict[str, Any]:
    """Give what is known about a data set."""
    known: dict[str, Any] = json.loads((DATA / f"{name}.truth.json").read_text(encoding="utf-8"))
    return known


def mutate(out: Path, source: str, mode: str, *more: str) -> tuple[AnalysisReport, dict[str, Any]]:
    """Damage a data set in a known way, analyse it, and give what was found and what was done."""
    prefix = out / f"{source}.{mode}"
    subprocess.run([sys.executable, MUTATE, DATA / "otlp" / f"{source}.traces.jsonl.gz", prefix, "--mode", mode, *more], check=True, capture_output=True)
    return analyze(Path(f"{prefix}.traces.jsonl.gz")), json.loads(Path(f"{prefix}.truth.json").read_text(encoding="utf-8"))


def edges(report: AnalysisReport, *, within: bool = False) -> dict[str, int]:
    """Give "caller -> callee" to calls, without databases and virtual nodes (and, unless `within`, calls of a service to itself)."""
    shown = [e for e in report.edges if str(e.key.connection_type) in ("", "messaging_system")]
    return {f"{e.key.client} -> {e.key.server}": e.counts.calls for e in shown if within or e.key.client != e.key.server}


def found(report: AnalysisReport, detector: str) -> list[tuple[str, str]]:
    """Give (trace id, span id) in hex of a detector's occurrences."""
    return [(e["trace_id"], e["span_id"]) for e in (o.as_evidence() for o in report.occurrences) if e["id"] == detector]


def levels(report: AnalysisReport) -> dict[tuple[str, str], int]:
    """Give (detector, level) to occurrences."""
    counts: dict[tuple[str, str], int] = {}
    for finding in report.findings:
        counts[finding.id, str(finding.level)] = counts.get((finding.id, str(finding.level)), 0) + finding.count
    return counts
