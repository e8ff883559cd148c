"""A hot segment stays in its WAL, whatever is written, and reads back what was committed."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from store_parts import make_batch, make_logs, open_store, store_all

from traced.store.segment import MAX_ROWS_PER_TRANSACTION, Segment, segment_paths


def test_the_database_file_never_changes_while_everything_goes_to_the_wal(tmp_path):
    with open_store(tmp_path, seal_after_spans=1_000_000) as store:
        database, wal, _ = segment_paths(store.hot_dir, store.writer.segment.number)
        before, wal_before = database.read_bytes(), wal.stat().st_size
        store_all(store, *(make_batch(n, 5000) for n in range(1, 41)), *(make_logs(n, 1000) for n in range(50, 60)))
        assert database.read_bytes() == before
        assert wal.stat().st_size > wal_before + 200_000 * 16
    assert database.read_bytes() == before, "closing must not checkpoint"
    assert wal.stat().st_size > 0


def test_a_request_with_more_attributes_than_a_row_group_is_written_in_several_transactions(tmp_path):
    with open_store(tmp_path) as store:
        database, _, _ = segment_paths(store.hot_dir, store.writer.segment.number)
        before = database.read_bytes()
        batch = make_batch(1, 10, attributes=122_880 * 2 + 7)
        store_all(store, make_batch(2, 10, attributes=99_999), batch, make_batch(3, 10))
        assert database.read_bytes() == before, "from 122,880 rows on, a transaction's rows bypass the WAL"
        rows = store.spans_of_trace(1, 1)
        assert rows.column("attributes").to_pylist()[5] == [{"key": "key.5", "type": 1, "value": "value 5"}, {"key": "key.6", "type": 1, "value": "value 6"}]
        assert store.spans_of_trace(3, 3).column("attributes").to_pylist()[0][1]["value"] == "value 1"


def test_the_largest_request_stays_in_the_wal(tmp_path):
    with open_store(tmp_path) as store:
        database, _, _ = segment_paths(store.hot_dir, store.writer.segment.number)
        before = database.read_bytes()
        store_all(store, make_batch(1, 50_000), make_batch(2, 50_000))
        assert database.read_bytes() == before
    assert MAX_ROWS_PER_TRANSACTION < 122_880


def test_a_commit_that_fails_leaves_nothing(tmp_path):
    segment = Segment.create(tmp_path, 1, 64 * 2**20, 1, durable=False)
    counts = {"items": pa.array([1], pa.uint32()), "repeated": pa.array([0], pa.uint32())}
    words = dict.fromkeys(("sequence", "high", "low"), pa.array([1], pa.uint64()))
    batch = pa.table({"sequence": words["sequence"], "arrival": [1], "signal": ["traces"], **counts, "high": words["high"], "low": words["low"]})
    with pytest.raises(duckdb.Error):
        segment.insert({"batch": batch, "scope": pa.table({"wrong": ["columns"]})})
    assert segment.cursor().sql("SELECT count(*) FROM batch").fetchall() == [(0,)]
    segment.insert({"batch": batch})
    assert segment.cursor().sql("SELECT count(*) FROM batch").fetchall() == [(1,)]
    segment.remove()
    assert list(tmp_path.iterdir()) == []


def test_its_files_are_its_owners_alone(tmp_path):
    segment = Segment.create(tmp_path, 1, 64 * 2**20, 1)
    assert {p.stat().st_mode & 0o777 for p in segment_paths(tmp_path, 1)} == {0o600}
    segment.close()


def test_a_segment_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("traced.store.segment.Ledger", fails)
    with pytest.raises(OSError, match="No space"):
        Segment.create(tmp_path, 1, 64 * 2**20, 1)
    assert list(tmp_path.iterdir()) == []
