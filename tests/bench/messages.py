"""`make bench ARGS="--only messages"`: how long it takes to answer from the message log what ten million messages of 35 days say of a migration.

python -m tests.bench.messages [--messages N] [--keep DIRECTORY]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from traced.config import StoreSettings
from traced.model.message_reads import MessageFilter, Window
from traced.model.messages import DELAY_BUCKETS_SECONDS, FLOWS, MESSAGES
from traced.store.message_files import write_file
from traced.store.message_log import LogPlaces, MessageLog
from traced.store.quarantine import Quarantine
from traced.store.spill import Spill
from traced.telemetry import Telemetry

DAYS = 35
MINUTES = DAYS * 1440
FIRST_MINUTE = 28_000_000
FILES = 40
OLD = MessageFilter(destinations=("orders",), versions=("1",))
NEW = MessageFilter(destinations=("orders",), versions=("2",))
KINDS = [
    *(("producer", name, "", version, "") for name in ("shop", "web-shop") for version in ("1", "2")),
    *(("consumer", name, group, version, "link") for name, group in (("billing", "b"), ("shipping", "s"), ("mail", "m")) for version in ("1", "2")),
    *(("consumer", name, group, version, "") for name, group in (("billing", "b"), ("shipping", "s")) for version in ("1", "2")),
]
"""(role, service, group, version, joined by): half of the messages concern the migration's channel, the others another."""


def _codes(values: list[str], of: Any) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(of, pa.int32()), pa.array(values)).cast(pa.string())


def _kinds(kind: Any, channel: Any) -> dict[str, pa.Array]:
    columns = {name: [k[place] for k in KINDS] for place, name in enumerate(("role", "service_name", "consumer_group", "message_schema_version", "joined_by"))}
    made = {name: _codes(values, kind) for name, values in columns.items()}
    fixed = {"environment": "prod", "system": "kafka", "version_source": "attribute", "version_key": "message.schema.version", "producer_name": "shop"}
    made |= {name: _codes([value], np.zeros(len(kind), np.int32)) for name, value in fixed.items()}
    return made | {"destination": _codes(["orders", "payments"], channel)}


def _table(schema: pa.Schema, columns: dict[str, Any], rows: int) -> pa.Table:
    empty = {pa.string(): "", pa.bool_(): False}
    made = []
    for field in schema:
        given = columns.get(field.name)
        if given is None:
            given = pa.array([empty.get(field.type, 0)], field.type).take(pa.array(np.zeros(rows, np.int32)))
        made.append(given if isinstance(given, pa.Array) else pa.array(given, field.type))
    return pa.table(made, schema=schema)


