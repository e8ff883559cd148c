"""The files of the message log: merged, dropped, set aside where they are damaged, and read where they are older."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from logged import EVER, MINUTE, SECOND, START, counts, flow, flows, message, messages, metric, numbers, restored

from traced.model.messages import FLOWS, MESSAGES
from traced.store import message_keeping
from traced.store.message_files import LogFile, describe_file, numbers_in, write_file
from traced.store.message_keeping import LogKeeper, neighbours
from traced.store.message_log import MessageLog

DAY = 86_400


def filled(directory: Path, parts: int, **changes: float) -> MessageLog:
    """Give a log of so many files of each kind, one row in each, a minute apart."""
    log = restored(directory, **changes)
    for number in range(1, parts + 1):
        log.add(messages(message(number, number * 60)), flows(flow(number)))
        log.flush()
        log.saved()
    return log


def keeper(log: MessageLog, seconds: float = 0.0) -> LogKeeper:
    """Give a keeper whose clock stands so many seconds after START."""
    return LogKeeper(log, lambda: START + round(seconds * SECOND))


def names(log: MessageLog, table: str = "messages") -> list[str]:
    return [file.name for file in log.shelf.files[table]]


def file_of(rows: int, first: float = 0.0, last: float = 1.0, size: int = 1000, number: int = 1) -> LogFile:
    return LogFile("messages", number, number, number, rows, round(first * SECOND), round(last * SECOND), size, 0)


# --- merging ---------------------------------------------------------------------------------------------------------


def test_eight_small_neighbours_become_one_file_with_the_same_rows(tmp_path):
    log = filled(tmp_path, 8)
    keeper(log).tidy()
    assert names(log) == ["messages-00000017.parquet"]
    assert numbers(log) == dict.fromkeys(range(1, 9), 1)
    assert counts(log) == 8
    assert metric(log, "traced_store_merged_files_total") == 16


def test_what_was_merged_stays_until_a_manifest_without_it_is_kept(tmp_path):
    log = filled(tmp_path, 8)
    before = log.flush()
    keeper(log).tidy()
    assert len(numbers_in(tmp_path / "messages")) == 18
    shutil.copytree(tmp_path, tmp_path / "crashed")
    assert numbers(restored(tmp_path / "crashed", before)) == dict.fromkeys(range(1, 9), 1), "a crash now finds the files of the old manifest"
    after = log.flush()
    assert not log.changed
    log.saved()
    assert numbers(restored(tmp_path, after)) == dict.fromkeys(range(1, 9), 1)


def test_without_a_manifest_a_merged_file_stands_for_its_sources(tmp_path):
    log = filled(tmp_path, 8)
    keeper(log).tidy()
    again = restored(tmp_path, None, None)
    assert names(again) == names(log)
    assert numbers(again) == dict.fromkeys(range(1, 9), 1)
    assert len(numbers_in(tmp_path / "messages")) == 2


def test_flows_of_one_minute_and_kind_become_one_row_and_what_adds_up_to_nothing_goes(tmp_path):
    log = restored(tmp_path)
    for number in range(8):
        given = flow(0, 1), flow(1, 1 if number % 2 else -1, message_schema_version="2"), flow(0, 1, message_schema_version="3")
        log.add(messages(), flows(*given))
        log.flush()
    keeper(log).tidy()
    (file,) = log.shelf.files["flows"]
    rows = pq.read_table(log.shelf.path(file)).to_pylist()
    assert [(row["minute"], row["message_schema_version"], row["messages"], row["traces"]) for row in rows] == [
        (MINUTE, "1", 8, 8),
        (MINUTE, "3", 8, 8),
    ]
    assert file.rows == 2


def test_flows_that_add_up_to_nothing_leave_no_file(tmp_path):
    log = restored(tmp_path)
    for number in range(8):
        log.add(messages(), flows(flow(0, 1 if number % 2 else -1)))
        log.flush()
    keeper(log).tidy()
    assert names(log, "flows") == []
    assert numbers(restored(tmp_path, log.flush())) == {}


def test_large_flows_are_put_together_without_adding_them_up(tmp_path, monkeypatch):
    monkeypatch.setattr(message_keeping, "_MAX_SUMMED_ROWS", 0)
    log = filled(tmp_path, 8)
    keeper(log).tidy()
    assert len(names(log, "flows")) == 1
    assert counts(log) == 8


def test_flows_that_need_too_much_memory_are_put_together_all_the_same(tmp_path, monkeypatch):
    def too_much(*_given: object) -> None:
        raise duckdb.OutOfMemoryException("192 MiB")

    log = filled(tmp_path, 8)
    monkeypatch.setattr(log.reader, "merged_flows", too_much)
    keeper(log).tidy()
    assert len(names(log, "flows")) == 1
    assert counts(log) == 8


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([1] * 7, 0),
        ([1] * 8, 8),
        ([1000] + [1] * 7, 0),
        ([1000] + [1] * 8, 8),
        ([8] * 7 + [3], 8),
        ([100] * 7 + [1], 8),
        ([1] * 7 + [100], 0),
        ([1] * 6 + [100] * 2, 8),
    ],
)
def test_neighbours_are_merged_where_none_is_much_larger_than_the_others(rows, chosen):
    files = [file_of(n, number=place) for place, n in enumerate(rows, 1)]
    run = neighbours(files, 10 * SECOND)
    assert len(run) == chosen
    assert not run or run == tuple(files[-8:])


def test_neighbours_that_span_too_long_or_are_large_are_left_alone():
    assert neighbours([file_of(1, n, n + 1, number=n) for n in range(1, 9)], 7 * SECOND) == ()
    assert len(neighbours([file_of(1, n, n + 1, number=n) for n in range(1, 9)], 8 * SECOND)) == 8
    assert neighbours([file_of(1, size=2**26, number=n) for n in range(1, 9)], 8 * SECOND) == ()


def test_a_row_is_written_a_logarithmic_number_of_times(tmp_path):
    log = restored(tmp_path)
    worker, most = keeper(log), 0
    for number in range(1, 201):
        log.add(messages(message(number, number)), flows())
        log.flush()
        log.saved()
        worker.tidy()
        most = max(most, len(names(log)))
    assert most <= 8 * 3
    assert metric(log, "traced_store_merged_files_total") <= 200 * 8 / 7 + 8
    assert numbers(log) == dict.fromkeys(range(1, 201), 1)


# --- retention -------------------------------------------------------------------------------------------------------


def test_each_kind_is_dropped_by_its_own_age_whole_files_the_oldest_first(tmp_path):
    log = filled(tmp_path, 3, message_retention_seconds=100.0, flow_retention_seconds=200.0)
    keeper(log, 60 + 100).tidy()
    assert len(names(log)) == 3
    keeper(log, 60 + 101).tidy()
    assert numbers(log) == {2: 1, 3: 1}
    assert counts(log) == 3
    keeper(log, 120 + 201).tidy()
    assert numbers(log) == {}
    assert counts(log) == 2
    assert log.dropped_until["messages"] == START + 180 * SECOND
    assert log.dropped_until["flows"] == START + 120 * SECOND - 1
    assert restored(tmp_path, log.flush()).dropped_until == log.dropped_until
    assert metric(log, "traced_store_message_log_lost_rows_total", reason="age", table="messages") == 3
    assert metric(log, "traced_store_message_log_lost_rows_total", reason="age", table="flows") == 1
    assert log.take_losses() == [], "it is no loss: it was asked for"


def test_each_kind_is_dropped_by_its_own_size(tmp_path):
    log = filled(tmp_path, 3)
    size = log.shelf.files["messages"][0].size_bytes
    worker = keeper(log, 0)
    worker._limits["messages"] = (worker._limits["messages"][0], 2 * size + size // 2)
    worker.tidy()
    assert numbers(log) == {2: 1, 3: 1}
    assert counts(log) == 3
    assert metric(log, "traced_store_message_log_lost_rows_total", reason="size", table="messages") == 1


def test_nothing_is_tidied_before_the_log_was_restored(tmp_path):
    manifest = filled(tmp_path, 8).flush()
    from logged import open_log

    log = open_log(tmp_path)
    worker = keeper(log, 10_000 * DAY)
    worker.tidy()
    log.restore(manifest)
    assert len(names(log)) == 8
    worker.tidy()
    assert names(log) == []


# --- damage ----------------------------------------------------------------------------------------------------------


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 0x41
    path.write_bytes(raw)


def damaged_somewhere(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.3:
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    else:
        flip(path, rng.randrange(path.stat().st_size))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("table", ["messages", "flows"])
def test_a_damaged_file_costs_its_own_rows_which_are_counted_and_are_a_gap(tmp_path, seed, table):
    log = filled(tmp_path, 3)
    manifest, path = log.flush(), log.shelf.path(log.shelf.files[table][1])
    damaged_somewhere(path, random.Random(seed))
    log = restored(tmp_path, manifest)
    keeper(log).tidy()
    keeper(log).tidy()
    worker = keeper(log)
    for _ in range(6):
        worker._check_at = 0.0
        worker.tidy()
    assert len(log.shelf.files[table]) == 2
    assert sum(numbers(log).values()) == (2 if table == "messages" else 3)
    assert counts(log) == (2 if table == "flows" else 3)
    assert metric(log, "traced_store_message_log_lost_rows_total", reason="damaged", table=table) == 1
    assert metric(log, "traced_store_quarantined_segments_total") == 1
    ((since, until),) = log.take_losses()
    assert since <= START / 1e9 + 120 <= until <= START / 1e9 + 180
    assert [p.name for place in (tmp_path / "quarantine").iterdir() for p in place.iterdir() if p.suffix == ".parquet"] == [path.name]
    assert not restored(tmp_path, log.flush()).take_losses()


def test_a_damaged_file_is_noticed_by_who_reads_it_and_the_rest_is_read(tmp_path):
    log = filled(tmp_path, 3)
    path = log.shelf.path(log.shelf.files["messages"][1])
    path.write_bytes(b"PAR1" + bytes(path.stat().st_size - 8) + b"PAR1")
    assert numbers(log) == {1: 1, 3: 1}
    assert len(log.take_losses()) == 1


def test_a_file_that_is_missing_is_a_loss(tmp_path):
    log = filled(tmp_path, 3)
    manifest = log.flush()
    log.shelf.path(log.shelf.files["flows"][0]).unlink()
    log = restored(tmp_path, manifest)
    assert counts(log) == 2
    assert len(log.take_losses()) == 1


def test_a_damaged_source_is_not_merged(tmp_path):
    log = filled(tmp_path, 9)
    path = log.shelf.path(log.shelf.files["messages"][0])
    flip(path, path.stat().st_size // 2)
    keeper(log).tidy()
    keeper(log).tidy()
    assert numbers(log) == dict.fromkeys(range(2, 10), 1)
    assert len(names(log)) == 1
    assert metric(log, "traced_store_message_log_lost_rows_total", reason="damaged") == 1


def test_without_a_manifest_a_damaged_file_is_set_aside_and_its_sources_are_used_where_they_are_there(tmp_path):
    log = filled(tmp_path, 8)
    keeper(log).tidy()
    path = log.shelf.path(log.shelf.files["messages"][0])
    path.write_bytes(path.read_bytes()[:-10])
    log = restored(tmp_path, None, None)
    assert numbers(log) == dict.fromkeys(range(1, 9), 1)
    assert metric(log, "traced_store_quarantined_segments_total") == 1


def test_a_file_that_turns_out_damaged_while_the_log_is_cut_is_set_aside(tmp_path):
    log = filled(tmp_path, 3)
    manifest, path = log.flush(), log.shelf.path(log.shelf.files["messages"][2])
    flip(path, 20)
    path.write_bytes(path.read_bytes()[:4] + bytes(200) + path.read_bytes()[204:])
    log = restored(tmp_path, manifest, START + 150 * SECOND)
    assert numbers(log) == {1: 1, 2: 1}


# --- older files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a newer one"])
def test_a_file_of_before_a_column_existed_is_read_and_merged_as_if_it_had_been_there(tmp_path, monkeypatch, beside):
    log = restored(tmp_path)
    for table, schema, rows, absent in (
        ("messages", MESSAGES, messages(message(1, 5)), ("identity_kind", "delivery_attempt", "tombstone")),
        ("flows", FLOWS, flows(flow(0)), ("at_least", "tombstone", "delay_buckets")),
    ):
        older = schema
        for name in absent:
            older = older.remove(older.get_field_index(name))
        monkeypatch.setitem(module_schemas(), table, older)
        file = write_file(tmp_path / "messages", table, (log.shelf.number(),) * 3, [rows.select(older.names)], durable=False)
        monkeypatch.setitem(module_schemas(), table, schema)
        log.shelf.put(file, 0)
    if beside:
        log.add(messages(message(2, 6)), flows(flow(0)))
        log.flush()
    assert sorted(numbers(log)) == ([1, 2] if beside else [1])
    assert counts(log) == (2 if beside else 1)
    assert log.messages(EVER).rows.column("tombstone").to_pylist() == ([False, None] if beside else [None])
    for number in range(3, 10):
        log.add(messages(message(number, number)), flows(flow(number)))
        log.flush()
    keeper(log).tidy()
    assert len(numbers(log)) == (9 if beside else 8)
    assert counts(log) == (9 if beside else 8)


def module_schemas() -> dict:
    from traced.store import message_files

    return message_files.SCHEMAS


def test_a_file_says_itself_what_it_is(tmp_path):
    file = write_file(tmp_path, "flows", (7, 3, 5), [flows(flow(0), flow(4))], durable=True)
    assert file == describe_file(tmp_path / "flows-00000007.parquet", "flows", 7)
    assert (file.first, file.last, file.rows) == (3, 5, 2)
    assert (file.first_arrival, file.last_arrival) == (START, START + 300 * SECOND - 1)
    assert LogFile.load(file.dump()) == file
    assert (tmp_path / file.name).stat().st_mode & 0o777 == 0o600


def test_no_file_is_written_of_nothing(tmp_path):
    assert write_file(tmp_path, "flows", (1, 1, 1), [flows()], durable=False) is None
    assert list(tmp_path.iterdir()) == []
