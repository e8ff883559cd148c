"""Sealed files of before a column existed are read as if it had been there, empty: alone, beside newer ones, and merged with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_parts import freeze, make_batch, make_logs, metric, open_store, store_all, wait_for

from traced.config import QuerySettings
from traced.model.schema import LOGS, SPANS, TYPED_ATTRIBUTES
from traced.store.catalog import sums_path
from traced.store.parquet import read_footer, write_parquet
from traced.store.read_schemas import SPAN_BY_ID, TRACE_SIZES, WINDOW_SCHEMA, WINDOW_TYPED
from traced.store.sealed_files import _sum, _write_sums
from traced.store.store import Store
from traced.store.user_queries import UserQueries

MISSING = (*TYPED_ATTRIBUTES, "host", "telemetry_sdk_language")
"""Columns that came after the first ones; who sent a span, and what it is, is in every file."""


def make_older(directory: Path) -> None:
    """Write the first sealed files anew, as a version before these columns would have: whole, with checksums that fit."""
    (spans,) = directory.glob("spans-00000001-*.parquet")
    _, extent = read_footer(spans)
    rows = pq.ParquetFile(spans).read().drop_columns(list(MISSING))
    write_parquet(spans, [rows], rows.schema.remove_metadata(), extent)
    files = list(directory.glob("*-00000001-00000001.parquet"))
    _write_sums(sums_path(directory, 1, 1), {path.name: _sum(path) for path in files})


@pytest.fixture(params=["alone", "beside a newer one", "beside hot rows"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Open a store whose first sealed file is an older one."""
    with open_store(tmp_path, merge_below_bytes=0) as store:
        store_all(store, make_batch(1, spans=5), make_logs(1, records=3))
        freeze(store)
    make_older(tmp_path / "sealed")
    with open_store(tmp_path, merge_below_bytes=0) as store:
        if request.param != "alone":
            store_all(store, make_batch(2, spans=5))
        if request.param == "beside a newer one":
            freeze(store)
        assert metric(store, "traced_store_quarantined_total") == 0
        yield store
        assert metric(store, "traced_store_quarantined_total") == 0


def ids(numbers: list[int], *names: str) -> pa.Table:
    """Give trace (and span) ids by the number of their batch."""
    return pa.table({name: pa.array(numbers, pa.uint64()) for name in ("trace_id_high", "trace_id_low", *names)})


def test_windows_have_all_columns(older: Store) -> None:
    for rows in (older.window(0, 2**62), older.window_of_traces(ids([1, 2]), 0, 2**62)):
        assert rows.schema == WINDOW_SCHEMA
        assert rows.num_rows in {5, 10}
        first = rows.filter(pa.compute.equal(rows.column("trace_id_low"), 1))
        assert set(first.column("service_name").to_pylist()) == {"cart"}
        assert all(first.column(name).null_count == 5 for name in (*WINDOW_TYPED, "host", "telemetry_sdk_language"))


def test_traces_are_counted(older: Store) -> None:
    rows = older.window_of_traces(ids([1, 2, 3]), 0, 2**62)
    sizes = older.trace_sizes(ids([1, 2, 3]), 0, 2**62)
    assert sizes.schema == TRACE_SIZES
    counted = {row["trace_id_low"]: (row["spans"], row["first_arrival"]) for row in sizes.to_pylist()}
    assert counted.keys() == set(rows.column("trace_id_low").to_pylist())
    for number, (spans, first) in counted.items():
        own = rows.filter(pa.compute.equal(rows.column("trace_id_low"), number)).column("arrival_time_unix_nano").to_pylist()
        assert (spans, first) == (len(own), min(own))
        # the window's end belongs to it, its beginning does not
        assert older.trace_sizes(ids([number]), first, 2**62).num_rows == 0
        assert older.trace_sizes(ids([number]), first - 1, first).column("spans").to_pylist() == [5]


def test_spans_are_found_by_their_ids(older: Store) -> None:
    found = older.spans_by_id(ids([1], "span_id"))
    assert found.schema == SPAN_BY_ID
    assert found.column("service_name").to_pylist() == ["cart"]


def test_a_trace_has_all_columns(older: Store) -> None:
    trace = older.trace(1, 1, 100, 100)
    assert (trace.spans.schema, trace.logs.schema) == (SPANS, LOGS)
    assert (trace.total_spans, trace.total_logs, trace.truncated) == (5, 3, False)
    assert all(trace.spans.column(name).null_count == 5 for name in MISSING)


def test_a_span_that_comes_again_is_recognised(older: Store) -> None:
    (receipt,) = store_all(older, make_batch(1, spans=6))
    assert (receipt.stored, receipt.repeated) == (1, 5)


def test_own_sql_has_all_columns(older: Store) -> None:
    counted = ", ".join(f"count({name})" for name in MISSING)
    sql = f"SELECT count(*), {counted} FROM spans WHERE trace_id LIKE '%1'"  # noqa: S608
    answer = UserQueries(older, QuerySettings(), list).run(sql, {}, is_name=False)
    assert answer.rows == [[5, *[0] * len(MISSING)]]


def test_the_file_that_lends_its_columns_is_made_again_when_it_is_gone(older: Store) -> None:
    older.window(0, 2**62)
    (older.state_dir / "no_spans.parquet").unlink()
    assert older.window(0, 2**62).num_rows >= 5


def test_an_older_file_is_merged_with_newer_ones(tmp_path: Path) -> None:
    with open_store(tmp_path, merge_below_bytes=0) as store:
        store_all(store, make_batch(1, spans=5))
        freeze(store)
    make_older(tmp_path / "sealed")
    with open_store(tmp_path, merge_files=2) as store:
        store_all(store, make_batch(2, spans=5))
        freeze(store)
        wait_for(lambda: len(store.catalog.parts.generations) == 1)
        assert store.window(0, 2**62).num_rows == 10
        assert pq.read_schema(store.catalog.parts.generations[0].path("spans")).names == SPANS.names
