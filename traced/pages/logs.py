"""A trace's log records as rows: the earliest ones, each with its time, severity, service, span and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from traced.model.span import UNKNOWN_SERVICE, span_id_hex

MAX_ROWS: Final = 100
MAX_BODY_CHARACTERS: Final = 2_000
"""Longer text is cut: a page is for looking, the JSON has all of it."""

_SEVERITIES: Final = ("trace", "debug", "info", "warn", "error", "fatal")
"""OTLP's severity numbers 1 to 24, four to a name."""
_ERROR: Final = 17


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log record.

    Attributes:
        time_unix_nano: when it happened, else when it was seen; 0 if neither is known.
        severity: the sender's own word, else the name of its number, else empty.
        bad: an error or worse.
        body: its text, cut; the name of the event where it has none.
        span_id: empty where it names no span.
    """

    time_unix_nano: int
    severity: str
    bad: bool
    service: str
    body: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Logs:
    """The rows that are shown, of how many there are."""

    rows: tuple[LogRow, ...]
    total: int


def logs_of(records: pa.Table, total: int | None = None) -> Logs:
    """Give the earliest log records of a trace.

    Args:
        records: rows of schema `traced.model.schema.LOGS`, of one trace.
        total: how many the trace has; None where these are all.
    """
    own = pc.fill_null(records.column("time_unix_nano"), 0)
    time = pc.if_else(pc.equal(own, 0), records.column("observed_time_unix_nano"), own)  # OTLP: 0 means unknown
    earliest = pc.sort_indices(pa.table({"time": time, "span": records.column("span_id")}), sort_keys=[("time", "ascending"), ("span", "ascending")])
    columns = records.select(("severity_number", "severity_text", "event_name", "body", "service_name", "span_id")).append_column("time", time)
    return Logs(tuple(_row(row) for row in columns.take(earliest.slice(0, MAX_ROWS)).to_pylist()), records.num_rows if total is None else total)


def _row(row: dict[str, Any]) -> LogRow:
    number = row["severity_number"] or 0
    named = _SEVERITIES[(number - 1) // 4] if 1 <= number <= 24 else ""
    body = (row["body"] or row["event_name"] or "").replace("\t", "    ")  # a page shows no control characters, and stack traces are indented
    return LogRow(
        time_unix_nano=row["time"] or 0,
        severity=row["severity_text"] or named,
        bad=number >= _ERROR,
        service=row["service_name"] or UNKNOWN_SERVICE,
        body=body if len(body) <= MAX_BODY_CHARACTERS else f"{body[:MAX_BODY_CHARACTERS]}…",
        span_id=span_id_hex(row["span_id"] or 0),
    )
