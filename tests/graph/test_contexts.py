"""Contexts, halves of ids, sampling and floods: the same in any order of arrival, whatever comes, and quickly."""

from __future__ import annotations

import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from spans import EPOCH, spans
from thorough import rounds

from traced.graph import relation, trace_state
from traced.graph.calls import Naming
from traced.graph.floods import MAX_INTERNAL, MAX_SHORT, MIN_SIBLINGS, SHORT_NANOS
from traced.graph.forest import Forest
from traced.model.span import FLAGS_HAS_IS_REMOTE, MAX_TIME_UNIX_NANO, SpanKind

QUICK = settings(max_examples=rounds(10, 50), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.too_slow])
TABLES = ("pass_leaks", "pass_crowds", "pass_truncated", "pass_samplings", "pass_floods")
SCHEMA = spans("web SERVER a").staged().schema
MILLISECOND = 10**6


def staged(count: int, **columns: Any) -> pa.Table:
    """Give a staged table; a column that is not given holds what a sender leaves out. One value stands for all rows."""

    def column(field: pa.Field) -> pa.Array:
        value = columns.get(field.name)
        if isinstance(value, np.ndarray | list):
            return pa.array(value, field.type)
        if value is None and pa.types.is_string(field.type):
            value = ""
        if value is None and pa.types.is_list(field.type):
            return pa.nulls(count, field.type)
        return pa.array(np.full(count, value or 0) if not isinstance(value, str) else [value] * count, field.type)

    return pa.table([column(field) for field in SCHEMA], schema=SCHEMA)


def found(table: pa.Table) -> dict[str, pa.Table]:
    """Give the tables of one pass."""
    made = relation.build(Forest(table), Naming())
    none = np.zeros(table.num_rows, bool)
    tables = relation.tables(made, none, spans("web SERVER a").repeats())
    return {name: tables[name] for name in TABLES}


def rows(table: pa.Table) -> list[str]:
    """Give a table's rows, sorted."""
    return sorted(map(repr, table.to_pylist()))


# ---------------------------------------------------------------------- any order


def _random_table(seed: int) -> pa.Table:
    """Give a few hundred spans among which there is something of everything."""
    rng = random.Random(seed)
    count = 400
    low = [rng.choice([2**63 + 5, 2**63 + 6, 7]) for _ in range(count)]
    high = [rng.choice([0, 0, 2**62 + 9, 2**62 + 11]) for _ in range(count)]
    return staged(
        count,
        trace_id_high=high,
        trace_id_low=low,
        span_id=list(range(1, count + 1)),
        parent_span_id=[rng.choice([0, rng.randrange(1, count + 40), rng.randrange(1, 4)]) for _ in range(count)],
        trace_state=[rng.choice(["", "ot=th:8", "ot=rv:11111111111111", "ot=th:f;rv:22222222222222"]) for _ in range(count)],
        flags=[rng.choice([0, FLAGS_HAS_IS_REMOTE, 0x300, 0x102]) for _ in range(count)],
        name=[rng.choice("ab") for _ in range(count)],
        kind=[rng.choice([1, 1, 2, 2, 3, 4, 5]) for _ in range(count)],
        start_time_unix_nano=[EPOCH + rng.randrange(5) * 10**9 for _ in range(count)],
        end_time_unix_nano=[EPOCH + rng.randrange(6 * 10**3) * 10**6 for _ in range(count)],
        service_name=[rng.choice(["web", "cart"]) for _ in range(count)],
        service_instance_id="1",
        host="h",
    )


@given(st.integers(0, 10**6))
@QUICK
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    table = _random_table(seed)
    order = list(range(table.num_rows))
    random.Random(seed + 1).shuffle(order)
    one, other = found(table), found(table.take(order))
    assert sum(t.num_rows for t in one.values()) > 0
    for name in TABLES:
        assert rows(one[name]) == rows(other[name]), name


# ---------------------------------------------------------------------- against the plain way


