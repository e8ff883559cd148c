"""Small vector operations, held against numpy's own and against sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from traced.graph.columns import among, ascending

NUMBERS = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 9), max_size=30)


@given(NUMBERS, NUMBERS)
def test_among_marks_what_is_in_both(few: list[int], many: list[int]):
    marks = among(np.array(few, np.uint64), np.array(many, np.uint64))
    assert marks.tolist() == [value in set(many) for value in few]


@given(NUMBERS)
def test_ascending_gives_each_value_once_in_order(values: list[int]):
    assert ascending(np.array(values, np.int64)).tolist() == sorted(set(values))
