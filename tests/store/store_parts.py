"""Batches by number, and stores over them: what the tests of the store are made of."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from traced.config import StoreSettings
from traced.model.batch import NO_FINGERPRINT, Batch, Fingerprint, Receipt, Signal
from traced.model.schema import ATTRIBUTE_DICTIONARY, COMPACT_LOGS, COMPACT_SPANS, RESOURCES, SCOPES
from traced.store.catalog import Catalog
from traced.store.store import Store
from traced.telemetry import Telemetry

START = 1_700_000_000_000_000_000


def make_batch(number: int, spans: int = 10, *, service: str = "cart", kind: int = 2, name: str = "GET /cart", attributes: int = 4, span: int = 1) -> Batch:
    """Give a batch of one trace whose ids say its number: trace id (number, number), span ids from `span` on; its resource has all attributes."""
    rows = np.arange(spans, dtype=np.uint64)
    dictionary = [{"key": f"key.{n % 8}", "type": 1, "value": f"value {n}"} for n in range(attributes)]
    columns: dict[str, Any] = {
        "trace_id_high": pa.array(np.full(spans, number, np.uint64)),
        "trace_id_low": pa.array(np.full(spans, number, np.uint64)),
        "span_id": pa.array(rows + np.uint64(span)),
        "parent_span_id": pa.array(np.where(rows == 0, np.uint64(0), np.uint64(span))),
        "name": pa.array([name] * spans),
        "kind": pa.array(np.full(spans, kind, np.uint8)),
        "start_time_unix_nano": pa.array(rows.astype(np.int64) + START),
        "end_time_unix_nano": pa.array(rows.astype(np.int64) + START + 1_000_000),
        "attribute_ids": pa.array([[n % attributes, (n + 1) % attributes] if attributes else [] for n in range(spans)], pa.list_(pa.uint32())),
    }
    items = _rows(COMPACT_SPANS, columns, spans)
    return _batch(Signal.TRACES, items, dictionary, service)


def make_logs(number: int, records: int = 10, *, body: str = "hello", fingerprint: Fingerprint = NO_FINGERPRINT) -> Batch:
    """Give a batch of log records of one trace."""
    columns: dict[str, Any] = {
        "time_unix_nano": pa.array(np.arange(records, dtype=np.int64) + START),
        "body": pa.array([body] * records),
        "body_type": pa.array(np.ones(records, np.uint8)),
        "trace_id_high": pa.array(np.full(records, number, np.uint64)),
        "trace_id_low": pa.array(np.full(records, number, np.uint64)),
        "span_id": pa.array(np.arange(1, records + 1, dtype=np.uint64)),
        "attribute_ids": pa.array([[0]] * records, pa.list_(pa.uint32())),
    }
    batch = _batch(Signal.LOGS, _rows(COMPACT_LOGS, columns, records), [{"key": "log.key", "type": 1, "value": "x"}], "cart")
    return replace(batch, fingerprint=fingerprint)


def _rows(schema: pa.Schema, columns: dict[str, Any], count: int) -> pa.RecordBatch:
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(columns[field.name].cast(field.type))
        elif pa.types.is_list(field.type) or pa.types.is_string(field.type):
            arrays.append(pa.nulls(count, field.type))
        else:
            arrays.append(pa.array(np.zeros(count, np.int64)).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _batch(signal: Signal, items: pa.RecordBatch, dictionary: list[dict[str, Any]], service: str) -> Batch:
    of_all = list(range(len(dictionary)))
    resource = dict.fromkeys(RESOURCES.names) | {"service_name": service, "attribute_ids": of_all, "dropped_attributes_count": 0}
    scope = dict.fromkeys(SCOPES.names) | {"name": "tests", "attribute_ids": [], "dropped_attributes_count": 0}
    return Batch(
        signal,
        items,
        pa.RecordBatch.from_pylist(dictionary, schema=ATTRIBUTE_DICTIONARY),
        pa.RecordBatch.from_pylist([resource], schema=RESOURCES),
        pa.RecordBatch.from_pylist([scope], schema=SCOPES),
        items.num_rows * 200,
        {},
        {},
    )


@contextmanager
def open_store(data_dir: Path, **changes: Any) -> Iterator[Store]:
    """Open a store; its telemetry is `store._telemetry`."""
    # a test's disk is not full because the machine's is
    store = Store(StoreSettings(data_dir=data_dir, **({"max_disk_fraction": 1.0} | changes)), Telemetry())
    store.open()
    try:
        yield store
    finally:
        store.close()


def store_all(store: Store, *batches: Batch) -> list[Receipt]:
    """Accept batches and wait until they are durable."""
    return [future.result(30) for future in [store.accept(batch) for batch in batches]]


def held(store: Store) -> Counter[tuple[int, int]]:
    """Count the stored spans by (trace number, span id)."""
    rows = store.window(0, 2**63 - 1)
    return Counter(zip(rows.column("trace_id_high").to_pylist(), rows.column("span_id").to_pylist(), strict=True))


def expected(numbers: range | list[int], spans: int = 10) -> Counter[tuple[int, int]]:
    """What `held` gives where each of these batches is stored once."""
    return Counter((number, span) for number in numbers for span in range(1, spans + 1))


def freeze(store: Store) -> None:
    """Have the hot segment frozen, and wait until it and all others are sealed."""
    before = store.writer.segment
    store.writer.request_roll()
    wait_for(lambda: store.writer.segment is not before)
    wait_for(lambda: len(store.catalog.parts.segments) == 1)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.01)


def metric(store: Store, name: str, **labels: str) -> float:
    """Read a counter or gauge."""
    samples = [s for family in store._telemetry.own_families() for s in family.samples]
    return sum(s.value for s in samples if s.name == name and all(s.labels.get(k) == v for k, v in labels.items()))


def crash(store: Store) -> None:
    """End a store's threads and let go of its files as `kill -9` would leave them: nothing is sealed, flushed or removed."""
    store._keeper.close()
    store.writer.close()
    for segment in store.catalog.parts.segments:
        segment._connection.close()
    store.catalog = Catalog()
    store.close()
