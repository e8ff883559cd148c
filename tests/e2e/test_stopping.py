"""The port for people and programs at its edges: what is no request, and queries that run when the daemon is told to end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from daemon_process import DaemonProcess

pytestmark = [pytest.mark.e2e]

ENDLESS = "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r) SELECT count(*) FROM r"
SHAPE = {"status", "error_code", "message", "next_safe_actions"}


def children_of(pid: int) -> set[int]:
    children: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        # a thread may end between being listed and being asked
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children |= {int(child) for child in (task / "children").read_text().split()}
    return children


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and whom nobody has asked how does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def running_child(daemon: DaemonProcess) -> int:
    """Wait until a query's process runs; give its number."""
    pid = daemon.process.pid
    daemon.wait_until(lambda: bool(children_of(pid)))
    time.sleep(1)
    (child,) = children_of(pid)
    return child


def test_a_query_does_not_outlive_a_daemon_that_is_killed(tmp_path: Path):
    with DaemonProcess(tmp_path / "data", environment={"TRACED_QUERY__TIMEOUT_SECONDS": "60"}) as daemon:

        def ask() -> None:
            with contextlib.suppress(httpx.TransportError):
                httpx.post(f"{daemon.url}/api/v1/query", json={"sql": ENDLESS}, timeout=30)

        asking = threading.Thread(target=ask)
        asking.start()
        child = running_child(daemon)
        daemon.process.kill()
        daemon.process.wait(10)
        asking.join(10)
        deadline = time.monotonic() + 5
        while runs(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not runs(child)


def test_a_query_that_runs_when_the_daemon_ends_is_ended_and_its_sender_told_to_come_back(tmp_path: Path):
    environment = {"TRACED_QUERY__TIMEOUT_SECONDS": "60"}
    answers: list[httpx.Response] = []
    with DaemonProcess(tmp_path / "data", environment=environment, log=tmp_path / "log") as daemon:

        def ask() -> None:
            answers.append(httpx.post(f"{daemon.url}/api/v1/query", json={"sql": ENDLESS}, timeout=30))

        asking = threading.Thread(target=ask)
        asking.start()
        child = running_child(daemon)
        code, seconds = daemon.terminate()
        asking.join(10)
        assert (code, seconds < 8) == (0, True)
        assert not Path(f"/proc/{child}").exists(), "the query's process outlives the daemon"
        assert "Exception in ASGI" not in daemon.log()
    (answer,) = answers
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert set(answer.json()) == SHAPE


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ],
    ids=["no HTTP", "headers of 70 KB"],
)
def test_what_is_no_request_is_answered_in_the_shape_of_every_other_error(tmp_path: Path, raw: bytes, status: int):
    with DaemonProcess(tmp_path / "data") as daemon:
        host, _, port = daemon.ready["http"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(raw)
            head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert set(httpx.Response(status, content=body).json()) == SHAPE
        assert daemon.get("/livez") == {"alive": True}
