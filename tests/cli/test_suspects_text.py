"""What to fix first, on the terminal and in JSON: before the findings that go with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Run
from fake_views import finding

from traced.cli.suspects import MAX_FINGERPRINTS, MAX_SUSPECTS, print_suspects
from traced.graph.suspects import group

TWO_SERVICES = str(Path(__file__).resolve().parents[1] / "wheel" / "two_services.jsonl")


def answer(*found: Any, not_grouped: int = 0) -> dict[str, Any]:
    """Give what the API and `analyze` answer of suspects."""
    return {"suspects": [suspect.as_dict() for suspect in group(found).ranked], "not_grouped": not_grouped}


def test_analyze_says_what_to_fix_before_anything_that_was_found(run: Run):
    text = run("analyze", TWO_SERVICES).out
    assert text.index("what to fix first") < text.index("service graph") < text.index("2 findings")
    lines = text[text.index("what to fix first") :].splitlines()
    assert lines[2:4] == ["1. violation  cart  1 finding goes, x1", "   cart makes spans that never arrive."]
    assert lines[4].startswith("   fix: Look at the exporter of cart")


def test_analyze_gives_the_same_suspects_as_json(run: Run):
    result = json.loads(run("analyze", TWO_SERVICES, "--format", "json").out)
    assert [(s["rank"], s["kind"], s["place"], s["defect"]) for s in result["suspects"]] == [
        (1, "service", "cart", "loses_spans"),
        (2, "service", "web", "works_outside_traces"),
    ]
    assert [f for s in result["suspects"] for f in s["findings"]] == [f["fingerprint"] for f in result["findings"]]
    assert result["not_grouped"] == 0


def test_nothing_found_says_nothing_of_what_to_fix(run: Run, tmp_path: Path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"resourceSpans": []}\n')
    assert "fix first" not in run("analyze", str(empty)).out
    assert json.loads(run("analyze", str(empty), "--format", "json").out)["suspects"] == []


def test_findings_of_unknown_cause_promise_nothing(capsys: pytest.CaptureFixture[str]):
    print_suspects(answer(finding("cart", cause="unknown", peer="", message="Why is not known.")))
    assert capsys.readouterr().out.splitlines()[2:4] == ["1. violation  cart  1 finding of unknown cause, x3", "   Why is not known."]


def test_many_suspects_and_findings_are_cut_with_their_number(capsys: pytest.CaptureFixture[str]):
    many = [finding(f"s{n}", peer="") for n in range(MAX_SUSPECTS + 5)]
    one = [finding("cart", id="duplicate_span", cause="", signal_name=f"op {n}") for n in range(MAX_FINGERPRINTS + 1)]
    print_suspects(answer(*many, *one, not_grouped=3))
    out = capsys.readouterr().out
    assert "… and 6 more" in out
    assert "3 findings, the mildest, are not among these" in out
    (listed,) = [line for line in out.splitlines() if line.endswith("…") and line.startswith("   findings:")]
    assert listed.count(",") == MAX_FINGERPRINTS


def test_names_that_a_terminal_would_obey_are_cleaned(capsys: pytest.CaptureFixture[str]):
    print_suspects(answer(finding("ca\x1b[31mrt\n2. violation", id="span_flood", cause="")))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert not [line for line in out.splitlines() if line.startswith("2.")]


def test_a_daemon_that_groups_nothing_yet_is_understood(capsys: pytest.CaptureFixture[str]):
    print_suspects({"findings": []})
    assert capsys.readouterr().out == ""
