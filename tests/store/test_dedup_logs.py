"""A batch of log records that is sent again is stored once, whatever lies between; two batches that differ are both kept."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import numpy as np
import pytest
from store_parts import crash, freeze, make_batch, make_logs, metric, open_store, store_all, wait_for

from traced.errors import OverloadedError
from traced.model.batch import Batch, Fingerprint
from traced.receiver.decode import decode_logs
from traced.receiver.wire import Limits
from traced.store.log_batches import SealedLogBatches
from traced.store.segment import Segment
from traced.store.state import StateFiles
from traced.store.store import Store


def logs(number: int, records: int = 10) -> Batch:
    """Give a batch whose fingerprint says its number."""
    return make_logs(number, records, fingerprint=(7, number))


def held(store: Store, *numbers: int) -> list[int]:
    """Count the records that are stored of each batch."""
    return [store.logs_of_trace(number, number).num_rows for number in numbers]


def test_a_resent_batch_is_stored_once_and_its_receipt_and_a_counter_say_so(tmp_path):
    with open_store(tmp_path) as store:
        first, again = store_all(store, logs(1)), store_all(store, logs(1))
        assert (first[0].stored, first[0].repeated) == (10, 0)
        assert (again[0].stored, again[0].repeated) == (0, 10)
        assert held(store, 1) == [10]
        assert metric(store, "traced_store_repeated_logs_total") == 10
        assert metric(store, "traced_store_repeated_spans_total") == 0


def test_repeats_within_one_commit_group_are_found_beside_spans(tmp_path):
    with open_store(tmp_path) as store:
        same = logs(1)
        batches = [same, make_batch(1), same, logs(2, 5), make_batch(1), logs(1), logs(2, 5)]
        futures = [store.accept(batch) for batch in batches]
        assert [f.result(10).stored for f in futures] == [10, 10, 0, 5, 0, 0, 0]
        assert held(store, 1, 2) == [10, 5]


def test_half_a_fingerprint_in_common_is_none(tmp_path):
    """The lower word finds candidates; what is stored is told by all of it."""
    with open_store(tmp_path) as store:
        store_all(store, make_logs(1, fingerprint=(1, 5)))
        assert store_all(store, make_logs(2, fingerprint=(2, 5)))[0].stored == 10
        freeze(store)
        assert [r.stored for r in store_all(store, make_logs(3, fingerprint=(3, 5)), make_logs(2, fingerprint=(2, 5)))] == [10, 0]
        assert held(store, 1, 2, 3) == [10, 10, 10]


@pytest.mark.parametrize("seed", range(2))
def test_every_batch_sent_five_times_in_random_order_across_seals_merges_restarts_and_crashes_is_there_once(tmp_path, seed):
    rng = random.Random(seed)
    sends = [n for n in range(1, 41) for _ in range(5)]
    rng.shuffle(sends)
    stored = 0
    for part in range(5):
        context = open_store(tmp_path, merge_files=2)
        store: Store = context.__enter__()
        for number in sends[part * 40 : part * 40 + 40]:
            stored += sum(r.stored for r in store_all(store, logs(number)))
        if part % 2 == 0:
            freeze(store)
        if part % 3:
            crash(store)
        else:
            context.__exit__(None, None, None)
    assert stored == 400
    with open_store(tmp_path) as store:
        assert held(store, *range(1, 41)) == [10] * 40
        assert metric(store, "traced_store_lost_batches_total") == 0


def test_beyond_the_window_a_resent_batch_is_stored_again(tmp_path):
    with open_store(tmp_path, dedup_window_log_batches=100) as store:
        store_all(store, logs(1))
        # keys are forgotten a run at a time, the first of them when as many newer ones are remembered
        store.writer._known.logs.add(np.arange(1000, 1000 + 200_000, dtype=np.uint64))
        assert store_all(store, logs(1))[0].stored == 10


@pytest.mark.parametrize("restart", [False, True])
def test_what_retention_dropped_or_damage_took_is_stored_when_it_comes_again(tmp_path, restart):
    context = open_store(tmp_path, merge_below_bytes=0)
    store = context.__enter__()
    for number in (1, 2, 3):
        store_all(store, logs(number))
        freeze(store)
    first, second, _ = store.catalog.parts.generations
    store.drop(first)
    assert store.set_aside(second, "damaged")
    if restart:
        context.__exit__(None, None, None)
        context = open_store(tmp_path, merge_below_bytes=0)
        store = context.__enter__()
    assert [r.stored for r in store_all(store, logs(1), logs(2), logs(3))] == [10, 10, 0]
    assert held(store, 1, 2, 3) == [10, 10, 10]
    context.__exit__(None, None, None)


@pytest.mark.parametrize("durable", [False, True])
def test_a_batch_whose_commit_failed_is_there_once_when_it_comes_again(tmp_path, monkeypatch, durable):
    """Nobody knew whether it was on disk: it is looked for once the segment can be read again."""
    real, faults = Segment.insert, ["now"]

    def insert(segment: Segment, tables) -> None:
        fails = "log_record" in tables and tables["log_record"].num_rows and faults
        if not fails or durable:
            real(segment, tables)
        if fails:
            faults.pop()
            raise duckdb.FatalException("FATAL Error: fsync failed!")

    with open_store(tmp_path) as store:
        monkeypatch.setattr(Segment, "insert", insert)
        with pytest.raises(OverloadedError):
            store.accept(logs(1)).result(10)
        receipts, reasons = [], set()

        def again() -> bool:
            try:
                receipts.extend(store_all(store, logs(1)))
            except OverloadedError as error:
                reasons.add(error.reason)
                return False
            return True

        wait_for(again, 10)
        assert [r.repeated for r in receipts] == [10 if durable else 0]
        assert reasons <= {"store_reopening"}
        wait_for(lambda: len(store.catalog.parts.segments) == 1)
        assert held(store, 1) == [10]


def test_a_damaged_memory_of_sealed_batches_is_begun_anew(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, logs(1))
        freeze(store)
    state = tmp_path / "state" / "log_batches.json.gz"
    state.write_bytes(state.read_bytes()[:-4])
    with open_store(tmp_path) as store:
        assert store_all(store, logs(1))[0].stored == 10, "better twice than never"


def test_a_segment_of_before_there_were_fingerprints_is_read_as_one_without(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, logs(1))
        cursor = store.writer.segment.cursor()
        cursor.execute("ALTER TABLE batch DROP COLUMN fingerprint_high")
        cursor.close()
        crash(store)
    with open_store(tmp_path) as store:
        assert store_all(store, logs(1))[0].stored == 10
        freeze(store)
        assert held(store, 1) == [20]


def test_the_newest_sealed_batches_are_remembered_once_each_and_across_restarts(tmp_path: Path):
    state = StateFiles(tmp_path, durable=False)
    sealed = SealedLogBatches(3, state)
    sealed.add(np.array([[1, 10, 1], [1, 11, 2]], np.uint64))
    sealed.add(np.array([[1, 10, 1], [2**64 - 1, 12, 3], [1, 13, 4]], np.uint64))
    for one in (sealed, SealedLogBatches(3, state)):
        assert one.keys.tolist() == [11, 12, 13]
        assert one.numbers((2**64 - 1, 12)) == [3]
        assert one.numbers((1, 10)) == []
    assert SealedLogBatches(3, StateFiles(tmp_path / "absent", durable=False)).keys.tolist() == []


# ---------------------------------------------------------------------- fingerprints


def fingerprint(*times: tuple[int, int], body: str = "hello") -> Fingerprint:
    """Give that of a request with a record for each (time, observed time)."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for time, observed in times:
        records.add(time_unix_nano=time, observed_time_unix_nano=observed).body.string_value = body
    return decode_logs(request.SerializeToString(), Limits()).fingerprint


SECOND = 1_000_000_000


def test_the_same_bytes_have_the_same_fingerprint_and_others_another():
    one = fingerprint((SECOND + 1, 0))
    assert one == fingerprint((SECOND + 1, 0)) != (0, 0)
    assert one != fingerprint((SECOND + 2, 0))
    assert one != fingerprint((SECOND + 1, 0), body="hello again")


@pytest.mark.parametrize(
    ("times", "known"),
    [([(0, 0)], False), ([(5 * SECOND, 0)], False), ([(5 * SECOND, 6 * SECOND)], False), ([(0, 1)], True), ([(5 * SECOND, 0), (5 * SECOND + 1, 0)], True)],
)
def test_what_may_well_be_said_twice_in_the_same_bytes_is_never_taken_for_sent_again(times: list[tuple[int, int]], known: bool):  # noqa: FBT001
    assert (fingerprint(*times) != (0, 0)) is known
