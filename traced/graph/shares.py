"""What a share seen in a sample says of the share there is."""

from __future__ import annotations

from math import exp, inf, lgamma, sqrt
from typing import Final

_Z_95: Final = 1.6448536269514722
"""One-sided 95 % quantile of the normal distribution."""


def least_share(part: int, whole: int) -> float:
    """Give the lower one-sided 95 % bound (Wilson score) of the share that part is of whole; 0 of nothing."""
    if not whole:
        return 0.0
    share, square = part / whole, _Z_95 * _Z_95
    centre = share + square / (2 * whole)
    spread = _Z_95 * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return (centre - spread) / (1 + square / whole)


def so_few_by_chance(part: int, rest: int, other_part: int, other_rest: int) -> float:
    """Give the chance of so small a part here beside that of others, if both had the same share (Fisher's exact test, one-sided)."""
    here, whole, parts = part + rest, part + rest + other_part + other_rest, part + other_part
    ways = _choices(whole, here)
    terms = (_choices(parts, k) + _choices(whole - parts, here - k) - ways for k in range(part + 1))
    return min(1.0, sum(exp(term) for term in terms))


def _choices(whole: int, part: int) -> float:
    """Give the logarithm of the number of ways to choose."""
    return lgamma(whole + 1) - lgamma(part + 1) - lgamma(whole - part + 1) if 0 <= part <= whole else -inf
