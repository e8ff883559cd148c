"""docs/store-schema.md says the type of each column, where typed attributes come from, and SQL that runs."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from store_parts import freeze, make_batch, make_logs, open_store, store_all

from traced.model.messages import FLOWS, MESSAGES
from traced.model.schema import LOGS, REPEATS, SPANS, TYPED_ATTRIBUTES

TEXT = (Path(__file__).parents[2] / "docs" / "store-schema.md").read_text(encoding="utf-8")


def section(heading: str) -> list[tuple[str, str, str]]:
    part = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", part, re.MULTILINE)


@pytest.mark.parametrize(("heading", "schema"), [("spans", SPANS), ("logs", LOGS), ("repeats", REPEATS), ("messages", MESSAGES), ("flows", FLOWS)])
def test_types_are_those_of_the_files(heading, schema):
    def word(kind: pa.DataType) -> str:
        if pa.types.is_list(kind):
            return "list of struct" if pa.types.is_struct(kind.value_type) else f"list of {kind.value_type}"
        return str(kind)

    assert [(name, kind) for name, kind, _ in section(heading)] == [(field.name, word(field.type)) for field in schema]


def test_typed_attributes_name_their_spellings_in_order():
    told = {name: tuple(re.findall(r"`([^`]+)`", meaning)) for name, _, meaning in section("spans") if name in TYPED_ATTRIBUTES}
    assert told == TYPED_ATTRIBUTES


def test_its_sql_runs_over_sealed_files(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1), make_logs(1))
        freeze(store)
        queries = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
        assert queries
        for query in queries:
            assert duckdb.sql(query.replace("traced-data/", f"{tmp_path}/")).fetchall() == [("cart", 10)]
        identifier = re.search(r"`(format\([^`]+\))`", TEXT)
        assert identifier
        rows = duckdb.sql(f"SELECT {identifier[1]} FROM read_parquet('{tmp_path}/sealed/spans-*.parquet') LIMIT 1").fetchall()  # noqa: S608
        assert rows == [("00000000000000010000000000000001",)]
