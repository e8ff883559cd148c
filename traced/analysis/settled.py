"""What one pass looks at, and how its rows are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traced.store.recent_keys import Keys, mix

Mask = npt.NDArray[np.bool_]

IDS: Final = ["trace_id_high", "trace_id_low"]
"""Columns that name a trace."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What one pass looks at.

    Attributes:
        spans: staged spans of settled traces; those of reopened traces whole.
        again: which of `spans` belong to reopened traces.
        fresh: which of `spans` no earlier pass looked at.
        unsettled: which of `spans` belong to traces that cannot be judged as a whole: let go while spans still came, with
            earlier spans out of reach, or with more spans than are looked at. Nothing is called absent in them.
        before: staged spans of reopened traces that an earlier pass looked at: those of `spans` that are not fresh.
        repeats: spans that came again, of settled traces.
        repeats_before: which of `repeats` an earlier pass looked at.
        truncated: how many traces turned out to have more spans than are looked at.
    """

    spans: pa.Table
    again: Mask
    fresh: Mask
    unsettled: Mask
    before: pa.Table
    repeats: pa.Table
    repeats_before: Mask
    truncated: int = 0


def where(rows: pa.Table, mask: Mask) -> pa.Table:
    """Give the rows that are marked."""
    return rows if mask.all() else rows.filter(pa.array(mask))


def trace_keys(rows: pa.Table) -> Keys:
    """Give the trace of each row as one number."""
    return mix(np.asarray(rows.column("trace_id_high")), np.asarray(rows.column("trace_id_low")))


def row_keys(rows: pa.Table) -> Keys:
    """Identify rows by trace, span, kind and arrival: rows of one trace that arrived together are looked at together."""
    return mix(
        np.asarray(rows.column("trace_id_high")),
        np.asarray(rows.column("trace_id_low")),
        np.asarray(rows.column("span_id")),
        np.asarray(rows.column("kind")).astype(np.uint64),
        np.asarray(rows.column("arrival_time_unix_nano")).astype(np.uint64),
    )
