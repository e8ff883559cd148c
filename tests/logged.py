"""Rows for the message log, a line each, and logs over a directory: what its tests are made of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from traced.config import StoreSettings
from traced.model.message_reads import Window
from traced.model.messages import DELAY_BUCKETS_SECONDS, FLOWS, MESSAGES
from traced.store.message_log import LogPlaces, MessageLog
from traced.store.quarantine import Quarantine
from traced.store.spill import Spill
from traced.telemetry import Telemetry

MINUTE: Final = 28_000_000
"""The unix minute in which the tests' messages begin to arrive."""
SECOND: Final = 1_000_000_000
START: Final = MINUTE * 60 * SECOND
"""The same in unix nanoseconds."""
EVER: Final = Window(0, 2**33)
_EMPTY: Final = {pa.string(): "", pa.bool_(): False}


def _row(schema: pa.Schema, values: dict[str, Any]) -> dict[str, Any]:
    unknown = set(values) - set(schema.names)
    assert not unknown, unknown
    return {f.name: _EMPTY.get(f.type, 0) for f in schema} | {"probability": None} | values


def message(number: int = 1, seconds: float = 0.0, **values: Any) -> dict[str, Any]:
    """Give a row of MESSAGES: billing took one from orders, in a trace of that number, so many seconds after START."""
    at = START + round(seconds * SECOND)
    usual = {"role": "consumer", "service_name": "billing", "system": "kafka", "destination": "orders", "message_schema_version": "1", "messages": 1}
    ids = {"trace_id_high": number, "trace_id_low": number, "span_id": number, "delay_nano": None, "offset": None}
    return _row(MESSAGES, usual | ids | {"time_unix_nano": at, "arrival_time_unix_nano": at} | values)


def flow(minute: int = 0, messages: int = 1, **values: Any) -> dict[str, Any]:
    """Give a row of FLOWS: so many that billing took from orders, so many minutes after MINUTE."""
    first = (MINUTE + minute) * 60 * SECOND
    usual = {"role": "consumer", "service_name": "billing", "system": "kafka", "destination": "orders", "message_schema_version": "1"}
    counted = {"messages": messages, "traces": messages, "delay_buckets": [0] * (len(DELAY_BUCKETS_SECONDS) + 1)}
    times = {"minute": MINUTE + minute, "first_time_unix_nano": first, "last_time_unix_nano": first + SECOND}
    return _row(FLOWS, usual | counted | times | {"trace_id_high": 1, "trace_id_low": minute + 1, "span_id": 3} | values)


def messages(*rows: dict[str, Any]) -> pa.Table:
    """Give rows as MESSAGES."""
    return pa.Table.from_pylist(list(rows), schema=MESSAGES)


def flows(*rows: dict[str, Any]) -> pa.Table:
    """Give rows as FLOWS."""
    return pa.Table.from_pylist(list(rows), schema=FLOWS)


def open_log(directory: Path | None, **changes: Any) -> MessageLog:
    """Give a log that is not restored yet; its settings are those of the store."""
    settings = StoreSettings(**({"durable": False} | changes))
    if directory is None:
        return MessageLog(settings, Telemetry())
    for name in ("quarantine", "spill"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    places = LogPlaces(directory / "messages", Quarantine(directory / "quarantine", 2**30), Spill(directory / "spill", 2**30))
    return MessageLog(settings, Telemetry(), places)


def restored(directory: Path | None, manifest: Any = None, again_after: int | None = None, **changes: Any) -> MessageLog:
    """Give a log that is restored."""
    log = open_log(directory, **changes)
    log.restore(manifest, again_after)
    return log


def numbers(log: MessageLog) -> Counter[int]:
    """Count the messages by the number of their trace."""
    found = log.messages(EVER)
    assert not found.more
    counted: Counter[int] = Counter()
    for number, many in zip(found.rows.column("trace_id_low").to_pylist(), found.rows.column("messages").to_pylist(), strict=True):
        counted[number] += many
    return counted


def counts(log: MessageLog, **columns: str) -> int:
    """Count the messages of all flows whose columns are these."""
    rows = log.flows(EVER).to_pylist()
    return sum(row["messages"] for row in rows if all(row[name] == value for name, value in columns.items()))


def metric(log: MessageLog, name: str, **labels: str) -> float:
    """Read a counter or gauge."""
    samples = [s for family in log.telemetry.own_families() for s in family.samples]
    return sum(s.value for s in samples if s.name == name and all(s.labels.get(k) == v for k, v in labels.items()))
