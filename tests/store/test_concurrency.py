"""Eight readers, the writer, seals and merges at once: every read sees each row exactly once."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_parts import expected, held, make_batch, make_logs, metric, open_store, store_all, wait_for

from traced.store import segment
from traced.store.queries import load_folder

SPANS = 20
READERS = 8


class Readers:
    """Threads that read in their own ways until told to stop; each compares what it sees with what was acknowledged before."""

    def __init__(self, store, acked) -> None:
        self.store, self.acked, self.done = store, acked, threading.Event()
        self.wrong: list[str] = []
        self.reads = Counter()
        ways = [self.window, self.trace, self.window, self.trace, self.ids, self.snapshot, self.by_id, self.traces]
        self.threads = [threading.Thread(target=self.loop, args=(way,)) for way in ways[:READERS]]

    def loop(self, way) -> None:
        while not self.done.is_set():
            before = len(self.acked)
            try:
                way(before)
            except Exception as error:  # noqa: BLE001 -- the root of a thread: the test reports it
                self.wrong.append(f"{way.__name__}: {error!r}")
            self.reads[way.__name__] += 1

    def check(self, way: str, found: Counter, numbers: range) -> None:
        """Everything acknowledged before is there once; what came since is there once or not yet, by whole batches."""
        since = {number for number, _ in found} - set(numbers)
        if found != expected([*numbers, *since], SPANS):
            self.wrong.append(f"{way}: {len(found)} of {len(numbers)} batches, twice: {[k for k, v in found.items() if v > 1][:3]}")

    def window(self, before: int) -> None:
        self.check("window", held(self.store), range(1, before + 1))

    def trace(self, before: int) -> None:
        for number in {1, before // 2, before} & set(range(1, before + 1)):
            rows = self.store.spans_of_trace(number, number)
            self.check("trace", Counter((number, s) for s in rows.column("span_id").to_pylist()), range(number, number + 1))

    def ids(self, before: int) -> None:
        high, _ = self.store.trace_ids_between(0, 2**62)
        counts = Counter(high.tolist())
        if any(counts[n] != SPANS for n in range(1, before + 1)):
            self.wrong.append("ids")

    def snapshot(self, before: int) -> None:
        with self.store.snapshot() as (spans, _):
            tables = [pq.read_table(path, columns=["trace_id_high", "span_id"]) for path in spans]
        rows = pa.concat_tables(tables) if tables else pa.table({"trace_id_high": [], "span_id": []})
        found = Counter(zip(rows.column("trace_id_high").to_pylist(), rows.column("span_id").to_pylist(), strict=True))
        self.check("snapshot", found, range(1, before + 1))

    def by_id(self, before: int) -> None:
        numbers = range(1, before + 1)
        columns = {name: pa.array(numbers, pa.uint64()) for name in ("trace_id_high", "trace_id_low")} | {"span_id": pa.array([1] * before, pa.uint64())}
        if before and self.store.spans_by_id(pa.table(columns)).num_rows != before:
            self.wrong.append("by_id")

    def traces(self, before: int) -> None:
        ids = pa.table({name: pa.array([before, 1], pa.uint64()) for name in ("trace_id_high", "trace_id_low")})
        if before > 1 and self.store.window_of_traces(ids, 0, 2**62).num_rows != 2 * SPANS:
            self.wrong.append("traces")


@pytest.mark.slow
def test_every_read_sees_each_row_exactly_once_while_rows_move(tmp_path):
    acked: list[int] = []
    with open_store(tmp_path, seal_after_spans=400, merge_files=2, merge_below_bytes=2**30) as store:
        readers = Readers(store, acked)
        for thread in readers.threads:
            thread.start()
        until = time.monotonic() + 12
        number = 0
        # long enough for two segments to be sealed and merged, however slow the disk
        while (time.monotonic() < until or number < 60) and number < 3000:
            number += 1
            store_all(store, make_batch(number, SPANS))
            acked.append(number)
        readers.done.set()
        for thread in readers.threads:
            thread.join()
        assert readers.wrong == []
        assert set(readers.reads) == {"window", "trace", "ids", "snapshot", "by_id", "traces"}
        wait_for(lambda: len(store.catalog.parts.segments) == 1)
        assert metric(store, "traced_store_sealed_spans_total") >= 400
        wait_for(lambda: metric(store, "traced_store_merged_files_total") >= 2)
        assert held(store) == expected(range(1, number + 1), SPANS)
    assert len(list((tmp_path / "hot").glob("hot-*.duckdb"))) <= 1


@pytest.mark.parametrize("kind", ["spans", "logs"])
def test_what_is_committed_between_two_statements_of_a_read_does_not_show_in_it(tmp_path, monkeypatch, kind):
    """A resource that came later names attributes that the read did not see."""
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1), make_logs(1))
        real = dict(load_folder("store"))

        class Meddling(dict):
            def __getitem__(self, name: str):  # noqa: ANN204
                if name == "hot_resources":
                    store_all(store, make_batch(2), make_logs(2))
                return real[name]

        with monkeypatch.context() as patched:
            patched.setattr(segment, "load_folder", lambda _: Meddling(real))
            read = store.spans_of_trace if kind == "spans" else store.logs_of_trace
            rows = read(1, 1)
        assert rows.num_rows == 10
        assert read(2, 2).num_rows == 10


def test_readers_of_different_files_do_not_see_each_others(tmp_path):
    """A view that all cursors share would: each read names its files itself."""
    with open_store(tmp_path, merge_below_bytes=0) as store:
        arrivals = []
        for number in range(1, 5):
            arrivals.append(store_all(store, make_batch(number))[0].arrival_time_unix_nano)
            store.writer.request_roll()
            wait_for(lambda n=number: len(store.catalog.parts.generations) == n)
        wrong = []

        def read(number: int) -> None:
            arrival = arrivals[number - 1]
            for _ in range(40):
                rows = store.window(arrival - 1, arrival)
                if rows.num_rows != 10 or set(rows.column("trace_id_high").to_pylist()) != {number}:
                    wrong.append(number)

        threads = [threading.Thread(target=read, args=(n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
