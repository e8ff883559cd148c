"""Batches of log records that came again. A record has no identity, but a request that is sent again has the same bytes: its fingerprint tells.

Where a batch is stored says its segment, which keeps the fingerprint beside its number; of what is sealed the pairs are kept here, in a file of state
that is written before the segment goes. Whether the part with that number is still there is asked of the catalog.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from traced.model.batch import NO_FINGERPRINT, Batch, Fingerprint
from traced.store.recent_keys import Keys, RecentKeys
from traced.store.state import StateFiles

LogLookup = Callable[[Sequence[Fingerprint]], set[Fingerprint]]
Rows = npt.NDArray[np.uint64]
"""One row a batch: both words of the fingerprint, and the batch's number."""

_STATE: Final = "log_batches"
_COLUMNS: Final = 3


def sift_logs(batches: Sequence[Batch], recent: RecentKeys, stored: LogLookup) -> list[bool]:
    """Say of each batch of log records whether it is stored already, or stands earlier in the group.

    Args:
        batches: in the order of their acceptance.
        recent: keys of what is stored.
        stored: which of some candidates really are.
    """
    fingerprints = [batch.fingerprint for batch in batches]
    hits = recent.contains(log_keys(fingerprints))
    candidates = [one for one, hit in zip(fingerprints, hits.tolist(), strict=True) if hit and one != NO_FINGERPRINT]
    known = set(stored(candidates)) if candidates else set()
    repeated = []
    for one in fingerprints:
        repeated.append(one in known)
        if one != NO_FINGERPRINT:
            known.add(one)
    return repeated


def log_keys(fingerprints: Sequence[Fingerprint]) -> Keys:
    """Give the keys by which batches are remembered."""
    return np.array([low for _, low in fingerprints], np.uint64)


class SealedLogBatches:
    """The newest batches of log records in sealed files: written by the keeper, read by the writer."""

    def __init__(self, capacity: int, state: StateFiles) -> None:
        """Read what is remembered; nothing where there is no such state, or it is damaged.

        Args:
            capacity: batches.
            state: where they are kept across restarts.
        """
        self._capacity = capacity
        self._state = state
        self._rows = _load(state.load(_STATE))

    @property
    def keys(self) -> Keys:
        """Give the keys of all, oldest first."""
        return self._rows[:, 1]

    def add(self, rows: Rows) -> None:
        """Remember the batches of a segment that will be sealed, across restarts too when this returns; may be repeated.

        Raises:
            OSError: the disk is full or failing.
        """
        if not len(rows):
            return
        together = np.unique(np.concatenate([self._rows, rows]), axis=0)
        newest = together[np.argsort(together[:, 2], kind="stable")][-self._capacity :]
        self._state.save(_STATE, {"rows": base64.b64encode(newest.astype("<u8").tobytes()).decode("ascii")})
        self._rows = newest

    def numbers(self, fingerprint: Fingerprint) -> list[int]:
        """Give the numbers that batches of a fingerprint have."""
        high, low = (np.uint64(word) for word in fingerprint)
        rows = self._rows
        numbers: list[int] = rows[(rows[:, 0] == high) & (rows[:, 1] == low), 2].tolist()
        return numbers


def _load(state: Any) -> Rows:
    try:
        words = np.frombuffer(base64.b64decode(state["rows"], validate=True), "<u8")
        return words.astype(np.uint64).reshape(-1, _COLUMNS)
    except (TypeError, KeyError, ValueError):
        return np.zeros((0, _COLUMNS), np.uint64)
