"""Raw messages to columns, a row for each: what is broken costs only itself, and no list outgrows its limit.

ptars parses all or nothing, so only when it refuses are the messages walked one by one, in Python, to find the broken ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.receiver.walking import SAFE_GROUPS, Walker
from traced.receiver.wire import handler

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SLICE_BYTES: Final = 4 * 2**20
"""So much is parsed at once. An empty element takes two bytes on the wire and four in a column, so lists are cut slice by
slice: 64 MiB of empty attributes would else hold 128 MiB of offsets at once."""
_NARROWED_TO: Final = 64
"""Messages among which broken ones are looked for by walking; before, halves are parsed, which is faster."""


@dataclass(slots=True)
class Parsed:
    """Columns of some messages of one kind.

    Attributes:
        rows: one row a message; a broken message reads as an empty one, so that positions stay.
        broken: where messages are broken, or None.
        excess: by list column, how many elements beyond the limit each row lost; a column that lost none is absent.
    """

    rows: pa.RecordBatch
    broken: Mask | None = None
    excess: dict[str, Ints] = field(default_factory=dict)

    def keep(self, kept: Mask) -> Parsed:
        """Drop all other rows."""
        return Parsed(
            self.rows.filter(pa.array(kept)),
            None if self.broken is None else self.broken[kept],
            {name: lost[kept] for name, lost in self.excess.items()},
        )


def parse(message: str, raw: pa.Array, max_list: int, walker: Walker) -> Parsed:
    """Parse binary values as messages of one kind.

    Args:
        message: its name in `wire`.
        raw: n binary values.
        max_list: elements kept of each list.
        walker: of this request.
    """
    starts = _slices(raw)
    if len(starts) == 2:
        return _parse_slice(message, raw, max_list, walker)
    parts = [_parse_slice(message, raw.slice(a, b - a), max_list, walker) for a, b in pairwise(starts)]
    broken = [np.zeros(p.rows.num_rows, bool) if p.broken is None else p.broken for p in parts]
    excess = {
        name: np.concatenate([p.excess[name] if name in p.excess else np.zeros(p.rows.num_rows, np.int64) for p in parts])
        for name in sorted({name for p in parts for name in p.excess})
    }
    together = np.concatenate(broken)
    return Parsed(pa.concat_batches([p.rows for p in parts]), together if together.any() else None, excess)


def parse_request(body: bytes) -> pa.RecordBatch:
    """Parse the envelope of an export request whose walk (`walking.Envelope`) found nothing wrong.

    Raises:
        ValueError: it is none.
    """
    return _panics_are_errors("Request", pa.array([body], pa.binary()))


def _slices(raw: pa.Array) -> list[int]:
    """Divide values into slices of about SLICE_BYTES; a larger value is a slice of its own."""
    if len(raw) == 0:
        return [0, 0]
    offsets = np.frombuffer(raw.buffers()[1], np.int32, len(raw) + 1, raw.offset * 4)
    starts = [0]
    while starts[-1] < len(raw):
        end = int(np.searchsorted(offsets, int(offsets[starts[-1]]) + SLICE_BYTES, "right")) - 1
        starts.append(min(len(raw), max(end, starts[-1] + 1)))
    return starts


def _parse_slice(message: str, raw: pa.Array, max_list: int, walker: Walker) -> Parsed:
    broken = np.zeros(len(raw), bool)
    suspects = _suspects(raw, walker)
    if len(suspects):
        raw = _without_broken(message, raw, suspects, broken, walker)
    try:
        rows = _panics_are_errors(message, raw)
    except ValueError:
        raw = _without_broken(message, raw, _narrowed(message, raw), broken, walker)
        rows = _parse_or_try_each(message, raw, broken)
    return _cut(Parsed(rows, broken if broken.any() else None), max_list)


def _parse_or_try_each(message: str, raw: pa.Array, broken: Mask) -> pa.RecordBatch:
    """Parse what a walk found sound; should another version of ptars disagree, it costs only what that refuses."""
    try:
        return _panics_are_errors(message, raw)
    except ValueError:
        for place in range(len(raw)):
            try:
                _panics_are_errors(message, raw.slice(place, 1))
            except ValueError:
                broken[place] = True
        return _panics_are_errors(message, _emptied(raw, broken))


def _suspects(raw: pa.Array, walker: Walker) -> Ints:
    """Say which messages must be walked before they are parsed: any with lengths or groups that ptars could not survive."""
    if walker.careful:
        return np.arange(len(raw))
    lengths = _lengths(raw)
    long = np.flatnonzero(lengths > SAFE_GROUPS)
    return np.array([place for place in long if lengths[place] > SLICE_BYTES or _group_tags(raw[int(place)]) > SAFE_GROUPS], np.int64)


def _group_tags(message: pa.Scalar) -> int:
    """Count the bytes that could begin a group."""
    octets = np.frombuffer(message.as_buffer(), np.uint8)
    return int(np.count_nonzero(octets & 7 == 3))


def _narrowed(message: str, raw: pa.Array) -> Ints:
    """Say among which messages the broken ones are, by parsing halves of what is broken."""
    found: list[Ints] = []
    pending = [(0, len(raw))]
    while pending:
        start, end = pending.pop()
        if end - start <= _NARROWED_TO:
            found.append(np.arange(start, end))
            continue
        middle = (start + end) // 2
        for half in ((start, middle), (middle, end)):
            try:
                _panics_are_errors(message, raw.slice(half[0], half[1] - half[0]))
            except ValueError:
                pending.append(half)
    return np.concatenate(found)


def _panics_are_errors(message: str, raw: pa.Array) -> pa.RecordBatch:
    try:
        return handler(message).array_to_record_batch(raw)
    except ValueError:
        raise
    except BaseException as panic:
        # the class of Rust's panics cannot be imported; one ends nothing but this call
        if type(panic).__name__ != "PanicException":
            raise
        raise ValueError(str(panic)) from None


def _without_broken(message: str, raw: pa.Array, suspects: Ints, broken: Mask, walker: Walker) -> pa.Array:
    """Replace those of the suspects that are broken by empty messages, and mark them."""
    for place in suspects:
        broken[place] = not walker.sound(memoryview(raw[int(place)].as_buffer()).cast("B"), message)
    return _emptied(raw, broken)


def _emptied(raw: pa.Array, broken: Mask) -> pa.Array:
    return pc.if_else(pa.array(broken), pa.scalar(b"", pa.binary()), raw) if broken.any() else raw


def _lengths(raw: pa.Array) -> Ints:
    if len(raw) == 0:
        return np.zeros(0, np.int64)
    offsets = np.frombuffer(raw.buffers()[1], np.int32, len(raw) + 1, raw.offset * 4).astype(np.int64)
    return offsets[1:] - offsets[:-1]


def flat(lists: pa.ListArray) -> tuple[npt.NDArray[np.int32], pa.Array]:
    """Give (offsets from 0, elements) of n lists, none of them null."""
    offsets = np.asarray(lists.offsets).astype(np.int32)
    return offsets - (offsets[0] if len(offsets) else 0), lists.flatten()


def _cut(parsed: Parsed, max_list: int) -> Parsed:
    for place, column in enumerate(parsed.rows.schema):
        if not pa.types.is_list(column.type):
            continue
        lists = parsed.rows.column(place)
        offsets = np.asarray(lists.offsets)
        lengths = np.diff(offsets)
        if len(lengths) == 0 or lengths.max() <= max_list:
            continue
        kept = np.minimum(lengths, max_list)
        position = np.arange(int(lengths.sum())) - np.repeat(offsets[:-1] - offsets[0], lengths)
        values = lists.flatten().filter(pa.array(position < max_list))
        shorter = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(kept)]), pa.int32()), values, type=column.type)
        parsed.rows = parsed.rows.set_column(place, column, shorter)
        parsed.excess[column.name] = (lengths - kept).astype(np.int64)
    return parsed
