"""Reading hot and sealed rows: by window of arrival, by trace, or by span id. Each read has a cursor of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from traced.model.schema import LOGS, REPEATS, SPANS
from traced.store.catalog import Generation
from traced.store.expand import Dictionaries, expand_logs, expand_spans, linked, message_attributes, origin_columns, typed_columns
from traced.store.queries import load_folder
from traced.store.read_schemas import IDENTITIES, SPAN_BY_ID, TRACE_IDS, TRACE_SIZES, WINDOW_CORE, WINDOW_ORIGIN, WINDOW_SCHEMA
from traced.store.recent_keys import Keys
from traced.store.segment import Segment
from traced.store.spill import Spill, spill_settings

_SIZE: Final = pa.schema([("spans", pa.int64()), ("roots", pa.int64())])
_LOG_COUNT: Final = pa.schema([("logs", pa.int64())])
_OF_TRACE: Final = {"spans": (SPANS, expand_spans), "logs": (LOGS, expand_logs)}
_EVER: Final = 2**63 - 1


class TraceSize(NamedTuple):
    """How much of a trace there is: spans, roots among them, log records."""

    spans: int = 0
    roots: int = 0
    logs: int = 0

    def plus(self, other: TraceSize) -> TraceSize:
        """Add what is elsewhere."""
        return TraceSize(*(a + b for a, b in zip(self, other, strict=True)))


class SealedUnreadableError(Exception):
    """Sealed files could not be read.

    Attributes:
        paths: those that were read together.
    """

    def __init__(self, paths: Sequence[str], cause: duckdb.Error) -> None:
        super().__init__(str(cause))
        self.paths = tuple(paths)


# ---------------------------------------------------------------------- hot and frozen segments


def hot_window(segment: Segment, since: int, until: int) -> pa.Table | None:
    """Give a segment's spans with since < arrival <= until, as WINDOW_SCHEMA; None where there are none."""
    return _window(segment, "hot_window", {"since": since, "until": until}, {})


def hot_window_of_traces(segment: Segment, traces: pa.Table, since: int, until: int) -> pa.Table | None:
    """Give a segment's spans of some traces (trace_id_high, trace_id_low) with since < arrival <= until; None where there are none."""
    return _window(segment, "hot_window_of_traces", {"since": since, "until": until}, {"wanted": traces})


