"""What README.md says of the data directory, and shows of asking it, is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from store_parts import freeze, make_batch, open_store, store_all

from traced.config import QuerySettings
from traced.store.disk import BALLAST_BYTES
from traced.store.sandbox import Sandbox
from traced.store.user_queries import UserQueries

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def listing() -> dict[str, str]:
    """Give what the README lists below the data directory, with what it says of it."""
    block = re.search(r"^```text\ntraced-data/\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block
    return dict(re.findall(r"^  (\S+) +(.+)$", block[1], re.MULTILINE))


def names(directory: Path) -> set[str]:
    """Give what lies in a directory, as the README writes it."""
    return {re.sub(r"-.*", "-*", path.name) + ("/" if path.is_dir() else "") for path in directory.iterdir()}


def test_everything_in_the_data_directory_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: set[str] = set()

    def look(*_: Any) -> None:
        seen.update(names(tmp_path))

    monkeypatch.setattr(Sandbox, "run", look)
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        UserQueries(store, QuerySettings(), list).run("SELECT 1", {}, is_name=False)
        assert store.disk.ballast.stat().st_size == BALLAST_BYTES
    assert seen == set(listing())
    assert f"{BALLAST_BYTES // 2**20} MiB" in listing()["ballast"]


def test_the_sql_of_the_readme_gives_the_columns_that_it_shows(tmp_path: Path):
    block = re.search(r"^\$ cat own\.sql\n(.*?)^\$ traced query own\.sql\n(.*?)\n", README, re.MULTILINE | re.DOTALL)
    assert block
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1, kind=2))
        answer = UserQueries(store, QuerySettings(), list).run(block[1], {}, is_name=False)
    assert answer.columns == block[2].split()
    assert [row[0] for row in answer.rows] == ["cart"]


def test_sealed_files_are_read_as_the_readme_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    block = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert block
    statement = re.search(r'^print\(duckdb\.sql\("(.*)"\)\)$', block[1], re.MULTILINE)
    assert statement
    with open_store(tmp_path / "traced-data") as store:
        store_all(store, make_batch(1))
        freeze(store)
        monkeypatch.chdir(tmp_path)
        assert duckdb.sql(statement[1]).fetchall() == [("cart", 10)]
