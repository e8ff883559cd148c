"""Every error has one shape, says what to do, and leaks nothing; foreign names and origins are refused."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, Never

import pytest
from asgi_client import app_over, ask
from fake_views import FakeViews, finding, status

from traced.api.guard import AllowedHosts
from traced.api.routes import MAX_BODY_BYTES
from traced.errors import OverloadedError, TracedError

BAD_REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/nothing/here", {}, 404, "not_found"),
    ("GET", "/api/v1/nothing", {}, 404, "not_found"),
    ("GET", "/static/nothing.css", {}, 404, "not_found"),
    ("GET", "/static/../routes.py", {}, 404, "not_found"),
    ("GET", "/static/%2e%2e/routes.py", {}, 404, "not_found"),
    ("POST", "/api/v1/findings", {}, 405, "method_not_allowed"),
    ("DELETE", "/", {}, 405, "method_not_allowed"),
    ("GET", "/api/v1/query", {}, 405, "method_not_allowed"),
    ("GET", "/api/v1/findings?level=bad", {}, 400, "invalid_request"),
    ("GET", "/api/v1/findings?limit=0", {}, 400, "invalid_request"),
    ("GET", "/api/v1/findings?limit=%D9%A1", {}, 400, "invalid_request"),
    ("GET", "/api/v1/findings/ffffffffffffffff", {}, 404, "finding_not_found"),
    ("GET", "/api/v1/graph?start=nan", {}, 400, "invalid_request"),
    ("GET", "/api/v1/graph?start=yesterday", {}, 400, "invalid_request"),
    ("GET", "/api/v1/graph?start=2&end=1", {}, 400, "invalid_request"),
    ("GET", "/api/v1/traces/xyz", {}, 400, "trace_id_invalid"),
    ("GET", f"/api/v1/traces/{'a' * 33}", {}, 400, "trace_id_invalid"),
    ("GET", "/api/v1/traces/1", {}, 404, "trace_not_found"),
    ("GET", "/traces/1", {}, 404, "trace_not_found"),
    ("GET", "/findings/ffffffffffffffff", {}, 404, "finding_not_found"),
    ("POST", "/api/v1/query", {"content": b"{"}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"content": b"[" * 100_000}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"content": b"\xff\xfe"}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": []}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {}}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {"sql": "select 1", "name": "x"}}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {"sql": " "}}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {"sql": 1}}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {"sql": "select 1", "params": []}}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {"sql": "select 1", "params": {"a": {}}}}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {"sql": "select 1", "parms": {}}}, 400, "invalid_request"),
    ("POST", "/api/v1/query", {"json": {"name": "absent"}}, 404, "query_not_found"),
    ("POST", "/api/v1/query", {"content": b" " * (MAX_BODY_BYTES + 1)}, 413, "request_too_large"),
    ("POST", "/api/v1/query", {"json": {"sql": "select 1"}, "headers": {"origin": "http://evil.example"}}, 403, "origin_not_allowed"),
    ("POST", "/api/v1/query", {"json": {"sql": "select 1"}, "headers": {"origin": "null"}}, 403, "origin_not_allowed"),
    ("GET", "/", {"headers": {"host": "evil.example"}}, 421, "host_not_allowed"),
    ("GET", "/metrics", {"headers": {"host": "127.0.0.1.evil.example:4320"}}, 421, "host_not_allowed"),
]


def http_scope(path: str, method: str = "GET") -> dict[str, Any]:
    """Give a request as a server hands it over, for what happens below HTTP."""
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [], "root_path": ""}


def assert_shape(body: dict[str, Any], http_status: int) -> None:
    assert {"status", "error_code", "message", "next_safe_actions"} <= set(body)
    assert body["status"] == http_status
    assert body["message"]
    assert body["next_safe_actions"]
    assert all(isinstance(action, str) and action for action in body["next_safe_actions"])


@pytest.mark.parametrize(("method", "path", "request_", "http_status", "code"), BAD_REQUESTS, ids=[f"{b[0]} {b[1][:40]} {b[4]}" for b in BAD_REQUESTS])
def test_an_error_says_its_status_its_code_and_what_to_do(method: str, path: str, request_: dict, http_status: int, code: str):
    answer = ask(app_over(FakeViews()), path, method, **request_)
    assert (answer.status_code, answer.headers["content-type"]) == (http_status, "application/json")
    assert_shape(answer.json(), http_status)
    assert answer.json()["error_code"] == code


def test_a_wrong_method_is_told_which_ones_there_are():
    assert ask(app_over(FakeViews()), "/api/v1/query").headers["allow"] == "POST"


class Broken(FakeViews):
    """A source whose every answer is a bug."""

    def findings(self):
        raise ZeroDivisionError("a secret detail")

    def edges(self, *_: Any):
        raise ZeroDivisionError("a secret detail")

    def run(self, *_: Any):
        raise ZeroDivisionError("a secret detail")

    trace = status = edges  # type: ignore[assignment]


@pytest.mark.parametrize("path", ["/", "/api/v1/findings", "/api/v1/graph", "/api/v1/traces/1", "/api/v1/status", "/livez", "/readyz"])
def test_a_bug_behind_the_api_is_a_500_that_names_no_details(path: str):
    views = Broken()
    sound = app_over(FakeViews())
    app = app_over(views)
    answer = ask(app, path)
    assert answer.status_code == 500
    assert_shape(answer.json(), 500)
    assert "secret" not in answer.text
    assert ask(sound, "/livez").status_code == 200


def test_a_store_that_is_busy_says_when_to_come_back():
    class Busy(FakeViews):
        def run(self, *_: Any) -> Never:
            raise OverloadedError("the store is busy", retry_after_seconds=7, reason="queue_full")

    answer = ask(app_over(Busy()), "/api/v1/query", "POST", json={"sql": "select 1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert_shape(answer.json(), 503)


@pytest.mark.parametrize("path", ["/api/v1/traces/1", "/traces/1"])
def test_what_is_cancelled_because_the_server_stops_is_told_to_come_back(path: str):
    reading, released = threading.Event(), threading.Event()

    class Slow(FakeViews):
        def trace(self, *_: Any) -> Never:
            reading.set()
            released.wait(10)
            raise ZeroDivisionError

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        asking = asyncio.create_task(app_over(Slow())(http_scope(path), None, send))
        await asyncio.to_thread(reading.wait, 10)
        asking.cancel()
        await asking
        released.set()

    asyncio.run(run())
    start, body = sent
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"5")
    assert_shape(json.loads(body["body"]), 503)


def test_a_sender_that_goes_before_its_body_is_complete_is_no_fault_of_the_daemon():
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "http.request", "body": b'{"sql', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message)

    # what a handler does not expect would be raised again here, and logged by the server
    asyncio.run(app_over(FakeViews())(http_scope("/api/v1/query", "POST"), receive, send))
    assert sent[0]["status"] == 400


def test_an_unready_daemon_has_the_shape_too():
    assert_shape(ask(app_over(FakeViews(now=status(ready=False, not_ready_reasons=("opening",)))), "/readyz").json(), 503)


def test_a_browser_gets_an_error_page_with_the_same_facts():
    answer = ask(app_over(FakeViews()), "/traces/1", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "trace_not_found" in answer.text
    assert "Check the id" in answer.text


def test_security_headers_are_on_every_answer():
    app = app_over(FakeViews([finding()]))
    for path in ("/", "/api/v1/findings", "/metrics", "/nothing", "/static/traced.css"):
        headers = ask(app, path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY", path
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("bound", "host", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:4320", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "LOCALHOST:9", True),
        ("127.0.0.1", "traced.localhost:4320", True),
        ("127.0.0.1", "[::1]:4320", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "", False),
        ("10.0.0.1", "10.0.0.1:4320", True),
        ("10.0.0.1", "10.0.0.2:4320", False),
        ("traced.example", "traced.example:4320", True),
        ("[::1]", "[::1]:4320", True),
        ("0.0.0.0", "192.168.7.7:4320", True),  # noqa: S104
        ("0.0.0.0", "evil.example", False),  # noqa: S104
        ("[::]", "[fd00::7]:4320", True),
    ],
)
def test_only_this_server_s_own_names_are_answered(bound: str, host: str, allowed: bool):  # noqa: FBT001
    assert AllowedHosts(bound).allows(host) is allowed


def test_further_names_can_be_allowed():
    assert AllowedHosts("0.0.0.0", ["traced.observability.svc"]).allows("traced.observability.svc:4320")  # noqa: S104


def test_a_page_of_ours_may_post():
    answer = ask(app_over(FakeViews()), "/api/v1/query", "POST", json={"sql": "select 1"}, headers={"origin": "http://127.0.0.1:4320"})
    assert answer.status_code == 200


def test_an_error_with_hostile_text_is_still_json():
    class Hostile(FakeViews):
        def run(self, *_: Any) -> Never:
            raise TracedError("\ud800 </script>\x00", next_safe_actions=("x",), status=400)

    assert ask(app_over(Hostile()), "/api/v1/query", "POST", json={"sql": "x"}).json()["message"] == "? </script>\x00"