@given(st.integers(0, 10**6))
@QUICK
def test_floods_are_what_counting_gives(seed: int) -> None:
    rng = random.Random(seed)
    count = 900
    table = staged(
        count,
        trace_id_high=1,
        trace_id_low=[rng.choice([3, 4]) for _ in range(count)],
        span_id=list(range(1, count + 1)),
        parent_span_id=[rng.choice([0, 1, 2, 3]) for _ in range(count)],
        name=[rng.choice("ab") for _ in range(count)],
        kind=[rng.choice([1, 3, 3, 3]) for _ in range(count)],
        start_time_unix_nano=EPOCH,
        end_time_unix_nano=[EPOCH + rng.choice([1, 20, 20, 20, 20, 0]) * MILLISECOND for _ in range(count)],
        service_name=[f"s{rng.randrange(rng.choice([2, 30]))}" for _ in range(count)],
    )
    internal, short, alike = Counter[Any](), Counter[Any](), Counter[Any]()
    here = {(row["trace_id_low"], row["span_id"]) for row in table.to_pylist()}
    for row in table.to_pylist():
        key = (row["trace_id_low"], row["service_name"])
        internal[key] += row["kind"] == SpanKind.INTERNAL
        short[key] += 0 < row["end_time_unix_nano"] - row["start_time_unix_nano"] < SHORT_NANOS
        if (row["trace_id_low"], row["parent_span_id"]) in here and row["parent_span_id"] != row["span_id"]:
            alike[*key, row["parent_span_id"], row["name"]] += 1
    siblings = Counter[Any]()
    for (trace, service, _, _), number in alike.items():
        siblings[trace, service] += number if number >= MIN_SIBLINGS else 0
    expected = {("internal_spans", *key, n) for key, n in internal.items() if n > MAX_INTERNAL}
    expected |= {("short_spans", *key, n) for key, n in short.items() if n > MAX_SHORT}
    expected |= {("siblings", *key, n) for key, n in siblings.items() if n}
    told = found(table)["pass_floods"].to_pylist()
    assert {(r["flood"], r["trace_id_low"], r["service"], r["spans"]) for r in told} == expected
    assert len({(r["trace_id_low"], r["span_id"]) for r in told}) == len(told), "one span speaks for one flood"


def _read(text: str) -> tuple[int | None, int | None, bool]:
    """Read a state slowly: threshold, randomness, and whether a randomness is there that cannot be read."""
    for member in text.split(","):
        key, equals, value = member.lstrip(" \t").partition("=")
        if key == "ot" and equals:
            parts = value.strip().split(";")
            if len(value.strip()) > 256:
                return None, None, False
            thresholds = [p[3:] for p in parts if re.fullmatch(r"th:[0-9a-f]{1,14}", p)]
            values = [p[3:] for p in parts if re.fullmatch(r"rv:[0-9a-f]{14}", p)]
            threshold = int(thresholds[0].ljust(14, "0"), 16) if thresholds else None
            return threshold, int(values[0], 16) if values else None, not values and any(p.startswith("rv:") for p in parts)
    return None, None, False


_PIECES = ["ot=", "th:", "rv:", ";", ",", " ", "8", "f" * 14, "0" * 13, "1" * 14, "x", "vendor=1", "@", "\t", "F", "é", ":", "=", "y" * 250]


@given(st.lists(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join), min_size=1, max_size=20))
@settings(QUICK, max_examples=300)
def test_states_are_read_as_the_slow_way_reads_them(texts: list[str]) -> None:
    read = trace_state.parse(pa.array(texts, pa.string()))
    for at, text in enumerate(texts):
        threshold, randomness, spoiled = _read(text)
        assert (int(read.threshold[at]) if read.has_threshold[at] else None) == threshold, text
        assert (int(read.randomness[at]) if read.has_randomness[at] else None) == randomness, text
        assert bool(read.spoiled[at]) == spoiled, text


def test_no_state_is_read_of_no_span() -> None:
    assert len(trace_state.parse(pa.array([], pa.string())).threshold) == 0
    assert not trace_state.parse(pa.array([None], pa.string())).has_threshold[0]


# ---------------------------------------------------------------------- whatever comes


EXTREMES = [0, 1, EPOCH, MAX_TIME_UNIX_NANO - 1, MAX_TIME_UNIX_NANO]


def test_times_at_the_ends_of_what_can_be_written_say_nothing_of_contexts() -> None:
    pairs = [(a, b, c, d) for a in EXTREMES for b in EXTREMES for c in EXTREMES for d in EXTREMES]
    count = 2 * len(pairs)
    times = np.array(pairs, np.int64)
    table = staged(
        count,
        trace_id_high=1,
        trace_id_low=np.repeat(np.arange(1, len(pairs) + 1), 2),
        span_id=np.tile([1, 2], len(pairs)),
        parent_span_id=np.tile([0, 1], len(pairs)),
        kind=int(SpanKind.SERVER),
        flags=FLAGS_HAS_IS_REMOTE,
        start_time_unix_nano=times[:, [0, 2]].reshape(-1),
        end_time_unix_nano=times[:, [1, 3]].reshape(-1),
        service_name="web",
        service_instance_id="1",
        host="1",
    )
    told = found(table)["pass_leaks"]
    late = {pairs[trace - 1] for trace in told.column("trace_id_low").to_pylist()}
    # a start, a later end before the largest time, for both, and the one after the other
    assert late == {(a, b, c, d) for a, b, c, d in pairs if 0 < a < b < c < d < MAX_TIME_UNIX_NANO}
    assert min(told.column("late_nanos").to_pylist(), default=1) > 0