def rows_of(first: int, rows: int, messages: int, rng: np.random.Generator) -> pa.Table:
    """Give rows of messages number `first` on, of so many that are spread over all minutes."""
    number = np.arange(first, first + rows)
    kind = number % len(KINDS)
    arrival = FIRST_MINUTE * 60_000_000_000 + (number * (MINUTES * 60_000_000_000 // messages))
    trace = (number // len(KINDS)).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    columns = _kinds(kind, rng.integers(0, 2, rows)) | {
        "trace_id_high": trace,
        "trace_id_low": trace ^ np.uint64(0xA5A5),
        "span_id": rng.integers(1, 2**63, rows, dtype=np.uint64),
        "identity": pa.array((number // len(KINDS)).astype(str)),
        "identity_kind": _codes(["business_key"], np.zeros(rows, np.int32)),
        "messages": np.ones(rows, np.int64),
        "time_unix_nano": arrival - rng.integers(0, 10**9, rows),
        "delay_nano": rng.integers(0, 10**9, rows),
        "arrival_time_unix_nano": arrival,
    }
    return _table(MESSAGES, columns, rows)


def flows_of(first: int, minutes: int, messages: int, rng: np.random.Generator) -> pa.Table:
    """Give the flows of so many minutes: each has every kind on both channels."""
    kinds = 2 * len(KINDS)
    rows = minutes * kinds
    minute, kind = np.repeat(np.arange(first, first + minutes), kinds), np.tile(np.arange(kinds), minutes)
    each = rng.poisson(messages / (MINUTES * kinds), rows)
    buckets = np.zeros((rows, len(DELAY_BUCKETS_SECONDS) + 1), np.int64)
    buckets[np.arange(rows), rng.integers(0, 5, rows)] = each
    offsets = pa.array(np.arange(0, buckets.size + 1, buckets.shape[1]), pa.int32())
    at = (FIRST_MINUTE + minute) * 60_000_000_000
    columns = _kinds(kind // 2, kind % 2) | {
        "minute": FIRST_MINUTE + minute,
        "messages": each,
        "traces": each,
        "delays": each,
        "delay_sum_seconds": each * 0.1,
        "delay_buckets": pa.ListArray.from_arrays(offsets, pa.array(buckets.reshape(-1))),
        "first_time_unix_nano": at,
        "last_time_unix_nano": at + 59_000_000_000,
        "trace_id_high": rng.integers(1, 2**63, rows, dtype=np.uint64),
        "trace_id_low": rng.integers(1, 2**63, rows, dtype=np.uint64),
        "span_id": rng.integers(1, 2**63, rows, dtype=np.uint64),
    }
    return _table(FLOWS, columns, rows).filter(pa.array(each > 0))


@contextmanager
def filled(directory: Path, messages: int) -> Iterator[MessageLog]:
    """Give a log in a directory with messages of 35 days, in as many files as merging leaves; made where there is none."""
    for name in ("messages", "quarantine", "spill"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(11)
    if not any((directory / "messages").iterdir()):
        for number in range(FILES):
            share = messages // FILES
            parts = [rows_of(number * share + start, min(100_000, share - start), messages, rng) for start in range(0, share, 100_000)]
            write_file(directory / "messages", "messages", (number + 1,) * 3, parts, durable=False)
            of_minutes = [flows_of(number * MINUTES // FILES, MINUTES // FILES, messages, rng)]
            write_file(directory / "messages", "flows", (number + 1,) * 3, of_minutes, durable=False)
    places = LogPlaces(directory / "messages", Quarantine(directory / "quarantine", 2**30), Spill(directory / "spill", 2**30))
    log = MessageLog(StoreSettings(durable=False), Telemetry(), places)
    log.restore(None)
    yield log
    log.close()


def seconds_of(work: Callable[[], Any], times: int = 5) -> float:
    """Give the median of how long something takes."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def measure(show: Callable[[str, float, str], None], messages: int, keep: Path | None = None) -> None:
    """Fill a log and ask it what a check of a migration asks."""
    window = Window(FIRST_MINUTE * 60, (FIRST_MINUTE + MINUTES) * 60)
    with tempfile.TemporaryDirectory(prefix="bench-messages-") as temporary, filled(keep or Path(temporary), messages) as log:
        files = log.shelf.files
        show("message_log_rows", sum(f.rows for f in files["messages"]), "rows")
        show("message_log_flows", sum(f.rows for f in files["flows"]), "rows")
        show("message_log_bytes_per_message", sum(f.size_bytes for f in files["messages"]) / messages, "B")
        show("message_log_bytes_per_flow", sum(f.size_bytes for f in files["flows"]) / sum(f.rows for f in files["flows"]), "B")
        asked = {
            "migration_check_10m": lambda: log.flows(window, 3600, MessageFilter(destinations=("orders",)), histograms=False),
            "message_flows_by_hour_10m": lambda: log.flows(window, 3600, MessageFilter(destinations=("orders",))),
            "message_flows_by_day_10m": lambda: log.flows(window, 86_400),
            "message_flows_of_a_day_10m": lambda: log.flows(Window(window.until - 86_400, window.until), 60),
            "message_pairs_10m": lambda: log.pairings(window, OLD, NEW),
            "message_rows_10m": lambda: log.messages(window, MessageFilter(destinations=("orders",), versions=("1",), roles=("consumer",)), 100),
        }
        for name, work in asked.items():
            show(name, seconds_of(work, 3), "s")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="a directory that is used again")
    given = parser.parse_args()
    measure(lambda name, value, unit: print(f"{name} {value:.3f} {unit}", flush=True), given.messages, given.keep)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
