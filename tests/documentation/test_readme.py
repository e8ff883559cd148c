"""What README.md shows is what happens when its reader does it."""

import re
import shlex
import subprocess
import sys

from documentation.generate import ROOT

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
