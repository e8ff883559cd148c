"""Sealing a segment to Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from traced.model.schema import LOGS, SPANS
from traced.store.catalog import KINDS, Generation
from traced.store.expand import Dictionaries, encoded, expand_logs, expand_spans
from traced.store.parquet import Stop, never, trace_order
from traced.store.queries import NamedQuery, load_folder
from traced.store.sealed_files import write_generation
from traced.store.segment import Extent, Segment

_SLICE_ROWS: Final = 16_384
"""Rows that are expanded and written at once: 64 MiB of memory for a segment of 200,000 spans, where 65,536 take 125."""

Expand = Callable[[pa.Table, Dictionaries], pa.Table]
_EXPAND: Final[dict[str, Expand]] = {
    "spans": partial(expand_spans, schema=encoded(SPANS)),
    "logs": partial(expand_logs, schema=encoded(LOGS)),
    "repeats": lambda rows, _: rows,
}


def seal(segment: Segment, extent: Extent, directory: Path, *, durable: bool = True, stop: Stop = never) -> Generation:
    """Write a segment's rows as a sealed generation; the segment itself is left alone, and may be written to meanwhile.

    Can be repeated after a crash: files of the same name are replaced whole.

    Raises:
        OSError: the disk is full or failing.
        duckdb.Error: the segment cannot be read.
        InterruptedWorkError: `stop` said so.
    """
    queries = load_folder("store")
    cursor = segment.cursor()
    # one transaction: in a hot segment, rows must not name a dictionary entry that was committed after the dictionary was read
    cursor.begin()
    try:
        dictionaries = segment.dictionaries(cursor)
        tables = {}
        for kind in KINDS:
            places = cursor.sql(queries[f"hot_{kind}_rows"].sql).to_arrow_table()
            if kind == "spans" or places.num_rows:
                tables[kind] = _slices(cursor, queries[f"hot_{kind}"], places, _EXPAND[kind], dictionaries)
        return write_generation(directory, (segment.number, segment.number), extent, tables, durable=durable, stop=stop)
    finally:
        cursor.close()


def _slices(cursor: duckdb.DuckDBPyConnection, query: NamedQuery, places: pa.Table, expand: Expand, dictionaries: Dictionaries) -> Iterator[pa.Table]:
    """Give all rows in the order of traces; only a slice of them is in memory at a time."""
    order = trace_order(places)
    row = places.column("row")
    for start in range(0, len(order), _SLICE_ROWS):
        cursor.register("chosen", pa.table({"row": row.take(pa.array(order[start : start + _SLICE_ROWS]))}))
        part = cursor.sql(query.sql).to_arrow_table()
        yield expand(part.take(pa.array(trace_order(part))), dictionaries)
