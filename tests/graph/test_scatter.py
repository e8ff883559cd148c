"""Independent choices are scattered; losses come in stretches and heaps. The closed forms agree with chance itself."""

from __future__ import annotations

import random
from itertools import pairwise, permutations
from math import sqrt
from statistics import fmean, pstdev

import numpy as np
import pytest

from traced.graph.scatter import runs_score, so_many_beyond_by_chance, so_uneven_by_chance


@pytest.mark.parametrize("labels", ["aabb", "aaabbc", "abc", "aabbcc"])
def test_mean_and_spread_of_runs_are_those_of_all_orders(labels: str) -> None:
    runs = [1 + sum(a != b for a, b in pairwise(order)) for order in permutations(labels)]
    mean, spread = fmean(runs), pstdev(runs)
    ordered = sorted(labels)
    fewest = len(set(labels))
    expected = min(0.0, fewest + 0.5 - mean) / spread if spread else 0.0
    assert runs_score(ordered) == pytest.approx(expected)


def test_labels_of_one_kind_and_single_ones_say_nothing() -> None:
    assert [runs_score(labels) for labels in ("", "a", "aaaa")] == [0.0, 0.0, 0.0]


def test_independent_labels_rarely_score_low_and_stretches_always_do() -> None:
    rng = random.Random(1)
    scores = [runs_score(rng.choices("abc", (3, 2, 2), k=100)) for _ in range(1_000)]
    assert sum(score < -2.33 for score in scores) <= 20
    assert runs_score("w" * 100 + "g" * 10 + "w" * 100 + "c" * 5 + "w" * 100) < -10


def test_a_heap_lies_unevenly_and_what_is_scattered_does_not() -> None:
    rng = random.Random(2)
    heap = np.zeros(300, bool)
    heap[100:170:2] = True  # of two instances one lost a batch: every other trace, for a while
    assert so_uneven_by_chance(heap) < 0.001
    chances = [so_uneven_by_chance(np.array([rng.random() < 0.2 for _ in range(300)])) for _ in range(1_000)]
    assert sum(chance < 0.01 for chance in chances) <= 20
    assert so_uneven_by_chance(np.zeros(5, bool)) == so_uneven_by_chance(np.ones(5, bool)) == 1.0


def test_the_chance_of_lying_beyond_all_others_is_that_of_drawing_without_returning() -> None:
    assert so_many_beyond_by_chance(10, 0, 0) == 1.0
    assert so_many_beyond_by_chance(9, 1, 1) == pytest.approx(0.1)
    assert so_many_beyond_by_chance(5, 5, 5) == pytest.approx(1 / 252)
    drawn = random.Random(3)
    hits = sum(min(drawn.sample(range(12), 12)[:3]) >= 9 for _ in range(20_000))
    assert so_many_beyond_by_chance(9, 3, 3) == pytest.approx(hits / 20_000, abs=4 * sqrt(1 / 220 / 20_000))
