"""Every message is logged once: after `kill -9` at any moment, after failed system calls, and after a crash between any two of them."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from logged import counts, flow, flows, message, messages, numbers, restored
from logging_process import begin
from test_durability import needs_strace
from thorough import THOROUGH, rounds

from traced.store import message_files, message_shelf, state
from traced.store.message_keeping import LogKeeper
from traced.store.state import StateFiles

PROCESS = Path(__file__).with_name("logging_process.py")


def logging(data_dir: Path, passes: int, under: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(PROCESS.parent), *(str(PROCESS.parents[n]) for n in (1, 2)), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [*under, sys.executable, str(PROCESS), str(data_dir), str(passes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | {"PYTHONPATH": paths})


def kept_passes(output: str) -> list[int]:
    return [int(n) for n in re.findall(r"^kept (\d+)$", output, re.MULTILINE)]


def holds_exactly_what_the_state_says(data_dir: Path) -> int:
    """Compare the log with the state; give the last pass of it."""
    _, log, done = begin(data_dir)
    assert numbers(log) == dict.fromkeys(range(1, done + 1), 1)
    assert counts(log) == done
    assert log.take_losses() == []
    return done


@pytest.mark.slow
def test_after_kill_9_at_random_moments_each_message_is_there_once(tmp_path):
    rng, seen = random.Random(7), 0
    for _ in range(rounds(6, 60)):
        with logging(tmp_path, 100_000) as process:
            first = next(line for line in process.stdout if line.startswith("kept"))
            time.sleep(rng.uniform(0.0, 0.4))
            process.send_signal(signal.SIGKILL)
            output = first + process.stdout.read()
        done = holds_exactly_what_the_state_says(tmp_path)
        assert done >= max(kept_passes(output), default=seen), "what was said to be kept is"
        assert done > seen, "it went on from where it was"
        seen = done


FAULTS = [("fsync", 3), ("fsync", 8), ("fsync", 21), ("rename", 2), ("rename", 7), ("rename", 16), ("unlink", 2)]
EVERY_FAULT = [(call, when, error) for call, when in FAULTS for error in ("EIO", "ENOSPC")]


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize(("call", "when", "error"), EVERY_FAULT if THOROUGH else EVERY_FAULT[1::4])
def test_a_failed_system_call_costs_no_message_and_doubles_none(tmp_path, call, when, error):
    under = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    with logging(tmp_path, 20, under) as process:
        output = process.stdout.read()
    done = holds_exactly_what_the_state_says(tmp_path)
    assert done == 20 or "done" not in output


class Crash(BaseException):
    """The process ends here: nothing that comes after it is done, not even what cleans up."""


STEPS = [
    (message_files, "sync_file"),
    (message_files, "sync_directory"),
    (message_shelf, "sync_directory"),
    (state, "sync_directory"),
    (Path, "rename"),
    (Path, "unlink"),
    (Path, "touch"),
]


class _Steps:
    """Lets the process end before or after its Nth step that others can see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int, *, after: bool) -> None:
        self.left, self.after, self.dead = last, after, False
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, work: Callable[..., object]) -> Callable[..., object]:
        def step(*given: object, **options: object) -> object:
            if self.dead:
                raise Crash
            self.left -= 1
            if self.left == 0 and not self.after:
                self.dead = True
                raise Crash
            result = work(*given, **options)
            if self.left == 0:
                self.dead = True
                raise Crash
            return result

        return step


def run_passes(data_dir: Path, passes: int) -> None:
    """Do as the process does, in this one, and merge after each pass."""
    files, log, done = begin(data_dir)
    keeper = LogKeeper(log, lambda: 0)
    for number in range(done + 1, done + passes + 1):
        log.add(messages(message(number, number)), flows(flow(number)))
        files.save("analysis", {"pass": number, "messages": log.flush()})
        log.saved()
        keeper.tidy()


@pytest.fixture
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the time of syncing: here only the order of the steps counts."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.mark.slow
@pytest.mark.usefixtures("_unsynced")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_between_any_two_steps_loses_nothing_and_doubles_nothing(tmp_path, after):
    """Of three passes, in the second of which the eighth file of each kind makes a merge."""
    run_passes(tmp_path / "begun", 6)
    last, crashed = 1, True
    while crashed:
        data_dir = shutil.copytree(tmp_path / "begun", tmp_path / str(last))
        with pytest.MonkeyPatch.context() as monkeypatch:
            _Steps(monkeypatch, last, after=after)
            try:
                run_passes(data_dir, 3)
                crashed = False
            except Crash:
                crashed = True
        assert 6 <= holds_exactly_what_the_state_says(data_dir) <= 9
        last += 1 if THOROUGH else 3
    assert last > 50


@pytest.mark.usefixtures("_unsynced")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_while_the_log_is_cut_is_made_good_by_the_next_start(tmp_path, after):
    run_passes(tmp_path / "begun", 12)
    (tmp_path / "begun" / "state" / "analysis.json.gz").unlink()
    last, crashed = 1, True
    cut = message(7, 7)["arrival_time_unix_nano"]
    while crashed:
        data_dir = shutil.copytree(tmp_path / "begun", tmp_path / str(last))
        with pytest.MonkeyPatch.context() as monkeypatch:
            _Steps(monkeypatch, last, after=after)
            try:
                log = restored(data_dir, None, cut)
                StateFiles(data_dir / "state", durable=True).save("analysis", {"pass": 7, "messages": log.flush()})
                log.saved()
                crashed = False
            except Crash:
                crashed = True
        kept = StateFiles(data_dir / "state", durable=True).load("analysis")
        log = restored(data_dir, kept["messages"] if kept else None, None if kept else cut)
        assert numbers(log) == dict.fromkeys(range(1, 8), 1)
        last += 1 if THOROUGH else 3
    assert last > 20
