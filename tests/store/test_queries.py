"""The loader of SQL files, and every named read query against its own header and against real rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from logged import flow, flows
from stored_rows import TRACE_HEX, shop, views_over

import traced
from traced.errors import NotFoundError, QueryError, StoreError
from traced.store import queries
from traced.store.queries import Column, NamedQuery, Parameter, find_query, load_folder, parse

GOOD = """-- Which rows?
-- They are few.
-- params: trace_id varchar, max_rows bigint = 10,
--   service varchar = null, exact boolean = true
-- returns: a varchar,
--   b map(varchar, struct(x bigint, y decimal(4, 1))[])

-- a reason, not a header: returns: nothing
SELECT $trace_id, $max_rows, $service, $exact
"""


def parsed(text: str) -> NamedQuery:
    with duckdb.connect(":memory:") as parser:
        return parse("some_rows", "read", text, parser)


def test_a_header_gives_question_parameters_and_columns():
    query = parsed(GOOD)
    assert query.question == "Which rows? They are few."
    assert query.params == (
        Parameter("trace_id", "varchar", required=True),
        Parameter("max_rows", "bigint", required=False, default=10),
        Parameter("service", "varchar", required=False),
        Parameter("exact", "boolean", required=False, default=True),
    )
    assert query.returns == (Column("a", "varchar"), Column("b", "map(varchar, struct(x bigint, y decimal(4, 1))[])"))
    assert query.sql == GOOD
    assert query.driven_by == ()
    assert parsed(GOOD.replace("-- returns:", "-- driven by: pass_one, pass_two\n-- returns:")).driven_by == ("pass_one", "pass_two")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1", "a question"),
        ("-- params: none\n-- returns: a bigint\nSELECT 1 AS a", "a question"),
        ("-- Which?\n-- returns: a bigint\nSELECT 1 AS a", "`-- params:`"),
        ("-- Which?\n-- params: none\nSELECT 1 AS a", "`-- returns:`"),
        ("-- Which?\n-- params: none\n-- returns: a bigint\nSELECT 1; SELECT 2", "here are 2"),
        ("-- Which?\n-- params: none\n-- returns: a bigint\n", "here are 0"),
        ("-- Which?\n-- params: none\n-- returns: a bigint\nSELECT FROM WHERE", "syntax error"),
        ("-- Which?\n-- params: none\n-- returns: a bigint\nSELECT $b", "declared and used differ: b"),
        ("-- Which?\n-- params: b bigint\n-- returns: a bigint\nSELECT 1", "declared and used differ: b"),
        ("-- Which?\n-- params: none\n-- returns: a bigint\nSELECT ?", "declared and used differ: 1"),
        ("-- Which?\n-- params: b\n-- returns: a bigint\nSELECT $b", "is not `name type`"),
        ("-- Which?\n-- params: b bigint = many\n-- returns: a bigint\nSELECT $b", "default of b"),
        ("-- Which?\n-- params: none\n-- returns: a\nSELECT 1", "is not `column type`"),
    ],
)
def test_a_file_that_breaks_a_rule_is_named_with_the_rule(text, complaint):
    with pytest.raises(StoreError, match=r"queries/read/some_rows\.sql") as caught:
        parsed(text)
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({"trace_id": "a"}, {"trace_id": "a", "max_rows": 10, "service": None, "exact": True}),
        ({"trace_id": "a", "max_rows": "7", "exact": "False"}, {"trace_id": "a", "max_rows": 7, "service": None, "exact": False}),
        ({"trace_id": "a", "max_rows": -3, "service": None}, {"trace_id": "a", "max_rows": -3, "service": None, "exact": True}),
    ],
)
def test_binding_reads_text_as_the_declared_type_and_fills_in_defaults(given, bound):
    assert parsed(GOOD).bind(given) == bound


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "needs trace_id"),
        ({"trace_id": "a", "max_row": 1}, "did you mean 'max_rows'"),
        ({"trace_id": 7}, "not of type varchar"),
        ({"trace_id": None}, "not of type varchar"),
        ({"trace_id": "a", "max_rows": "many"}, "not of type bigint"),
        ({"trace_id": "a", "max_rows": 1.5}, "not of type bigint"),
        ({"trace_id": "a", "max_rows": True}, "not of type bigint"),
        ({"trace_id": "a", "max_rows": 2**63}, "not of type bigint"),
        ({"trace_id": "a", "max_rows": [1]}, "not of type bigint"),
        ({"trace_id": "a", "exact": "perhaps"}, "not of type boolean"),
    ],
)
def test_a_parameter_that_does_not_fit_is_an_error_that_lists_what_fits(given, complaint):
    with pytest.raises(QueryError, match=complaint) as caught:
        parsed(GOOD).bind(given)
    assert caught.value.error_code == "query_parameter_invalid"
    assert "trace_id (varchar)" in caught.value.next_safe_actions[0]


def test_an_unknown_query_is_not_found_and_the_nearest_is_named():
    with pytest.raises(NotFoundError, match="did you mean 'spans_of_trace'"):
        find_query("span_of_trace")


def test_the_installed_package_comes_before_the_checkout(tmp_path, monkeypatch):
    for place, question in ((tmp_path / "traced" / "queries" / "read", "Installed?"), (tmp_path / "queries" / "read", "Checkout?")):
        place.mkdir(parents=True)
        (place / "ones.sql").write_text(f"-- {question}\n-- params:\n-- returns: a integer\nSELECT 1 AS a")
    monkeypatch.setattr(traced, "__file__", str(tmp_path / "traced" / "__init__.py"))
    assert load_folder.__wrapped__("read")["ones"].question == "Installed?"
    (tmp_path / "traced" / "queries").rename(tmp_path / "gone")
    assert load_folder.__wrapped__("read")["ones"].question == "Checkout?"
    (tmp_path / "queries").rename(tmp_path / "gone_too")
    with pytest.raises(StoreError, match="no SQL files"):
        load_folder.__wrapped__("read")


def test_an_order_file_that_differs_from_the_folder_is_an_error(tmp_path, monkeypatch):
    place = tmp_path / "traced" / "queries" / "read"
    place.mkdir(parents=True)
    (place / "ones.sql").write_text("-- Which?\n-- params:\n-- returns: a integer\nSELECT 1 AS a")
    (place / "_order").write_text("# first things first\nones\ntwos\n")
    monkeypatch.setattr(traced, "__file__", str(tmp_path / "traced" / "__init__.py"))
    with pytest.raises(StoreError, match="twos"):
        load_folder.__wrapped__("read")


@pytest.mark.parametrize("name", load_folder("read"))
def test_a_read_query_returns_the_columns_of_its_header_over_an_empty_store(name):
    query = find_query(name)
    bound = query.bind({p.name: "a" for p in query.params if p.required})
    with views_over() as connection:
        described = connection.execute(f"DESCRIBE {query.sql}", bound).fetchall()
        assert connection.execute(query.sql, bound).fetchall() == []
    assert [(column[0], column[1].lower().replace('"', "")) for column in described] == [(c.name, c.type) for c in query.returns]


@pytest.mark.parametrize("name", load_folder("read"))
def test_a_read_query_is_short_says_its_question_and_bounds_its_rows(name):
    query = find_query(name)
    assert query.question.startswith(("Which ", "How many "))
    assert len(query.sql.splitlines()) < 60
    assert query.sql.rstrip().endswith("LIMIT $max_rows")


# What each query must say of the shop in stored_rows.py: parameters, and the rows cut to the columns named.
ANSWERS = {
    "spans_of_trace": ({"trace_id": TRACE_HEX.upper()}, ("span_id", "service_name"), [(f"{n:016x}", "web" if n < 3 else "cart") for n in (1, 2, 3, 4)]),
    "logs_of_trace": ({"trace_id": "a1b200000000000000c3"}, ("body", "span_id"), [("hello", "0000000000000003"), ("hello", None)]),
    "span_events_of_trace": ({"trace_id": TRACE_HEX}, ("name", "attributes"), [("exception", {"exception.type": "KeyError"})]),
    "traces": ({"service_name": "web"}, ("trace_id", "spans", "errors", "root_name"), [(TRACE_HEX, 4, 1, "GET /")]),
    "spans_by_service": ({}, ("service_name", "spans", "root_spans", "errors"), [("cart", 2, 0, 1), ("web", 2, 1, 0), ("unknown_service", 1, 1, 0)]),
    "operations_of_service": ({"service_name": "cart"}, ("name", "spans", "errors", "p50_nano"), [("GET /cart", 1, 1, 1_000_000), ("lost", 1, 0, 9_000_000)]),
    "slowest_spans": ({"max_rows": 1}, ("duration_nano", "name"), [(9_000_000, "lost")]),
    "error_spans": ({}, ("span_id",), [("0000000000000003",)]),
    "orphan_spans": ({}, ("span_id", "missing_span_id"), [("0000000000000004", "000000000000dead")]),
    "service_calls": ({}, ("client", "server", "connection_type", "calls", "errors"), [("web", "cart", "", 1, 1)]),
    "attribute_keys": ({}, ("key", "spans", "services", "distinct_values"), [("http.route", 2, 2, 2)]),
    "attribute_values": ({"key": "http.route", "service_name": "cart"}, ("value", "spans", "errors"), [("/cart", 1, 1)]),
    "linked_spans": ({}, ("name", "linked_name", "linked_service_name"), [("lost", "far", "unknown_service")]),
    "findings_by_service": ({}, ("id",), []),
    "readers_of_version": (
        {"destination": "orders", "version": "1"},
        ("service_name", "consumer_group", "messages", "traces", "first_time", "trace_id"),
        [
            ("mail", "", 5, 5, dt.datetime(2023, 3, 28, 11, 42), f"{1:016x}{1503:016x}"),  # noqa: DTZ001 - TIMESTAMP_NS carries no zone
            ("billing", "g", 2, 2, dt.datetime(2023, 3, 28, 10, 40), f"{1:016x}{2:016x}"),  # noqa: DTZ001
        ],
    ),
    "single_version_producers": ({}, ("service_name", "message_schema_version", "messages", "other_versions"), [("cart", "2", 3, ["1"])]),
    "messages_read_by_day": (
        {"service_name": "billing"},
        ("day", "message_schema_version", "messages", "errors"),
        [(dt.date(2023, 3, 29), "2", 4, 1), (dt.date(2023, 3, 28), "1", 2, 0)],
    ),
}

FLOWS_OF_THE_SHOP = [
    flow(0, 1, consumer_group="g"),
    flow(1, 3, consumer_group="g"),
    flow(2, -2, consumer_group="g"),
    flow(800, 3, consumer_group="g", message_schema_version="2"),
    flow(801, 1, consumer_group="g", message_schema_version="2", error=True),
    flow(62, 1, service_name="mail", destination="orders.mail", producer_destination="orders"),
    flow(1502, 4, service_name="mail", destination="orders.mail", producer_destination="orders"),
    flow(1, 2, service_name="gone"),
    flow(2, -2, service_name="gone"),
    flow(0, 3, role="producer", service_name="cart", message_schema_version="2"),
    flow(0, 1, role="producer", service_name="web", message_schema_version="1"),
    flow(0, 1, role="producer", service_name="web", message_schema_version="2"),
    flow(0, 1, role="producer", service_name="web", destination="mails", message_schema_version="1"),
]
"""MINUTE is 10:40 of 28 March 2023."""


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop")
    spans, logs, _ = shop(directory)
    pq.write_table(flows(*FLOWS_OF_THE_SHOP), directory / "flows.parquet")
    with views_over([spans], [logs], [], [directory / "flows.parquet"]) as connection:
        yield connection


@pytest.mark.parametrize("name", load_folder("read"))
def test_a_read_query_answers_its_question_over_parquet_files(name, small_shop):
    given, columns, expected = ANSWERS[name]
    query = find_query(name)
    result = small_shop.execute(query.sql, query.bind(given))
    names = [column[0] for column in result.description]
    places = [names.index(column) for column in columns]
    assert [tuple(row[place] for place in places) for row in result.fetchall()] == expected


def test_every_folder_of_queries_can_be_loaded():
    root = queries._root()
    folders = {path.parent.relative_to(root).as_posix() for path in root.rglob("*.sql")}
    assert {"ddl/macros", "ddl/views", "read"} <= folders
    for folder in folders:
        assert load_folder(folder)


def test_the_sql_files_lie_in_the_folder_that_the_wheel_takes():
    assert (Path(traced.__file__).parent.parent / "queries" / "read" / "spans_of_trace.sql").exists() or (Path(traced.__file__).parent / "queries").is_dir()
