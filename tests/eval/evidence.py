"""The lines of `traced analyze --evidence`, and how to get them: one run of the program under test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .traces import Key

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 300
_TRACED = (sys.executable, "-m", "traced")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One occurrence as reported; fields as in the line."""

    id: str
    key: Key
    cause: str = ""
    service: str = ""
    peer: str = ""
    missing_span_id: str = ""
    matched: Key | None = None
    confidence: float = 1.0
    level: str = "violation"

    @property
    def grave(self) -> bool:
        """Tell whether it says that something is wrong, or could be better."""
        return self.level != "information"


def parse(line: str) -> Evidence:
    """Read one line."""
    told: Mapping[str, Any] = json.loads(line)
    matched = told.get("matched")
    return Evidence(
        id=told["id"],
        key=(told["trace_id"], told["span_id"]),
        cause=told.get("cause") or "",
        service=told.get("service") or "",
        peer=told.get("peer") or "",
        missing_span_id=told.get("missing_span_id") or "",
        matched=(matched["trace_id"], matched["span_id"]) if matched else None,
        confidence=float(told.get("confidence", 1)),
        level=told.get("level", "violation"),
    )


def analyze(path: Path, spans: int) -> list[Evidence]:
    """Run `traced analyze` on a file of so many spans, repeats included, and give what it reports.

    Raises:
        RuntimeError: it failed, or did not take every span.
    """
    out = path.with_suffix(".evidence")
    command = [*_TRACED, "analyze", str(path), "--evidence", str(out), "--format", "json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)
    if done.returncode:
        raise RuntimeError(f"traced analyze {path.name} ended with {done.returncode}: {done.stderr.strip()}")
    counts = json.loads(done.stdout)["input"]
    if counts["spans"] + counts["duplicate_spans"] != spans:
        raise RuntimeError(f"traced analyze {path.name} took {counts} of {spans} spans")
    with out.open(encoding="utf-8") as lines:
        return [parse(line) for line in lines]


def built_detectors() -> frozenset[str]:
    """Ask `traced` which detectors it has."""
    done = subprocess.run([*_TRACED, "explain", "--format", "json"], check=True, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)
    return frozenset(d["id"] for d in json.loads(done.stdout)["detectors"])
