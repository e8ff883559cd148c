"""What does not fit into DuckDB's memory goes below the data directory, up to a limit, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from store_parts import crash, make_batch, open_store, store_all

from traced import daemon, file_analysis
from traced.config import Settings, StoreSettings
from traced.errors import QueryError
from traced.store import segment_check
from traced.store.queries import NamedQuery
from traced.store.segment import segment_paths
from traced.store.spill import Spill
from traced.store.workbench import Workbench

MUCH = NamedQuery("much", "tests", "How much?", (), (), "SELECT count(DISTINCT a) FROM (SELECT repeat('x', 60) || range AS a FROM range(1000000))")
"""Needs about a hundred megabytes."""


def where(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """Give where an instance puts what does not fit, and how much of it."""
    row = connection.cursor().execute("SELECT current_setting('temp_directory'), current_setting('max_temp_directory_size')").fetchone()
    assert row
    return row


def test_each_instance_of_the_store_has_a_directory_of_its_own_and_a_limit(tmp_path: Path):
    with open_store(tmp_path, max_spill_bytes=2**26) as store:
        store_all(store, make_batch(1))
        number = store.writer.segment.number
        seen = [where(store._reader._connection), where(store.writer.segment._connection)]
        assert seen == [(str(tmp_path / "spill" / "sealed"), "64.0 MiB"), (str(tmp_path / "spill" / f"hot-{number:08d}"), "64.0 MiB")]
        crash(store)
    with open_store(tmp_path, max_spill_bytes=2**26) as store:
        frozen = store.catalog.parts.segments[0]
        assert (frozen.number, where(frozen._connection)) == (number, seen[1])
        frozen.reopen()
        assert where(frozen._connection) == seen[1]


def test_what_was_left_in_it_by_a_crash_goes_at_the_next_start(tmp_path: Path):
    left = tmp_path / "spill" / "sealed" / "duckdb_temp_1.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    with open_store(tmp_path):
        assert list((tmp_path / "spill").iterdir()) == []


def test_the_look_at_a_segment_before_a_start_has_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        path, number = segment_paths(store.hot_dir, store.writer.segment.number)[0], store.writer.segment.number
        crash(store)
    seen: list[Any] = []
    real = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *args, **named: seen.append(named["config"]) or real(*args, **named))
    assert segment_check.look(str(path)) == {"last_batch": 1}
    (settings,) = seen
    assert settings["temp_directory"] == str(tmp_path / "spill" / f"hot-{number:08d}.check")
    assert settings["max_temp_directory_size"] == "1GiB"


@pytest.mark.parametrize("room", [0, 2**20, 2**30], ids=["nowhere", "too little", "enough"])
def test_a_workbench_puts_what_does_not_fit_where_it_is_told_to_and_no_more(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spill, elsewhere = tmp_path / "spill", tmp_path / "elsewhere"
    spill.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    bench = Workbench(memory_limit_bytes=40 * 2**20, spill=Spill(spill, room) if room else None)
    if room == 2**30:
        assert bench.rows(MUCH) == [{"count(DISTINCT a)": 1_000_000}]
    else:
        with pytest.raises(QueryError, match=r"(?i)out of memory"):
            bench.rows(MUCH)
    assert list(elsewhere.iterdir()) == []
    bench.close()
    assert list(spill.iterdir()) == []


def test_the_analysis_of_a_daemon_and_of_files_has_them_below_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given: list[Spill] = []

    def opened(spill: Spill) -> Workbench:
        assert spill.directory.name == "spill"
        assert spill.directory.is_dir() == bool(given), "of the daemon the store is not open yet"
        given.append(spill)
        return Workbench(spill=spill)

    monkeypatch.setattr(daemon, "Workbench", opened)
    monkeypatch.setattr(file_analysis, "Workbench", opened)
    settings = Settings(store=StoreSettings(data_dir=tmp_path, max_spill_bytes=2**27))
    bench = daemon.Daemon(settings).analysis._workbench
    assert where(bench._connection) == (str(tmp_path / "spill" / "analysis"), "128.0 MiB")
    file_analysis.analyze_requests([], settings)
    assert given[0] == Spill(tmp_path / "spill", 2**27)
    assert given[1] == replace(given[0], directory=given[1].directory)
    assert "traced-analyze-" in str(given[1].directory)
    assert not given[1].directory.exists()
