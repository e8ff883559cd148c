"""Rows of the public schemas, one line each, as Parquet files for the views to read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from traced.model.schema import LOGS, SPANS
from traced.store.queries import load_folder

START = 1_700_000_000_000_000_000
TRACE = (0xA1B2, 0xC3)
TRACE_HEX = "000000000000a1b200000000000000c3"


def _row(schema: pa.Schema, values: dict[str, Any]) -> dict[str, Any]:
    unknown = set(values) - set(schema.names)
    assert not unknown, unknown
    empty = {pa.string(): "", **{f.type: [] for f in schema if pa.types.is_list(f.type)}}
    return {f.name: empty.get(f.type, 0) for f in schema} | {"trace_id_high": TRACE[0], "trace_id_low": TRACE[1]} | values


def span(**values: Any) -> dict[str, Any]:
    """One row of SPANS: a span of one millisecond in the service `cart`, unless said otherwise."""
    times = {"start_time_unix_nano": START, "end_time_unix_nano": START + 1_000_000, "arrival_time_unix_nano": START}
    return _row(SPANS, {"span_id": 1, "name": "GET /cart", "kind": 2, "service_name": "cart"} | times | values)


def log(**values: Any) -> dict[str, Any]:
    """One row of LOGS."""
    return _row(LOGS, {"time_unix_nano": START, "body": "hello", "body_type": 1, "service_name": "cart"} | values)


def attribute(key: str | None, value: str, kind: int = 1) -> dict[str, Any]:
    """One attribute as the store keeps it."""
    return {"key": key, "type": kind, "value": value}


def write(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as a Parquet file of the given schema."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def shop(directory: Path) -> tuple[Path, Path, Path]:
    """Write a small world (spans, logs, findings): web calls cart, cart calls a parent that is missing, one error, one link."""
    link = {"trace_id_high": 0, "trace_id_low": 9, "span_id": 8, "trace_state": "", "flags": 0, "attributes": [], "dropped_attributes_count": 0}
    event = {"time_unix_nano": START + 5, "name": "exception", "attributes": [attribute("exception.type", "KeyError")], "dropped_attributes_count": 0}
    spans = [
        span(span_id=1, service_name="web", kind=2, name="GET /", attributes=[attribute("http.route", "/")]),
        span(span_id=2, parent_span_id=1, service_name="web", kind=3, name="GET"),
        span(span_id=3, parent_span_id=2, kind=2, status_code=2, attributes=[attribute("http.route", "/cart")], events=[event]),
        span(span_id=4, parent_span_id=0xDEAD, name="lost", end_time_unix_nano=START + 9_000_000, links=[link]),
        span(span_id=8, trace_id_high=0, trace_id_low=9, name="far", kind=4, service_name=""),
    ]
    logs = [log(), log(trace_id_high=0, trace_id_low=0, body="alone"), log(time_unix_nano=0, observed_time_unix_nano=START, span_id=3)]
    finding = {
        "id": "orphan_span",
        "level": "violation",
        "cause": "unknown",
        "fingerprint": "00ff",
        "service": "cart",
        "peer": None,
        "signal_type": "span",
        "signal_name": "lost",
        "count": 1,
        "confidence": 0.9,
        "first_seen": "2023-11-14T22:13:20.000000001Z",
        "last_seen": "2262-04-11T23:47:16.854775807Z",
        "message": "m",
        "how_to_fix": "h",
        "examples": [{"trace_id": TRACE_HEX, "span_id": "0000000000000004"}],
        "context": {"a": [1, "b"]},
    }
    findings = directory / "findings.jsonl"
    findings.write_text(json.dumps(finding) + "\n", encoding="utf-8")
    return write(directory / "spans.parquet", SPANS, spans), write(directory / "logs.parquet", LOGS, logs), findings


def views_over(
    spans: list[Path] | None = None, logs: list[Path] | None = None, messages: list[Path] | None = None, message_flows: list[Path] | None = None
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database with all macros and views over the given files, as the sandbox does."""
    connection = duckdb.connect(":memory:")
    for query in load_folder("ddl/macros").values():
        connection.execute(query.sql)
    for name, files in (("spans", spans), ("logs", logs), ("messages", messages), ("message_flows", message_flows)):
        connection.execute(f"SET VARIABLE {name}_files = $files", {"files": [str(f) for f in files or []]})
        also = f" UNION ALL BY NAME FROM read_parquet(getvariable('{name}_files'), union_by_name => true)" if files else ""
        connection.execute(f"CREATE VIEW stored_{name} AS FROM empty_{name}(){also}")
    connection.execute("CREATE VIEW stored_findings AS FROM empty_findings()")
    for query in load_folder("ddl/views").values():
        connection.execute(query.sql)
    return connection
