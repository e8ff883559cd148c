"""The numbers of the method, against tables."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.migration.statistics import (
    doubt_each,
    least_share,
    rate_excluded,
    runs_needed,
    share_bound,
    share_bound_of,
    units_needed,
    unseen_uses,
    window_needed,
)

DAY = 86400.0


@pytest.mark.parametrize(
    ("units", "bound"), [(10, 0.258866), (30, 0.095034), (59, 0.049508), (100, 0.029513), (299, 0.009969), (300, 0.009936), (1000, 0.002991)]
)
def test_the_share_that_no_use_of_so_many_leaves(units: int, bound: float) -> None:
    assert share_bound(units, 0.05) == pytest.approx(bound, abs=5e-7)


def test_nothing_seen_leaves_everything() -> None:
    assert share_bound(0, 0.05) == 1.0
    assert share_bound(100, 0.01) == pytest.approx(0.045007, abs=5e-7)


@pytest.mark.parametrize(
    ("share", "at_95", "at_99", "at_999"),
    [(0.05, 59, 90, 135), (0.01, 299, 459, 688), (0.001, 2995, 4603, 6905)],
)
def test_units_needed(share: float, at_95: int, at_99: int, at_999: int) -> None:
    assert [units_needed(share, 1 - confidence) for confidence in (0.95, 0.99, 0.999)] == [at_95, at_99, at_999]


@pytest.mark.parametrize(
    ("probability", "uses"),
    [
        (1, (0, 0, 0)),
        (0.9, (1, 2, 3)),
        (0.5, (4, 6, 9)),
        (0.25, (10, 16, 24)),
        (0.1, (28, 43, 65)),
        (0.05, (58, 89, 134)),
        (0.01, (298, 458, 687)),
        (0.001, (2994, 4602, 6904)),
    ],
)
def test_unseen_uses(probability: float, uses: tuple[int, int, int]) -> None:
    assert tuple(unseen_uses(probability, 1 - confidence) for confidence in (0.95, 0.99, 0.999)) == uses


def test_without_a_probability_nothing_bounds_the_unseen_uses() -> None:
    assert unseen_uses(None, 0.05) is None
    assert unseen_uses(0, 0.05) is None


@pytest.mark.parametrize(
    ("probability", "traces", "runs"),
    [(1, 1, 1), (1, 50, 1), (0.5, 1, 5), (0.1, 1, 29), (0.1, 10, 3), (0.1, 100, 1), (0.01, 1, 299), (0.01, 10, 30), (0.01, 100, 3)],
)
def test_runs_needed(probability: float, traces: int, runs: int) -> None:
    assert runs_needed(probability, traces, 0.05) == runs


@pytest.mark.parametrize(("probability", "traces", "days"), [(1, 1, 14), (0.5, 1, 42), (0.1, 1, 210), (0.1, 10, 28)])
def test_the_window_of_a_weekly_consumer(probability: float, traces: int, days: int) -> None:
    assert window_needed(7 * DAY, runs_needed(probability, traces, 0.05)) == days * DAY


@pytest.mark.parametrize(("probability", "silent_days", "once_per_days"), [(1, 30, 10.01), (1, 90, 30.04), (0.1, 30, 1.001)])
def test_the_rate_that_silence_excludes(probability: float, silent_days: int, once_per_days: float) -> None:
    assert 1 / rate_excluded(probability, silent_days * DAY, 0.05) / DAY == pytest.approx(once_per_days, abs=0.005)


def test_nothing_looked_at_excludes_no_rate() -> None:
    assert rate_excluded(1, 0, 0.05) == rate_excluded(0, 30 * DAY, 0.05) == float("inf")


@pytest.mark.parametrize(
    ("share", "needed"),
    [(0.01, {1: 299, 2: 368, 5: 459, 20: 597, 100: 757}), (0.001, {1: 2995, 2: 3688, 5: 4603, 20: 5989})],
)
def test_units_needed_of_several_consumers(share: float, needed: dict[int, int]) -> None:
    assert {consumers: units_needed(share, doubt_each(0.95, consumers)) for consumers in needed} == needed


@pytest.mark.parametrize(
    ("part", "whole", "bound"), [(1, 100, 0.046560), (2, 1000, 0.006282), (5, 1000, 0.010484), (0, 299, 0.009969), (7, 7, 1.0), (0, 0, 1.0)]
)
def test_the_bound_of_a_share_that_was_seen(part: int, whole: int, bound: float) -> None:
    assert share_bound_of(part, whole, 0.05) == pytest.approx(bound, abs=5e-7)


def test_two_consumers_as_in_the_example() -> None:
    doubt = doubt_each(0.95, 2)
    assert share_bound(1204, doubt) == pytest.approx(0.003059, abs=5e-7)
    assert unseen_uses(0.1, doubt) == 35
    assert runs_needed(0.1, 1, doubt) == 36
    assert window_needed(7 * DAY, 36) == 259 * DAY


@settings(deadline=None)
@given(units=st.integers(1, 10**6), doubt=st.floats(1e-6, 0.5))
def test_as_many_units_as_are_needed_are_enough_and_one_less_is_not(units: int, doubt: float) -> None:
    bound = share_bound(units, doubt)
    assert units_needed(min(0.999999, bound * (1 + 1e-7)), doubt) <= units
    if units > 1 and bound < 0.999:
        assert units_needed(bound * (1 - 1e-7), doubt) > units - 1


@settings(deadline=None)
@given(probability=st.floats(1e-4, 0.999), doubt=st.floats(1e-6, 0.5))
def test_so_many_uses_may_go_unseen_and_no_more(probability: float, doubt: float) -> None:
    uses = unseen_uses(probability, doubt)
    assert uses is not None
    assert (1 - probability) ** uses >= doubt * (1 - 1e-6)
    assert (1 - probability) ** (uses + 1) < doubt * (1 + 1e-6)


@settings(deadline=None)
@given(whole=st.integers(1, 500), doubt=st.floats(0.001, 0.4), data=st.data())
def test_a_bound_lies_above_what_was_seen_and_a_lower_one_below(whole: int, doubt: float, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    assert least_share(part, whole, doubt) <= part / whole <= share_bound_of(part, whole, doubt)
