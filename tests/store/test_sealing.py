"""From hot rows to sealed files, merges and retention: no row is lost, doubled or changed on the way."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_parts import expected, freeze, held, make_batch, make_logs, metric, open_store, store_all, wait_for

import traced.store.merge as merge_module
from traced.model.schema import LOGS, SPANS
from traced.store.catalog import Generation
from traced.store.merge import merge, neighbours_to_merge
from traced.store.parquet import InterruptedWorkError
from traced.store.sealed_files import check_generation, open_generation, write_generation
from traced.store.segment import Extent


def sealed_files(root: Path, kind: str = "spans") -> list[Path]:
    return sorted((root / "sealed").glob(f"{kind}-*.parquet"))


# ---------------------------------------------------------------------- sealing


def test_a_trace_reads_the_same_before_and_after_it_was_sealed(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1, 50), make_logs(1, 20), make_batch(2))
        spans, logs, window = store.spans_of_trace(1, 1), store.logs_of_trace(1, 1), store.window(0, 2**62)
        freeze(store)
        by_id = [("span_id", "ascending")]
        assert store.spans_of_trace(1, 1).sort_by(by_id).equals(spans.sort_by(by_id))
        assert store.logs_of_trace(1, 1).sort_by(by_id).equals(logs.sort_by(by_id))
        by_ids = [("trace_id_high", "ascending"), ("span_id", "ascending")]
        assert store.window(0, 2**62).sort_by(by_ids).equals(window.sort_by(by_ids))


def test_sealed_files_are_plain_parquet_for_anybody(tmp_path):
    """DuckDB and pyarrow open them while the store runs, by nothing but their names."""
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1, 50), make_logs(1, 20), make_batch(1, 50))
        freeze(store)
        spans = pq.read_table(sealed_files(tmp_path)[0])
        assert spans.schema.names == SPANS.names
        assert spans.num_rows == 50
        assert pq.read_table(sealed_files(tmp_path, "logs")[0]).schema.names == LOGS.names
        answer = duckdb.sql(f"SELECT count(*), min(service_name), min(attributes[1].key) FROM read_parquet('{tmp_path}/sealed/spans-*.parquet')").fetchall()  # noqa: S608
        assert answer == [(50, "cart", "key.0")]
        columns = duckdb.sql(f"DESCRIBE FROM read_parquet('{tmp_path}/sealed/spans-*.parquet')").fetchall()
        types = {name: kind for name, kind, *_ in columns}
        assert types["trace_id_high"] == "UBIGINT"
        assert types["service_name"] == "VARCHAR"
        assert types["attributes"] == 'STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[]'


def test_rows_of_a_sealed_file_are_sorted_by_trace(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, *(make_batch(n) for n in random.Random(3).sample(range(1, 200), 100)))
        freeze(store)
    traces = np.asarray(pq.read_table(sealed_files(tmp_path)[0]).column("trace_id_high"))
    assert (traces[1:] >= traces[:-1]).all()


def test_everything_in_the_data_directory_is_its_owners_alone(tmp_path):
    with open_store(tmp_path / "data", merge_files=2) as store:
        for number in (1, 2, 3):
            store_all(store, make_batch(number), make_logs(number))
            freeze(store)
        store.save_state("analysis", {"cut": 1})
        modes = {str(p.relative_to(tmp_path)): p.stat().st_mode & 0o777 for p in (tmp_path / "data").rglob("*")}
    assert {name for name, mode in modes.items() if mode & 0o077} == set()


def test_a_segment_is_frozen_at_its_number_of_rows_and_at_its_age(tmp_path):
    with open_store(tmp_path, seal_after_spans=100, seal_after_seconds=0.5) as store:
        store_all(store, *(make_batch(n) for n in range(1, 12)))
        store_all(store, make_batch(12))
        wait_for(lambda: sealed_files(tmp_path))
        store_all(store, make_logs(13))
        wait_for(lambda: sealed_files(tmp_path, "logs"))
        assert held(store) == expected(range(1, 13))


def test_a_segment_of_few_but_large_rows_is_frozen_at_the_size_of_its_wal(tmp_path, monkeypatch):
    import traced.store.writer as writer_module

    monkeypatch.setattr(writer_module, "MAX_WAL_BYTES", 2**20)
    with open_store(tmp_path) as store:
        for number in range(1, 9):
            store_all(store, make_logs(number, 10, body="x" * 40_000))
        wait_for(lambda: len(sealed_files(tmp_path, "logs")) >= 2)


def test_a_seal_that_finds_no_room_is_paid_by_the_ballast_and_done_again(tmp_path, monkeypatch):
    import traced.store.keeper as keeper_module

    real, fails = keeper_module.seal, [1, 1, 1]

    def no_room_at_first(*args: Any, **kwargs: Any) -> Generation:
        if (tmp_path / "ballast").exists():
            raise OSError(28, "No space left on device")
        if fails:
            fails.pop()
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(keeper_module, "seal", no_room_at_first)
    monkeypatch.setattr(keeper_module, "_RETRY_SECONDS", 0.1)
    with open_store(tmp_path) as store:
        assert (tmp_path / "ballast").stat().st_size == 16 * 2**20
        store_all(store, make_batch(1))
        freeze(store)
        assert metric(store, "traced_store_seal_errors_total") >= 1
        wait_for((tmp_path / "ballast").exists)
        assert held(store) == expected([1])


def test_hot_rows_are_copied_for_a_query_while_more_arrive(tmp_path):
    """A copied row never names a dictionary entry that was committed after the dictionary was read."""
    with open_store(tmp_path) as store:
        done = threading.Event()
        store_all(store, make_batch(1, 50, attributes=40))

        def write() -> None:
            for number in range(2, 400):
                store_all(store, make_batch(number, 50, attributes=40))
                if done.is_set():
                    return

        writing = threading.Thread(target=write)
        writing.start()
        try:
            seen = 50
            for _ in range(12):
                with store.snapshot() as (spans, logs):
                    assert logs == ()
                    rows = pa.concat_tables([pq.read_table(path) for path in spans]) if spans else None
                    if rows is not None:
                        assert rows.num_rows % 50 == 0, "whole batches"
                        assert rows.num_rows >= seen
                        seen = rows.num_rows
        finally:
            done.set()
            writing.join()
        assert seen > 50
    assert not list(tmp_path.glob("snapshot-*"))


def test_closing_with_many_hot_spans_takes_no_time(tmp_path):
    with open_store(tmp_path, seal_after_spans=1_000_000) as store:
        store_all(store, *(make_batch(n, 20_000) for n in range(1, 11)))
        before = time.monotonic()
        store.close()
        assert time.monotonic() - before < 5
    with open_store(tmp_path) as store:
        assert sum(held(store).values()) == 200_000


def test_closing_gives_up_a_merge_at_once(tmp_path, monkeypatch):
    begun = threading.Event()

    def endless(_, schema) -> Iterator[pa.Table]:
        while True:
            begun.set()
            time.sleep(0.01)
            yield schema.empty_table()

    monkeypatch.setattr(merge_module, "_merged", endless)
    monkeypatch.setattr(merge_module, "_in_row_groups", lambda slices: slices)
    with open_store(tmp_path, merge_files=2) as store:
        for number in (1, 2):
            store_all(store, make_batch(number))
            freeze(store)
        assert begun.wait(10)
        before = time.monotonic()
    assert time.monotonic() - before < 2
    assert not list((tmp_path / "sealed").glob("*.tmp"))
    assert len(sealed_files(tmp_path)) == 2


# ---------------------------------------------------------------------- merging


def generation(directory: Path, number: int, rows: list[tuple[int, int, int]]) -> Generation:
    """Seal rows of (trace id high, trace id low, span id)."""
    table = pa.Table.from_pylist(
        [{"trace_id_high": h, "trace_id_low": low, "span_id": s, "service_name": f"s{s % 3}", "start_time_unix_nano": s} for h, low, s in sorted(rows)],
        schema=SPANS,
    )
    extent = Extent(spans=len(rows), first_batch=number, last_batch=number, first_arrival=number * 10, last_arrival=number * 10 + 5)
    return write_generation(directory, (number, number), extent, {"spans": iter([table] if rows else [])}, durable=False)


def rows_of(made: Generation) -> list[tuple[int, int, int]]:
    table = pq.read_table(made.path("spans"))
    assert set(table.column("service_name").to_pylist()) <= {"s0", "s1", "s2"}
    return list(zip(*(table.column(name).to_pylist() for name in ("trace_id_high", "trace_id_low", "span_id")), strict=True))


IDS = {
    "spread": lambda rng: (rng.getrandbits(64), rng.getrandbits(64)),
    "the high word is always 0": lambda rng: (0, rng.getrandbits(64)),
    "few traces": lambda rng: (rng.randrange(3), rng.randrange(3)),
    "one trace": lambda _: (7, 7),
    "the ends of the range": lambda rng: rng.choice([(0, 0), (0, 2**64 - 1), (2**64 - 1, 0), (2**64 - 1, 2**64 - 1)]),
}


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("batch_rows", [1, 7, 4096])
def test_a_merge_holds_every_row_once_in_order(tmp_path, monkeypatch, ids, batch_rows):
    monkeypatch.setattr(merge_module, "_BATCH_ROWS", batch_rows)
    monkeypatch.setattr(merge_module, "ROW_GROUP_ROWS", 100)
    rng = random.Random(ids)
    sources = [[(*IDS[ids](rng), rng.getrandbits(63)) for _ in range(rng.choice([0, 1, 30, 250]))] for _ in range(4)]
    generations = tuple(generation(tmp_path, number, rows) for number, rows in enumerate(sources, 1))
    merged = merge(generations, tmp_path, durable=False)
    rows = rows_of(merged)
    assert sorted(rows) == sorted(row for source in sources for row in source)
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)
    assert merged.extent == Extent(len(rows), 0, 1, 4, 10, 45)
    assert open_generation(tmp_path, 1, 4) == merged
    check_generation(merged)
    footer = pq.read_metadata(merged.path("spans"))
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [100] * (len(rows) // 100) + [len(rows) % 100] * (len(rows) % 100 > 0)


def test_a_merge_of_files_that_are_not_sorted_loses_nothing(tmp_path):
    rng = random.Random(1)
    made = []
    for number in (1, 2):
        rows = [(rng.getrandbits(64), rng.getrandbits(64), n) for n in range(20_000)]
        table = pa.Table.from_pylist([{"trace_id_high": h, "trace_id_low": low, "span_id": s, "service_name": "s0"} for h, low, s in rows], schema=SPANS)
        extent = Extent(len(rows), 0, number, number, number, number)
        made.append((rows, write_generation(tmp_path, (number, number), extent, {"spans": iter([table])}, durable=False)))
    merged = merge(tuple(g for _, g in made), tmp_path, durable=False)
    assert sorted(rows_of(merged)) == sorted(row for rows, _ in made for row in rows)


def test_a_merge_takes_memory_for_some_rows_of_each_source_not_for_all(tmp_path):
    rng = np.random.default_rng(2)
    generations = []
    for number in range(1, 5):
        high = np.sort(rng.integers(0, 2**63, 150_000, dtype=np.uint64))
        text = pa.array([f"{n:040}" for n in range(len(high))])
        columns = {
            "trace_id_high": pa.array(high),
            "trace_id_low": pa.array(high),
            "span_id": pa.array(rng.integers(0, 2**63, len(high), dtype=np.uint64)),
            "name": text,
            "status_message": text,
        }
        table = pa.table([columns.get(f.name, pa.nulls(len(high), f.type)) for f in SPANS], schema=SPANS)
        generations.append(write_generation(tmp_path, (number, number), Extent(len(high), 0, number, number, 1, 1), {"spans": iter([table])}, durable=False))
    whole = 4 * table.nbytes
    del table, text, columns
    pool = pa.system_memory_pool()
    before, default = pool.max_memory(), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        merge(tuple(generations), tmp_path, durable=False)
    finally:
        pa.set_memory_pool(default)
    assert pool.max_memory() - before < 0.6 * whole


def test_a_merge_that_is_interrupted_leaves_its_sources_and_nothing_else(tmp_path):
    generations = tuple(generation(tmp_path, number, [(1, 1, number)]) for number in (1, 2))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InterruptedWorkError):
        merge(generations, tmp_path, durable=False, stop=lambda: True)
    assert sorted(tmp_path.iterdir()) == before


def test_small_neighbours_are_merged_and_rewritten_a_logarithmic_number_of_times():
    def small(first: int, last: int, size: int) -> Generation:
        return Generation(Path(), first, last, Extent(first_arrival=first, last_arrival=last), size)

    generations: tuple[Generation, ...] = ()
    written = 0
    for number in range(1, 513):
        generations = (*generations, small(number, number, 10))
        while chosen := neighbours_to_merge(generations, 10**9, 8, 10**9):
            assert len(chosen) == 8
            merged = small(chosen[0].first, chosen[-1].last, sum(g.size_bytes for g in chosen))
            written += merged.size_bytes
            generations = tuple(sorted([*(g for g in generations if g not in chosen), merged], key=lambda g: g.first))
    assert sum(g.size_bytes for g in generations) == 5120
    assert len(generations) <= 3 * 8
    assert written <= 5 * 5120, "not with the number of files"


def test_what_is_large_or_would_span_too_much_time_is_not_merged():
    def made(number: int, size: int) -> Generation:
        return Generation(Path(), number, number, Extent(first_arrival=number * 100, last_arrival=number * 100 + 99), size)

    small = tuple(made(n, 10) for n in range(1, 5))
    assert neighbours_to_merge(small, 100, 4, 400) == small
    assert neighbours_to_merge(small, 100, 4, 300) == ()
    assert neighbours_to_merge(small, 10, 4, 400) == ()
    assert neighbours_to_merge(small[:3], 100, 4, 400) == ()
    assert neighbours_to_merge((made(1, 90), *small[1:]), 100, 4, 400) == ()


def test_merged_files_answer_like_their_sources(tmp_path):
    with open_store(tmp_path, merge_files=3) as store:
        for number in range(1, 8):
            store_all(store, make_batch(number, 30), make_logs(number, 5), make_batch(number, 2))
            freeze(store)
        wait_for(lambda: metric(store, "traced_store_merged_files_total") >= 3)
        assert held(store) == expected(range(1, 8), 30)
        assert [store.logs_of_trace(n, n).num_rows for n in range(1, 8)] == [5] * 7
        assert store.repeats(0, 2**62).num_rows == 14


# ---------------------------------------------------------------------- retention


def test_the_oldest_files_go_first_when_all_together_are_too_large(tmp_path):
    with open_store(tmp_path, retention_bytes=2**20, merge_below_bytes=0) as store:
        for number in range(1, 40):
            rng = np.random.default_rng(number)
            noise = rng.bytes(60_000).hex()
            store_all(store, make_logs(number, 10, body=noise), make_batch(number))
            freeze(store)
            assert sum(g.size_bytes for g in store.catalog.parts.generations) <= 2**20 + 150_000
        # the keeper may be about to drop one more; once all fits, nothing moves any more
        wait_for(lambda: sum(g.size_bytes for g in store.catalog.parts.generations) <= 2**20)
        numbers = sorted({n for n, _ in held(store)})
        assert numbers == list(range(numbers[0], 40))
        assert numbers[0] > 1
        assert sum(p.stat().st_size for p in (tmp_path / "sealed").glob("*.parquet")) <= 2**20
        wait_for(lambda: metric(store, "traced_store_dropped_files_total", reason="size") == 2 * (numbers[0] - 1))
    with open_store(tmp_path, retention_bytes=2**20) as store:
        assert metric(store, "traced_store_lost_batches_total") == 0


def test_files_go_when_their_newest_arrival_is_too_old_whatever_the_spans_clocks_say(tmp_path):
    with open_store(tmp_path, retention_seconds=3600) as store:
        store_all(store, make_batch(1))  # its clock says 2023
        freeze(store)
        store._keeper._drop_expired()
        assert held(store) == expected([1])
    with open_store(tmp_path, retention_seconds=0.5, merge_below_bytes=0) as store:
        wait_for(lambda: metric(store, "traced_store_dropped_files_total", reason="age") == 1)
        assert not held(store)
        store_all(store, make_batch(2))
        assert held(store) == expected([2]), "hot rows are not dropped"


def test_a_reader_keeps_a_dropped_file_until_it_has_read(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        freeze(store)
        with store.snapshot() as (spans, _):
            store.drop(store.catalog.parts.generations[0])
            assert held(store) == {}
            assert pq.read_table(spans[0]).num_rows == 10
        assert not spans[0].exists()


def test_the_quarantine_is_bounded(tmp_path):
    from traced.store.quarantine import Quarantine

    (tmp_path / "q").mkdir()
    quarantine = Quarantine(tmp_path / "q", 2500)
    for number in range(5):
        path = tmp_path / f"file{number}"
        path.write_bytes(bytes(1000))
        quarantine.move(f"hot-{number}", [path], error="x")
    assert sorted(p.name for p in (tmp_path / "q").rglob("file*")) == ["file3", "file4"]
