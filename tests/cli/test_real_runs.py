"""The installed command over the real rooms below: files in, findings out; a daemon, fed and asked."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TRACED = [sys.executable, "-m", "traced"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TRACED_")}


def traced(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRACED, *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False, env=ENVIRONMENT, **more)


def calls(edges: list[dict[str, Any]]) -> dict[str, int]:
    return {f"{edge['client']} -> {edge['server']}": edge["calls"] for edge in edges if edge["connection_type"] == ""}


def test_analyze_finds_the_edges_and_orphans_that_the_truth_file_names(shared: Path, tmp_path: Path) -> None:
    truth = json.loads((shared / "otlp" / "opensearch_otel.truth.json").read_text())
    evidence = tmp_path / "evidence.jsonl"
    ran = traced("analyze", shared / "otlp" / "opensearch_otel.traces.jsonl.gz", "--format", "json", "--evidence", evidence)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["input"]["spans"] == truth["spans"]
    assert result["input"]["traces"] == truth["traces"]
    assert len(calls(result["service_graph"]["edges"])) == 13
    lines = [json.loads(line) for line in evidence.read_text().splitlines()]
    assert len([line for line in lines if line["id"] == "orphan_span"]) == 184
    assert len({(line["id"], line["trace_id"], line["span_id"]) for line in lines}) == len(lines)
    assert sum(finding["count"] for finding in result["findings"]) == len(lines)


def test_complete_data_gives_its_five_edges_and_nothing_missing(shared: Path) -> None:
    ran = traced("analyze", shared / "otlp" / "dsb_hotel.traces.jsonl.gz", "--format", "json")
    result = json.loads(ran.stdout)
    assert sorted(calls(result["service_graph"]["edges"]).values()) == [1000] * 5
    assert not [finding for finding in result["findings"] if finding["id"].startswith(("missing_", "orphan_"))]


def test_a_violation_fails_the_run_that_asks_for_it(shared: Path) -> None:
    assert traced("analyze", shared / "otlp" / "opensearch_otel.traces.jsonl.gz", "--fail-on", "information").returncode == 1


def test_standard_input_and_delimited_protobuf_give_what_the_file_gives(shared: Path, tmp_path: Path) -> None:
    from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]

    from traced.cli.inputs import Inputs

    file = shared / "otlp" / "hotrod.traces.jsonl.gz"
    delimited = tmp_path / "a.pb"
    delimited.write_bytes(b"".join(_VarintBytes(len(one.body)) + one.body for one in Inputs([str(file)], print)))
    with file.open("rb") as data:
        piped = traced("analyze", "-", "--format", "json", stdin=data)
    plain, protobuf = traced("analyze", file, "--format", "json"), traced("analyze", delimited, "--format", "json")
    assert json.loads(plain.stdout) == json.loads(piped.stdout) == json.loads(protobuf.stdout)


def test_every_detector_is_explained() -> None:
    known = json.loads(traced("explain", "--format", "json").stdout)["detectors"]
    assert {"orphan_span", "missing_server_span", "clock_skew"} <= {one["id"] for one in known}
    shown = traced("explain", "orphan_span").stdout
    assert all(heading in shown for heading in ("orphan_span (", "Criteria", "Rationale", "How to fix", "When it is wrong"))
    typo = traced("explain", "orphan_spam")
    assert typo.returncode == 2
    assert "orphan_span" in typo.stderr


def test_the_graph_of_files_is_drawn(shared: Path) -> None:
    ran = traced("graph", shared / "otlp" / "dsb_hotel.traces.jsonl.gz", "--format", "svg")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("<svg")
    assert "frontend" in ran.stdout


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    ports = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    with subprocess.Popen(
        [*TRACED, "serve", *ports, "--data-dir", str(tmp_path / "data"), "--settle-seconds", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), process
        finally:
            process.kill()


@pytest.mark.e2e
def test_a_daemon_is_fed_asked_and_ended(shared: Path, daemon: tuple[dict[str, Any], subprocess.Popen[str]]) -> None:
    ready, process = daemon
    assert ready["ready"] is True
    sent = traced("send", shared / "otlp" / "opensearch_otel.traces.jsonl.gz", "--to", ready["otlp_grpc"], "--now")
    assert (sent.returncode, sent.stdout[:14]) == (0, "sent 984 spans"), sent.stderr
    again = traced("send", shared / "otlp" / "otel_demo.logs.jsonl.gz", "--to", f"http://{ready['otlp_http']}", "--format", "json")
    assert json.loads(again.stdout)["log_records"] == 1443
    url = ("--url", f"http://{ready['http']}")
    deadline = time.monotonic() + 30
    orphans = 0
    while orphans != 184 and time.monotonic() < deadline:
        answer = json.loads(traced("findings", "orphan_span", *url, "--format", "json").stdout)
        orphans = sum(finding["count"] for finding in answer["findings"])
    assert orphans == 184
    table = traced("findings", *url).stdout
    fingerprint = re.search(r"^[0-9a-f]{16}", table, re.MULTILINE)
    assert fingerprint is not None
    assert "examples" in traced("findings", fingerprint[0], *url).stdout
    assert len(calls(json.loads(traced("graph", *url, "--format", "json").stdout)["service_graph"]["edges"])) == 13
    assert "spans_by_service" in traced("query", *url).stdout
    counted = traced("query", "-", *url, "--format", "csv", input="select count(*) as n from spans")
    assert counted.stdout == "n\n984\n", counted.stderr
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert process.wait(15) == 0
    assert time.monotonic() - started < 10


@pytest.mark.e2e
def test_a_taken_port_is_exit_code_2_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flag in ("--otlp-grpc", "--otlp-http", "--http"):
            others = [one for other in ("--otlp-grpc", "--otlp-http", "--http") if other != flag for one in (other, "127.0.0.1:0")]
            ran = traced("serve", flag, address, *others, "--data-dir", tmp_path / flag)
            assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
            assert address in ran.stderr
            assert "→" in ran.stderr


@pytest.mark.e2e
def test_a_data_directory_of_a_newer_version_is_exit_code_4_and_left_alone(tmp_path: Path) -> None:
    told = '{"store_version": 999999}\n'
    (tmp_path / "store.json").write_text(told)
    ran = traced("serve", *(part for flag in ("--otlp-grpc", "--otlp-http", "--http") for part in (flag, "127.0.0.1:0")), "--data-dir", tmp_path)
    assert (ran.returncode, ran.stdout) == (4, ""), ran.stderr
    assert "newer" in ran.stderr
    assert "→" in ran.stderr
    assert (tmp_path / "store.json").read_text() == told
