"""One sealed file: how rows become Parquet, and what the footer says of them.

Rows are sorted by trace id, so that a trace is found by the row groups' statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from traced.errors import StoreError
from traced.store.segment import Extent

STORE_VERSION: Final = 1
ROW_GROUP_ROWS: Final = 65_536
_PREFIX: Final = "traced."
_VERSION_KEY: Final = f"{_PREFIX}store_version"

Stop = Callable[[], bool]


class InterruptedWorkError(Exception):
    """A seal, merge or check was given up because the store closes; nothing of it is left."""


def never() -> bool:
    """Go on to the end."""
    return False


def write_parquet(path: Path, slices: Iterable[pa.Table], schema: pa.Schema, extent: Extent, stop: Stop = never) -> None:
    """Write tables as one Parquet file, whole when this returns, and read its footer back.

    Raises:
        OSError: the disk is full or failing.
        InterruptedWorkError: `stop` said so.
    """
    metadata = {f"{_PREFIX}{name}": str(getattr(extent, name)) for name in Extent.__slots__} | {_VERSION_KEY: str(STORE_VERSION)}
    rows_written = 0
    path.touch(mode=0o600)
    with pq.ParquetWriter(path, schema, **_options(schema)) as writer:
        for rows in slices:
            if stop():
                raise InterruptedWorkError
            writer.write_table(rows.cast(schema) if rows.schema != schema else rows, row_group_size=ROW_GROUP_ROWS)
            rows_written += rows.num_rows
        writer.add_key_value_metadata(metadata)
    if read_footer(path) != (rows_written, extent):
        raise OSError(f"{path.name} does not read back as it was written")


def _options(schema: pa.Schema) -> dict[str, Any]:
    """Choose encodings by what the columns hold (bytes per span: ARCHITECTURE.md)."""
    delta = [n for n in ("start_time_unix_nano", "end_time_unix_nano", "time_unix_nano", "observed_time_unix_nano") if n in schema.names]
    plain = [n for n in ("span_id", "trace_id_low", "trace_id_high") if n in schema.names]
    dictionary = [leaf for field in schema if field.name not in {*delta, *plain} for leaf in _leaves(field.name, field.type)]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": dictionary,
        "column_encoding": dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
        "write_statistics": [n for n in schema.names if n in {*plain, *delta, "arrival_time_unix_nano", "service_name"}],
        "data_page_size": 256 * 1024,
        "store_schema": False,
    }


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """Name the Parquet columns of a field; types nest three deep at most."""
    if pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path


def read_footer(path: Path) -> tuple[int, Extent]:
    """Give (rows, extent) of a sealed file from its footer alone.

    Raises:
        StoreError: it was written by a newer store.
        OSError, pa.ArrowException: it is damaged.
    """
    footer = pq.read_metadata(path)
    try:
        metadata = {k.decode(): v.decode() for k, v in (footer.metadata or {}).items()}
        version = int(metadata[_VERSION_KEY])
        extent = Extent(**{name: int(metadata.get(f"{_PREFIX}{name}", "0")) for name in Extent.__slots__})
    except (KeyError, ValueError) as error:
        raise OSError(f"{path.name} has no footer of ours: {error}") from None
    if version > STORE_VERSION:
        raise StoreError(
            f"{path.name} was written by a newer traced (store version {version}, this one reads {STORE_VERSION})",
            next_safe_actions=("Start the newer traced, or give this one another data directory. Nothing was changed.",),
            error_code="store_version_newer",
        )
    return footer.num_rows, extent


def trace_order(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Give an order of rows by trace id.

    One sort by one word is six times cheaper than a sort by both and a start time; both are only needed where high words repeat.
    """
    high, low = np.asarray(rows.column("trace_id_high")), np.asarray(rows.column("trace_id_low"))
    if not len(high) or high.min() == high.max():
        return np.argsort(low, kind="stable")
    order = np.argsort(high, kind="stable")
    ordered_high, ordered_low = high[order], low[order]
    if ((ordered_high[1:] == ordered_high[:-1]) & (ordered_low[1:] < ordered_low[:-1])).any():
        return np.lexsort((low, high))
    return order
