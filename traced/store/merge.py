"""Merging neighbouring small generations to one, sorted by trace id; memory is bounded by a few thousand rows a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from traced.store.catalog import KINDS, Generation
from traced.store.parquet import ROW_GROUP_ROWS, Stop, never, trace_order
from traced.store.reading import conform
from traced.store.sealed_files import SCHEMAS, write_generation
from traced.store.segment import Extent

_BATCH_ROWS: Final = 4096
_KEY: Final = ("trace_id_high", "trace_id_low")


def neighbours_to_merge(generations: tuple[Generation, ...], below_bytes: int, files: int, longest_nanos: int) -> tuple[Generation, ...]:
    """Choose neighbouring generations to be merged, oldest first; nothing where there are not enough.

    Args:
        generations: all, oldest first.
        below_bytes: each must be smaller. None may be much larger than the others, so that a row is rewritten a logarithmic
            number of times.
        files: how many are merged at once.
        longest_nanos: how much time of arrival they may span together.
    """
    for start in range(len(generations) - files + 1):
        run = generations[start : start + files]
        sizes = [g.size_bytes for g in run]
        largest, spanned = max(sizes), run[-1].extent.last_arrival - run[0].extent.first_arrival
        if largest < below_bytes and largest <= max(sum(sizes) - largest, 2 * min(sizes)) and spanned <= longest_nanos:
            return run
    return ()


def merge(generations: tuple[Generation, ...], directory: Path, *, durable: bool = True, stop: Stop = never) -> Generation:
    """Write neighbouring generations as one; the sources are left alone.

    Raises:
        OSError, pa.ArrowException: the disk is full or failing, or a source is damaged.
        InterruptedWorkError: `stop` said so.
    """
    tables = {}
    for kind in KINDS:
        sources = [path for g in generations if (path := g.path(kind)).exists()]
        if sources:
            tables[kind] = _in_row_groups(_merged(sources, SCHEMAS[kind]))
    numbers = generations[0].first, generations[-1].last
    return write_generation(directory, numbers, _sum([g.extent for g in generations]), tables, durable=durable, stop=stop)


def _sum(extents: list[Extent]) -> Extent:
    filled = [e for e in extents if e.last_batch]
    total = Extent(spans=sum(e.spans for e in extents), logs=sum(e.logs for e in extents))
    if not filled:
        return total
    return replace(
        total,
        first_batch=min(e.first_batch for e in filled),
        last_batch=max(e.last_batch for e in filled),
        first_arrival=min(e.first_arrival for e in filled),
        last_arrival=max(e.last_arrival for e in filled),
    )


@dataclass(slots=True)
class _Source:
    """One sorted file: the rows at hand, and where more come from."""

    batches: Iterator[pa.RecordBatch]
    schema: pa.Schema
    rows: pa.Table | None = None

    def fill(self) -> bool:
        """Have rows at hand, sorted; say whether there are any."""
        while self.rows is None or not self.rows.num_rows:
            batch = next(self.batches, None)
            if batch is None:
                return False
            self.rows = conform(pa.Table.from_batches([batch]), self.schema)
            order = trace_order(self.rows)
            if (order[1:] < order[:-1]).any():
                self.rows = self.rows.take(pa.array(order))  # no file of ours, but no row of it is lost
        return True

    def take_until(self, bound: tuple[int, ...]) -> pa.Table:
        """Give the rows at hand that are not after the bound."""
        if self.rows is None:
            return self.schema.empty_table()
        inside = int(np.count_nonzero(_not_after(_keys(self.rows), bound)))
        taken, self.rows = self.rows.slice(0, inside), self.rows.slice(inside)
        return taken


def _merged(paths: list[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the sources' rows in slices that ascend; every row exactly once, whatever order the sources are in."""
    with ExitStack() as stack:
        files = [stack.enter_context(pq.ParquetFile(path, read_dictionary=_dictionaries(path, schema), pre_buffer=False)) for path in paths]
        sources = [_Source(file.iter_batches(_BATCH_ROWS, use_threads=False), schema) for file in files]
        while sources := [s for s in sources if s.fill()]:
            # up to the first end of what is at hand, every source is complete
            bound = min(_last_key(s.rows) for s in sources)
            rows = pa.concat_tables([s.take_until(bound) for s in sources])
            yield rows.take(pa.array(trace_order(rows)))


def _dictionaries(path: Path, schema: pa.Schema) -> list[str]:
    """Name the columns of a file that are read as dictionaries; one of before a column existed lacks it."""
    here = set(pq.read_schema(path).names)
    return [f.name for f in schema if pa.types.is_dictionary(f.type) and f.name in here]


def _in_row_groups(slices: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    count = 0
    for rows in slices:
        waiting.append(rows)
        count += rows.num_rows
        while count >= ROW_GROUP_ROWS:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, ROW_GROUP_ROWS)
            waiting = [whole.slice(ROW_GROUP_ROWS)]
            count -= ROW_GROUP_ROWS
    if count:
        yield pa.concat_tables(waiting)


def _keys(rows: pa.Table) -> list[npt.NDArray[np.uint64]]:
    return [np.asarray(rows.column(name)) for name in _KEY]


def _last_key(rows: pa.Table | None) -> tuple[int, ...]:
    return () if rows is None else tuple(int(column[-1]) for column in _keys(rows))


def _not_after(columns: list[npt.NDArray[np.uint64]], bound: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Compare trace ids with a bound."""
    (high, low), (bound_high, bound_low) = columns, (np.uint64(b) for b in bound)
    inside: npt.NDArray[np.bool_] = (high < bound_high) | ((high == bound_high) & (low <= bound_low))
    return inside
