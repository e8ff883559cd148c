"""What an SDK sent, and what the store then holds, in the same words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from traced.daemon import Daemon

Row = dict[str, Any]


def stored_spans(daemon: Daemon, trace_ids: Iterable[str]) -> dict[tuple[str, str], Row]:
    """Give the stored rows of some traces by (trace id, span id), both in hex; fails where a span is stored twice."""
    rows: dict[tuple[str, str], Row] = {}
    for trace_id in sorted(set(trace_ids)):
        for row in daemon.store.spans_of_trace(int(trace_id[:16], 16), int(trace_id[16:], 16)).to_pylist():
            key = (f"{row['trace_id_high']:016x}{row['trace_id_low']:016x}", f"{row['span_id']:016x}")
            assert key not in rows
            rows[key] = row
    return rows


def attribute(value: Any) -> tuple[int, str]:
    """Give (AttributeType, text) of a value that a program set."""
    if isinstance(value, bool):
        return 2, "true" if value else "false"
    if isinstance(value, str):
        return 1, value
    if isinstance(value, int):
        return 3, str(value)
    if isinstance(value, float):
        return 4, repr(value)
    if isinstance(value, bytes):
        raise TypeError("SDKs differ in what they make of bytes")
    return (6 if isinstance(value, dict) else 5), json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def attributes(values: Any) -> dict[str, tuple[int, str]]:
    """Give a program's attributes as `attribute` has them."""
    return {key: attribute(value) for key, value in (values or {}).items()}


def stored_attributes(rows: list[Row]) -> dict[str, tuple[int, str]]:
    """Give a stored list of attributes in the same shape; fails where a key comes twice."""
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: (row["type"], row["value"]) for row in rows}


def otlp_json(values: Any) -> dict[str, Any]:
    """Give a resource's attributes of text and lists of text as OTLP/JSON has their values."""
    return {
        key: {"arrayValue": {"values": [{"stringValue": v} for v in value]}} if isinstance(value, (list, tuple)) else {"stringValue": value}
        for key, value in values.items()
    }
