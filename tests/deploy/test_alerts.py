"""Alert rules with the real promtool: they are valid, fire, stay silent and resolve, and every metric that they name is one that the daemon exports."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from documentation.metrics import shown

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "deploy" / "prometheus").glob("*.rules.yaml"))
PROMTOOL = shutil.which("promtool")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    if PROMTOOL is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)


@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_the_rules_are_valid(rules: Path):
    ran = promtool("check", "rules", "--lint=all", "--lint-fatal", str(rules))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("tests", sorted(Path(__file__).parent.glob("*.test.yaml")), ids=lambda path: path.name)
def test_every_alert_fires_stays_silent_and_resolves(tests: Path):
    ran = promtool("test", "rules", tests.name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_every_alert_has_a_test_and_says_what_to_do(rules: Path):
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("*.test.yaml"))
    for group in yaml.safe_load(rules.read_text())["groups"]:
        for rule in group["rules"]:
            assert f"alertname: {rule['alert']}" in tests
            assert rule["labels"]["severity"] in ("critical", "warning", "info")
            assert {"summary", "description"} <= set(rule["annotations"])
            assert rule["keep_firing_for"]


@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_every_metric_that_a_rule_names_is_exported(rules: Path):
    named = set(re.findall(r"\btrace[ds]_\w+", rules.read_text()))
    assert named
    assert named <= {one.name for one in shown()}
