"""`make crash` in short: a whole daemon is killed five times under load, and every acknowledged batch is there once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CRASH = Path(__file__).parents[1] / "crash" / "crash.py"


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_a_daemon_killed_five_times_under_load_has_every_acknowledged_batch_whole_and_once(tmp_path):
    run = subprocess.run([sys.executable, str(CRASH), "--kills", "5", "--data-dir", str(tmp_path / "data")], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = dict(re.findall(r"(\w+) (\d+)", run.stdout))
    assert figures["kills"] == "5"
    assert int(figures["acked_batches"]) > 5
    assert (figures["lost_batches"], figures["partial_batches"], figures["failed_starts"]) == ("0", "0", "0")
    assert (figures["lost_messages"], figures["doubled_messages"]) == ("0", "0")
