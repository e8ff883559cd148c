"""How far a pass goes: so that it reads at most about as many spans as it may, though nobody knows beforehand how many came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_NANOS: Final = 10_000_000_000
_SMALLEST_NANOS: Final = 100_000_000
_LONGEST_NANOS: Final = 600_000_000_000


class Slices:
    """Chooses the end of each slice of arrivals; it learns from one to the next."""

    def __init__(self, limit: int, spans: Callable[[int, int], int]) -> None:
        """Start with some seconds.

        Args:
            limit: how many spans a slice may hold.
            spans: counts those that arrived between two times (ns).
        """
        self._limit = limit
        self._spans = spans
        self._nanos = _FIRST_NANOS

    def shorten(self) -> None:
        """Take less from now on: a pass failed."""
        self._nanos = max(_SMALLEST_NANOS, self._nanos // 4)

    def until(self, cut: int, first: int, target: int) -> int:
        """Choose where the slice after `cut` ends, at `target` at most; the next one begins there (all ns).

        Args:
            cut: where the last one ended.
            first: the first arrival after it.
            target: up to where there may be a look.
        """
        begin = max(first, cut)
        until = min(target, begin + self._nanos)
        while (spans := self._spans(cut, until)) > self._limit and until - begin > _SMALLEST_NANOS:
            self._nanos = max(_SMALLEST_NANOS, (until - begin) // 2)
            until = begin + self._nanos
        if spans < self._limit // 4:
            self._nanos = min(_LONGEST_NANOS, self._nanos * 2)
        return until
