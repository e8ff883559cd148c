"""How a command ends when its output cannot be written, or when it is told to end in the middle of its work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "traced"]
TWO_SERVICES = Path(__file__).resolve().parents[1] / "wheel" / "two_services.jsonl"
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@needs_full
@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", str(TWO_SERVICES), "--format", "json"],
        ["analyze", str(TWO_SERVICES)],
        ["graph", str(TWO_SERVICES), "--format", "json"],
        ["explain", "orphan_span"],
        ["serve", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    ],
    ids=["analyze as JSON", "analyze as text", "graph", "explain", "serve"],
)
def test_a_full_disk_under_the_output_is_one_clear_error(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 3
    assert "traced: the result could not be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Give a file that takes seconds to analyse."""
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(1, 1500):
            same = {"traceId": f"{number:032x}", "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
            spans = [{**same, "spanId": f"{span:016x}", "parentSpanId": f"{span + 1:016x}"} for span in range(1, 200)]
            file.write(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}) + "\n")
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("after_seconds", [0.2, 1.5, 3.0])
def test_analyze_that_is_told_to_end_leaves_nothing_behind(large: Path, tmp_path: Path, number: signal.Signals, code: int, after_seconds: float) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    command = [*COMMAND, "analyze", str(large)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not list(scratch.glob("traced-analyze-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(after_seconds)
        process.send_signal(number)
        _, words = process.communicate(timeout=60)
    assert (process.returncode, words) == (code, b"")
    assert list(scratch.iterdir()) == []


def test_serve_that_is_told_to_end_while_it_starts_ends_without_a_failure(tmp_path: Path) -> None:
    ports = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    # as soon as the command line itself is there
    program = "import os, signal, threading; from traced.cli import main; threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start(); main()"
    done = subprocess.run([sys.executable, "-c", program, "serve", *ports], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr


def test_a_signal_that_a_library_swallows_ends_the_command_all_the_same(tmp_path: Path) -> None:
    program = """
import os, signal, sys, time
from traced.cli import app

def swallows():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
    except SystemExit:
        pass
    time.sleep(20)

app.app.registered_commands[:] = []
app.app.command("swallows")(swallows)
app.main()
"""
    done = subprocess.run([sys.executable, "-c", program, "swallows"], capture_output=True, text=True, cwd=tmp_path, timeout=15, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")
