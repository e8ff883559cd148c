"""Trace and span ids: from bytes on the wire to unsigned integers, and which of them are valid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Mask = npt.NDArray[np.bool_]


def fixed_ids(raw: pa.Array, width: int) -> tuple[npt.NDArray[np.uint64], Mask]:
    """Give binary values as big-endian integers.

    Args:
        raw: n binary values.
        width: 8 or 16, the only length that is valid.

    Returns:
        (n, width / 8) unsigned integers, 0 where the length is wrong; and where the length is right.
    """
    count, words = len(raw), width // 8
    if count == 0:
        return np.zeros((0, words), np.uint64), np.zeros(0, bool)
    _, offsets_buffer, data = raw.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, count + 1, raw.offset * 4)
    right = np.diff(offsets) == width
    if right.all():
        ids = np.frombuffer(data, ">u8", count * words, int(offsets[0])).astype(np.uint64)
        return ids.reshape(count, words), right
    ids = np.zeros((count, words), np.uint64)
    if right.any():
        octets = np.frombuffer(data, np.uint8)
        picked = octets[offsets[:-1][right][:, None] + np.arange(width)]
        ids[right] = picked.copy().view(">u8").astype(np.uint64)
    return ids, right


def ids_of_16(raw: pa.Array) -> tuple[pa.Array, pa.Array, Mask]:
    """Give (high, low, valid) of trace ids; not 16 bytes or all zero is invalid and reads as 0."""
    ids, right = fixed_ids(raw, 16)
    high, low = np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1])
    return pa.array(high), pa.array(low), right & ((high != 0) | (low != 0))


def id_of_8(raw: pa.Array, *, may_be_absent: bool = False) -> tuple[pa.Array, Mask]:
    """Give (id, valid) of span ids; where an id may be absent, zero bytes and all zero both mean so and are valid."""
    ids, right = fixed_ids(raw, 8)
    values = np.ascontiguousarray(ids[:, 0])
    if not may_be_absent:
        return pa.array(values), right & (values != 0)
    if right.all():
        return pa.array(values), right
    offsets = np.frombuffer(raw.buffers()[1], np.int32, len(raw) + 1, raw.offset * 4)
    return pa.array(values), right | (np.diff(offsets) == 0)
