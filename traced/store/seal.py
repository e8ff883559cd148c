"""Sealing a segment to Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa

from traced.model.schema import LOGS, SPANS
from traced.store.catalog import KINDS, Generation
from traced.store.expand import Dictionaries, encoded, expand_logs, expand_spans
from traced.store.parquet import ROW_GROUP_ROWS, Stop, never, trace_order
from traced.store.queries import load_folder
from traced.store.sealed_files import write_generation
from traced.store.segment import Extent, Segment

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
            rows = cursor.sql(queries[f"hot_{kind}"].sql).to_arrow_table()
            if kind == "spans" or rows.num_rows:
                tables[kind] = _slices(rows, _EXPAND[kind], dictionaries)
    finally:
        cursor.close()
    return write_generation(directory, (segment.number, segment.number), extent, tables, durable=durable, stop=stop)


def _slices(rows: pa.Table, expand: Expand, dictionaries: Dictionaries) -> Iterator[pa.Table]:
    order = trace_order(rows)
    for start in range(0, len(order), ROW_GROUP_ROWS):
        part = rows.take(pa.array(order[start : start + ROW_GROUP_ROWS]))
        yield expand(part, dictionaries)
