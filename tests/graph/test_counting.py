"""One counter: whatever the order, the repetition and the split of its readings, the sum is the same."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from traced.graph.counting import Counting, Cumulative, Delta, Increase, load

Reading = tuple[int, int, int]
"""(start, time, value)."""


def counted(counting: Counting, readings: Sequence[Reading], window: int = 0) -> Counting:
    for start, time, value in readings:
        counting.read(start, time, value, window)
    return counting


def cumulative(*readings: tuple[int, int], start: int = 100, most: int = 32) -> Counting:
    return counted(Cumulative(start, most), [(start, time, value) for time, value in readings])


def test_what_a_cumulative_counter_holds_came_since_its_start() -> None:
    one = cumulative((110, 5), (120, 5), (130, 9))
    assert list(one.increases()) == [Increase(100, 110, 5), Increase(120, 130, 4)]
    assert one.total == 9


def test_a_value_that_falls_within_one_start_is_no_restart() -> None:
    # two processes under one name, or a reading that was overtaken
    assert cumulative((110, 5), (120, 3), (130, 6)).total == 6


def test_without_a_start_counting_begins_with_the_first_reading_and_a_fall_is_a_restart() -> None:
    one = cumulative((110, 500), (120, 503), (130, 2), (140, 2), (150, 0), (160, 1), start=0)
    assert list(one.increases()) == [Increase(110, 120, 3), Increase(120, 130, 2), Increase(150, 160, 1)]
    assert one.total == 6


def test_one_reading_without_a_start_says_nothing() -> None:
    assert cumulative((110, 500), start=0).total == 0


def test_deltas_are_added_each_once() -> None:
    one = counted(Delta(0, 8), [(100, 110, 5), (110, 120, 2), (100, 110, 5), (120, 130, 0)])
    assert list(one.increases()) == [Increase(100, 110, 5), Increase(110, 120, 2)]
    assert one.total == 7


def test_deltas_of_two_starts_at_one_time_are_two() -> None:
    assert counted(Delta(0, 8), [(100, 110, 5), (105, 110, 5)]).total == 10


def test_the_times_of_old_readings_are_forgotten_and_their_sum_is_kept() -> None:
    rising = [(100 + n, 2 * n) for n in range(1, 101)]
    one = cumulative(*rising, most=4)
    assert one.total == 200
    assert list(one.increases()) == [Increase(100 + n - 1, 100 + n, 2) for n in range(97, 101)]
    deltas = counted(Delta(0, 4), [(100 + n, 101 + n, 2) for n in range(100)])
    assert deltas.total == 200
    assert len(list(deltas.increases())) == 4


def test_readings_that_say_nothing_new_go_first() -> None:
    one = cumulative((110, 5), *[(110 + n, 5) for n in range(1, 100)], (300, 8), most=4)
    assert list(one.increases()) == [Increase(100, 110, 5), Increase(209, 300, 3)]


def test_what_comes_too_late_to_be_placed_is_counted_and_left_out() -> None:
    deltas = counted(Delta(0, 2), [(0, 10, 1), (10, 20, 1), (20, 30, 1), (0, 10, 1)])
    assert (deltas.total, deltas.dropped) == (3, 1)
    one = cumulative((110, 1), (120, 2), (130, 3), (105, 1), most=2)
    assert (one.total, one.dropped) == (3, 1)


def test_what_is_two_windows_old_is_told_no_more() -> None:
    one = cumulative((110, 5), most=2)
    one.turn(1)
    assert one.total == 5
    one.read(100, 120, 7, 1)
    one.read(100, 130, 10, 1)
    assert one.total == 10
    one.turn(2)
    assert one.total == 5, "what was said first is forgotten, what was added since is not"
    one.turn(3)
    assert one.total == 0
    one.read(100, 140, 11, 3)
    assert list(one.increases()) == [Increase(130, 140, 1)]


def test_a_reading_sent_again_stays_as_old_as_it_is() -> None:
    deltas = counted(Delta(0, 8), [(100, 110, 5)])
    deltas.turn(1)
    deltas.read(100, 110, 5, 1)
    deltas.turn(2)
    assert deltas.total == 0


rises = st.lists(st.integers(0, 50), min_size=1, max_size=20)


@given(rises, st.randoms(use_true_random=False), st.sampled_from([100, 0]))
def test_any_order_and_repetition_of_cumulative_readings_gives_the_same(steps: list[int], chance: st.DataObject, start: int) -> None:
    value, readings = 0, []
    for number, step in enumerate(steps):
        value += step
        readings.append((110 + 10 * number, value))
    mixed = readings + chance.choices(readings, k=len(readings))
    chance.shuffle(mixed)
    told = cumulative(*mixed, start=start)
    assert list(told.increases()) == list(cumulative(*readings, start=start).increases())
    assert told.total == value - (0 if start else steps[0])
    assert told.dropped == 0


@given(rises, st.randoms(use_true_random=False), st.sets(st.integers(0, 19)))
def test_readings_that_are_left_out_change_no_sum_as_long_as_the_last_one_comes(steps: list[int], chance: st.DataObject, gaps: set[int]) -> None:
    value, readings = 0, []
    for number, step in enumerate(steps):
        value += step
        readings.append((110 + 10 * number, value))
    kept = [one for number, one in enumerate(readings[:-1]) if number not in gaps] + readings[-1:]
    chance.shuffle(kept)
    assert cumulative(*kept).total == value


@given(rises, st.randoms(use_true_random=False))
def test_any_order_and_repetition_of_deltas_gives_the_same(steps: list[int], chance: st.DataObject) -> None:
    readings = [(100 + 10 * number, 110 + 10 * number, step) for number, step in enumerate(steps)]
    mixed = readings + chance.choices(readings, k=len(readings))
    chance.shuffle(mixed)
    assert counted(Delta(0, 32), mixed).total == sum(steps)


@given(rises, st.integers(1, 6), st.sampled_from([100, 0]))
def test_the_limit_changes_no_sum(steps: list[int], most: int, start: int) -> None:
    readings = [(110 + 10 * number, sum(steps[: number + 1])) for number in range(len(steps))]
    assert cumulative(*readings, start=start, most=most).total == cumulative(*readings, start=start).total
    deltas = [(100 + 10 * number, 110 + 10 * number, step) for number, step in enumerate(steps)]
    assert counted(Delta(0, most), deltas).total == sum(steps)


@given(rises, st.integers(1, 6), st.sampled_from(["cumulative", "restarting", "delta"]))
def test_a_restart_of_ours_changes_nothing(steps: list[int], most: int, kind: str) -> None:
    readings = [(100 if kind == "cumulative" else 0, 110 + 10 * number, step) for number, step in enumerate(steps)]
    fresh: Counting = Delta(0, most) if kind == "delta" else Cumulative(readings[0][0], most)
    half = len(readings) // 2
    before = counted(fresh, readings[:half])
    after = load(json.loads(json.dumps(before.dump())))
    for one in (before, after):
        counted(one, readings[half:], 1)
        one.turn(1)
    assert (list(after.increases()), after.total, after.dump()) == (list(before.increases()), before.total, before.dump())
