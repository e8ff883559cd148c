"""Attributes of messages as columns: which of several spellings answers, and which parts say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints, Mask, Unsigned, mix, used

EMPTY: Final = pa.scalar("")
"""The empty text: made once, because Arrow looks for a library that is not here whenever it makes a scalar of a Python value."""


class Entries:
    """All attributes of some parts, one after the other; `count` parts."""

    def __init__(self, lists: pa.ChunkedArray) -> None:
        """Take a column of lists of ATTRIBUTE."""
        whole = _one(lists)
        self.count = len(whole)
        lengths = np.asarray(pc.fill_null(pc.list_value_length(whole), 0)).astype(np.int64)
        self._ends = np.cumsum(lengths)
        self._part = np.repeat(np.arange(self.count), lengths)
        entries = whole.flatten()
        key, kind, value = entries.flatten() if len(entries) else (pa.array([], pa.string()), pa.array([], pa.uint8()), pa.array([], pa.string()))
        self._key, self._value = Codes.from_column(pa.chunked_array([key])), Codes.from_column(pa.chunked_array([value]))
        self._texts = value
        self._kind = np.asarray(pc.fill_null(kind, 0)).astype(np.uint64)
        self.any: Mask = np.asarray(whole.is_valid())

    def alike(self, chosen: Callable[[str], bool]) -> Unsigned:
        """Give a number for each part, which is equal where all attributes with some keys are, in this and in other passes: a hash, of 64 bits."""
        by_key = np.array([chosen(key) for key in self._key.texts] or [False])
        at = np.flatnonzero(by_key[self._key.of]) if len(self._part) else np.zeros(0, np.int64)
        columns = (hashed(self._key.at(at)), hashed(self._value.at(at)), self._kind[at])
        sums = np.zeros(len(self._part) + 1, np.uint64)
        sums[at + 1] = mix(*columns)
        sums = np.cumsum(sums, dtype=np.uint64)
        begins = np.concatenate([[0], self._ends[:-1]]).astype(np.int64) if self.count else np.zeros(0, np.int64)
        same: Unsigned = sums[self._ends] - sums[begins] if self.count else np.zeros(0, np.uint64)
        return same

    def first(self, keys: Iterable[str]) -> Ints:
        """Give, for each part, the attribute that answers: of several spellings the first that is present and not empty; -1 for none."""
        rank = {key: place for place, key in enumerate(keys)}
        ranks = np.array([rank.get(key, len(rank)) for key in self._key.texts] or [0])[self._key.of]
        filled = np.array([bool(text) for text in self._value.texts] or [False])[self._value.of]
        chosen = np.flatnonzero((ranks < len(rank)) & filled)
        found = np.full(self.count, -1)
        # backwards, so that the preferred one is written last
        order = chosen[np.lexsort((chosen, ranks[chosen]))][::-1]
        found[self._part[order]] = order
        return found

    def texts(self, at: Ints) -> pa.Array:
        """Give the values of some attributes; '' for -1."""
        return pc.fill_null(self._texts.take(pa.array(at, mask=at < 0)), EMPTY)

    def key(self, at: int) -> str:
        """Name the key of an attribute; '' for -1."""
        return self._key.texts[int(self._key.of[at])] if at >= 0 else ""

    def have_key(self, at: Ints, key: str) -> Mask:
        """Mark the attributes that have a key."""
        if key not in self._key.texts:
            return np.zeros(len(at), bool)
        marks: Mask = (at >= 0) & (self._key.of[at] == self._key.texts.index(key))
        return marks


def hashed(codes: Codes) -> Unsigned:
    """Give a hash of each row's text, the same in all passes of a process."""
    of_text = np.zeros(len(codes.texts) + 1, np.uint64)
    for code in used(codes.of):
        of_text[code] = hash(codes.texts[code]) & 0xFFFFFFFFFFFFFFFF
    found: Unsigned = of_text[codes.of]
    return found


def _one(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
