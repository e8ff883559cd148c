"""The command line as a whole: help, errors, exit codes; rooms below are stood in for where the exit code is the point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Run

from traced import __version__
from traced.cli import app as command_line
from traced.cli.demo import Row, compare, slow_calls
from traced.config import load
from traced.demo.faults import planted_faults
from traced.errors import (
    ConfigurationError,
    InputUnreadableError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PortTakenError,
    QueryError,
    StoreError,
    TracedError,
    UnreachableError,
)
from traced.model.finding import Finding
from traced.model.input import InputRequest
from traced.model.occurrence import Level, Occurrence

COMMANDS = {"serve", "demo", "analyze", "send", "findings", "explain", "graph", "migration", "query"}
SPAN_LINE = '{"resourceSpans": []}\n'


def traced(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACED_")}
    return subprocess.run([sys.executable, "-m", "traced", *arguments], capture_output=True, text=True, timeout=60, check=False, env={**kept, **environment})


def finding(level: Level) -> Finding:
    return Finding("orphan_span", level, "", "0" * 16, "cart", "", "span", "GET", 1, 1.0, 0, 0, "a parent is absent", "")


@dataclass
class Report:
    """Stands in for an analysis."""

    findings: tuple[Finding, ...] = ()
    occurrences: list[Occurrence] = field(default_factory=list)
    edges: tuple[Any, ...] = ()
    message_edges: tuple[Any, ...] = ()
    requests: list[InputRequest] = field(default_factory=list)
    undecodable: frozenset[bytes] = frozenset()

    def as_dict(self, unreadable_lines: int = 0) -> dict[str, Any]:
        return {
            "input": {"spans": len(self.requests), "unreadable_lines": unreadable_lines},
            "services": ["ca\x1b[31mrt"],
            "service_graph": {"edges": []},
            "message_graph": {"edges": []},
            "migrations": [],
            "found_migrations": [],
            "findings": [one.as_dict() for one in self.findings],
        }


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> Callable[[Report], Report]:
    """Stand in for `traced.file_analysis.analyze_requests`."""

    def standing_in(report: Report) -> Report:
        def analyze_requests(requests: Iterable[InputRequest], settings: Any, on_error: Callable[[InputRequest, TracedError], None]) -> Report:
            assert settings.graph.virtual_callers
            for request in requests:
                if request.body in report.undecodable:
                    on_error(request, InvalidRequestError("not a request"))
                else:
                    report.requests.append(request)
            return report

        module = types.ModuleType("traced.file_analysis")
        module.__dict__["analyze_requests"] = analyze_requests
        monkeypatch.setitem(sys.modules, "traced.file_analysis", module)
        return report

    return standing_in


def test_help_names_the_commands_that_exist_and_no_others_and_answers_at_once() -> None:
    ran = traced("--help")
    listed = {line.split()[0] for line in ran.stdout.split("Commands:")[1].splitlines() if line.strip()}
    assert (ran.returncode, listed) == (0, COMMANDS)
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, traced.cli; print(*{m.partition('.')[0] for m in sys.modules})"], capture_output=True, text=True, check=True
    )
    assert not {"pyarrow", "duckdb", "grpc", "pydantic", "rich", "numpy", "ssl"} & set(loaded.stdout.split())


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, run: Run) -> None:
    ran = run(command, "--help")
    assert ran.code == 0
    assert f"traced {command}" in ran.out


def test_help_is_plain_when_piped() -> None:
    ran = traced("analyze", "--help")
    assert "--fail-on" in ran.stdout
    assert not {"\x1b", "╭"} & set(ran.stdout)


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").out == f"traced {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["replay"], ["analyze"], ["send", "x"], ["analyze", "x", "--format", "xml"], ["send", "x", "--to", "a:1", "--rate", "0"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], run: Run) -> None:
    assert run(*arguments).code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), 2),
        (PortTakenError("x"), 2),
        (QueryError("x"), 2),
        (NotFoundError("x"), 2),
        (InvalidRequestError("x"), 2),
        (TracedError("x", error_code="demo_extra_missing"), 2),
        (InputUnreadableError("x"), 3),
        (StoreError("x"), 4),
        (UnreachableError("x"), 4),
        (OverloadedError("x", retry_after_seconds=1, reason="queue_full"), 4),
        (TracedError("x"), 4),
        (TracedError("x", status=404), 2),
    ],
)
def test_each_error_has_its_exit_code(error: TracedError, code: int) -> None:
    assert command_line.exit_code_of(error) == code


@pytest.mark.parametrize(
    ("environment", "config", "word"),
    [
        ({"TRACED_ANALYSIS__SETTLE_SECOND": "5"}, None, "settle_seconds"),
        ({"TRACED_ANALYSES__SETTLE_SECONDS": "5"}, None, "TRACED_ANALYSIS__"),
        ({}, "analysis: {settle_second: 5}", "settle_seconds"),
        ({}, "analysis: [", "YAML"),
        ({}, "analysis: {settle_seconds: -1}", "analysis.settle_seconds"),
        ({}, "1: {a: 3}", "the key 1 is no name"),
        ({}, "analysis:\n  settle_seconds: 3\nanalysis:\n  settle_seconds: 4\n", "'analysis' stands twice"),
        ({}, "[" * 100_000, "recursion"),
        ({}, "analysis:\nstore: {nope: 3}", "store.nope"),
        ({"TRACED_HTTP": "foo"}, None, "http"),
        ({}, "analysis: {settle_seconds: 2026-13-99}", "'2026-13-99' is no timestamp"),
        ({}, "analysis: {settle_seconds: !!bool perhaps}", "'perhaps' is no bool"),
        ({}, "store: {merge_files: !!int many}", "'many' is no int"),
        ({}, "store: {data_dir: !!timestamp soon}", "'soon' is no timestamp"),
        ({}, "store: !!python/object:os.system {}", "python/object"),
        ({"TRACED_HTTP__ALLOWED_HOSTS": "[1]"}, None, "http.allowed_hosts"),
    ],
    ids=[
        "a setting in the environment",
        "a room in the environment",
        "a setting in the file",
        "the file's syntax",
        "a value",
        "a key that is a number",
        "a room twice",
        "a hundred thousand brackets",
        "a room with its heading only, and one with a typo",
        "a room as one value",
        "a day that no calendar has",
        "a truth that is none",
        "a number that is none",
        "a time that is none",
        "an object of Python's",
        "a list of numbers where names belong",
    ],
)
def test_a_typo_in_the_configuration_is_exit_code_2_and_named(environment: dict[str, str], config: str | None, word: str, tmp_path: Path) -> None:
    file = tmp_path / "traced.yaml"
    file.write_text(config or "")
    ran = traced("serve", "--config", str(file), "--otlp-grpc", "127.0.0.1:0", **environment)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert word in ran.stderr
    assert "→" in ran.stderr


def test_a_flag_with_a_wrong_address_is_exit_code_2(run: Run) -> None:
    ran = run("serve", "--otlp-grpc", "nonsense")
    assert ran.code == 2
    assert "receiver.otlp_grpc" in ran.err


@pytest.mark.parametrize(
    ("level", "fail_on", "code"),
    [
        (Level.VIOLATION, None, 0),
        (Level.VIOLATION, "violation", 1),
        (Level.VIOLATION, "information", 1),
        (Level.IMPROVEMENT, "violation", 0),
        (Level.IMPROVEMENT, "improvement", 1),
        (Level.INFORMATION, "improvement", 0),
        (Level.INFORMATION, "information", 1),
        (None, "information", 0),
    ],
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_fail_on_decides_the_exit_code_alike_for_text_and_json(
    *, level: Level | None, fail_on: str | None, code: int, output: str, run: Run, analysis: Callable[[Report], Report], tmp_path: Path
) -> None:
    analysis(Report(findings=(finding(level),) if level else ()))
    file = tmp_path / "a.jsonl"
    file.write_text(SPAN_LINE)
    assert run("analyze", str(file), "--format", output, *(["--fail-on", fail_on] if fail_on else [])).code == code


def test_analyze_counts_unreadable_lines_and_analyses_the_others(run: Run, analysis: Callable[[Report], Report], tmp_path: Path) -> None:
    report = analysis(Report())
    file = tmp_path / "a.jsonl"
    file.write_text(f"{SPAN_LINE}bad\n{SPAN_LINE}")
    ran = run("analyze", str(file), "--format", "json")
    assert ran.code == 0
    assert json.loads(ran.out)["input"] == {"spans": 2, "unreadable_lines": 1}
    assert f"{file}:2" in ran.err
    assert len(report.requests) == 2


def test_an_input_of_which_nothing_can_be_read_is_exit_code_3(run: Run, analysis: Callable[[Report], Report], tmp_path: Path) -> None:
    analysis(Report())
    file = tmp_path / "a.jsonl"
    file.write_text("bad\n")
    assert run("analyze", str(file)).code == 3
    assert run("graph", str(file)).code == 3
    other = tmp_path / "b.jsonl"
    other.write_text(SPAN_LINE)
    both = run("analyze", str(file), str(other), "--format", "json")
    assert both.code == 3, "one of the files could not be read at all"
    assert json.loads(both.out)["input"]["unreadable_lines"] == 1
    assert run("analyze", str(tmp_path / "absent.jsonl")).code == 3
    told = json.loads(run("analyze", str(tmp_path / "absent.jsonl"), "--format", "json").out)
    assert told["error_code"] == "input_unreadable"


def test_a_request_that_cannot_be_decoded_is_counted_as_an_unreadable_line(run: Run, analysis: Callable[[Report], Report], tmp_path: Path) -> None:
    analysis(Report(undecodable=frozenset({b"\x0a\x00"})))
    file = tmp_path / "a.pb"
    file.write_bytes(b"\x02\x0a\x00")
    ran = run("analyze", str(file), "--format", "json")
    assert (ran.code, json.loads(ran.out)["input"]["unreadable_lines"]) == (3, 1)
    assert f"{file}: message 1: cannot be read: not a request" in ran.err


def test_evidence_is_one_json_object_a_line(run: Run, analysis: Callable[[Report], Report], tmp_path: Path) -> None:
    occurrences = [Occurrence("orphan_span", Level.VIOLATION, (1, 2), n, "cart", "GET\n/x", 0, missing_span_id=9) for n in (3, 4)]
    analysis(Report(occurrences=occurrences))
    file, evidence = tmp_path / "a.jsonl", tmp_path / "evidence.jsonl"
    file.write_text(SPAN_LINE)
    assert run("analyze", str(file), "--evidence", str(evidence)).code == 0
    assert [json.loads(line) for line in evidence.read_text().splitlines()] == [one.as_evidence() for one in occurrences]
    assert run("analyze", str(file), "--evidence", str(tmp_path / "no" / "such")).code == 2


def test_names_from_telemetry_lose_their_escape_sequences_in_text(run: Run, analysis: Callable[[Report], Report], tmp_path: Path) -> None:
    analysis(Report())
    file = tmp_path / "a.jsonl"
    file.write_text(SPAN_LINE)
    assert "services: cart\n" in run("analyze", str(file)).out


def test_serve_prints_one_ready_line_and_leaves_with_the_code_of_the_daemon(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps: list[str] = []

    class Daemon:
        def __init__(self, settings: Any) -> None:
            steps.append(f"settle {settings.analysis.settle_seconds} in {settings.store.data_dir}")

        def catch_signals(self) -> None:
            steps.append("catch signals")

        def start(self) -> None:
            steps.append("start")

        def ready_line(self) -> dict[str, Any]:
            return {"ready": True}

        def run_until_signal(self) -> int:
            steps.append("run")
            return 0

        def stop(self) -> None:
            steps.append("stop")

    module = types.ModuleType("traced.daemon")
    module.__dict__["Daemon"] = Daemon
    monkeypatch.setitem(sys.modules, "traced.daemon", module)
    ran = run("serve", "--settle-seconds", "1", "--data-dir", str(tmp_path))
    assert (ran.code, ran.out) == (0, '{"ready": true}\n')
    assert steps == [f"settle 1.0 in {tmp_path}", "catch signals", "start", "run", "stop"]


def test_a_defect_is_exit_code_70_and_an_interruption_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, code in ((RuntimeError("boom"), 70), (KeyboardInterrupt(), 130)):

        def failing(error: BaseException = error, **_: Any) -> None:
            raise error

        monkeypatch.setattr(command_line, "app", failing)
        assert run("explain").code == code


def test_a_reader_that_leaves_early_gets_no_trace_back(tmp_path: Path) -> None:
    script = "import traced.cli.output as o\nfrom traced.cli import app\napp.app = lambda **_: o.write_lines('x' * 1000 for _ in range(10000))\napp.main()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""


METRICS = """# TYPE traces_service_graph_request_client_seconds histogram
traces_service_graph_request_client_seconds_bucket{client="web",server="recommendation",connection_type="",le="0.4"} 20.0
traces_service_graph_request_client_seconds_bucket{client="web",connection_type="",le="+Inf",server="recommendation"} 23.0
traces_service_graph_request_client_seconds_bucket{client="web",server="cart",connection_type="",le="+Inf"} 99.0
"""


def test_planted_and_found_are_put_side_by_side() -> None:
    faults = planted_faults()
    claims = [claim for fault in faults for claim in fault.expected]
    found = [{"id": claim.detector, "service": claim.service, "peer": claim.peer, "cause": claim.cause, "count": 3} for claim in claims]
    edges = [{"client": "order", "server": "payment", "errors": 2}]
    everything = compare(faults, found, edges, METRICS)
    assert all(row.found for row in everything)
    assert {row.fault for row in everything} == {fault.name for fault in faults}
    nothing = compare(faults, [], [], "")
    assert len(nothing) == len(everything)
    assert not any(row.found for row in nothing)
    assert [row.fault for row in compare(faults, found[1:], edges, METRICS) if not row.found] == [faults[0].name]


def test_slow_calls_are_those_above_the_bound_of_that_edge_alone() -> None:
    assert slow_calls(METRICS, "web", "recommendation") == 3
    assert slow_calls(METRICS, "web", "tax") == 0


Steps = tuple[list[str], list[Path]]
"""What was started and ended, and where the data lay."""


@pytest.fixture
def steps_of_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    """Run the demo over a daemon and a shop that only say what is done to them."""
    steps: list[str] = []
    directories: list[Path] = []

    class Daemon:
        def __init__(self, settings: Any) -> None:
            directories.append(settings.store.data_dir)
            steps.append(f"daemon settles {settings.analysis.settle_seconds}")

        def start(self) -> None:
            assert directories[0].is_dir()

        def ready_line(self) -> dict[str, Any]:
            return {"otlp_grpc": "h:1", "otlp_http": "h:2", "http": "h:3"}

        def stop(self) -> None:
            steps.append("daemon stops")

    class Shop:
        requests_sent = 200

        def __init__(self, otlp_grpc: str, otlp_http: str, *, requests_per_second: float, rollout: object) -> None:
            assert rollout is None
            steps.append(f"shop reports to {otlp_grpc} and {otlp_http} at {requests_per_second}")

        def start(self) -> None:
            pass

        def stop(self, _: float) -> None:
            if "shop stops" not in steps:
                steps.append("shop stops")

    for name, member in (("traced.daemon", Daemon), ("traced.demo.shop", Shop)):
        module = types.ModuleType(name)
        setattr(module, member.__name__, member)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return steps, directories


@pytest.mark.parametrize(("found", "code"), [(3, 0), (0, 1)])
def test_the_demo_stops_the_shop_before_the_daemon_and_tells_what_was_missed(
    found: int, code: int, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steps_of_the_demo: Steps
) -> None:
    steps, directories = steps_of_the_demo
    monkeypatch.setattr("traced.cli.demo._wait_for_all", lambda *_: [Row("lost_batch", "orphan_span fraud", found)])
    ran = run("demo", "--seconds", "1", "--rate", "9")
    assert ran.code == code
    assert steps == ["daemon settles 5.0", "shop reports to h:1 and h:2 at 9.0", "shop stops", "daemon stops"]
    assert "Look at http://h:3/" in ran.out
    assert "loses_context" in ran.out
    assert ("MISSED" in ran.out) is not bool(found)
    assert ("3 occurrences" in ran.out) is bool(found)
    assert directories[0].parent == tmp_path
    assert not directories[0].exists()


@pytest.mark.parametrize(("found", "code"), [(3, 0), (0, 1)])
def test_the_demo_gives_the_comparison_as_data(found: int, code: int, run: Run, monkeypatch: pytest.MonkeyPatch, steps_of_the_demo: Steps) -> None:
    assert steps_of_the_demo == ([], [])
    rows = [Row("lost_batch", "orphan_span fraud", found), Row("slow_call", "latency on the edge web → recommendation", 2, "calls over 0.4 s")]
    monkeypatch.setattr("traced.cli.demo._wait_for_all", lambda *_: rows)
    ran = run("demo", "--seconds", "1", "--format", "json")
    assert ran.code == code
    assert json.loads(ran.out) == {
        "comparison": [
            {"fault": "lost_batch", "expected": "orphan_span fraud", "times": found, "unit": "occurrences", "found": found > 0},
            {"fault": "slow_call", "expected": "latency on the edge web → recommendation", "times": 2, "unit": "calls over 0.4 s", "found": True},
        ],
        "expected": 2,
        "found": 2 if found else 1,
        "requests_sent": 200,
        "requests_needed": 150,
    }
    assert "Look at http://h:3/" in ran.err


def test_a_demo_that_goes_on_says_at_once_where_it_answers_and_what_is_planted(run: Run, monkeypatch: pytest.MonkeyPatch, steps_of_the_demo: Steps) -> None:
    assert steps_of_the_demo == ([], [])
    monkeypatch.setattr("threading.Event.wait", lambda *_: True)  # as if it were told to end
    ran = run("demo", "--format", "json")
    assert ran.code == 0
    said = json.loads(ran.out)
    assert said["http"] == "h:3"
    assert [fault["name"] for fault in said["planted_faults"]] == [fault.name for fault in planted_faults()]
    assert said["planted_faults"][0]["what_traced_says"]


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("a.test", ("a.test",)),
        (" a.test , b.test,", ("a.test", "b.test")),
        ('["a.test", "b.test"]', ("a.test", "b.test")),
        ("[::1]", ("[::1]",)),
        ("[::1],b.test", ("[::1]", "b.test")),
        ("[]", ()),
        ("", ()),
    ],
)
def test_names_in_the_environment_are_a_list_with_commas_or_a_json_list(written: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACED_HTTP__ALLOWED_HOSTS", written)
    assert load().http.allowed_hosts == names
