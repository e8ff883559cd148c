"""A server that ends although nobody stopped it: `/livez` asks for a restart, and `/readyz` says which one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from traced.config import Settings
from traced.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    free = {"receiver": {"otlp_grpc": "127.0.0.1:0", "otlp_http": "127.0.0.1:0"}, "http": {"listen": "127.0.0.1:0"}}
    one = Daemon(Settings.model_validate({**free, "store": {"data_dir": tmp_path / "data", "max_disk_fraction": 1.0}}))
    one.start()
    yield one
    one.stop()


def probe(daemon: Daemon, path: str) -> tuple[int, list[str]]:
    """Ask; give the status and the reasons."""
    answer = httpx.get(f"http://{daemon.ready_line()['http']}{path}", trust_env=False, timeout=20)
    return answer.status_code, answer.json().get("reasons", [])


def end_http(daemon: Daemon) -> None:
    server = daemon.receiver._http._server
    assert server._server is not None
    server._server.should_exit = True


def end_grpc(daemon: Daemon) -> None:
    assert daemon.receiver._grpc._server is not None
    daemon.receiver._grpc._server.stop(0)


def end_the_thread_of_grpc(daemon: Daemon) -> None:
    (serving,) = daemon.receiver._grpc._serving
    assert serving.is_alive()
    ended = threading.Thread(target=str)
    ended.start()
    ended.join()
    daemon.receiver._grpc._serving = (ended,)


def end_the_watch_over_calls(daemon: Daemon) -> None:
    daemon.receiver._grpc._arrivals.stop()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("end", "name"),
    [(end_http, "OTLP/HTTP"), (end_grpc, "OTLP/gRPC"), (end_the_thread_of_grpc, "OTLP/gRPC"), (end_the_watch_over_calls, "OTLP/gRPC")],
)
def test_a_server_that_has_ended_fails_both_probes_by_name(daemon: Daemon, end: Callable[[Daemon], None], name: str) -> None:
    assert probe(daemon, "/livez") == probe(daemon, "/readyz") == (200, [])
    end(daemon)
    until = time.monotonic() + 10
    while probe(daemon, "/livez")[0] == 200:
        assert time.monotonic() < until, "nobody noticed"
        time.sleep(0.05)
    assert probe(daemon, "/readyz") == (503, [f"{name} is not served any more"])
    status, reasons = probe(daemon, "/livez")
    assert (status, reasons[-1]) == (503, f"{name} is not served any more")


def test_a_daemon_that_is_being_stopped_needs_no_restart(daemon: Daemon) -> None:
    daemon._running = False
    assert daemon.receiver.ended == ()
    daemon.receiver.stop(1)
    assert daemon.receiver.ended == ("OTLP/gRPC", "OTLP/HTTP")
    assert probe(daemon, "/livez")[0] == 200
    daemon._running = True
