"""The store's own SQL files: each can be prepared against the real tables and files, and gives the columns that its header says."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from traced.model.messages import DELAY_BUCKETS_SECONDS, FLOWS, MESSAGES
from traced.model.schema import LOGS, REPEATS, SPANS
from traced.store.queries import load_folder
from traced.store.read_schemas import IDENTITIES, SPAN_BY_ID, TRACE_IDS, TRACE_SIZES, WINDOW_SCHEMA

QUERIES = load_folder("store")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def connection(tmp_path):
    connection = duckdb.connect(":memory:")
    for query in load_folder("ddl/tables").values():
        connection.execute(query.sql)
    ids = pa.table({name: pa.array([1], pa.uint64()) for name in ("trace_id_high", "trace_id_low", "span_id")})
    connection.register("candidate", ids)
    connection.register("wanted", ids)
    connection.register("chosen", pa.table({"row": pa.array([], pa.int64())}))
    connection.register("flows_tail", FLOWS.empty_table())
    connection.register("logged_messages", MESSAGES.empty_table())
    connection.register("logged_flows", FLOWS.empty_table())
    for macro in ("is_wanted", "is_wanted_trace"):
        connection.execute(load_folder("ddl/log")[macro].sql)
    pq.write_table(FLOWS.empty_table(), tmp_path / "flows.parquet")
    pq.write_table(SPANS.empty_table(), tmp_path / "spans.parquet")
    pq.write_table(REPEATS.empty_table(), tmp_path / "repeats.parquet")
    pq.write_table(LOGS.empty_table(), tmp_path / "logs.parquet")
    yield connection
    connection.close()


@pytest.mark.parametrize("name", [name for name in QUERIES if not name.startswith(("insert_", "stay_"))])
def test_each_gives_the_columns_that_its_header_says(connection, tmp_path, name):
    query = QUERIES[name]
    kind = next((kind for kind in ("repeats", "log", "flows") if kind in name), "spans").replace("log", "logs")
    values = {"varchar[]": [str(tmp_path / f"{kind}.parquet")]}
    relation = connection.sql(query.sql, params={p.name: values.get(p.type, 1) for p in query.params} or None)
    given = [(column, str(kind).lower()) for column, kind in zip(relation.columns, relation.types, strict=True)]
    if name in {"sealed_spans_of_trace", "sealed_logs_of_trace"}:
        assert [column for column, _ in given] == (SPANS if kind == "spans" else LOGS).names
    else:
        assert given == [(column.name, column.type) for column in query.returns]


@pytest.mark.parametrize("name", load_folder("migration"))
def test_each_about_messages_gives_the_columns_that_its_header_says(connection, name):
    query = load_folder("migration")[name]
    values = {"varchar[]": [], "ubigint[]": []}
    relation = connection.sql(query.sql, params={p.name: values.get(p.type, 1) for p in query.params})
    assert [(column, str(kind).lower()) for column, kind in zip(relation.columns, relation.types, strict=True)] == [(c.name, c.type) for c in query.returns]


@pytest.mark.parametrize("name", [name for name in QUERIES if name.startswith("insert_")])
def test_each_insert_fills_the_table_that_it_names(connection, name):
    table = name.removeprefix("insert_")
    assert table in load_folder("ddl/tables")
    connection.register("incoming", connection.sql(f"FROM {table}").to_arrow_table())
    connection.execute(QUERIES[name].sql)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("sealed_window", WINDOW_SCHEMA),
        ("sealed_window_of_traces", WINDOW_SCHEMA),
        ("sealed_trace_sizes", TRACE_SIZES),
        ("hot_trace_sizes", TRACE_SIZES),
        ("sealed_trace_ids", TRACE_IDS),
        ("hot_trace_ids", TRACE_IDS),
        ("sealed_identities", IDENTITIES),
        ("hot_identities", IDENTITIES),
        ("sealed_spans_by_id", SPAN_BY_ID),
        ("hot_spans_by_id", SPAN_BY_ID),
        ("hot_repeats", REPEATS),
        ("sealed_repeats_between", REPEATS),
        ("merged_flows", FLOWS),
        ("flows_of_messages", FLOWS),
    ],
)
def test_hot_and_sealed_rows_have_the_same_columns(name, schema):
    # in hot segments attributes are numbers
    assert [{"attribute_ids": "message_attributes"}.get(column.name, column.name) for column in QUERIES[name].returns] == schema.names


def test_sums_of_histograms_have_a_term_for_each_bucket():
    for query in (QUERIES["merged_flows"], load_folder("migration")["flow_buckets"]):
        assert [int(n) for n in re.findall(r"sum\(delay_buckets\[(\d+)\]\)", query.sql)] == list(range(1, len(DELAY_BUCKETS_SECONDS) + 2))
    bounds = re.findall(r"delay_nano <= (\d+)", QUERIES["flows_of_messages"].sql)
    assert [int(bound) / 1e9 for bound in bounds] == list(DELAY_BUCKETS_SECONDS)


def test_the_stores_code_holds_no_sql_of_its_own():
    """But for the three words to a child that must import nothing, and a ping."""
    allowed = {"segment_check.py", "sandbox_child.py", "sandbox.py"}
    for path in (ROOT / "traced" / "store").glob("*.py"):
        if path.name not in allowed:
            text = path.read_text(encoding="utf-8")
            for word in ("SELECT ", "INSERT ", "S608"):
                assert f'"{word}' not in text, path.name
            assert "S608" not in text, path.name
