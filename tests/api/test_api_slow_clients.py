"""Clients that do not read, and bodies that do not come, on a real socket with short limits of time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgi_client import app_over
from fake_views import FakeViews

from traced.api import routes
from traced.api.http_protocol import ApiHttpProtocol
from traced.listening import AsgiServer, Endpoint
from traced.model.query_result import QueryResult

SHORT = 0.4
LARGE = 16 * 2**20


class Large(FakeViews):
    """Answers every query with 16 MiB."""

    def run(self, *_: Any) -> QueryResult:
        return QueryResult(columns=["text"], rows=[["x" * LARGE]], truncated=False)


@contextmanager
def serving(views: FakeViews, protocol: type[ApiHttpProtocol] = ApiHttpProtocol) -> Iterator[AsgiServer]:
    server = AsgiServer(Endpoint.parse("127.0.0.1:0", "http.listen", "--http"), app_over(views), "test", protocol)
    server.start()
    try:
        yield server
    finally:
        server.stop(1)


@contextmanager
def connected(server: AsgiServer, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    host, _, port = server.address.rpartition(":")
    with socket.socket() as connection:
        connection.settimeout(20)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((host, int(port)))
        yield connection


def open_connections(server: AsgiServer) -> int:
    assert server._server is not None
    return len(server._server.server_state.connections)


def wait_for(condition: Callable[[], object], seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)


def query(sql: str = "select 1", *, length: int | None = None, more: str = "") -> bytes:
    body = json.dumps({"sql": sql}).encode()
    head = f"POST /api/v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body) if length is None else length}\r\n{more}\r\n"
    return head.encode() + body


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(2**20):
        received += piece
    return received


class Impatient(ApiHttpProtocol):
    write_timeout_seconds = SHORT


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_a_client_that_never_reads_its_answer_is_cut_off(more: str):
    with serving(Large(), Impatient) as server, connected(server, receive_buffer=4096) as connection:
        connection.sendall(query(more=more))
        wait_for(lambda: open_connections(server) == 1)
        started = time.monotonic()
        wait_for(lambda: open_connections(server) == 0)
        assert time.monotonic() - started < 10
        # what the kernel had taken may be read; then the connection is seen to be gone
        try:
            received = len(read_all(connection))
        except ConnectionResetError:
            received = 0
        assert received < LARGE


def test_a_client_that_reads_in_time_gets_all_of_a_large_answer_again_and_again():
    with serving(Large(), Impatient) as server, connected(server) as connection:
        for _ in range(3):
            connection.sendall(query())
            received = 0
            while received < LARGE:
                received += len(connection.recv(2**20))
            time.sleep(SHORT * 1.5)
        assert open_connections(server) == 1, "the limit is for what waits, not for a connection without anything to write"


def test_a_body_that_takes_too_long_is_answered_and_the_connection_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes, "BODY_TIMEOUT_SECONDS", SHORT)
    with serving(FakeViews()) as server, connected(server) as connection:
        connection.sendall(query(length=10_000))
        started = time.monotonic()
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert SHORT <= time.monotonic() - started < 10
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    answer = json.loads(body)
    assert (answer["status"], answer["error_code"]) == (408, "body_timeout")
    assert answer["next_safe_actions"]


def test_a_body_that_comes_in_time_is_taken_piece_by_piece(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes, "BODY_TIMEOUT_SECONDS", 10)
    with serving(Large()) as server, connected(server) as connection:
        request = query(more="Connection: close\r\n")
        for start in range(0, len(request), 20):
            connection.sendall(request[start : start + 20])
            time.sleep(0.01)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_the_rest_of_a_body_that_nobody_waits_for_does_not_keep_a_connection_for_ever():
    class Hasty(ApiHttpProtocol):
        header_timeout_seconds = SHORT

    with serving(FakeViews(), Hasty) as server, connected(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        # a byte now and then
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012 - which of them fails is the kernel's choice
            while time.monotonic() - started < 10:
                connection.sendall(b"x")
                time.sleep(0.05)
    assert time.monotonic() - started < 10
