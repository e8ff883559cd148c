"""Small vector operations that the graph is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_PACKED = 2**62


def numbers(table: pa.Table, name: str) -> Any:
    """Give a numeric column as a numpy array."""
    return np.asarray(table.column(name))


class Codes:
    """A text column as small numbers.

    Attributes:
        of: the number of each row's text.
        texts: the distinct texts; number = position.
    """

    def __init__(self, of: Ints, texts: list[str]) -> None:
        self.of = of
        self.texts = texts

    @classmethod
    def from_column(cls, column: pa.ChunkedArray) -> Codes:
        """Number the distinct texts of a column; null is the empty text."""
        whole = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], pa.string())])
        if whole.null_count:
            whole = pc.fill_null(whole, "")
        if not _bytes(whole):
            return cls(np.zeros(len(whole), np.int64), [""])  # a column that nobody filled in, as most are
        encoded = whole.dictionary_encode()
        return cls(np.asarray(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist())

    def at(self, rows: Ints) -> Codes:
        """Give the texts of some rows."""
        return Codes(self.of[rows], self.texts)

    def among(self, *texts: str) -> Mask:
        """Mark the rows with one of some texts."""
        marks: Mask = np.array([text in texts for text in self.texts] or [False])[self.of]
        return marks

    def number(self, text: str) -> int:
        """Give the number of a text, adding it if it is new."""
        try:
            return self.texts.index(text)
        except ValueError:
            self.texts.append(text)
            return len(self.texts) - 1

    def column(self) -> pa.DictionaryArray:
        """Give the rows as an Arrow dictionary array."""
        return pa.DictionaryArray.from_arrays(pa.array(self.of.astype(np.int32)), pa.array(self.texts, pa.string()))


def _bytes(texts: pa.StringArray) -> int:
    """Give how many bytes the texts have together."""
    if not len(texts):
        return 0
    offsets = np.frombuffer(texts.buffers()[1], np.int32)
    return int(offsets[texts.offset + len(texts)] - offsets[texts.offset])


def distinct(codes: Ints, bound: int) -> tuple[Ints, Ints]:
    """Give (the distinct codes in ascending order, each row's place among them); codes are in 0 … bound - 1.

    Where the bound is small, by counting, which is five times faster than by sorting or hashing.
    """
    if bound > max(65_536, 4 * len(codes)):
        values, place = np.unique(codes, return_inverse=True)
        return values, place
    present = np.bincount(codes, minlength=bound) > 0
    place = np.cumsum(present) - 1
    return np.flatnonzero(present), place[codes]


def combined(*parts: Ints) -> tuple[Ints, Ints]:
    """Number the combinations of small numbers, in their order, from 0; give each row's number, and the first row of each combination.

    They are packed into one number, in several steps where that would overflow.
    """
    code, width = np.zeros(len(parts[0]), np.int64), 1
    for part in parts:
        bound = int(part.max(initial=0)) + 1
        if width * bound > _PACKED:
            present, code = distinct(code, width)
            width = len(present)
        code, width = code * bound + part, width * bound
    present, group = distinct(code, width)
    first = np.zeros(len(present), np.int64)
    first[group[::-1]] = np.arange(len(code))[::-1]
    return group, first


def ascending(codes: Ints) -> Ints:
    """Give the distinct codes in ascending order, by sorting: numpy's `unique` hashes, and takes twenty times as long where codes follow a pattern."""
    ordered = np.sort(codes)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def among(few: Unsigned, many: Unsigned) -> Mask:
    """Mark which of a few values are among many; numpy's `isin` hashes the many."""
    ordered, place = np.unique(few, return_inverse=True)
    found = np.zeros(len(ordered) + 1, bool)
    if len(ordered):
        at = np.searchsorted(ordered, many)
        found[np.where(ordered[np.minimum(at, len(ordered) - 1)] == many, at, len(ordered))] = True
    marks: Mask = found[place]
    return marks


def close_to(values: Ints, sought: Ints, reach: int) -> Mask:
    """Mark the values that are no further than `reach` from one that is sought; these ascend."""
    marks: Mask = np.searchsorted(sought, values - reach) < np.searchsorted(sought, values + reach, side="right")
    return marks


def used(codes: Ints) -> list[int]:
    """Give the distinct codes that occur, ascending; codes are small numbers."""
    return [int(code) for code in np.flatnonzero(np.bincount(codes))] if len(codes) else []


def mix(*parts: Unsigned) -> Unsigned:
    """Hash columns of unsigned integers to one 64-bit value a row (splitmix64's finaliser)."""
    state = np.full(len(parts[0]), 0x2545F4914F6CDD1D, dtype=np.uint64)
    for part in parts:
        state ^= part
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def climb(start: Ints, parent: Ints, goes_on: Mask) -> Ints:
    """Walk up from each start while the row at hand goes on; give where each walk ends (-1 where it leaves the top).

    By doubling steps: log2 passes over the rows that are walked through, whatever the depth.

    Args:
        start: row numbers, -1 for none.
        parent: each row's parent row, -1 for none; free of loops.
        goes_on: rows that are walked through.
    """
    at = start.copy()
    through = np.flatnonzero(goes_on)
    if len(through):
        hop = np.arange(len(parent))
        hop[through] = parent[through]
        moving = through
        while len(moving):
            moving = moving[hop[moving] >= 0]
            moving = moving[goes_on[hop[moving]]]
            hop[moving] = hop[hop[moving]]
        inside = at >= 0
        at[inside] = hop[at[inside]]
    return at


def rows_in_loops(parent: Ints) -> Mask:
    """Mark the rows that are their own ancestor, by doubling steps: log2(depth) passes, whatever the depth."""
    jump = parent.copy()
    steps = 1
    while steps <= len(parent):
        alive = np.flatnonzero(jump >= 0)
        if not len(alive):
            return np.zeros(len(parent), bool)
        jump[alive] = jump[jump[alive]]
        steps *= 2
    looped = np.zeros(len(parent), bool)
    # after more steps than rows every survivor stands on a loop, and every row of the loop is stood upon
    looped[jump[jump >= 0]] = True
    return looped