def _window(segment: Segment, query: str, params: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> pa.Table | None:
    with _cursor(segment) as cursor:
        rows = _select(cursor, query, params, tables)
        if not rows.num_rows:
            return None
        of_links = pc.list_flatten(pc.struct_field(pc.list_flatten(rows.column("links")), "attribute_ids"))
        dictionaries = _dictionaries(segment, cursor, pc.list_flatten(rows.column("attribute_ids")), of_links)
    columns = {name: rows.column(name) for name in (*WINDOW_CORE, "arrival_time_unix_nano")}
    columns["links"] = linked(rows.column("links"), dictionaries)
    columns |= origin_columns(rows, dictionaries, WINDOW_ORIGIN)
    columns |= typed_columns(rows.column("attribute_ids"), dictionaries)
    return pa.table([columns[f.name] for f in WINDOW_SCHEMA], schema=WINDOW_SCHEMA)


def _dictionaries(segment: Segment, cursor: duckdb.DuckDBPyConnection, *ids: pa.ChunkedArray) -> Dictionaries:
    """Read what the numbers of some rows stand for: of the attributes those between the first and the last."""
    bounds = [pc.min_max(some).as_py() for some in ids if len(some) > some.null_count]
    return segment.dictionaries(cursor, min((b["min"] for b in bounds), default=0), max((b["max"] for b in bounds), default=0))


def hot_trace_ids(segment: Segment, since: int, until: int) -> pa.Table:
    """Give the TRACE_IDS of each span with since < arrival <= until."""
    with _cursor(segment) as cursor:
        return _select(cursor, "hot_trace_ids", {"since": since, "until": until})


def hot_trace_sizes(segment: Segment, traces: pa.Table, since: int, until: int) -> pa.Table:
    """Give the TRACE_SIZES of some traces in a segment."""
    with _cursor(segment) as cursor:
        return _select(cursor, "hot_trace_sizes", {"since": since, "until": until}, {"wanted": traces})


def hot_repeats(segment: Segment, since: int, until: int) -> pa.Table:
    """Give a segment's repeats with since < arrival <= until."""
    with _cursor(segment) as cursor:
        return _select(cursor, "hot_repeats_between", {"since": since, "until": until})


def hot_spans_by_id(segment: Segment, ids: pa.Table) -> pa.Table:
    """Give SPAN_BY_ID columns of a segment's spans with some (trace_id_high, trace_id_low, span_id)."""
    with _cursor(segment) as cursor:
        rows = _select(cursor, "hot_spans_by_id", tables={"candidate": ids})
        if not rows.num_rows:
            return SPAN_BY_ID.empty_table()
        dictionaries = _dictionaries(segment, cursor, pc.list_flatten(rows.column("attribute_ids")))
    rows = rows.append_column("message_attributes", message_attributes(rows.column("attribute_ids"), dictionaries))
    return conform(rows, SPAN_BY_ID)


def hot_log_batches(segment: Segment) -> npt.NDArray[np.uint64]:
    """Give (fingerprint high, low, number) of a segment's batches of log records; none of a segment of before there were fingerprints."""
    with _cursor(segment) as cursor:
        try:
            rows = _select(cursor, "hot_log_batches")
        except duckdb.BinderException:
            return np.zeros((0, 3), np.uint64)
    return np.column_stack([np.asarray(column) for column in rows.columns]).astype(np.uint64)


def hot_identities(segment: Segment, candidates: pa.Table) -> pa.Table:
    """Give the IDENTITIES of a segment's spans that share (trace id, span id) with a candidate."""
    with _cursor(segment) as cursor:
        return _select(cursor, "hot_identities", tables={"candidate": candidates})


def hot_of_trace(segment: Segment, kind: str, high: int, low: int, max_rows: int) -> pa.Table | None:
    """Give a segment's earliest `spans` or `logs` of one trace, in the public schema."""
    _, expand = _OF_TRACE[kind]
    with _cursor(segment) as cursor:
        rows = _select(cursor, f"hot_{kind}_of_trace", {"high": high, "low": low, "max_rows": max_rows})
        return expand(rows, segment.dictionaries(cursor)) if rows.num_rows else None


def hot_size_of_trace(segment: Segment, high: int, low: int) -> TraceSize:
    """Count what a segment holds of one trace."""
    with _cursor(segment) as cursor:
        return TraceSize(*_numbers(_select(cursor, "hot_size_of_trace", {"high": high, "low": low})))


def hot_keys(segment: Segment) -> tuple[pa.Table, pa.Table]:
    """Give what identifies each span of a segment, and the resources that its `resource_id` counts."""
    with _cursor(segment) as cursor:
        return _select(cursor, "hot_keys"), _select(cursor, "hot_resources")


@contextmanager
def _cursor(segment: Segment) -> Iterator[duckdb.DuckDBPyConnection]:
    cursor = segment.cursor()
    try:
        # one transaction: what is committed between two statements must not name what the first one did not see
        cursor.begin()
        yield cursor
    finally:
        cursor.close()


def _select(
    cursor: duckdb.DuckDBPyConnection,
    name: str,
    params: Mapping[str, Any] | None = None,
    tables: Mapping[str, pa.Table] | None = None,
) -> pa.Table:
    for table, rows in (tables or {}).items():
        cursor.register(table, rows)  # a temporary view of this cursor alone
    return cursor.sql(load_folder("store")[name].sql, params=dict(params) if params else None).to_arrow_table()


def _numbers(rows: pa.Table) -> list[int]:
    """Give the numbers of the only row."""
    return [column[0].as_py() for column in rows.columns]


# ---------------------------------------------------------------------- sealed files


class SealedReader:
    """Reads sealed files by SQL in an in-memory instance of its own, so that queries live on when a segment dies.

    Every method raises SealedUnreadableError where a file is damaged.
    """

    def __init__(self, threads: int, memory_limit_bytes: int, spill: Spill, no_spans: Path) -> None:
        """Open the instance.

        Args:
            threads: of the instance.
            memory_limit_bytes: of its buffers.
            spill: where what does not fit goes.
            no_spans: a file without rows and with all columns, written here: it is read with files of before a column existed, so that these
                have it too. (UNION ALL BY NAME with such a table does the same, and takes 12 ms more for each query to be planned.)
        """
        self._no_spans, self._no_spans_written = no_spans, False
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_limit_bytes}B",
                **spill_settings(spill, "sealed"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_persistent_secrets": False,
                "python_enable_replacements": False,
            },
        )

    def close(self) -> None:
        """Close the instance."""
        self._connection.close()

    def window(self, generations: Sequence[Generation], since: int, until: int) -> pa.Table | None:
        """Give the sealed spans with since < arrival <= until, as WINDOW_SCHEMA."""
        return self._read("sealed_window", WINDOW_SCHEMA, self._spans(generations, since, until), {"since": since, "until": until})

    def trace_ids(self, generations: Sequence[Generation], since: int, until: int) -> pa.Table | None:
        """Give the TRACE_IDS of each sealed span with since < arrival <= until."""
        return self._read("sealed_trace_ids", TRACE_IDS, self._spans(generations, since, until), {"since": since, "until": until})

    def trace_sizes(self, generations: Sequence[Generation], traces: pa.Table, since: int, until: int) -> pa.Table | None:
        """Give the TRACE_SIZES of some traces in sealed files."""
        paths = self._spans(generations, since, until)
        return self._read("sealed_trace_sizes", TRACE_SIZES, paths, {"since": since, "until": until}, {"wanted": traces})

    def window_of_traces(self, generations: Sequence[Generation], traces: pa.Table, since: int, until: int) -> pa.Table | None:
        """Give the sealed spans of some traces (trace_id_high, trace_id_low) in a window, as WINDOW_SCHEMA."""
        paths = self._spans(generations, since, until)
        return self._read("sealed_window_of_traces", WINDOW_SCHEMA, paths, {"since": since, "until": until}, {"wanted": traces})

    def spans_by_id(self, generations: Sequence[Generation], ids: pa.Table) -> pa.Table | None:
        """Give SPAN_BY_ID columns of the sealed spans with some (trace_id_high, trace_id_low, span_id)."""
        return self._read("sealed_spans_by_id", SPAN_BY_ID, self._spans(generations, 0, _EVER), {}, {"candidate": ids})

    def of_trace(self, kind: str, generations: Sequence[Generation], high: int, low: int, max_rows: int) -> pa.Table | None:
        """Give the earliest sealed `spans` or `logs` of one trace, in the public schema."""
        params = {"high": high, "low": low, "max_rows": max_rows}
        return self._read(f"sealed_{kind}_of_trace", _OF_TRACE[kind][0], _files(kind, generations, 0, _EVER), params)

    def size_of_trace(self, generations: Sequence[Generation], high: int, low: int) -> TraceSize:
        """Count what is sealed of one trace."""
        params = {"high": high, "low": low}
        spans = self._read("sealed_size_of_trace", _SIZE, self._spans(generations, 0, _EVER), params)
        logs = self._read("sealed_log_count_of_trace", _LOG_COUNT, _files("logs", generations, 0, _EVER), params)
        return TraceSize(*(_numbers(spans) if spans is not None else (0, 0)), *(_numbers(logs) if logs is not None else (0,)))

    def repeats(self, generations: Sequence[Generation], since: int, until: int) -> pa.Table | None:
        """Give the sealed repeats with since < arrival <= until."""
        return self._read("sealed_repeats_between", REPEATS, _files("repeats", generations, since, until), {"since": since, "until": until})

    def identities(self, generations: Sequence[Generation], candidates: pa.Table) -> pa.Table | None:
        """Give the IDENTITIES of the sealed spans that share (trace id, span id) with a candidate."""
        return self._read("sealed_identities", IDENTITIES, self._spans(generations, 0, _EVER), {}, {"candidate": candidates})

    def _read(self, name: str, schema: pa.Schema, paths: list[str], params: Mapping[str, Any], tables: Mapping[str, pa.Table] | None = None) -> pa.Table | None:
        if not paths:
            return None
        cursor = self._connection.cursor()
        try:
            return conform(_select(cursor, name, {"files": paths, **params}, tables), schema)
        except duckdb.OutOfMemoryException:
            raise  # says nothing of the files
        except duckdb.Error as error:
            raise SealedUnreadableError(paths, error) from error
        finally:
            cursor.close()

    def _spans(self, generations: Sequence[Generation], since: int, until: int) -> list[str]:
        """Name the files of spans that may hold arrivals of a window, and the one that lends its columns to older ones."""
        files = _files("spans", [g for g in generations if g.extent.spans], since, until)
        if not files:
            return []
        if not (self._no_spans_written and self._no_spans.exists()):
            self._write_no_spans()
        return [*files, str(self._no_spans)]

    def _write_no_spans(self) -> None:
        """Write the file anew, since an earlier version may have left one with fewer columns; whole, since others may read it meanwhile."""
        temporary = self._no_spans.with_suffix(f".{threading.get_ident()}.tmp")
        pq.write_table(SPANS.empty_table(), temporary)
        temporary.rename(self._no_spans)
        self._no_spans_written = True


def _files(kind: str, generations: Sequence[Generation], since: int, until: int) -> list[str]:
    """Name the files of one kind that may hold arrivals of a window."""
    inside = (g for g in generations if g.extent.last_arrival > since and g.extent.first_arrival <= until)
    return [str(path) for g in inside if (path := g.path(kind)).exists()]


def conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give rows the columns of a schema: those that an older file lacks are null."""
    if rows.schema == schema:
        return rows
    columns = [rows.column(f.name).cast(f.type) if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type) for f in schema]
    return pa.table(columns, schema=schema)


def together(parts: Iterable[pa.Table | None], schema: pa.Schema) -> pa.Table:
    """Put parts of one schema together; an empty table where there are none."""
    present = [p for p in parts if p is not None and p.num_rows]
    return pa.concat_tables([conform(p, schema) for p in present]) if present else schema.empty_table()


def trace_ids_of(table: pa.Table) -> tuple[Keys, Keys]:
    """Give TRACE_IDS rows as (high, low)."""
    return np.asarray(table.column("trace_id_high")), np.asarray(table.column("trace_id_low"))
