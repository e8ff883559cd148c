"""What a share seen in a sample says of the share there is."""

from __future__ import annotations

from math import sqrt
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
