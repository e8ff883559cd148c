"""A trace is read up to a limit, the earliest of it, however much of it is stored and wherever it lies."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from store_parts import START, freeze, make_batch, make_logs, open_store, store_all

from traced.store import reading


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give how many rows each query of the store gave, as they are asked."""
    rows: list[int] = []
    real = reading._select

    def counted(*args: Any, **named: Any) -> pa.Table:
        answer = real(*args, **named)
        if "_of_trace" in args[1]:
            rows.append(answer.num_rows)
        return answer

    monkeypatch.setattr(reading, "_select", counted)
    return rows


def parts_of_one_trace(store: Any) -> None:
    """Store 300 spans (ids 1 to 300) and 60 log records of trace 1, in two sealed files and a hot segment; the latest ids came first."""
    for number, first in enumerate((201, 101, 1)):
        batch = make_batch(1, 100, span=first)
        columns = {name: batch.items.column(name) for name in batch.items.schema.names}
        columns["start_time_unix_nano"] = pa.array([START + first + n for n in range(100)], pa.int64())
        # all hang under span 250, which is a root; so the earliest name a parent that begins later
        columns["parent_span_id"] = pa.array([0 if first + n == 250 else 250 if n % 2 else NOWHERE for n in range(100)], pa.uint64())
        items = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.items.schema)
        logs = make_logs(1, 20, body=f"part {number}")
        store_all(store, type(batch)(batch.signal, items, *(getattr(batch, n) for n in OTHERS)), logs)
        if number < 2:
            freeze(store)


NOWHERE = 2**63 + 999
"""Half of all ids are as large."""
OTHERS = [name for name in make_batch(1).__slots__ if name not in {"signal", "items"}]


def test_the_earliest_come_in_order_and_the_answer_says_how_many_there_are(tmp_path, read):
    with open_store(tmp_path, merge_below_bytes=0) as store:
        parts_of_one_trace(store)
        trace = store.trace(1, 1, 60, 7)
        assert trace.spans.column("span_id").to_pylist() == list(range(1, 61))
        assert (trace.total_spans, trace.total_logs, trace.logs.num_rows, trace.truncated) == (300, 60, 7, True)
        assert trace.has_root, "though it is not among them"
        assert trace.beyond == {250}, "the other parent is nowhere"
        times = trace.logs.column("time_unix_nano").to_pylist()
        assert times == sorted(times)
        assert times[-1] <= START + 3
    assert max(read) == 60, "no part gives more than the limit"


def test_a_trace_within_the_limit_is_whole(tmp_path, read):
    with open_store(tmp_path, merge_below_bytes=0) as store:
        parts_of_one_trace(store)
        trace = store.trace(1, 1, 300, 60)
        assert trace.spans.column("span_id").to_pylist() == list(range(1, 301))
        assert (trace.total_spans, trace.total_logs, trace.truncated, trace.beyond) == (300, 60, False, frozenset())
        assert sum(read) >= 360


def test_of_a_trace_that_is_not_stored_there_is_nothing(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(2))
        trace = store.trace(1, 1, 10, 10)
        assert (trace.spans.num_rows, trace.logs.num_rows, trace.total_spans, trace.total_logs, trace.has_root) == (0, 0, 0, 0, False)
        assert not trace.truncated


def test_log_records_without_a_time_of_their_own_stand_where_they_were_seen(tmp_path):
    with open_store(tmp_path) as store:
        batch = make_logs(1, 4)
        columns = {name: batch.items.column(name) for name in batch.items.schema.names}
        columns["time_unix_nano"] = pa.array([50, 0, 10, 0], pa.int64())
        columns["observed_time_unix_nano"] = pa.array([1, 20, 1, 5], pa.int64())
        items = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.items.schema)
        store_all(store, type(batch)(batch.signal, items, *(getattr(batch, n) for n in OTHERS)))
        assert store.trace(1, 1, 1, 3).logs.column("span_id").to_pylist() == [4, 3, 2]
        freeze(store)
        assert store.trace(1, 1, 1, 3).logs.column("span_id").to_pylist() == [4, 3, 2]
