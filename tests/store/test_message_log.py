"""The message log: what it answers, from memory and from files alike, and that each row counts once whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from logged import EVER, MINUTE, SECOND, START, counts, flow, flows, message, messages, metric, numbers, open_log, restored

from traced.errors import StoreError
from traced.model.message_reads import MessageFilter, Window
from traced.model.messages import FLOWS, MESSAGES
from traced.store import message_log as module
from traced.store.message_files import numbers_in
from traced.store.message_keeping import LogKeeper
from traced.store.message_log import MessageLog


@pytest.fixture(params=["in memory", "in the tail", "in a file", "in files and the tail"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MessageLog]:
    """Give an empty log; `put` puts rows where the parameter says."""
    made = restored(None if request.param == "in memory" else tmp_path)
    made.where = request.param  # type: ignore[attr-defined]
    yield made
    made.close()


def put(log: MessageLog, rows=(), counted=()) -> None:
    """Put rows of messages and flows into a log: as the fixture says, into memory or files."""
    half = (len(rows) // 2, len(counted) // 2) if log.where == "in files and the tail" else (len(rows), len(counted))  # type: ignore[attr-defined]
    log.add(messages(*rows[: half[0]]), flows(*counted[: half[1]]))
    if "file" in log.where:  # type: ignore[attr-defined]
        log.flush()
        log.saved()
    log.add(messages(*rows[half[0] :]), flows(*counted[half[1] :]))


# --- flows -----------------------------------------------------------------------------------------------------------


def test_flows_are_added_up_by_stretches_and_kinds(log):
    put(log, (), [flow(0, 2), flow(59, 3, span_id=9), flow(60, 5), flow(60, 7, message_schema_version="2")])
    by_hour = log.flows(EVER, 3600)
    assert by_hour.schema == FLOWS
    found = [(row["minute"], row["message_schema_version"], row["messages"], row["traces"]) for row in by_hour.to_pylist()]
    first = MINUTE // 60 * 60
    assert MINUTE % 60 == 40
    assert found == [(first, "1", 2, 2), (first + 60, "1", 8, 8), (first + 60, "2", 7, 7)]
    whole = {row["message_schema_version"]: row for row in log.flows(EVER).to_pylist()}
    assert {version: row["messages"] for version, row in whole.items()} == {"1": 10, "2": 7}
    assert (whole["1"]["first_time_unix_nano"], whole["1"]["last_time_unix_nano"]) == (START, START + 3600 * SECOND + SECOND)
    assert (whole["1"]["trace_id_low"], whole["1"]["span_id"]) == (61, 3), "the latest is the example"


def test_corrections_count_before_anything_is_left_out(log):
    put(log, (), [flow(0, 2), flow(0, 1, joined_by="link"), flow(30, -2), flow(31, 2, joined_by="link")])
    assert {row["joined_by"]: row["messages"] for row in log.flows(EVER).to_pylist()} == {"link": 3}
    assert {row["joined_by"]: row["messages"] for row in log.flows(EVER, 60).to_pylist()} == {"": 2, "link": 2}


def test_histograms_of_delays_are_added_up_by_bucket(log):
    first, second = [1, 0, 2, *[0] * 10], [0, 1, 0, *[0] * 9, 4]
    put(log, (), [flow(0, delay_buckets=first, delays=3, delay_sum_seconds=0.5), flow(1, delay_buckets=second, delays=5, delay_sum_seconds=1.5)])
    (row,) = log.flows(EVER).to_pylist()
    assert row["delay_buckets"] == [1, 1, 2, *[0] * 9, 4]
    assert (row["delays"], row["delay_sum_seconds"]) == (8, 2.0)


def test_without_histograms_everything_else_is_the_same(log):
    put(log, (), [flow(0, 2, delays=2), flow(59, 3, message_schema_version="2"), flow(60, -1), flow(61, 4)])
    with_them, without = log.flows(EVER, 3600), log.flows(EVER, 3600, histograms=False)
    assert without.column("delay_buckets").null_count == without.num_rows
    assert with_them.drop_columns(["delay_buckets"]) == without.drop_columns(["delay_buckets"])


def test_flows_without_a_histogram_do_not_take_away_that_of_others(log):
    put(log, (), [flow(0, delay_buckets=None), flow(1, delay_buckets=[], role="consumer"), flow(2, delay_buckets=[3, *[0] * 12])])
    assert log.flows(EVER).column("delay_buckets").to_pylist() == [[3, *[0] * 12]]


WANTED = [
    ({"destinations": ("orders", "carts")}, {1, 2}),
    ({"destinations": ("orders",), "versions": ("2",)}, {2}),
    ({"systems": ("rabbitmq",)}, {4}),
    ({"roles": ("producer",)}, {3}),
    ({"services": ("mail",)}, {3}),
    ({"groups": ("g",)}, {5}),
    ({"environments": ("staging",)}, {5}),
    ({"destinations": ("nowhere",)}, set()),
    ({}, {1, 2, 3, 4, 5}),
]
SAID = [
    {},
    {"message_schema_version": "2"},
    {"destination": "mails", "role": "producer", "service_name": "mail"},
    {"destination": "mails", "system": "rabbitmq"},
    {"destination": "mails", "consumer_group": "g", "environment": "staging"},
]


@pytest.mark.parametrize(("wanted", "expected"), WANTED)
def test_only_what_is_asked_for_is_given(log, wanted, expected):
    put(log, [message(n, **said) for n, said in enumerate(SAID, 1)], [flow(0, 10**n, **said) for n, said in enumerate(SAID, 1)])
    chosen = MessageFilter(**wanted)
    assert sum(log.flows(EVER, 0, chosen).column("messages").to_pylist()) == sum(10**n for n in expected)
    assert set(log.messages(EVER, chosen).rows.column("trace_id_low").to_pylist()) == expected


def test_the_minutes_of_a_windows_ends_count_as_a_whole_and_no_others(log):
    put(log, (), [flow(n, 10**n) for n in range(4)])
    first = MINUTE * 60
    assert [row["messages"] for row in log.flows(Window(first + 60, first + 180)).to_pylist()] == [110]
    assert [row["messages"] for row in log.flows(Window(first + 119, first + 121)).to_pylist()] == [110]
    assert [row["minute"] for row in log.flows(Window(first + 60, first + 180), 3600).to_pylist()] == [MINUTE + 1]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_rows_are_given_the_newest_first_and_as_they_were(log):
    given = [message(n, n, offset=n, delay_nano=-n, identity=f"key {n}", probability=0.1 * n) for n in range(1, 6)]
    put(log, given)
    found = log.messages(EVER)
    assert found.rows.schema == MESSAGES
    assert found.rows.to_pylist() == given[::-1]
    assert not found.more


def test_no_more_rows_are_given_than_asked_for_and_it_is_said_that_there_are_more(log):
    put(log, [message(n, n) for n in range(1, 6)])
    found = log.messages(EVER, max_rows=2)
    assert found.rows.column("trace_id_low").to_pylist() == [5, 4]
    assert found.more


def test_rows_of_a_window_are_those_that_arrived_in_it_to_the_nanosecond(log):
    put(log, [message(n, n) for n in range(1, 6)])
    at = START / 1e9
    assert log.messages(Window(at + 2, at + 4)).rows.column("trace_id_low").to_pylist() == [3, 2]


def test_rows_of_traces_are_found_by_both_halves_of_the_id(log):
    put(log, [message(1), message(2), message(3, trace_id_high=1), message(4, trace_id_low=1)])
    found = log.messages(EVER, MessageFilter(trace_ids=((1, 1), (1, 3)))).rows
    assert sorted(found.column("span_id").to_pylist()) == [1, 3]


def test_attempts_are_given_too_though_they_stand_for_no_message(log):
    put(log, [message(1, 1, messages=0, error=True), message(1, 2)])
    assert log.messages(EVER).rows.column("messages").to_pylist() == [1, 0]


# --- pairs -----------------------------------------------------------------------------------------------------------

OLD = MessageFilter(destinations=("orders",), versions=("1",))
NEW = MessageFilter(destinations=("orders",), versions=("2", "v2"))


def published(number: int, version: str, **values: object) -> dict[str, object]:
    usual = {"role": "producer", "service_name": "shop", "message_schema_version": version, "span_id": number * 10 + len(version)}
    return message(number, number, **(usual | values))


def paired(log: MessageLog, old: MessageFilter = OLD, new: MessageFilter = NEW) -> dict[str, tuple[int, ...]]:
    rows = log.pairings(EVER, old, new).to_pylist()
    kinds = ("old_only", "both", "new_only")
    return {row["service_name"]: (*(row[f"traces_{kind}"] for kind in kinds), *(row[f"keys_{kind}"] for kind in kinds)) for row in rows}


def test_both_schemas_in_one_trace_are_a_pair_and_one_alone_is_told_with_its_trace(log):
    put(log, [published(1, "1"), published(1, "2"), published(2, "1"), published(3, "v2"), published(4, "3"), message(5)])
    assert paired(log) == {"shop": (1, 1, 1, 0, 0, 0)}
    (row,) = log.pairings(EVER, OLD, NEW).to_pylist()
    assert (row["old_only_trace_id_high"], row["old_only_trace_id_low"], row["new_only_trace_id_low"]) == (2, 2, 3)
    assert (row["old_messages"], row["new_messages"], row["failed_messages"]) == (2, 2, 0)


def test_an_outbox_pairs_by_business_key_across_traces(log):
    key = {"identity": "order 7", "identity_kind": "business_key"}
    put(log, [published(1, "1", **key), published(2, "2", **key), published(3, "1", identity="order 8", identity_kind="business_key")])
    assert paired(log) == {"shop": (2, 0, 1, 1, 1, 0)}


def test_other_identities_than_business_keys_pair_nothing(log):
    put(log, [published(1, "1", identity="m", identity_kind="message_id"), published(2, "2", identity="m", identity_kind="message_id")])
    assert paired(log) == {"shop": (1, 0, 1, 0, 0, 0)}


@pytest.mark.parametrize("other", [{"error": True}, {"at_least": True}, {"message_schema_version": ""}])
def test_where_the_other_schema_may_have_been_sent_nothing_is_called_single(log, other):
    put(log, [published(1, "1"), published(1, "2", **other)])
    assert paired(log)["shop"][0] == 0


@pytest.mark.parametrize("other", [{"replayed": True}, {"dead_letter": True}, {"role": "consumer"}, {"destination": "carts", "message_schema_version": ""}])
def test_what_is_no_publication_of_it_does_not_make_a_pair(log, other):
    put(log, [published(1, "1"), published(1, "2", **other)])
    assert paired(log) == {"shop": (1, 0, 0, 0, 0, 0)}


def test_pairs_of_two_destinations_need_no_version(log):
    put(log, [published(1, "", destination="orders-old"), published(1, "", destination="orders-new"), published(2, "", destination="orders-new")])
    old, new = MessageFilter(destinations=("orders-old",)), MessageFilter(destinations=("orders-new",))
    assert paired(log, old, new) == {"shop": (0, 1, 1, 0, 0, 0)}


def test_a_publication_that_was_taken_back_makes_no_pair(log):
    put(log, [published(1, "1"), published(1, "2"), published(1, "2", messages=-1)])
    assert paired(log) == {"shop": (1, 0, 0, 0, 0, 0)}


def test_producers_are_told_apart_by_environment_and_namespace(log):
    put(log, [published(1, "1", environment="prod"), published(1, "2", environment="staging"), published(2, "1", service_namespace="n")])
    rows = log.pairings(EVER, OLD, NEW).to_pylist()
    assert [(row["environment"], row["service_namespace"], row["traces_old_only"], row["traces_new_only"]) for row in rows] == [
        ("", "n", 1, 0),
        ("prod", "", 1, 0),
        ("staging", "", 0, 1),
    ]
    assert log.pairings(EVER, OLD, NEW, ("prod",)).num_rows == 1


# --- restarts --------------------------------------------------------------------------------------------------------


def test_what_was_kept_is_there_after_a_restart_and_what_was_not_is_gone(tmp_path):
    log = restored(tmp_path)
    log.add(messages(message(1)), flows(flow(0, 1)))
    manifest = log.flush()
    log.saved()
    log.add(messages(message(2)), flows(flow(1, 10)))
    log.flush()
    assert numbers(log) == {1: 1, 2: 1}
    log = restored(tmp_path, manifest)
    assert numbers(log) == {1: 1}
    assert counts(log) == 1
    assert len(numbers_in(tmp_path / "messages")) == 2
    log.add(messages(message(2)), flows(flow(1, 10)))
    assert numbers(restored(tmp_path, log.flush())) == {1: 1, 2: 1}


def test_the_first_start_finds_nothing(tmp_path):
    log = restored(tmp_path)
    assert numbers(log) == {}
    assert counts(log) == 0
    assert log.pairings(EVER, OLD, NEW).num_rows == 0
    assert log.flush() == restored(tmp_path).flush()


def test_without_a_state_what_is_analysed_again_is_taken_off_and_what_is_older_stays(tmp_path):
    log = restored(tmp_path)
    for number in range(6):
        at = number * 30
        log.add(messages(message(number + 1, at, delay_nano=SECOND)), flows(flow(at // 60, 1, message_schema_version=str(number))))
        log.flush()
    cut = START + 75 * SECOND  # the third row is the last to stay; of its minute, the flows of the third stay
    log = restored(tmp_path, None, cut)
    assert numbers(log) == {1: 1, 2: 1, 3: 1}
    by_minute = {(row["minute"] - MINUTE, row["message_schema_version"]): row["messages"] for row in log.flows(EVER, 60).to_pylist()}
    assert by_minute == {(0, "0"): 1, (0, "1"): 1, (1, "1"): 1}, "the minute of the cut is counted anew from the rows of messages that stay"
    (again,) = [row for row in log.flows(EVER, 60).to_pylist() if row["minute"] == MINUTE + 1]
    assert (again["traces"], again["delays"], again["delay_sum_seconds"], again["delay_buckets"][4]) == (1, 1, 1.0, 1)
    assert numbers(restored(tmp_path, None, cut)) == {1: 1, 2: 1, 3: 1}, "also where that was interrupted before anything was kept"
    log = restored(tmp_path, None, cut)
    assert numbers(restored(tmp_path, log.flush())) == {1: 1, 2: 1, 3: 1}


def test_with_a_state_of_another_version_the_manifest_counts_and_the_rows_of_what_comes_again_go(tmp_path):
    log = restored(tmp_path)
    log.add(messages(message(1), message(2, 100)), flows(flow(0), flow(1)))
    manifest = log.flush()
    log.saved()
    log.add(messages(message(3, 10)), flows())
    log.flush()
    log = restored(tmp_path, manifest, START + 60 * SECOND - 1)
    assert numbers(log) == {1: 1}
    assert counts(log) == 1
    assert numbers(restored(tmp_path, manifest)) == {1: 1, 2: 1}, "what the kept manifest names is there until another one is kept"


def test_where_nothing_is_stored_any_more_everything_that_was_logged_stays(tmp_path):
    log = restored(tmp_path)
    log.add(messages(message(1)), flows(flow(0)))
    log.flush()
    assert numbers(restored(tmp_path, None, None)) == {1: 1}


@pytest.mark.parametrize("manifest", [{}, {"version": 99}, [], "x", {"version": 1, "files": [["spans", 1]], "next": 1, "dropped_until": {}}])
def test_a_manifest_that_cannot_be_read_is_as_none(tmp_path, manifest):
    log = restored(tmp_path)
    log.add(messages(message(1), message(2, 100)), flows())
    log.flush()
    assert numbers(restored(tmp_path, manifest, START + SECOND)) == {1: 1}


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_long_tail_is_written_before_anybody_keeps_a_manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FULL_TAIL_BYTES", 2000)
    log = restored(tmp_path)
    manifest = log.flush()
    log.add(messages(*(message(n) for n in range(100))), flows())
    assert log.shelf.tail_bytes == 0
    assert len(numbers(log)) == 100
    assert numbers(restored(tmp_path, manifest)) == {}, "no manifest names it: the pass is run again"


def test_while_the_disk_cannot_be_written_rows_wait_in_memory_and_the_oldest_go_at_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FULL_TAIL_BYTES", 0)
    monkeypatch.setattr(module, "_MAX_TAIL_BYTES", 3 * messages(message(1)).nbytes)
    full = OSError(28, "No space left on device")

    def refuse(*_given: object, **_options: object) -> None:
        raise full

    log = restored(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(module, "write_file", refuse)
        for number in range(1, 6):
            log.add(messages(message(number, number)), flows())
        assert numbers(log) == {3: 1, 4: 1, 5: 1}
        with pytest.raises(OSError, match="No space left"):
            log.flush()
    assert numbers(restored(tmp_path, log.flush())) == {3: 1, 4: 1, 5: 1}
    assert metric(log, "traced_store_message_log_lost_rows_total", reason="full", table="messages") == 2
    assert log.take_losses() == [((START + n * SECOND) / 1e9,) * 2 for n in (1, 2)]
    assert log.take_losses() == []


def test_rows_that_do_not_fit_are_refused_as_a_whole(tmp_path):
    log = restored(tmp_path)
    with pytest.raises(ValueError, match="x"):
        log.add(messages(message(1)), flows(flow(0)).set_column(0, "minute", [["x"]]))
    assert log.shelf.tail_bytes == 0


# --- together --------------------------------------------------------------------------------------------------------


def test_readers_see_each_row_once_while_the_log_is_written_and_merged(tmp_path):
    log = restored(tmp_path)
    keeper = LogKeeper(log, lambda: START)
    stop, wrong, added = threading.Event(), [], 0

    def read() -> None:
        while not stop.is_set():
            least, found, most = added, sum(numbers(log).values()), None
            most = added + 1  # a row may be there before its number is
            if not least <= found <= most or counts(log) < least:
                wrong.append((least, found, most))

    def tidy() -> None:
        while not stop.is_set():
            keeper.tidy()

    threads = [threading.Thread(target=target) for target in (read, read, tidy)]
    for thread in threads:
        thread.start()
    for number in range(1, 121):
        log.add(messages(message(number, number)), flows(flow(number // 60)))
        added = number
        if number % 2:
            log.flush()
            log.saved()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert numbers(log) == dict.fromkeys(range(1, 121), 1)
    assert len(log.shelf.files["messages"]) < 40


def test_a_file_that_is_merged_while_somebody_reads_it_goes_when_the_reader_lets_go(tmp_path):
    log = restored(tmp_path)
    log.add(messages(message(1)), flows())
    log.flush()
    (file,) = log.shelf.files["messages"]
    with log.shelf.hold():
        log.shelf.swap((file,), None)
        log.flush()
        log.saved()
        assert log.shelf.path(file).exists()
    assert not log.shelf.path(file).exists()


def test_a_snapshot_holds_everything_in_files_that_stay(tmp_path):
    log = restored(tmp_path)
    log.add(messages(message(1)), flows(flow(0)))
    log.flush()
    log.add(messages(message(2)), flows())
    aside = tmp_path / "aside"
    aside.mkdir()
    with log.snapshot(aside) as files:
        log.add(messages(message(3)), flows())
        rows = [row for path in files["messages"] for row in pq.read_table(path).column("trace_id_low").to_pylist()]
        assert sorted(rows) == [1, 2]
        assert len(files["flows"]) == 1


def test_a_question_that_is_wrong_in_itself_is_an_error_and_sets_nothing_aside(tmp_path, monkeypatch):
    log = open_log(tmp_path)
    log.restore(None)
    log.add(messages(message(1)), flows())
    log.flush()
    monkeypatch.setattr("traced.store.message_reading._nanoseconds", lambda _window: {"since": "x", "until": "y"})
    with pytest.raises(StoreError, match="cannot be read"):
        log.messages(EVER)
    assert len(log.shelf.files["messages"]) == 1
