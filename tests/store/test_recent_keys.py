"""The memory of recent keys: exact within its capacity, bounded beyond it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.store.recent_keys import RecentKeys, mix

KEYS = st.lists(st.integers(0, 2**64 - 1), max_size=200)


def keys(values) -> np.ndarray:
    return np.array(list(values), np.uint64)


@settings(max_examples=50, deadline=None)
@given(st.lists(KEYS, max_size=20), KEYS)
def test_what_was_added_is_found_and_nothing_else(added, others):
    recent = RecentKeys(100_000)
    for some in added:
        recent.add(keys(some))
    everything = {key for some in added for key in some}
    asked = [*everything, *others]
    assert recent.contains(keys(asked)).tolist() == [key in everything for key in asked]


@settings(max_examples=20, deadline=None)
@given(st.integers(1000, 60_000), st.lists(st.integers(1, 40_000), min_size=1, max_size=12))
def test_the_newest_are_remembered_and_the_rest_is_bounded(capacity, sizes):
    recent = RecentKeys(capacity)
    start = 0
    for size in sizes:
        recent.add(np.arange(start, start + size, dtype=np.uint64))
        start += size
    newest = np.arange(max(0, start - capacity), start, dtype=np.uint64)
    assert recent.contains(newest).all()
    # a run that is forgotten as a whole is a quarter of the capacity, or one group
    assert len(recent) <= capacity + 2 * max(32_768, capacity // 4) + max(sizes)
    assert not recent.contains(np.array([start + 1], np.uint64)).any()


@given(st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 3), min_size=2, max_size=50, unique=True))
def test_keys_depend_on_each_part_and_on_its_place(rows):
    parts = [keys(column) for column in zip(*rows, strict=True)]
    assert len(set(mix(*parts).tolist())) == len(rows)
    assert (mix(*parts) == mix(*parts)).all()
    if rows[0][0] != rows[0][1]:
        assert mix(*parts)[0] != mix(parts[1], parts[0], parts[2])[0]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_keys_are_the_same_on_every_start_because_they_are_rebuilt_from_stored_rows(first, second):
    state = 0x9E3779B97F4A7C15
    for part in (first, second):
        state ^= part
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    assert mix(keys([first]), keys([second])).tolist() == [state]
