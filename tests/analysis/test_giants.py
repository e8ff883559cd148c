"""How much is read of the store, and looked at of a trace: whatever there is, no limit is passed and nothing is forgotten."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.analysis.giants import MAX_GIANTS, Giants, crowded, kept, plan
from traced.analysis.settled import trace_keys
from traced.store.read_schemas import TRACE_SIZES

LIMIT = 10


def ids(numbers: list[int]) -> pa.Table:
    """Give traces by number."""
    return pa.table({name: pa.array(numbers, pa.uint64()) for name in ("trace_id_high", "trace_id_low")})


def key(number: int) -> int:
    """Give a trace's key."""
    return int(trace_keys(ids([number]))[0])


TRACES = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15), st.booleans()), min_size=1, max_size=8)
"""Of each trace: fresh spans, earlier ones, and whether it was looked at before."""


@settings(max_examples=300, deadline=None)
@given(TRACES, st.one_of(st.none(), st.integers(1, 60)))
def test_nobody_reads_or_looks_at_more_than_the_limits_and_what_waits_is_named(traces: list[tuple[int, int, bool]], most: int | None) -> None:
    numbers = list(range(1, len(traces) + 1))
    fresh = [number for number, (count, _, _) in zip(numbers, traces, strict=True) for _ in range(count)]
    known = [number for number, (count, earlier, again) in zip(numbers, traces, strict=True) if again]
    stored = {n: traces[n - 1][0] + traces[n - 1][1] for n in known if traces[n - 1][0] + traces[n - 1][1]}
    rows = [{"trace_id_high": n, "trace_id_low": n, "spans": count, "first_arrival": 1000 + n} for n, count in stored.items()]
    sizes = pa.Table.from_pylist(rows, schema=TRACE_SIZES)
    keys = trace_keys(ids(fresh))
    reading = plan(keys, ids(known), sizes, LIMIT, most)

    read = reading.traces.column("trace_id_low").to_pylist()
    off = {n for n in numbers if key(n) in reading.put_off.tolist()}
    spans = pa.table({"start_time_unix_nano": np.arange(len(fresh))[::-1], "span_id": pa.array(range(len(fresh)), pa.uint64())})
    marks = kept(spans, keys, reading.rooms)
    assert not off & set(read)
    assert sum(stored[n] for n in read) <= (most or 2**62) or len(read) == 1
    assert bool(off) <= bool(read), "what waits makes room for something"
    assert reading.since == (1000 + min(read) - 1 if read else 0)
    for number, (count, earlier, again) in zip(numbers, traces, strict=True):
        looked_at = int(marks[[n == number for n in fresh]].sum()) if fresh else 0
        giant = count + (earlier if again else 0) > LIMIT
        if number in off:
            assert again
            assert key(number) not in reading.rooms
            continue
        assert (key(number) in reading.rooms) == giant
        assert looked_at == min(count, max(0, LIMIT - (earlier if again else 0)))
        assert (number in read) == (again and earlier > 0 and (not giant or looked_at > 0))


def test_of_a_giant_the_earliest_by_start_are_looked_at() -> None:
    keys = trace_keys(ids([1, 2, 1, 2, 1]))
    spans = pa.table({"start_time_unix_nano": [3, 9, 1, 9, 2], "span_id": pa.array([1, 5, 1, 4, 1], pa.uint64())})
    assert kept(spans, keys, {key(1): 2, key(2): 1}).tolist() == [False, False, True, True, True]
    assert kept(spans, keys, {key(1): 0}).tolist() == [False, True, False, True, False]
    assert kept(spans, keys, {}).all()


def test_a_crowd_is_seen_whenever_there_is_one() -> None:
    for limit in (1, 50, 99, 100):
        keys = trace_keys(ids([*range(2, 500), *[1] * 100]))
        assert crowded(keys, limit) or limit >= 100
    assert not crowded(trace_keys(ids([])), 0)
    assert not crowded(trace_keys(ids([1] * 10)), 10)


def test_giants_are_forgotten_when_nothing_came_for_long_and_when_there_are_too_many() -> None:
    giants = Giants(quiet_nanos=100)
    giants.note([1, 2], 1000)
    giants.note([2], 1090)
    giants.note([], 1101)
    assert giants.dump() == [[2, 1090]]
    again = Giants(quiet_nanos=100)
    again.load(giants.dump())
    assert again.marks(np.array([1, 2], np.uint64)).tolist() == [False, True]
    again.note(range(5, 5 + MAX_GIANTS), 1101)
    assert len(again.dump()) == MAX_GIANTS
    assert not again.marks(np.array([2], np.uint64))[0]
    with pytest.raises((ValueError, TypeError)):
        again.load([[1]])
    assert len(again.dump()) == MAX_GIANTS
