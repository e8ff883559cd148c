"""The views that users' own SQL sees, over small Parquet files of the public schemas."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logged import flow, flows, message, messages
from stored_rows import START, TRACE_HEX, attribute, log, shop, span, views_over, write

from traced.model.messages import FLOWS, MESSAGES
from traced.model.schema import LOGS, SPANS
from traced.store.queries import load_folder

FAR = 2**63 - 1


def one(connection, sql):
    rows = connection.execute(sql).fetchall()
    assert len(rows) == 1
    return rows[0]


@pytest.fixture
def spans_of(tmp_path):
    """Give the views over the given span rows."""
    connections = []

    def build(*rows: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        connections.append(views_over([write(tmp_path / "spans.parquet", SPANS, rows)]))
        return connections[-1]

    yield build
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("kind", ["spans", "logs", "messages", "message_flows"])
def test_the_empty_relation_is_exactly_the_arrow_schema(kind, tmp_path):
    schema = {"spans": SPANS, "logs": LOGS, "messages": MESSAGES, "message_flows": FLOWS}[kind]
    path = tmp_path / "empty.parquet"
    pq.write_table(schema.empty_table(), path)
    with views_over() as connection:
        from_file = connection.execute(f"DESCRIBE FROM read_parquet('{path}')").fetchall()
        from_macro = connection.execute(f"DESCRIBE FROM empty_{kind}()").fetchall()
    assert [row[:2] for row in from_macro] == [row[:2] for row in from_file]
    assert [row[0] for row in from_macro] == schema.names


@pytest.mark.parametrize("name", load_folder("ddl/views"))
def test_a_view_has_the_columns_of_its_header_with_and_without_files(name, tmp_path):
    expected = [(column.name, column.type) for column in load_folder("ddl/views")[name].returns]
    spans, logs, _ = shop(tmp_path)
    pq.write_table(messages(message()), tmp_path / "messages.parquet")
    pq.write_table(flows(flow()), tmp_path / "flows.parquet")
    for connection in (views_over(), views_over([spans], [logs], [tmp_path / "messages.parquet"], [tmp_path / "flows.parquet"])):
        with connection:
            described = connection.execute(f"DESCRIBE {name}").fetchall()
        assert [(row[0], row[1].lower().replace('"', "")) for row in described] == expected


def test_ids_are_lower_case_hex_and_an_absent_parent_is_null(spans_of):
    connection = spans_of(span(trace_id_high=0xABC, trace_id_low=2**64 - 1, span_id=0xF00D, parent_span_id=0))
    row = one(connection, "SELECT trace_id, span_id, parent_span_id FROM spans")
    assert row == ("0000000000000abcffffffffffffffff", "000000000000f00d", None)


def test_numbers_of_kind_and_status_have_names(spans_of):
    connection = spans_of(*(span(span_id=n + 1, kind=n, status_code=min(n, 2)) for n in range(7)))
    rows = connection.execute("SELECT kind_name, status_code_name FROM spans ORDER BY span_id").fetchall()
    assert [row[0] for row in rows] == ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER", "UNSPECIFIED"]
    assert [row[1] for row in rows] == ["UNSET", "OK", "ERROR", "ERROR", "ERROR", "ERROR", "ERROR"]


def test_attributes_are_read_by_key(spans_of):
    connection = spans_of(span(attributes=[attribute("http.route", "/a"), attribute("n", "5", 3)]), span(span_id=2))
    rows = connection.execute("SELECT attributes['http.route'], attributes['n'], attributes['none'] FROM spans ORDER BY span_id").fetchall()
    assert rows == [("/a", "5", None), (None, None, None)]


def test_of_a_repeated_attribute_key_the_first_counts_and_an_empty_value_is_null(spans_of):
    attributes = [attribute("a", "first"), attribute("b", "", 0), attribute("a", "second"), attribute(None, "nameless"), attribute("c", "")]
    assert one(spans_of(span(attributes=attributes)), "SELECT attributes FROM spans") == ({"a": "first", "b": None, "c": ""},)


def test_a_span_with_thousands_of_repeated_keys_does_not_hang_the_view(spans_of):
    attributes = [attribute(f"k{n % 2000}", str(n)) for n in range(4000)]
    assert one(spans_of(span(attributes=attributes)), "SELECT cardinality(attributes), attributes['k7'] FROM spans") == (2000, "7")


def test_resource_attributes_are_read_from_otlp_json(spans_of):
    text = """[{"key": "s", "value": {"stringValue": "x\\u0000y"}}, {"key": "i", "value": {"intValue": "7"}},
        {"key": "d", "value": {"doubleValue": 1.5}}, {"key": "t", "value": {"boolValue": true}}, {"key": "e", "value": {}},
        {"key": "l", "value": {"arrayValue": {"values": [{"stringValue": "p"}, {"intValue": "2"}]}}},
        {"key": "b", "value": {"bytesValue": "qg=="}}, {"key": "s", "value": {"stringValue": "again"}},
        {"key": "m", "value": {"kvlistValue": {"values": []}}}]"""
    found = one(spans_of(span(resource_attributes=text)), "SELECT resource_attributes FROM spans")[0]
    assert found == {"s": "x\0y", "i": "7", "d": "1.5", "t": "true", "e": None, "l": '["p","2"]', "b": "qg==", "m": '{"values":[]}'}


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", "[1, null]", "[" * 100_000 + "]" * 100_000, '[{"value": {"stringValue": "keyless"}}]'])
def test_odd_resource_attributes_never_fail_a_query(text, spans_of):
    good = '[{"key": "k", "value": {"stringValue": "v"}}]'
    connection = spans_of(span(resource_attributes=text, scope_attributes=text), span(span_id=2, resource_attributes=good))
    rows = connection.execute("SELECT resource_attributes['k'], scope_attributes['k'] FROM spans ORDER BY span_id").fetchall()
    assert rows == [(None, None), ("v", None)]


def test_a_span_without_service_name_belongs_to_unknown_service(spans_of):
    connection = spans_of(span(service_name=""), span(service_name=None, span_id=2), span(service_name="web", span_id=3))
    assert connection.execute("SELECT service_name FROM spans ORDER BY span_id").fetchall() == [("unknown_service",), ("unknown_service",), ("web",)]


def test_readable_times_are_exact_to_the_nanosecond(spans_of):
    row = one(spans_of(span(start_time_unix_nano=START + 123_456_789)), "SELECT CAST(start_time AS VARCHAR), start_time_unix_nano FROM spans")
    assert row == ("2023-11-14 22:13:20.123456789", START + 123_456_789)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0, (dt.datetime(1970, 1, 1), dt.datetime(1970, 1, 1), 0)),  # noqa: DTZ001 - TIMESTAMP_NS carries no zone
        (0, FAR, (dt.datetime(1970, 1, 1), None, FAR)),  # noqa: DTZ001
        (FAR, 0, (None, dt.datetime(1970, 1, 1), -FAR)),  # noqa: DTZ001
        (FAR, FAR, (None, None, 0)),
        (-FAR, FAR, (None, None, None)),
    ],
)
def test_a_hostile_clock_gives_null_and_never_fails_a_query(start, end, expected, spans_of):
    connection = spans_of(span(start_time_unix_nano=start, end_time_unix_nano=end))
    assert one(connection, "SELECT start_time, end_time, duration_nano FROM spans") == expected


def test_links_and_span_events_have_a_row_each_in_their_order(tmp_path):
    spans, logs, _ = shop(tmp_path)
    with views_over([spans], [logs]) as connection:
        link = one(connection, "SELECT trace_id, span_id, linked_trace_id, linked_span_id, link_position, service_name FROM span_links")
        event = one(connection, "SELECT span_id, name, span_name, event_position, time_unix_nano, attributes['exception.type'] FROM span_events")
    assert link == (TRACE_HEX, f"{4:016x}", f"{9:032x}", f"{8:016x}", 1, "cart")
    assert event == (f"{3:016x}", "exception", "GET /cart", 1, START + 5, "KeyError")


def test_a_log_record_without_trace_or_time_has_nulls(tmp_path):
    path = write(tmp_path / "logs.parquet", LOGS, [log(trace_id_high=0, trace_id_low=0, time_unix_nano=0, attributes=[attribute("a", "b")])])
    with views_over(logs=[path]) as connection:
        assert one(connection, "SELECT trace_id, span_id, time, time_unix_nano, body, attributes['a'] FROM logs") == (None, None, None, 0, "hello", "b")


def test_a_file_from_before_a_column_existed_is_read_beside_newer_ones(tmp_path):
    old = pa.Table.from_pylist([span(name="old")], schema=SPANS).drop_columns(["http_route", "arrival_time_unix_nano"])
    pq.write_table(old, tmp_path / "old.parquet")
    new = write(tmp_path / "new.parquet", SPANS, [span(name="new", http_route="/a")])
    for files, expected in (([tmp_path / "old.parquet"], [("old", None)]), ([tmp_path / "old.parquet", new], [("new", "/a"), ("old", None)])):
        with views_over(files) as connection:
            assert connection.execute("SELECT name, http_route FROM spans ORDER BY name").fetchall() == expected


def test_a_filter_on_a_typed_column_reaches_the_parquet_reader(tmp_path):
    path = write(tmp_path / "spans.parquet", SPANS, [span(http_route="/a"), span(http_route="/b")])
    with views_over([path]) as connection:
        plan = connection.execute("EXPLAIN SELECT count(*) FROM spans WHERE http_route = '/a'").fetchall()[0][1]
    assert "Filters: http_route" in plan
    assert "attributes" not in plan
