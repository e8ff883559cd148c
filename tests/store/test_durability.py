"""An acknowledged batch is on disk: after `kill -9`, after failed system calls, and synced before the acknowledgement."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from store_parts import expected, held, metric, open_store
from thorough import THOROUGH

PROCESS = Path(__file__).with_name("storing_process.py")


def storing(data_dir: Path, batches: int, *settings: str, under: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(PROCESS.parent), str(PROCESS.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [*under, sys.executable, str(PROCESS), str(data_dir), str(batches), *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )


def strace_works() -> bool:
    """Containers often forbid ptrace."""
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-qq", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0


needs_strace = pytest.mark.skipif(not strace_works(), reason="strace is not installed, or ptrace is not permitted")


def acked_lines(output: str) -> list[int]:
    return [int(n) for n in re.findall(r"^acked (\d+)$", output, re.MULTILINE)]


@pytest.mark.parametrize("seal_after", [100, 100_000])
@pytest.mark.parametrize("after", [1, 37])
def test_what_was_acknowledged_is_there_after_kill_9(tmp_path, after, seal_after):
    with storing(tmp_path, 100_000, f"seal_after_spans={seal_after}") as process:
        acked: list[int] = []
        for line in process.stdout:
            acked += acked_lines(line)
            if len(acked) == after:
                process.send_signal(signal.SIGKILL)
                break
        acked += acked_lines(process.stdout.read())
    with open_store(tmp_path) as store:
        there = held(store)
        assert expected(acked) <= there
        assert there == expected(sorted({number for number, _ in there})), "each once, and no part of a batch"
        assert len(there) <= 10 * (len(acked) + 1)
        assert metric(store, "traced_store_lost_batches_total") == 0


@needs_strace
def test_every_acknowledgement_comes_after_the_sync_of_its_commit(tmp_path):
    """In the order of the system calls: write to the WAL, fdatasync of the WAL, then the line that says so."""
    trace = tmp_path / "trace"
    with storing(tmp_path / "data", 20, under=("strace", "-f", "-y", "-qq", "-e", "trace=write,fdatasync", "-o", str(trace))) as process:
        assert process.stdout.read().rstrip().endswith("done")
    unsynced, synced_at_ack = 0, []
    for line in trace.read_text(errors="replace").splitlines():
        if re.search(r"\bwrite\(\d+<[^>]*\.duckdb\.wal>", line):
            unsynced += 1
        elif re.search(r"\bfdatasync\(\d+<[^>]*\.duckdb\.wal>\)", line):
            unsynced = 0
        elif re.search(r'write\(1<[^>]*>, "acked \d+', line):
            synced_at_ack.append(unsynced == 0)
    assert synced_at_ack == [True] * 20


@needs_strace
def test_a_new_segment_is_in_its_directory_for_good_before_its_first_acknowledgement(tmp_path):
    """DuckDB creates the WAL and never syncs the directory: a power cut would lose the file."""
    trace = tmp_path / "trace"
    with storing(tmp_path / "data", 1, under=("strace", "-f", "-y", "-qq", "-e", "trace=openat,write,fsync", "-o", str(trace))) as process:
        process.stdout.read()
    lines = trace.read_text(errors="replace").splitlines()
    created = next(n for n, line in enumerate(lines) if re.search(r"openat\(.*\.duckdb\.wal.*O_CREAT", line))
    synced = next(n for n, line in enumerate(lines) if n > created and re.search(r"fsync\(\d+<[^>]*/hot>", line))
    acked = next(n for n, line in enumerate(lines) if '"acked 1' in line)
    assert created < synced < acked


FAULTS = [("fdatasync", 8), ("fdatasync", 20), ("fdatasync", 33), ("fsync", 9), ("fsync", 13), ("rename", 5), ("rename", 6)]
EVERY_FAULT = [(call, when, error) for call, when in FAULTS for error in ("EIO", "ENOSPC")]


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize(("call", "when", "error"), EVERY_FAULT if THOROUGH else EVERY_FAULT[1::3])
def test_a_failed_system_call_costs_no_acknowledged_batch_and_no_restart(tmp_path, call, when, error):
    under = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    with storing(tmp_path, 40, "seal_after_spans=100", under=under) as process:
        output = process.stdout.read()
    assert acked_lines(output) == list(range(1, 41)), "it went on by itself"
    assert output.count("refused") <= 40, "within seconds"
    with open_store(tmp_path) as store:
        assert held(store) == expected(range(1, 41))
        assert metric(store, "traced_store_lost_batches_total") == 0
