"""Filling the memory of recent spans from what is stored, after a start: oldest first, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from traced.store.catalog import Generation
from traced.store.reading import hot_keys
from traced.store.recent_keys import Keys, RecentKeys
from traced.store.segment import Segment
from traced.store.span_keys import identity_keys, service_key

_COLUMNS: Final = ["trace_id_high", "trace_id_low", "span_id", "kind", "service_namespace", "service_name"]


def newest(generations: Sequence[Generation], spans: int) -> tuple[Generation, ...]:
    """Choose the newest generations that hold at least so many spans together, oldest first."""
    chosen: list[Generation] = []
    held = 0
    for generation in reversed(generations):
        if held >= spans:
            break
        chosen.append(generation)
        held += generation.extent.spans
    return tuple(reversed(chosen))


def remember_generation(recent: RecentKeys, generation: Generation) -> None:
    """Add the spans of a generation.

    Raises:
        OSError, pa.ArrowException: it is damaged.
    """
    with pq.ParquetFile(generation.path("spans"), read_dictionary=_COLUMNS[4:], pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            rows = file.read_row_group(group, columns=_COLUMNS, use_threads=False)
            recent.add(_keys(rows, np.concatenate(list(_service_keys(rows)))))


def remember_segment(recent: RecentKeys, segment: Segment) -> None:
    """Add the spans of a segment.

    Raises:
        duckdb.Error: it cannot be read.
    """
    rows, resources = hot_keys(segment)
    names = zip(resources.column("service_namespace").to_pylist(), resources.column("service_name").to_pylist(), strict=True)
    keys = np.array([service_key(*name) for name in names] or [0], np.uint64)
    recent.add(_keys(rows, keys[np.asarray(rows.column("resource_id"))] if rows.num_rows else keys[:0]))


def _keys(rows: pa.Table, services: Keys) -> Keys:
    high, low, span_id, kind = (np.asarray(rows.column(name)) for name in _COLUMNS[:4])
    return identity_keys(high, low, span_id, kind, services)


def _service_keys(rows: pa.Table) -> Iterator[Keys]:
    """Hash each distinct pair of names once, chunk by chunk."""
    yield np.zeros(0, np.uint64)
    pairs = rows.select(_COLUMNS[4:]).combine_chunks()
    for batch in pairs.to_batches():
        namespaces, names = (_encoded(column) for column in batch.columns)
        places = namespaces[0] * np.int64(len(names[1])) + names[0]
        distinct, of = np.unique(places, return_inverse=True)
        keys = [service_key(namespaces[1][place // len(names[1])], names[1][place % len(names[1])]) for place in distinct.tolist()]
        yield np.array(keys, np.uint64)[of]


def _encoded(column: pa.Array) -> tuple[npt.NDArray[np.int64], list[str | None]]:
    """Give each row's place among the distinct values; absent is the last of them."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = [*encoded.dictionary.to_pylist(), None]
    return np.asarray(pc.fill_null(encoded.indices.cast(pa.int64()), len(values) - 1)), values
