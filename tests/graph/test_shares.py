"""Bounds of shares, held against scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from traced.graph.shares import least_share, surely_least_share


@settings(deadline=None)
@given(st.integers(1, 3000).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_the_exact_bound_is_clopper_and_pearsons(sample: tuple[int, int]) -> None:
    part, whole = sample
    interval = binomtest(part, whole, alternative="greater").proportion_ci(0.95, "exact")
    assert surely_least_share(part, whole) == pytest.approx(interval.low, abs=1e-6)


@pytest.mark.parametrize("bound", [least_share, surely_least_share])
def test_of_nothing_nothing_is_known(bound: object) -> None:
    assert callable(bound)
    assert bound(0, 0) == 0.0


def test_very_many_are_as_quick_as_few() -> None:
    assert surely_least_share(900_000, 1_000_000) == pytest.approx(0.9, abs=0.001)