def test_ids_of_zeros_and_empty_names_are_survived() -> None:
    table = staged(300, kind=int(SpanKind.SERVER), service_instance_id="1", host="1", start_time_unix_nano=EPOCH, end_time_unix_nano=EPOCH + 1)
    assert {name: t.num_rows for name, t in found(table).items() if name != "pass_floods"} == dict.fromkeys(TABLES[:-1], 0)


def test_nothing_at_all_is_survived() -> None:
    assert {name: t.num_rows for name, t in found(staged(0)).items()} == dict.fromkeys(TABLES, 0)


# ---------------------------------------------------------------------- quickly


def _long_trace(count: int, parents: np.ndarray[Any, Any], **more: Any) -> pa.Table:
    at = EPOCH + np.arange(count) * 10 * MILLISECOND
    base = {
        "trace_id_high": 2**62 + 1,
        "trace_id_low": 2**62 + 3,
        "span_id": np.arange(1, count + 1),
        "parent_span_id": parents,
        "kind": int(SpanKind.CONSUMER),
        "flags": FLAGS_HAS_IS_REMOTE,
        "name": "take",
        "start_time_unix_nano": at,
        "end_time_unix_nano": at + MILLISECOND,
        "service_name": "web",
        "service_instance_id": "1",
        "host": "1",
    }
    return staged(count, **(base | more))


COUNT = 100_000
_ALL = np.arange(COUNT)
LONG: dict[str, tuple[Callable[[], pa.Table], dict[str, int]]] = {
    "a chain of contexts that leaked": (lambda: _long_trace(COUNT, _ALL), {"pass_leaks": COUNT - 1, "pass_floods": 1}),
    "one context that everything found": (lambda: _long_trace(COUNT, np.minimum(_ALL, 1)), {"pass_leaks": COUNT - 1, "pass_floods": 1}),
    "entries without end": (lambda: _long_trace(COUNT, _ALL * 0), {"pass_crowds": 1, "pass_floods": 1}),
    "a chain of INTERNAL spans": (lambda: _long_trace(COUNT, _ALL, kind=int(SpanKind.INTERNAL)), {"pass_floods": 2}),
    "siblings": (lambda: _long_trace(COUNT, np.minimum(_ALL, 1), kind=int(SpanKind.CLIENT)), {"pass_floods": 2}),
    "a state of its own on each span": (
        lambda: _long_trace(COUNT, _ALL, kind=int(SpanKind.CLIENT), trace_state=[f"ot=rv:{n:014x}" for n in range(COUNT)]),
        {"pass_samplings": 1, "pass_floods": 1},
    ),
    "orphans in half a trace and in the whole one": (
        lambda: _long_trace(COUNT, _ALL + 10**6, trace_id_high=np.where(_ALL % 2, 2**62 + 1, 0), kind=int(SpanKind.CLIENT)),
        {"pass_truncated": 1, "pass_floods": 2},
    ),
    "one half and very many whole ids that have it": (
        lambda: _long_trace(COUNT, _ALL + 10**6, trace_id_high=_ALL),
        {"pass_truncated": 1},
    ),
    "very many halves and their whole ids": (
        lambda: _long_trace(COUNT, _ALL * 0 + 1, trace_id_high=np.where(_ALL % 2, 2**62 + 1, 0), trace_id_low=2**62 + _ALL // 2, span_id=_ALL % 2 + 1),
        {"pass_truncated": COUNT // 2},
    ),
}


@pytest.mark.parametrize("case", LONG, ids=str)
def test_what_a_hundred_thousand_spans_hold_is_found_in_seconds(case: str) -> None:
    make, expected = LONG[case]
    made = relation.build(Forest(make()), Naming())
    started = time.perf_counter()
    tables = relation.tables(made, np.zeros(COUNT, bool), spans("web SERVER a").repeats())
    took = time.perf_counter() - started
    assert {name: tables[name].num_rows for name in TABLES if tables[name].num_rows} == expected
    assert took < 5


def test_of_a_service_in_many_traces_each_is_told_once() -> None:
    count = 4_000
    traces = np.arange(count) % 40
    table = staged(
        count,
        trace_id_high=1,
        trace_id_low=traces + 2**40,
        span_id=np.arange(1, count + 1),
        kind=int(SpanKind.SERVER),
        start_time_unix_nano=EPOCH + np.arange(count) * 10**9,
        end_time_unix_nano=EPOCH + np.arange(count) * 10**9 + MILLISECOND,
        service_name="web",
        service_instance_id="1",
        host="1",
    )
    told = found(table)["pass_crowds"].to_pylist()
    by_trace = defaultdict(list)
    for row in told:
        by_trace[row["trace_id_low"]].append((row["entries"], row["span_id"]))
    assert by_trace == {2**40 + n: [(100, n + 1)] for n in range(40)}
