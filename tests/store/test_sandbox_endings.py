"""A query's process never outlives what it runs for: its time, its daemon, and the daemon's order to end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from traced.config import QuerySettings
from traced.errors import OverloadedError, QueryError
from traced.store import sandbox, sandbox_child
from traced.store.sandbox import Sandbox, SandboxFiles
from traced.store.user_queries import UserQueries

NOTHING = SandboxFiles()
ENDLESS = "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r) SELECT count(*) FROM r"
UNINTERRUPTIBLE = "SELECT count(*) FROM json_tree(repeat('[', 100000) || repeat(']', 100000))"
"""One call that takes far longer than any test: the engine's own limit of time is looked at between calls only."""


def test_a_child_that_is_stopped_is_killed_at_the_time_limit(monkeypatch):
    original = subprocess.Popen

    def stopped(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        child = original(*args, **kwargs)
        os.kill(child.pid, 19)  # SIGSTOP: it can neither read its job nor notice its own alarm
        return child

    monkeypatch.setattr(subprocess, "Popen", stopped)
    before = time.monotonic()
    with pytest.raises(QueryError, match="time limit"):
        Sandbox(QuerySettings(timeout_seconds=0.5)).run("SELECT $a", {"a": "x" * 200_000}, NOTHING)
    assert time.monotonic() - before < 1.5


def test_the_child_ends_with_its_parent_however_long_it_might_still_run(tmp_path):
    program = (
        "import sys; from traced.store.sandbox import *; from traced.config import QuerySettings\n"
        f"Sandbox(QuerySettings(timeout_seconds=60)).run({UNINTERRUPTIBLE!r}, {{}}, SandboxFiles())"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([os.sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as parent:
        child = _wait_for_child(parent.pid)
        parent.kill()
    deadline = time.monotonic() + 5
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def test_a_child_that_nobody_kills_is_ended_by_its_own_alarm(monkeypatch):
    started = []
    original = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: started.append(original(*args, **kwargs)) or started[-1])
    monkeypatch.setattr(sandbox, "_kill", lambda _: None)
    with pytest.raises(QueryError, match="time limit"):
        Sandbox(QuerySettings(timeout_seconds=0.5)).run(UNINTERRUPTIBLE, {}, NOTHING)
    assert [child.returncode for child in started] == [-signal.SIGALRM]


def test_a_child_whose_parent_is_gone_before_it_read_its_job_runs_nothing():
    child = Path(sandbox_child.__file__)
    job = {"parent_pid": os.getppid()}  # its parent is this process, so that one is not
    ended = subprocess.run([os.sys.executable, "-I", str(child)], input=json.dumps(job).encode(), capture_output=True, timeout=10, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")


def test_closing_ends_what_runs_and_refuses_what_comes_and_both_say_when_to_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    closing = Sandbox(QuerySettings(timeout_seconds=60))

    def refusal(sql: str) -> OverloadedError:
        with pytest.raises(OverloadedError) as caught:
            closing.run(sql, {}, NOTHING)
        return caught.value

    with ThreadPoolExecutor(2) as pool:
        # they could only end at a limit much later
        running = [pool.submit(refusal, ENDLESS) for _ in range(2)]
        child = _wait_for_child(os.getpid())
        before = time.monotonic()
        closing.close()
        # all places may still be taken, and "too many queries" would not be the reason
        errors = [refusal("SELECT 1"), *(outcome.result() for outcome in running)]
    assert time.monotonic() - before < 2
    assert {(error.status, error.reason, error.retry_after_seconds) for error in errors} == {(503, "shutting_down", 5)}
    assert not _alive(child)
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_comes_while_the_daemon_stops_is_refused_before_anything_is_copied_for_it():
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    queries = UserQueries(Untouched(), QuerySettings(), Untouched())
    queries.close()
    for asked in (("SELECT 1", {}, False), ("service_calls", {}, True)):
        with pytest.raises(OverloadedError, match="shutting down"):
            queries.run(*asked)


def _wait_for_child(pid: int) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for task in Path(f"/proc/{pid}/task").iterdir():
            # threads come and go while they are looked at
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children = (task / "children").read_text().split()
                # wait until it has read its job and set its alarm: it has threads then
                if children and len(list(Path(f"/proc/{children[0]}/task").iterdir())) > 1:
                    time.sleep(0.5)
                    return int(children[0])
        time.sleep(0.02)
    raise AssertionError("no child was started")


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
