"""Small vector operations, held against numpy's own and against sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.graph.columns import Codes, among, ascending, combined

NUMBERS = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 9), max_size=30)


@given(NUMBERS, NUMBERS)
def test_among_marks_what_is_in_both(few: list[int], many: list[int]):
    marks = among(np.array(few, np.uint64), np.array(many, np.uint64))
    assert marks.tolist() == [value in set(many) for value in few]


@given(NUMBERS)
def test_ascending_gives_each_value_once_in_order(values: list[int]):
    assert ascending(np.array(values, np.int64)).tolist() == sorted(set(values))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**40), st.integers(0, 2), st.integers(0, 2**40)), max_size=30))
def test_combined_numbers_combinations_in_their_order_and_names_the_first_row_of_each(rows: list[tuple[int, int, int, int]]):
    group, first = combined(*(np.array([row[at] for row in rows], np.int64) for at in range(4)))
    ordered = sorted(set(rows))
    assert group.tolist() == [ordered.index(row) for row in rows]
    assert first.tolist() == [rows.index(combination) for combination in ordered]


def test_among_of_codes_marks_the_rows_with_one_of_some_texts():
    codes = Codes(np.array([0, 1, 2, 1]), ["", "receive", "send"])
    assert codes.among("receive", "poll").tolist() == [False, True, False, True]
    assert codes.at(np.array([0, 2])).among("").tolist() == [True, False]
    assert Codes(np.zeros(0, np.int64), []).among("receive").tolist() == []
