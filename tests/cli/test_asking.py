"""`findings`, `graph` and `query` against the real JSON API over made-up sources."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from cli_runs import Run, served

from traced.api.app import build_app
from traced.api.routes import api_routes
from traced.api.sources import Sources
from traced.cli.query import parameters
from traced.errors import ConfigurationError, QueryError
from traced.graph.suspects import group
from traced.model.edge import ConnectionType, Edge, EdgeCounts, EdgeKey
from traced.model.finding import Example, Finding
from traced.model.message_edge import MessageCounts, MessageEdge, MessageEdgeKey
from traced.model.occurrence import Level
from traced.model.suspect import Suspects
from traced.model.views import QueryResult

ORPHAN = Finding(
    id="orphan_span",
    level=Level.VIOLATION,
    cause="",
    fingerprint="0123456789abcdef",
    service="cart",
    peer="web",
    signal_type="span",
    signal_name="GET /\x1b[31mcart",
    count=3,
    confidence=0.97,
    first_seen_unix_nano=1_700_000_000_000_000_000,
    last_seen_unix_nano=1_700_000_001_000_000_000,
    message="a parent is absent",
    how_to_fix="look at web",
    examples=(Example((1, 2), 3),),
    context={"parent_span_id": "00000000000000aa"},
)
SKEW = replace(ORPHAN, id="clock_skew", level=Level.INFORMATION, fingerprint="fedcba9876543210", peer="")
EDGES = (
    Edge(EdgeKey("web", "cart"), EdgeCounts(calls=10, errors=2)),
    Edge(EdgeKey("cart", "redis", ConnectionType.DATABASE), EdgeCounts(calls=30)),
)
MESSAGES = (
    MessageEdge(MessageEdgeKey("web", "orders", "bill", "kafka", "g"), MessageCounts(10, 2), 5, 12),
    MessageEdge(MessageEdgeKey("", "", "bill"), MessageCounts(3)),
)


class World:
    """Findings, graph and queries as the API sees them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], bool]] = []

    def findings(self) -> tuple[Finding, ...]:
        return (ORPHAN, SKEW)

    def suspects(self, findings: tuple[Finding, ...]) -> Suspects:
        return group(findings)

    def finding(self, fingerprint: str) -> Finding | None:
        return next((one for one in self.findings() if one.fingerprint == fingerprint), None)

    def edges(self, *_: Any) -> tuple[Edge, ...]:
        return EDGES

    def message_edges(self, *_: Any) -> tuple[MessageEdge, ...]:
        return MESSAGES

    def names(self) -> list[tuple[str, str, tuple[str, ...]]]:
        return [("spans_of_trace", "Which spans has a trace?", ("trace_id",))]

    def run(self, text: str, params: dict[str, Any], is_name: bool) -> QueryResult:  # noqa: FBT001 - the protocol's shape
        self.asked.append((text, params, is_name))
        if text == "bad":
            raise QueryError("there is no query 'bad'", next_safe_actions=("List them.",))
        return QueryResult(["name", "spans"], [["=cart", 5], ["web", None]], truncated=text == "many")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    everything = cast("Any", world)
    app = build_app(api_routes(Sources(*[everything] * 8)), bound_host="127.0.0.1")
    with served(app) as served_at:
        yield served_at


def test_what_to_fix_first_comes_before_the_findings(run: Run, url: str) -> None:
    lines = run("findings", "--url", url).out.splitlines()
    assert lines[:2] == ["what to fix first", ""]
    assert lines[2:6] == [
        "1. violation  cart  1 finding of unknown cause, x3",
        f"   {ORPHAN.message}",
        "   fix: look at web",
        "   findings: 0123456789abcdef",
    ]
    assert [line for line in lines if line.startswith("2. ")] == ["2. information  cart  1 finding of unknown cause, x3"]


def test_findings_are_listed_worst_first_as_a_table(run: Run, url: str) -> None:
    ran = run("findings", "--url", url)
    assert ran.code == 0
    lines = ran.out[ran.out.index("2 open findings") :].splitlines()[1:]
    assert lines[0].split() == ["fingerprint", "level", "id", "cause", "service", "peer", "count", "message"]
    assert lines[1].split()[:5] == ["0123456789abcdef", "violation", "orphan_span", "cart", "web"]
    assert len(lines) == 3


def test_suspects_are_in_the_json_of_those_findings_that_were_asked_for(run: Run, url: str) -> None:
    everything = json.loads(run("findings", "--url", url, "--format", "json").out)
    assert [(s["rank"], s["findings"]) for s in everything["suspects"]] == [(1, [ORPHAN.fingerprint]), (2, [SKEW.fingerprint])]
    skewed = json.loads(run("findings", "clock_skew", "--url", url, "--format", "json").out)
    assert [(s["rank"], s["findings"]) for s in skewed["suspects"]] == [(2, [SKEW.fingerprint])]


def test_findings_of_one_detector_are_asked_for_by_its_id(run: Run, url: str) -> None:
    assert [one["id"] for one in json.loads(run("findings", "clock_skew", "--url", url, "--format", "json").out)["findings"]] == ["clock_skew"]
    assert run("findings", "parent_loop", "--url", url).out == "no open findings\n"
    typo = run("findings", "orphan_spn", "--url", url)
    assert (typo.code, typo.out) == (2, "")
    assert "did you mean 'orphan_span'" in typo.err


