"""Everything that the store answers, over hot and sealed rows as one: each row is in exactly one part of a view."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.config import StoreSettings
from traced.errors import StoreError
from traced.model.schema import LOGS, REPEATS, SPANS
from traced.model.views import StoredTrace
from traced.store import read_schemas, reading
from traced.store.catalog import Catalog, Generation, Part, Parts
from traced.store.memory import newest
from traced.store.reading import SealedReader, SealedUnreadableError, TraceSize
from traced.store.recent_keys import Keys
from traced.store.repeats import Content, Identity
from traced.store.seal import seal
from traced.store.sealed_files import check_generation

MAX_OF_TRACE: Final = 10_000
"""Spans, or log records, of one trace that are read at once."""

_T = TypeVar("_T")


class StoredRows(ABC):
    """Reads what is stored; safe to call from any thread."""

    def __init__(self, settings: StoreSettings, catalog: Catalog) -> None:
        """Keep the catalog; whoever opens the store gives `_reader`."""
        self.settings = settings
        self.catalog = catalog
        self._reader: SealedReader

    @abstractmethod
    def set_aside(self, generation: Generation, error: str) -> bool:
        """Quarantine a damaged generation; say whether it was still there."""

    def _read(self, work: Callable[[Parts], _T]) -> _T:
        """Read a consistent view; where a sealed file turns out to be damaged it is set aside, and the others are read.

        Raises:
            StoreError: a segment is being reopened after an I/O error, or something else cannot be read.
        """
        try:
            return self._read_once(work)
        except SealedUnreadableError as error:
            if not self._examine(error.paths):
                raise _unreadable(error) from error
        try:
            return self._read_once(work)
        except SealedUnreadableError as error:
            raise _unreadable(error) from error

    def _read_once(self, work: Callable[[Parts], _T]) -> _T:
        with self.catalog.lease() as parts:
            try:
                return work(parts)
            except duckdb.Error as error:
                raise _unreadable(error) from error

    def _examine(self, paths: tuple[str, ...]) -> bool:
        """Compare generations with their checksums; say whether a damaged one was set aside."""
        damaged = []
        with self.catalog.lease(segments=False) as parts:
            for generation in parts.generations:
                if not {str(p) for p in generation.paths()}.isdisjoint(paths):
                    try:
                        check_generation(generation)
                    except (OSError, pa.ArrowException) as error:
                        damaged.append((generation, str(error)))
        return sum(self.set_aside(generation, error) for generation, error in damaged) > 0

    def window(self, since: int, until: int) -> pa.Table:
        """Give the spans with since < arrival <= until (ns), as read_schemas.WINDOW_SCHEMA."""

        def work(parts: Parts) -> pa.Table:
            hot = [reading.hot_window(s, since, until) for s in parts.segments if s.extent.last_arrival > since]
            return reading.together([self._reader.window(parts.generations, since, until), *hot], read_schemas.WINDOW_SCHEMA)

        return self._read(work)

    def trace_ids_between(self, since: int, until: int) -> tuple[Keys, Keys]:
        """Give (high, low) of the trace id of each span with since < arrival <= until (ns)."""

        def work(parts: Parts) -> pa.Table:
            hot = [reading.hot_trace_ids(s, since, until) for s in parts.segments if s.extent.last_arrival > since]
            return reading.together([self._reader.trace_ids(parts.generations, since, until), *hot], read_schemas.TRACE_IDS)

        return reading.trace_ids_of(self._read(work))

    def spans_by_id(self, ids: pa.Table) -> pa.Table:
        """Give who sent some spans (columns trace_id_high, trace_id_low, span_id), as read_schemas.SPAN_BY_ID."""

        def work(parts: Parts) -> pa.Table:
            hot = [reading.hot_spans_by_id(s, ids) for s in parts.segments]
            return reading.together([self._reader.spans_by_id(parts.generations, ids), *hot], read_schemas.SPAN_BY_ID)

        return self._read(work)

    def trace_sizes(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        """Give the TRACE_SIZES of some traces (columns trace_id_high, trace_id_low) in a window of arrival; those of which nothing came are left out."""

        def work(parts: Parts) -> pa.Table:
            hot = [reading.hot_trace_sizes(s, traces, since, until) for s in parts.segments if s.extent.last_arrival > since]
            return reading.together([self._reader.trace_sizes(parts.generations, traces, since, until), *hot], read_schemas.TRACE_SIZES)

        sizes = self._read(work).group_by(read_schemas.TRACE_IDS.names).aggregate([("spans", "sum"), ("first_arrival", "min")])
        return sizes.rename_columns(read_schemas.TRACE_SIZES.names)

    def window_of_traces(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        """Give the spans of some traces (columns trace_id_high, trace_id_low) in a window of arrival."""

        def work(parts: Parts) -> pa.Table:
            hot = [reading.hot_window_of_traces(s, traces, since, until) for s in parts.segments if s.extent.last_arrival > since]
            return reading.together([self._reader.window_of_traces(parts.generations, traces, since, until), *hot], read_schemas.WINDOW_SCHEMA)

        return self._read(work)

    def repeats(self, since: int, until: int) -> pa.Table:
        """Give the repeated spans that arrived in a window, as REPEATS."""

        def work(parts: Parts) -> pa.Table:
            hot = [reading.hot_repeats(s, since, until) for s in parts.segments if s.extent.last_arrival > since]
            return reading.together([self._reader.repeats(parts.generations, since, until), *hot], REPEATS)

        return self._read(work)

    def trace(self, high: int, low: int, max_spans: int, max_logs: int) -> StoredTrace:
        """Give the earliest spans and log records of a trace, and how many there are (TraceView)."""
        spans, logs = self.spans_of_trace(high, low, max_spans), self.logs_of_trace(high, low, max_logs)
        size = TraceSize(spans.num_rows, pc.sum(pc.equal(spans.column("parent_span_id"), pa.scalar(0, pa.uint64()))).as_py() or 0, logs.num_rows)
        if size.spans < max_spans and size.logs < max_logs:
            return StoredTrace(spans, logs, size.spans, size.logs, size.roots > 0)
        # of what came meanwhile, and of what went, nothing is counted less than it is here
        size = TraceSize(*map(max, size, self._read(lambda parts: self._size_of_trace(parts, high, low))))
        beyond = self._parents_beyond(spans) if size.spans > spans.num_rows else frozenset()
        return StoredTrace(spans, logs, size.spans, size.logs, size.roots > 0, beyond)

    def spans_of_trace(self, high: int, low: int, max_rows: int = MAX_OF_TRACE) -> pa.Table:
        """Give the spans of a trace in the public schema, the earliest by start, in order."""
        return self._of_trace("spans", SPANS, high, low, max_rows)

    def logs_of_trace(self, high: int, low: int, max_rows: int = MAX_OF_TRACE) -> pa.Table:
        """Give the log records of a trace in the public schema, the earliest, in order."""
        return self._of_trace("logs", LOGS, high, low, max_rows)

    def _of_trace(self, kind: str, schema: pa.Schema, high: int, low: int, max_rows: int) -> pa.Table:
        def work(parts: Parts) -> pa.Table:
            hot = [reading.hot_of_trace(s, kind, high, low, max_rows) for s in parts.segments]
            return reading.together([self._reader.of_trace(kind, parts.generations, high, low, max_rows), *hot], schema)

        rows = self._read(work)
        return rows.take(_earliest(rows, kind)[:max_rows])

    def _size_of_trace(self, parts: Parts, high: int, low: int) -> TraceSize:
        hot = (reading.hot_size_of_trace(s, high, low) for s in parts.segments)
        return reduce(TraceSize.plus, hot, self._reader.size_of_trace(parts.generations, high, low))

    def _parents_beyond(self, spans: pa.Table) -> frozenset[int]:
        """Name the parents of some spans that are stored, and are not among them."""
        parents = pc.unique(spans.column("parent_span_id"))
        absent = parents.filter(pc.invert(pc.is_in(parents, spans.column("span_id").combine_chunks())))
        ids = spans.select(["trace_id_high", "trace_id_low"]).slice(0, 1).take(pa.array([0] * len(absent), pa.int64()))
        found = self.spans_by_id(ids.append_column("span_id", absent)) if len(absent) else None
        return frozenset(found.column("span_id").to_pylist()) if found is not None else frozenset()

    def _stored(self, candidates: pa.Table) -> dict[Identity, Content]:
        """Find the stored spans that share (trace id, span id) with a candidate: identity to content."""

        def work(parts: Parts) -> pa.Table:
            generations = newest(parts.generations, 2 * self.settings.dedup_window_spans)
            hot = [reading.hot_identities(s, candidates) for s in parts.segments]
            return reading.together([self._reader.identities(generations, candidates), *hot], read_schemas.IDENTITIES)

        rows = self._read(work)
        return {row[:6]: row[6:] for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)}

    def first_arrival_after(self, since: int) -> int | None:
        """Give a lower bound of the first arrival after `since` (exact to the segment or file); None when nothing came."""
        extents = [part.extent for part in self._everything()]
        firsts = [max(since, e.first_arrival - 1) for e in extents if e.last_arrival > since]
        return min(firsts, default=None)

    def arrival_slices(self, until: int, spans: int) -> list[int]:
        """Divide all arrivals up to `until` (ns) into slices of about so many spans; give where each ends."""
        ends, filled = [], 0
        for extent in sorted((part.extent for part in self._everything()), key=lambda e: e.last_arrival):
            filled += extent.spans
            if filled >= spans:
                ends.append(extent.last_arrival)
                filled = 0
        return [*(e for e in ends if e < until), until]

    def _everything(self) -> tuple[Part, ...]:
        parts = self.catalog.parts
        return (*parts.generations, *parts.segments)

    @contextmanager
    def snapshot(self) -> Iterator[tuple[tuple[Path, ...], tuple[Path, ...]]]:
        """Give (span files, log files) that hold everything stored by now and that nobody changes until the block ends.

        Sealed files are leased; hot rows are written to a temporary directory.

        Raises:
            StoreError: a segment is being reopened after an I/O error.
        """
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snapshot-", dir=self.settings.data_dir)))
            with self.catalog.lease() as parts:
                # while the query runs only the files are held: segments must be free to go, and to be reopened
                stack.enter_context(self.catalog.lease_again(parts.generations))
                copies = [seal(s, s.extent, directory, durable=False) for s in parts.segments if s.extent.last_batch]
            generations = (*parts.generations, *copies)
            logs = tuple(path for g in generations if (path := g.path("logs")).exists())
            yield tuple(g.path("spans") for g in generations), logs


def _earliest(rows: pa.Table, kind: str) -> npt.NDArray[np.int64]:
    """Order rows of one trace as the queries of one part do."""
    if kind == "spans":
        keys = [np.asarray(rows.column(name)) for name in ("kind", "span_id", "start_time_unix_nano")]
    else:
        time, seen = (np.asarray(pc.fill_null(rows.column(name), 0)) for name in ("time_unix_nano", "observed_time_unix_nano"))
        keys = [np.asarray(pc.fill_null(rows.column("span_id"), 0)), np.where(time == 0, seen, time)]
    return np.lexsort(keys)


def _unreadable(error: Exception) -> StoreError:
    return StoreError(f"stored rows cannot be read: {error}", status=503, next_safe_actions=("Ask again in a few seconds; traced's log says more.",))
