"""What README.md shows is what happens when its reader does it."""

import re
import shlex
import subprocess
import sys

import pytest
from documentation.generate import ROOT

from traced.api.openapi import OPENAPI
from traced.cli.app import DEFECT, READER_GONE, UNREACHABLE, UNREADABLE, USAGE
from traced.demo.faults import planted_faults
from traced.detectors import detector_ids

README = (ROOT / "README.md").read_text(encoding="utf-8")


def console(command: str) -> list[str]:
    """Give what a console block shows below a command."""
    block = re.search(rf"^```console\n(?:.*\n)*?\$ {re.escape(command)}\n((?:(?!```|\$ ).*\n)*)", README, re.MULTILINE)
    assert block, command
    return block[1].splitlines()


def test_the_readme_shows_what_analyze_prints():
    command = "traced analyze tests/wheel/two_services.jsonl"
    run = subprocess.run([sys.executable, "-m", *shlex.split(command)], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    printed, shown = run.stdout.splitlines(), console(command)
    assert len(shown) > 20
    # the README says that some lines of `fix` are shortened
    assert [line for line in shown if line.endswith("…") and not line.lstrip().startswith("fix: ")] == []
    whole = [real if said.endswith("…") and real.startswith(said.removesuffix("…")) else said for said, real in zip(shown, printed, strict=False)]
    assert whole + shown[len(printed) :] == printed


def test_the_readme_says_what_each_exit_code_means():
    table = README.partition("| exit code | says |")[2].partition("\n\n")[0]
    codes = re.findall(r"^\| (\d+(?: \+ N)?) \|", table, re.MULTILINE)
    assert codes == [*(str(code) for code in (0, 1, USAGE, UNREADABLE, UNREACHABLE, DEFECT, READER_GONE)), "128 + N"]


@pytest.mark.parametrize("detector", detector_ids())
def test_the_readme_names_every_level_of_a_detector(detector: str):
    row = re.search(rf"^\| `{detector}` \| ([^|]+) \|", README, re.MULTILINE)
    assert row
    source = (ROOT / "traced" / "detectors" / f"{detector}.py").read_text(encoding="utf-8")
    assert set(re.findall(r"violation|improvement|information", row[1])) == {level.lower() for level in re.findall(r"\bLevel\.([A-Z]+)", source)}


def test_the_readme_lists_what_programs_can_ask():
    row = re.search(r"^\| JSON \| (.+) \|$", README, re.MULTILINE)
    assert row
    assert set(re.findall(r"`(/api/v1/[^`]+)`", row[1])) == {path for path in OPENAPI["paths"] if path.startswith("/api/v1/")} | {"/api/v1/openapi.json"}


def test_the_readme_counts_the_planted_faults():
    numbers = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    assert f"the {numbers[len(planted_faults())]} planted faults" in README
