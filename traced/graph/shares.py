"""What a share seen in a sample says of the share there is."""

from __future__ import annotations

from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, sqrt
from typing import Final

_Z_95: Final = 1.6448536269514722
"""One-sided 95 % quantile of the normal distribution."""
_DOUBT: Final = 0.05
_HALVINGS: Final = 40
_NEGLIGIBLE: Final = 1e-12


def least_share(part: int, whole: int) -> float:
    """Give the lower one-sided 95 % bound (Wilson score) of the share that part is of whole; 0 of nothing."""
    if not whole:
        return 0.0
    share, square = part / whole, _Z_95 * _Z_95
    centre = share + square / (2 * whole)
    spread = _Z_95 * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return (centre - spread) / (1 + square / whole)


@lru_cache(10_000)
def surely_least_share(part: int, whole: int) -> float:
    """Give the lower one-sided 95 % bound (Clopper and Pearson) of the share that part is of whole: exact for the smallest samples; 0 of nothing."""
    low, high = 0.0, part / whole if whole else 0.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        low, high = (share, high) if at_least(part, whole, share) < _DOUBT else (low, share)
    return low


def at_least(part: int, whole: int, share: float) -> float:
    """Give the chance of so large a part or a larger one of a sample, where there is such a share of it (binomial distribution)."""
    if share <= 0 or part <= 0:
        return float(part <= 0)
    if share >= 1:
        return float(part <= whole)
    total = 0.0
    for k in range(part, whole + 1):
        term = exp(_choices(whole, k) + k * log(share) + (whole - k) * log1p(-share))
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return total


def so_few_by_chance(part: int, rest: int, other_part: int, other_rest: int) -> float:
    """Give the chance of so small a part here beside that of others, if both had the same share (Fisher's exact test, one-sided)."""
    here, whole, parts = part + rest, part + rest + other_part + other_rest, part + other_part
    ways = _choices(whole, here)
    terms = (_choices(parts, k) + _choices(whole - parts, here - k) - ways for k in range(part + 1))
    return min(1.0, sum(exp(term) for term in terms))


def _choices(whole: int, part: int) -> float:
    """Give the logarithm of the number of ways to choose."""
    return lgamma(whole + 1) - lgamma(part + 1) - lgamma(whole - part + 1) if 0 <= part <= whole else -inf
