"""An unmodified OpenTelemetry SDK for JavaScript, in each of OTLP's encodings: the stored rows say what it sent."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stored import attributes, otlp_json, stored_attributes, stored_spans

from traced.daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
HERE = Path(__file__).parent / "js"
OFFLINE_SECONDS, INSTALL_SECONDS = 30, 300


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the script and the packages it needs, as npm installs them today."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not installed")
    directory = tmp_path_factory.mktemp("js")
    for name in ("package.json", "script.js"):
        shutil.copy(HERE / name, directory)
    try:
        reached = subprocess.run([npm, "view", "@opentelemetry/api", "version"], cwd=directory, capture_output=True, timeout=OFFLINE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer")
    if reached.returncode:
        pytest.skip("the npm registry cannot be reached")
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    done = subprocess.run([npm, "install", *options], cwd=directory, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return directory


def value(number: Any) -> Any:
    """Give a number as JavaScript sends it: whole ones as integers, whatever their type."""
    if isinstance(number, list):
        return [value(n) for n in number]
    return int(number) if isinstance(number, float) and number.is_integer() else number


def sent_attributes(values: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return attributes({key: value(v) for key, v in values.items()})


@pytest.mark.parametrize("encoding", ["grpc", "proto", "json"])
def test_the_rows_are_what_the_sdk_sent(daemon: Daemon, installed: Path, encoding: str) -> None:
    address = daemon.receiver.grpc_address if encoding == "grpc" else daemon.receiver.http_address
    done = subprocess.run(["node", "script.js", encoding, address], cwd=installed, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    sent = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(sent) == 605
    rows = stored_spans(daemon, (span["trace_id"] for span in sent))
    rows = {key: row for key, row in rows.items() if row["service_name"] == f"js-{encoding}"}
    assert rows.keys() == {(span["trace_id"], span["span_id"]) for span in sent}
    for span in sent:
        check(span, rows[span["trace_id"], span["span_id"]])


def check(sent: dict[str, Any], row: dict[str, Any]) -> None:
    """Compare one span with its row, field by field."""
    assert row["name"] == sent["name"]
    assert row["kind"] == sent["kind"] + 1, "the SDK's own numbers begin at INTERNAL = 0"
    assert row["parent_span_id"] == int(sent["parent_span_id"] or "0", 16)
    assert row["trace_state"] == sent["trace_state"]
    assert row["flags"] & 0xFF == sent["trace_flags"]
    assert bool(row["flags"] & 0x200) == sent["parent_is_remote"]
    assert (row["start_time_unix_nano"], row["end_time_unix_nano"]) == (int(sent["start"]), int(sent["end"]))
    assert (row["status_code"], row["status_message"]) == (sent["status"]["code"], sent["status"].get("message", ""))
    assert stored_attributes(row["attributes"]) == sent_attributes(sent["attributes"])
    assert row["dropped_attributes_count"] == sent["dropped_attributes"]
    events = [(e["name"], e["time_unix_nano"], stored_attributes(e["attributes"])) for e in row["events"] or []]
    assert events == [(e["name"], int(e["time"]), sent_attributes(e["attributes"])) for e in sent["events"]]
    links = [(f"{x['trace_id_high']:016x}{x['trace_id_low']:016x}", f"{x['span_id']:016x}", x["trace_state"]) for x in row["links"] or []]
    assert links == [(x["trace_id"], x["span_id"], x["trace_state"]) for x in sent["links"]]
    assert [stored_attributes(x["attributes"]) for x in row["links"] or []] == [sent_attributes(x["attributes"]) for x in sent["links"]]
    assert (row["scope_name"], row["scope_version"], row["scope_schema_url"]) == ("interop", "0.9.0", "https://opentelemetry.io/schemas/1.36.0")
    resource = {a["key"]: a["value"] for a in json.loads(row["resource_attributes"])}
    assert resource == otlp_json(sent["resource"])
    assert row["service_version"] == "1.2.3"
    assert row["host"] == "node-1"
