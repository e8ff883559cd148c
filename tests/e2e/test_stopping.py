"""The port for people and programs at its edges: what is no request, and queries that run when the daemon is told to end."""

from __future__ import annotations

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
    return {int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()}


def test_a_query_that_runs_when_the_daemon_ends_is_ended_and_its_sender_told_to_come_back(tmp_path: Path):
    environment = {"TRACED_QUERY__TIMEOUT_SECONDS": "60"}
    answers: list[httpx.Response] = []
    with DaemonProcess(tmp_path / "data", environment=environment, log=tmp_path / "log") as daemon:

        def ask() -> None:
            answers.append(httpx.post(f"{daemon.url}/api/v1/query", json={"sql": ENDLESS}, timeout=30))

        asking = threading.Thread(target=ask)
        asking.start()
        pid = daemon.process.pid
        daemon.wait_until(lambda: bool(children_of(pid)))
        time.sleep(1)
        (child,) = children_of(pid)
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