def test_one_finding_is_shown_with_its_evidence_and_without_escape_sequences(run: Run, url: str) -> None:
    ran = run("findings", "0123456789ABCDEF", "--url", f"{url}/")
    assert ran.code == 0
    assert "parent_span_id" in ran.out
    assert "00000000000000010000000000000002 / 0000000000000003" in ran.out
    assert "GET /cart" in ran.out
    assert "\x1b" not in ran.out
    assert json.loads(run("findings", ORPHAN.fingerprint, "--url", url, "--format", "json").out) == ORPHAN.as_dict()


def test_the_error_of_the_daemon_is_passed_on_with_its_next_safe_actions(run: Run, url: str) -> None:
    ran = run("findings", "0000000000000000", "--url", url)
    assert (ran.code, ran.out) == (2, "")
    assert "0000000000000000" in ran.err
    assert "→ List the open ones" in ran.err
    told = json.loads(run("findings", "0000000000000000", "--url", url, "--format=json").out)
    assert (told["status"], told["error_code"]) == (404, "finding_not_found")


def test_the_graph_is_printed_in_three_forms(run: Run, url: str) -> None:
    assert run("graph", "--url", url).out.splitlines()[1:] == [
        "client  server  connection_type  calls  errors",
        "cart    redis   database            30       0",
        "web     cart                        10       2",
        "",
        "message graph",
        "producer  destination  consumer  group  system  published  messages  failed  lag  p99 below",
        "web       orders       bill      g      kafka          12        10       2    5",
        "-         -            bill      -      -                         3       0",
    ]
    assert json.loads(run("graph", "--url", url, "--format", "json").out) == {
        "service_graph": {"edges": [edge.as_dict() for edge in EDGES]},
        "message_graph": {"edges": [edge.as_dict() for edge in MESSAGES]},
    }
    dot = run("graph", "--url", url, "--format", "dot").out.splitlines()
    assert '  "web" -> "cart" [label="10, 2 failed", color=red];' in dot
    assert '  "web" -> "orders (kafka)" [label="10 (messaging_system)", style=dotted];' in dot
    assert '  "orders (kafka)" -> "bill" [label="10, 2 failed (messaging_system)", style=dotted];' in dot
    assert '  "(no name) (messages)" -> "bill" [label="3 (messaging_system)", style=dotted];' in dot


def test_a_query_runs_by_name_from_a_file_and_from_standard_input(run: Run, url: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    file = tmp_path / "own.sql"
    file.write_text("select 1")
    monkeypatch.setattr("sys.stdin", io.StringIO("select 2"))
    for argument in ("spans_of_trace", str(file), "-"):
        assert run("query", argument, "--url", url, "--param", "n=1").code == 0
    assert world.asked == [("spans_of_trace", {"n": 1}, True), ("select 1", {"n": 1}, False), ("select 2", {"n": 1}, False)]


def test_rows_are_printed_as_table_json_and_csv(run: Run, url: str) -> None:
    assert run("query", "q", "--url", url).out == "name   spans\n=cart  5\nweb\n"
    assert json.loads(run("query", "q", "--url", url, "--format", "json").out)["rows"] == [["=cart", 5], ["web", None]]
    assert run("query", "q", "--url", url, "--format", "csv").out == "name,spans\n'=cart,5\nweb,\n"
    assert "a limit" in run("query", "many", "--url", url).err


def test_without_a_name_the_named_queries_are_listed(run: Run, url: str) -> None:
    assert "spans_of_trace  trace_id  Which spans has a trace?" in run("query", "--url", url).out


def test_a_query_that_fails_is_a_usage_error(run: Run, url: str, tmp_path: Path) -> None:
    assert run("query", "bad", "--url", url).code == 2
    assert run("query", str(tmp_path / "absent.sql"), "--url", url).code == 3
    assert run("query", "q", "--url", url, "--param", "novalue").code == 2


def test_parameters_become_numbers_only_where_no_id_can_be_meant() -> None:
    given = ["a=5", "b=-0.5", "c=1234567890123456", "d=007", "e=true", 'f="5"', "g=", "h=a=b", 'i="']
    assert parameters(given) == {"a": 5, "b": -0.5, "c": "1234567890123456", "d": "007", "e": True, "f": "5", "g": "", "h": "a=b", "i": '"'}
    with pytest.raises(ConfigurationError):
        parameters(["=5"])


def test_no_daemon_is_exit_code_4_with_what_to_do(run: Run) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        for command in (["findings"], ["graph"], ["query"], ["query", "spans_of_trace"]):
            ran = run(*command, "--url", url)
            assert (ran.code, ran.out) == (4, "")
            assert "traced serve" in ran.err


@pytest.mark.parametrize("url", ["127.0.0.1:4320", "ftp://x", "http://", "file:///etc/passwd", "http://h:x"])
def test_what_is_no_url_of_a_daemon_is_a_usage_error(run: Run, url: str) -> None:
    assert run("findings", "--url", url).code == 2


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [(200, {}, b"<html>"), (200, {}, b"[]"), (404, {}, b"nothing"), (302, {"Location": "http://127.0.0.1:1/"}, b""), (500, {}, b'{"message": 1}')],
    ids=["html", "an array", "a plain 404", "a redirect", "an error of another shape"],
)
def test_somebody_else_on_the_port_is_told_as_such(run: Run, status: int, headers: dict[str, str], body: bytes) -> None:
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    ran = run("findings", "--url", f"http://127.0.0.1:{server.server_address[1]}")
    thread.join()
    server.server_close()
    assert ran.code == 4
    assert "not the daemon's port" in ran.err
