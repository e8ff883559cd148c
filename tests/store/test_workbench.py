"""The workbench: tables by name, and queries that are not asked where they can have no answer."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from traced.errors import QueryError
from traced.store.queries import Column, NamedQuery
from traced.store.workbench import Workbench

DRIVEN = NamedQuery(
    "q", "detectors", "Which?", (), (Column("a", "bigint"),), "SELECT one.a FROM one LEFT JOIN two USING (a) UNION ALL FROM three", ("one", "three")
)
NOTHING = pa.schema([("a", pa.int64())]).empty_table()
SOME = pa.table({"a": pa.array([1, 2], pa.int64())})


def test_a_query_without_a_row_in_what_drives_it_is_not_asked():
    bench = Workbench()
    bench.register({"one": NOTHING, "two": SOME, "three": NOTHING})
    nonsense = replace(DRIVEN, sql="this would fail")
    assert bench.rows(nonsense) == []
    with pytest.raises(QueryError, match="syntax"):
        bench.rows(replace(nonsense, driven_by=()))
    with pytest.raises(QueryError, match="syntax"):
        bench.rows(replace(nonsense, driven_by=("one", "two")))


@pytest.mark.parametrize("name", DRIVEN.driven_by)
def test_a_row_in_any_of_the_driving_tables_asks_it(name: str):
    bench = Workbench()
    bench.register({"one": NOTHING, "two": NOTHING, "three": NOTHING} | {name: SOME})
    assert bench.rows(DRIVEN) == [{"a": 1}, {"a": 2}]
    bench.register({name: NOTHING})
    assert bench.rows(DRIVEN) == []


def test_an_answer_without_rows_has_the_columns_of_one_with_rows():
    bench = Workbench()
    bench.register({"one": SOME, "two": NOTHING, "three": NOTHING})
    asked = bench.run(DRIVEN)
    bench.register({"one": NOTHING})
    assert bench.run(DRIVEN).schema == asked.schema
    assert (asked.num_rows, bench.run(DRIVEN).num_rows) == (2, 0)


def test_a_table_that_is_not_known_does_not_silence_a_query():
    with pytest.raises(QueryError, match="one"):
        Workbench().rows(DRIVEN)
