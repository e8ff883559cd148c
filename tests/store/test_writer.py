"""When a write fails: nothing of it is acknowledged, nothing acknowledged is lost, and the store goes on by itself."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from typing import Any

import duckdb
import pytest
from store_parts import crash, expected, freeze, held, make_batch, metric, open_store, store_all, wait_for

import traced.store.writer as writer_module
from traced.errors import OverloadedError, StoreError
from traced.receiver.refusals import RefusalReason
from traced.store.group import Group
from traced.store.segment import Segment
from traced.store.store import Store

REASONS = {reason.value for reason in RefusalReason}


class Faults:
    """Makes the next inserts fail: before they are durable, or only after."""

    def __init__(self, monkeypatch) -> None:
        self.left: list[str] = []
        self.message = "FATAL Error: fsync failed!"
        real = Segment.insert

        def insert(segment, tables) -> None:
            kind = self.left.pop(0) if self.left and "span" in tables else ""
            if kind != "before":
                real(segment, tables)
            if kind:
                raise duckdb.FatalException(self.message)

        monkeypatch.setattr(Segment, "insert", insert)


@pytest.fixture
def faults(monkeypatch) -> Faults:
    return Faults(monkeypatch)


def refused(store: Store, *numbers: int) -> set[str]:
    reasons = set()
    for number in numbers:
        with pytest.raises(OverloadedError) as raised:
            store.accept(make_batch(number)).result(10)
        assert raised.value.retry_after_seconds >= 1
        reasons.add(raised.value.reason)
    assert reasons <= REASONS
    return reasons


def test_a_commit_that_failed_is_not_acknowledged_and_writing_goes_on_in_a_fresh_segment(tmp_path, faults):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1), make_batch(2))
        faults.left = ["before"]
        assert refused(store, 3) == {"store_reopening"}
        wait_for(lambda: store.refusal is None, 5)
        store_all(store, make_batch(4))
        wait_for(lambda: len(store.catalog.parts.segments) == 1)
        assert held(store) == expected([1, 2, 4])
        assert metric(store, "traced_store_reopened_total") == 1
        assert store.alive
    with open_store(tmp_path) as store:
        assert held(store) == expected([1, 2, 4])
        assert metric(store, "traced_store_lost_batches_total") == 0


@pytest.mark.parametrize("restart", ["", "closed", "crashed"])
def test_a_group_that_was_durable_although_its_commit_failed_is_stored_once_when_it_comes_again(tmp_path, faults, restart):
    context = open_store(tmp_path)
    store = context.__enter__()
    store_all(store, make_batch(1))
    faults.left = ["after"]
    refused(store, 2)
    if restart:
        context.__exit__(None, None, None) if restart == "closed" else crash(store)
        context = open_store(tmp_path)
        store = context.__enter__()
    receipts, reasons = [], set()

    def again() -> bool:
        try:
            receipts.extend(store_all(store, make_batch(2)))
        except OverloadedError as error:
            reasons.add(error.reason)
            return False
        return True

    wait_for(again, 10)
    assert [r.repeated for r in receipts] == [10]
    assert reasons <= {"store_reopening"}
    store_all(store, make_batch(3))
    wait_for(lambda: len(store.catalog.parts.segments) == 1)
    assert held(store) == expected([1, 2, 3])
    assert metric(store, "traced_store_lost_batches_total") == 0
    context.__exit__(None, None, None)


def test_a_broken_segment_is_replaced_although_nothing_arrives_any_more(tmp_path, faults):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        faults.left = ["before"]
        refused(store, 2)
        wait_for(lambda: store.refusal is None and len(store.catalog.parts.segments) == 1, 10)
        assert held(store) == expected([1])


def test_an_instance_that_dies_while_nobody_writes_is_noticed_within_a_second(tmp_path, monkeypatch):
    real, dead = Segment.ping, []

    def ping(segment) -> None:
        if segment.number in dead:
            raise duckdb.FatalException("database has been invalidated")
        real(segment)

    monkeypatch.setattr(Segment, "ping", ping)
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        number = store.writer.segment.number
        dead.append(number)
        wait_for(lambda: store.writer.segment.number != number, 2)
        store_all(store, make_batch(2))
        wait_for(lambda: len(store.catalog.parts.segments) == 1)
        assert held(store) == expected([1, 2])


def test_where_no_fresh_segment_can_be_made_everything_is_refused_until_one_can(tmp_path, faults, monkeypatch):
    monkeypatch.setattr(writer_module, "_RETRY_SECONDS", 0.1)
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        real, failures = store._new_segment, []

        def failing(_: int) -> Segment:
            failures.append(1)
            raise OSError("No space left on device")

        monkeypatch.setattr(store, "_new_segment", failing)
        faults.left, faults.message = ["before"], "IO Error: No space left on device"
        assert refused(store, 2) == {"disk_full"}
        wait_for(lambda: len(failures) >= 3)
        assert refused(store, 3) == {"disk_full"}
        assert store.refusal is not None
        assert store.alive, "a full disk is no reason for a restart"
        monkeypatch.setattr(store, "_new_segment", real)
        wait_for(lambda: store.refusal is None, 5)
        store_all(store, make_batch(4))
        wait_for(lambda: len(store.catalog.parts.segments) == 1)
        assert held(store) == expected([1, 4])


def test_it_asks_for_a_restart_when_three_fresh_segments_could_not_be_made(tmp_path, faults, monkeypatch):
    monkeypatch.setattr(writer_module, "_RETRY_SECONDS", 0.05)
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))

        def failing(_: int) -> Segment:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(store, "_new_segment", failing)
        assert store.alive
        faults.left = ["before"]
        assert refused(store, 2) == {"store_reopening"}
        wait_for(lambda: not store.alive, 5)
    with open_store(tmp_path) as store:
        assert held(store) == expected([1])


def test_rows_of_a_segment_that_is_being_reopened_are_never_left_out_silently(tmp_path, faults, monkeypatch):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        monkeypatch.setattr(Segment, "reopen", lambda _: (_ for _ in ()).throw(duckdb.IOException("not yet")))
        faults.left = ["before"]
        refused(store, 2)
        wait_for(lambda: store.refusal is None)
        with pytest.raises(StoreError, match="reopened") as raised:
            held(store)
        assert raised.value.status == 503
        store_all(store, make_batch(3))  # fresh spans need no look at the broken segment
        assert refused(store, 1) == {"store_reopening"}, "whether it is a repeat cannot be told yet"
        monkeypatch.undo()
        wait_for(lambda: not any(s.broken for s in store.catalog.parts.segments), 5)
        assert held(store) == expected([1, 3])


def test_a_batch_that_cannot_be_laid_out_is_refused_alone(tmp_path, monkeypatch):
    real = writer_module.lay_out

    def lay_out(batches, *args: Any) -> Group:
        if any(b.size_bytes == 666 for b in batches):
            raise ValueError("not as it should be")
        return real(batches, *args)

    monkeypatch.setattr(writer_module, "lay_out", lay_out)
    with open_store(tmp_path) as store:
        import dataclasses

        poison = dataclasses.replace(make_batch(2), size_bytes=666)
        futures = [store.accept(b) for b in (make_batch(1), poison, make_batch(3), make_batch(1))]
        with pytest.raises(OverloadedError) as raised:
            futures[1].result(10)
        assert raised.value.reason == "store_failed"
        assert [futures[n].result(10).stored for n in (0, 2, 3)] == [10, 10, 0]
        assert held(store) == expected([1, 3])
        assert metric(store, "traced_store_reopened_total") == 0


def test_every_refusal_is_an_error_of_its_own(tmp_path):
    with open_store(tmp_path, max_disk_fraction=0.000_000_1) as store:
        errors = []
        for _ in range(3):
            with pytest.raises(OverloadedError) as raised:
                store.accept(make_batch(1))
            errors.append(raised.value)
        assert len({id(e) for e in errors}) == 3
        assert {e.reason for e in errors} == {"disk_full"}
        assert store.refusal is not store.refusal


def test_a_full_disk_refuses_and_recovers_by_itself_while_queries_go_on(tmp_path, monkeypatch):
    import os
    import types

    real, full = os.statvfs, []

    def statvfs(path) -> object:
        was = real(path)
        return types.SimpleNamespace(f_blocks=100, f_bfree=5, f_bavail=5) if full else was

    monkeypatch.setattr("traced.store.disk.os.statvfs", statvfs)
    with open_store(tmp_path, max_disk_fraction=0.94) as store:
        full.append(1)
        time.sleep(0.1)
        assert refused(store, 1) == {"disk_full"}
        assert "95%" in str(store.refusal)
        assert held(store) == {}
        assert store.alive
        full.clear()
        time.sleep(0.1)
        store_all(store, make_batch(1))
        assert held(store) == expected([1])


def test_a_full_queue_refuses(tmp_path, monkeypatch):
    gate = threading.Event()
    real = writer_module.lay_out
    monkeypatch.setattr(writer_module, "lay_out", lambda *args: (gate.wait(10), real(*args))[1])
    with open_store(tmp_path, max_queue_bytes=2**20) as store:
        futures = []
        fill = (futures.append(store.accept(make_batch(number, 1000))) for number in itertools.count(1))
        with pytest.raises(OverloadedError) as raised:
            deque(fill, maxlen=0)
        assert raised.value.reason == "queue_full"
        gate.set()
        assert sum(f.result(10).stored for f in futures) == 1000 * len(futures)


def test_when_sealing_does_not_keep_up_senders_are_told_to_come_back(tmp_path, monkeypatch):
    import traced.store.keeper as keeper_module

    monkeypatch.setattr(keeper_module.Keeper, "_seal_and_merge", lambda _: None)
    with open_store(tmp_path, seal_after_spans=100) as store:
        taken = []
        fill = (taken.extend([number] * len(store_all(store, make_batch(number, 100)))) for number in itertools.count(1))
        with pytest.raises(OverloadedError) as raised:
            deque(fill, maxlen=0)
        assert raised.value.reason == "queue_full"
        monkeypatch.undo()
        wait_for(lambda: store.refusal is None)
        store_all(store, make_batch(1000, 100))
        assert held(store) == expected([*taken, 1000], 100)


def test_after_closing_everything_is_refused(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
    assert refused(store, 2) == {"shutting_down"}
    store.close()
    with open_store(tmp_path) as store:
        assert held(store) == expected([1])


def test_what_waits_when_the_store_closes_is_written_first(tmp_path):
    with open_store(tmp_path) as store:
        futures = [store.accept(make_batch(n)) for n in range(1, 60)]
    assert all(f.result(0).stored == 10 for f in futures)
    with open_store(tmp_path) as store:
        assert held(store) == expected(range(1, 60))


def test_a_caller_cannot_cancel_what_the_writer_has_taken(tmp_path):
    with open_store(tmp_path) as store:
        future = store.accept(make_batch(1))
        assert not future.cancel()
        assert future.result(10).stored == 10
        assert store_all(store, make_batch(2))[0].stored == 10


def test_arrivals_never_go_back_even_if_the_clock_does(tmp_path, monkeypatch):
    real = time.time_ns
    with open_store(tmp_path) as store:
        first = store_all(store, make_batch(1))[0].arrival_time_unix_nano
        shown = store.visible_until
        monkeypatch.setattr("traced.store.writer.time.time_ns", lambda: real() - 3600 * 10**9)
        second = store_all(store, make_batch(2))[0].arrival_time_unix_nano
        assert second > shown >= first
        assert store.visible_until >= second
        freeze(store)
    with open_store(tmp_path) as store:
        third = store_all(store, make_batch(3))[0].arrival_time_unix_nano
        assert third > second
        assert store.visible_until >= third


@pytest.mark.parametrize("sealed", [True, False])
def test_the_last_arrival_is_known_after_a_restart_before_anything_new_comes(tmp_path, sealed):
    name = "traced_receiver_last_arrival_timestamp_seconds"
    with open_store(tmp_path) as store:
        assert metric(store, name) == 0
        last = store_all(store, make_batch(1))[0].arrival_time_unix_nano
        if sealed:
            freeze(store)
    with open_store(tmp_path) as store:
        assert metric(store, name) == pytest.approx(last / 1e9)


def test_what_was_acknowledged_is_visible_at_once(tmp_path):
    with open_store(tmp_path) as store:
        for number in range(1, 100):
            receipt = store.accept(make_batch(number)).result(10)
            assert store.visible_until >= receipt.arrival_time_unix_nano
            assert store.window(receipt.arrival_time_unix_nano - 1, store.visible_until).num_rows == 10


def test_a_start_on_a_full_disk_is_paid_by_the_ballast(tmp_path, monkeypatch):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
    real = Segment.create

    def create(*args: Any, **kwargs: Any) -> Segment:
        if (tmp_path / "ballast").exists():
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(Segment, "create", create)
    with open_store(tmp_path) as store:
        assert held(store) == expected([1])


def test_a_start_that_fails_lets_go_of_everything(tmp_path, monkeypatch):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
    with monkeypatch.context() as broken:
        broken.setattr(Segment, "create", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(StoreError, match="Input/output error"), open_store(tmp_path):
            pass
    with open_store(tmp_path) as store:
        assert held(store) == expected([1])
