"""What a user's own SQL sees of messages: rows in files and not yet in one, ids in hex, readable times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from logged import MINUTE, START, flow, flows, message, messages
from store_parts import open_store

from traced.config import QuerySettings
from traced.store.store import Store
from traced.store.user_queries import UserQueries


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserQueries]:
    """Give queries over a store whose message log has a row of each kind in a file, and one in memory."""
    with open_store(tmp_path_factory.mktemp("logged"), message_retention_seconds=1e9, flow_retention_seconds=1e9) as store:
        fill(store)
        queries = UserQueries(store, QuerySettings(), list)
        yield queries
        queries.close()


def fill(store: Store) -> None:
    log = store.message_log
    log.restore(None)
    produced = {"producer_trace_id_high": 0xAB, "producer_trace_id_low": 0xCD, "producer_span_id": 0xEF, "joined_by": "link"}
    log.add(messages(message(0xF00D, 1, **produced, identity="order 7", delay_nano=5)), flows(flow(0, 2), flow(1, -1)))
    log.flush()
    log.saved()
    log.add(messages(message(2, 2, role="producer")), flows(flow(2, 4, message_schema_version="2")))


def test_messages_have_ids_in_hex_and_readable_times(asked):
    columns = "trace_id, span_id, producer_trace_id, producer_span_id, identity, delay_nano, time, arrival_time_unix_nano"
    result = asked.run(f"SELECT {columns} FROM messages WHERE role = 'consumer'", {}, False)  # noqa: S608
    trace, producer = f"{0xF00D:016x}{0xF00D:016x}", f"{0xAB:016x}{0xCD:016x}"
    assert result.rows == [[trace, f"{0xF00D:016x}", producer, f"{0xEF:016x}", "order 7", 5, "2023-03-28T10:40:01", START + 1_000_000_000]]


def test_rows_that_are_in_no_file_are_seen_too_and_an_unknown_producer_is_null(asked):
    result = asked.run("SELECT role, producer_trace_id, producer_span_id FROM messages ORDER BY arrival_time", {}, False)
    assert [row[0] for row in result.rows] == ["consumer", "producer"]
    assert result.rows[1][1:] == [None, None]


def test_flows_are_seen_as_they_are_logged_so_that_they_can_be_added_up(asked):
    result = asked.run("SELECT minute, minute_time, messages FROM message_flows ORDER BY minute", {}, False)
    at = dt.datetime(2023, 3, 28, 10, 40, tzinfo=dt.UTC)
    assert result.rows == [[MINUTE + n, (at + dt.timedelta(minutes=n)).strftime("%Y-%m-%dT%H:%M:%S"), m] for n, m in ((0, 2), (1, -1), (2, 4))]


def test_named_queries_answer_over_both(asked):
    result = asked.run("readers_of_version", {"destination": "orders", "version": "1"}, True)
    assert [(row[result.columns.index("service_name")], row[result.columns.index("messages")]) for row in result.rows] == [("billing", 1)]
    result = asked.run("messages_read_by_day", {"service_name": "billing"}, True)
    assert [(row[0], row[result.columns.index("message_schema_version")], row[7]) for row in result.rows] == [("2023-03-28", "1", 1), ("2023-03-28", "2", 4)]


def test_what_a_query_reads_stays_until_it_ends(tmp_path):
    with open_store(tmp_path, message_retention_seconds=1e9, flow_retention_seconds=1e9) as store:
        fill(store)
        log = store.message_log
        with log.snapshot(tmp_path) as files:
            gone = log.shelf.files["messages"]
            log.shelf.swap(gone, None)
            log.flush()
            log.saved()
            assert all(path.exists() for path in files["messages"])
        assert not log.shelf.path(gone[0]).exists()
