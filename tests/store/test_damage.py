"""What a start makes of a damaged data directory: it starts, serves what is readable, keeps the rest, and counts the loss exactly."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from store_parts import crash, expected, freeze, held, make_batch, make_logs, metric, open_store, store_all, wait_for

from traced.errors import StoreError
from traced.store.parquet import STORE_VERSION
from traced.store.segment import segment_paths

HOT = [3, 4, 5, 6, 7, 8]
"""Numbers of the batches that the crashed store below holds unsealed; 1 and 2 are sealed."""


@pytest.fixture
def crashed(tmp_path) -> Path:
    """A directory as kill -9 leaves it: batches 1 and 2 sealed in files of their own, 3 to 8 hot."""
    context = open_store(tmp_path)
    store = context.__enter__()
    for number in (1, 2):
        store_all(store, make_batch(number))
        freeze(store)
    for number in HOT:
        store_all(store, make_batch(number))
    crash(store)
    return tmp_path


def hot_files(root: Path) -> tuple[Path, Path, Path]:
    return segment_paths(root / "hot", 3)


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x40]))


def starts_with(root: Path, batches: list[int], *, lost: int, quarantined: int) -> None:
    """Start, compare everything, store one more batch, and start again: nothing is counted twice."""
    with open_store(root) as store:
        assert held(store) == expected(batches)
        assert metric(store, "traced_store_lost_batches_total") == lost
        assert metric(store, "traced_store_quarantined_segments_total") == quarantined
        store_all(store, make_batch(100))
        freeze(store)
    with open_store(root) as store:
        assert held(store) == expected([*batches, 100])
        assert metric(store, "traced_store_lost_batches_total") == 0
        assert metric(store, "traced_store_quarantined_segments_total") == 0


def quarantine(root: Path) -> list[str]:
    return sorted(p.name for place in (root / "quarantine").iterdir() for p in place.iterdir())


def test_after_a_crash_everything_is_there(crashed):
    starts_with(crashed, [1, 2, *HOT], lost=0, quarantined=0)
    assert quarantine(crashed) == []


# ---------------------------------------------------------------------- segments


def test_a_torn_ledger_loses_nothing(crashed):
    os.truncate(hot_files(crashed)[2], 28 * 4 + 5)
    starts_with(crashed, [1, 2, *HOT], lost=0, quarantined=0)


def test_a_missing_ledger_loses_nothing(crashed):
    hot_files(crashed)[2].unlink()
    starts_with(crashed, [1, 2, *HOT], lost=0, quarantined=0)


def test_a_wal_that_lost_its_end_is_noticed_although_it_opens_cleanly(crashed):
    """DuckDB opens it without a word; only the ledger knows."""
    wal = hot_files(crashed)[1]
    os.truncate(wal, wal.stat().st_size - 10)
    starts_with(crashed, [1, 2, *HOT[:-1]], lost=1, quarantined=1)
    assert quarantine(crashed) == ["hot-00000003.duckdb", "hot-00000003.duckdb.wal", "hot-00000003.ledger", "note.json"]


def test_a_wal_cut_in_the_middle_keeps_what_is_before_the_cut(crashed):
    wal = hot_files(crashed)[1]
    os.truncate(wal, wal.stat().st_size // 2)
    with open_store(crashed) as store:
        there = sorted({number for number, _ in held(store)})
        lost = metric(store, "traced_store_lost_batches_total")
    assert there[:2] == [1, 2]
    assert there == list(range(1, len(there) + 1)), "a prefix"
    assert lost == 8 - len(there) > 0


@pytest.mark.parametrize("part", [0.45, 0.6, 0.8, 0.95])
def test_flipped_bytes_in_a_wal_lose_what_is_behind_them_and_no_more(crashed, part):
    wal = hot_files(crashed)[1]
    original = wal.read_bytes()
    flip(wal, int(len(original) * part))
    with open_store(crashed) as store:
        there = sorted({number for number, _ in held(store)})
        assert held(store) == expected(there)
        assert metric(store, "traced_store_lost_batches_total") == 8 - len(there) > 0
        assert metric(store, "traced_store_quarantined_segments_total") == 1
    assert there == list(range(1, len(there) + 1))
    kept = next((crashed / "quarantine").rglob("*.wal")).read_bytes()
    assert len(kept) == len(original), "the original is kept for a person, uncut"
    note = json.loads(next((crashed / "quarantine").rglob("note.json")).read_text())
    assert note["last_batch_noted"] == 8


def test_a_database_file_of_garbage_is_set_aside_with_its_wal(crashed):
    hot_files(crashed)[0].write_bytes(random.Random(1).randbytes(12_288))
    starts_with(crashed, [1, 2], lost=len(HOT), quarantined=1)


def test_a_missing_database_file_is_a_counted_loss(crashed):
    hot_files(crashed)[0].unlink()
    starts_with(crashed, [1, 2], lost=len(HOT), quarantined=1)


def test_without_room_for_a_copy_a_damaged_segment_is_moved_aside_whole(crashed, monkeypatch):
    wal = hot_files(crashed)[1]
    os.truncate(wal, wal.stat().st_size - 10)

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", no_room)
    starts_with(crashed, [1, 2], lost=len(HOT), quarantined=1)
    assert "hot-00000003.duckdb.wal" in quarantine(crashed)


def test_a_replay_that_takes_its_process_down_does_not_take_the_daemon_down(crashed, monkeypatch):
    """The child that looks at segments is killed here in place of an abort."""
    import sys

    shell = crashed / "python"
    shell.write_text('#!/bin/sh\ncase "$*" in *hot-00000003*) kill -ABRT $$;; esac\n')
    shell.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(shell))
    with open_store(crashed) as store:
        assert held(store) == expected([1, 2])
        assert metric(store, "traced_store_lost_batches_total") == len(HOT)


@pytest.mark.parametrize("left", [("duckdb",), ("duckdb", "wal"), ("duckdb", "wal", "ledger"), ("half",), ("half", "wal")])
def test_a_segment_whose_creation_was_interrupted_is_no_loss(crashed, left):
    with open_store(crashed) as store:
        files = segment_paths(store.hot_dir, store.writer.segment.number)
        copies = {path: path.read_bytes() for path in files}
        crash(store)
    for path in files:
        path.unlink(missing_ok=True)
    for suffix, (path, content) in zip(("duckdb", "wal", "ledger"), copies.items(), strict=True):
        if suffix in left:
            path.write_bytes(content)
    if "half" in left:
        files[0].write_bytes(copies[files[0]][:5000])
        files[1].write_bytes(b"") if "wal" in left else None
    with open_store(crashed) as store:
        assert held(store) == expected([1, 2, *HOT])
        assert metric(store, "traced_store_lost_batches_total") == 0
        assert metric(store, "traced_store_quarantined_segments_total") == 0


# ---------------------------------------------------------------------- sealed files


def sealed(root: Path, number: int) -> Path:
    return root / "sealed" / f"spans-{number:08d}-{number:08d}.parquet"


@pytest.mark.parametrize("damage", ["footer", "cut", "empty", "page", "gone"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_damaged_sealed_file_is_set_aside_and_its_batches_are_counted(crashed, damage, number):
    """The oldest and the newest: what the next one says of its first batch, or the ledger, tells how many are missing."""
    path = sealed(crashed, number)
    size = path.stat().st_size
    match damage:
        case "footer":
            flip(path, size - 40)
        case "cut":
            os.truncate(path, size // 2)
        case "empty":
            os.truncate(path, 0)
        case "page":
            flip(path, 100)
        case "gone":
            path.unlink()
    starts_with(crashed, [n for n in (1, 2, *HOT) if n != number], lost=1, quarantined=1)
    assert (path.name in quarantine(crashed)) == (damage != "gone")


@pytest.mark.parametrize("position", [100, -40])
def test_the_only_sealed_file_damaged_is_a_counted_loss(tmp_path, position):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1), make_batch(2))
        freeze(store)
    path = sealed(tmp_path, 1)
    flip(path, position % path.stat().st_size)
    starts_with(tmp_path, [], lost=2, quarantined=1)


def test_what_retention_dropped_is_never_counted_as_lost(tmp_path):
    with open_store(tmp_path) as store:
        for number in (1, 2, 3):
            store_all(store, make_batch(number))
            freeze(store)
        store.drop(store.catalog.parts.generations[0])
    with open_store(tmp_path) as store:
        assert metric(store, "traced_store_lost_batches_total") == 0
    flip(sealed(tmp_path, 2), 100)
    starts_with(tmp_path, [3], lost=1, quarantined=1)


def test_missing_log_records_are_noticed(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1), make_logs(1))
        freeze(store)
    next((tmp_path / "sealed").glob("logs-*.parquet")).unlink()
    with open_store(tmp_path) as store:
        assert metric(store, "traced_store_quarantined_segments_total") == 1
        assert metric(store, "traced_store_lost_batches_total") == 2


def test_a_file_that_is_damaged_while_the_store_runs_is_set_aside_when_it_is_read(tmp_path):
    with open_store(tmp_path) as store:
        for number in (1, 2):
            store_all(store, make_batch(number))
            freeze(store)
        store._unchecked.clear()
        path = sealed(tmp_path, 1)
        content = bytearray(path.read_bytes())
        content[4:400] = bytes(396)
        path.write_bytes(content)
        assert held(store) == expected([2])
        assert metric(store, "traced_store_lost_batches_total") == 1
        assert path.name in quarantine(tmp_path)
        assert store_all(store, make_batch(1))[0].stored == 10, "it may be sent again"


def test_a_damaged_source_is_not_merged(tmp_path):
    with open_store(tmp_path, merge_files=3) as store:
        for number in (1, 2):
            store_all(store, make_batch(number))
            freeze(store)
        flip(sealed(tmp_path, 1), 100)
        store_all(store, make_batch(3))
        freeze(store)
        wait_for(lambda: metric(store, "traced_store_quarantined_segments_total") == 1)
        assert held(store) == expected([2, 3])
        assert metric(store, "traced_store_lost_batches_total") == 1


# ---------------------------------------------------------------------- steps that were interrupted


def test_a_segment_whose_sealed_file_exists_is_a_left_over(crashed):
    """Killed between the rename of the sealed file and the removal of the segment."""
    copies = {path: path.read_bytes() for path in hot_files(crashed)}
    with open_store(crashed) as store:
        wait_for(lambda: len(store.catalog.parts.segments) == 1)
    for path, content in copies.items():
        path.write_bytes(content)
    starts_with(crashed, [1, 2, *HOT], lost=0, quarantined=0)
    assert not hot_files(crashed)[0].exists()


def test_of_a_merged_file_and_its_sources_one_counts(tmp_path):
    with open_store(tmp_path, merge_files=2) as store:
        store_all(store, make_batch(1), make_logs(1))
        freeze(store)
        copies = {path: path.read_bytes() for path in (tmp_path / "sealed").iterdir()}
        store_all(store, make_batch(2))
        freeze(store)
        wait_for(lambda: len(store.catalog.parts.generations) == 1)
    for path, content in copies.items():
        path.write_bytes(content)
    with open_store(tmp_path) as store:
        assert held(store) == expected([1, 2])
        assert store.logs_of_trace(1, 1).num_rows == 10
    assert not any(path.exists() for path in copies)


def test_a_damaged_merged_file_gives_way_to_its_sources(tmp_path):
    with open_store(tmp_path) as store:
        for number in (1, 2):
            store_all(store, make_batch(number))
            freeze(store)
    (tmp_path / "sealed" / "spans-00000001-00000002.parquet").write_bytes(b"PAR1 not really PAR1")
    starts_with(tmp_path, [1, 2], lost=0, quarantined=1)


def test_temporary_files_go(crashed):
    left = [crashed / "sealed" / "spans-00000009-00000009.parquet.tmp", crashed / "sealed" / "sums-00000009-00000009.json.tmp"]
    left.append(crashed / "sealed" / "logs-00000003-00000003.parquet")  # renamed before its spans file
    for path in left:
        path.write_bytes(b"x")
    for name in ("snapshot-abc", "findings-abc", "hot/hot-00000003.spill"):
        (crashed / name).mkdir()
        left.append(crashed / name)
    starts_with(crashed, [1, 2, *HOT], lost=0, quarantined=0)
    assert not any(path.exists() for path in left[:2])
    assert not any(path.exists() for path in left[3:])


# ---------------------------------------------------------------------- versions


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_directory_of_a_newer_version_is_refused_and_left_as_it_is(crashed):
    (crashed / "store.json").write_text(json.dumps({"store_version": STORE_VERSION + 1}))
    (crashed / "ballast").unlink(missing_ok=True)
    (crashed / "lock").unlink()
    before = tree(crashed)
    with pytest.raises(StoreError, match="newer traced") as raised, open_store(crashed):
        pass
    assert raised.value.error_code == "store_version_newer"
    assert tree(crashed) == before


def test_a_directory_that_only_says_its_version_is_not_filled(tmp_path):
    (tmp_path / "store.json").write_text(json.dumps({"store_version": 99}))
    with pytest.raises(StoreError, match="version 99"), open_store(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["store.json"]


def test_a_sealed_file_of_a_newer_version_is_refused_and_everything_left_as_it_is(crashed, monkeypatch):
    from traced.store import parquet

    with monkeypatch.context() as newer, open_store(crashed) as store:
        newer.setattr(parquet, "STORE_VERSION", STORE_VERSION + 1)
        store_all(store, make_batch(50))
        freeze(store)
    (crashed / "sealed" / "left.tmp").write_bytes(b"x")
    before = tree(crashed)
    with pytest.raises(StoreError, match="newer traced"), open_store(crashed):
        pass
    assert tree(crashed) == before


@pytest.mark.parametrize("content", ["", "{", '{"store_version": "x"}', '{"store_version": 7, "crc32": 5}', "[]"])
def test_a_damaged_version_file_does_not_keep_the_store_from_starting(crashed, content):
    """A flipped digit is told from a newer version by its checksum; the sealed files say their version, too."""
    (crashed / "store.json").write_text(content)
    starts_with(crashed, [1, 2, *HOT], lost=0, quarantined=0)
    assert json.loads((crashed / "store.json").read_text())["store_version"] == STORE_VERSION


def test_a_directory_in_use_is_refused(tmp_path):
    with open_store(tmp_path) as store:
        with pytest.raises(StoreError, match="in use") as raised, open_store(tmp_path):
            pass
        assert raised.value.error_code == "store_in_use"
        store_all(store, make_batch(1))
        assert held(store) == expected([1])


def test_a_path_that_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be"), open_store(tmp_path / "file"):
        pass


# ---------------------------------------------------------------------- everything at random


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_flip_or_a_cut_anywhere_never_goes_unnoticed(crashed, seed):
    """Whatever is not as it was sent is counted as lost; what is there is right, and the store starts."""
    rng = random.Random(seed)
    files = [p for p in crashed.rglob("*") if p.is_file() and p.stat().st_size and p.name not in {"lock", "ballast"}]
    weights = [p.stat().st_size for p in files]
    for _ in range(4):
        with_damage = crashed.with_name(f"{crashed.name}-{rng.random()}")
        shutil.copytree(crashed, with_damage)
        path = with_damage / rng.choices(files, weights)[0].relative_to(crashed)
        position = rng.randrange(path.stat().st_size)
        os.truncate(path, position) if rng.random() < 0.4 else flip(path, position)
        with open_store(with_damage) as store:
            there = sorted({number for number, _ in held(store)})
            assert held(store) == expected(there)
            for number in there:
                rows = store.spans_of_trace(number, number)
                assert set(rows.column("name").to_pylist()) == {"GET /cart"}
                assert min(a["value"] for row in rows.column("attributes").to_pylist() for a in row) == "value 0"
            assert metric(store, "traced_store_lost_batches_total") == 8 - len(there)
        shutil.rmtree(with_damage)
