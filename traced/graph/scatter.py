"""Whether what is missing is scattered as by independent choices, or comes in stretches and heaps as losses do: three tests, in closed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise
from math import exp, sqrt

import numpy as np

from traced.graph.columns import Mask


def runs_score(labels: Sequence[Hashable]) -> float:
    """Say how the number of runs of equal labels differs from what independent labels give: in standard deviations, below 0 for fewer.

    The runs test of Wald and Wolfowitz for any number of kinds (Barton and David 1957; Zar, Biostatistical Analysis), with a continuity correction that
    favours chance. Labels of one kind, or of which each is alone, say nothing: 0.
    """
    number, kinds = len(labels), Counter(labels).values()
    squares, cubes = sum(n**2 for n in kinds), sum(n**3 for n in kinds)
    if number < 2:
        return 0.0
    runs = 1 + sum(one != other for one, other in pairwise(labels))
    mean = number + 1 - squares / number
    variance = (squares * (squares + number * (number + 1)) - 2 * number * cubes - number**3) / (number**2 * (number - 1))
    return min(0.0, runs + 0.5 - mean) / sqrt(variance) if variance > 0 else 0.0


def so_uneven_by_chance(marked: Mask) -> float:
    """Give the chance that the marked lie so unevenly among the others of an ordered row (two-sample Kolmogorov-Smirnov, Stephens' approximation)."""
    part, rest = int(np.count_nonzero(marked)), int(np.count_nonzero(~marked))
    if not part or not rest:
        return 1.0
    apart = float(np.abs(np.cumsum(marked) / part - np.cumsum(~marked) / rest).max())
    size = sqrt(part * rest / (part + rest))
    scaled = (size + 0.12 + 0.11 / size) * apart
    if scaled < 0.2:  # the series does not converge there, and the chance is 1 to four digits
        return 1.0
    chance = sum((2.0 if j % 2 else -2.0) * exp(-2 * (j * scaled) ** 2) for j in range(1, 101))
    return min(1.0, max(0.0, chance))


def so_many_beyond_by_chance(present: int, absent: int, beyond: int) -> float:
    """Give the chance that so many of the absent lie beyond all that are present, if all lie at random."""
    chance = 1.0
    for place in range(beyond):
        chance *= (absent - place) / (absent + present - place)
    return chance
