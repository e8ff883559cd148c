"""The files of the message log: `messages-N.parquet` and `flows-N.parquet`, each written once, whole under its final name, and never changed.

N is a number that no other file of the log ever has. Its footer says which numbers it stands for: those of the files that were merged to it, else its own.
So it can be told which of the files of a directory hold the same rows, whoever was interrupted between writing one and removing the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from traced.model.messages import FLOWS, MESSAGES
from traced.store.parquet import STORE_VERSION, InterruptedWorkError, Stop, never
from traced.store.reading import conform
from traced.store.sealed_files import file_sum, sync_file
from traced.store.segment import sync_directory

SCHEMAS: Final = {"messages": MESSAGES, "flows": FLOWS}
"""What each kind of file holds; in the order in which they are written."""
MINUTE_NANOS: Final = 60_000_000_000

_ROW_GROUP_ROWS: Final = 131_072
_BATCH_ROWS: Final = 16_384
_NAME: Final = re.compile(r"^(messages|flows)-(\d{8,})\.parquet$")
_PREFIX: Final = "traced."
_TIMES: Final = ("minute", "time_unix_nano", "arrival_time_unix_nano", "first_time_unix_nano", "last_time_unix_nano")
"""Columns that ascend, more or less."""
_UNALIKE: Final = (
    *(f"{whose}{name}" for whose in ("", "producer_") for name in ("trace_id_high", "trace_id_low", "span_id")),
    *("message_id", "identity", "offset", "delay_nano", "delay_sum_seconds"),
)
"""Columns of which no two rows are alike: a dictionary of them is larger than they are."""
_BY: Final = {"messages": "arrival_time_unix_nano", "flows": "minute"}


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of the message log.

    Attributes:
        table: `messages` or `flows`.
        number: its own.
        first, last: the numbers that it stands for.
        rows: how many it holds.
        first_arrival, last_arrival: of its rows, unix nanoseconds; of flows the bounds of their minutes.
        size_bytes: in bytes.
        checksum: CRC-32 of all of it.
    """

    table: str
    number: int
    first: int
    last: int
    rows: int
    first_arrival: int
    last_arrival: int
    size_bytes: int
    checksum: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.table}-{self.number:08d}.parquet"

    def dump(self) -> list[Any]:
        """Give it as a JSON value."""
        return list(astuple(self))

    @classmethod
    def load(cls, values: Any) -> LogFile:
        """Take what `dump` gave.

        Raises:
            ValueError, TypeError: this is none.
        """
        table, *numbers = values
        if table not in SCHEMAS:
            raise ValueError(f"there is no table {table!r}")
        return cls(table, *map(int, numbers))

    def stands_for(self, other: LogFile) -> bool:
        """Say whether all rows of another file are in this one, as far as they are still wanted: it was written later, of the other or of its like."""
        return self.table == other.table and self.first <= other.first and other.last <= self.last and self.number > other.number


def numbers_in(directory: Path) -> dict[Path, tuple[str, int]]:
    """Find the files of the log in a directory: path to (table, number)."""
    found = {path: _NAME.match(path.name) for path in sorted(directory.iterdir())}
    return {path: (match[1], int(match[2])) for path, match in found.items() if match}


def write_file(
    directory: Path, table: str, numbers: tuple[int, int, int], slices: Iterable[pa.Table], *, durable: bool = True, stop: Stop = never
) -> LogFile | None:
    """Write rows as a file, whole and durable when this returns; None, and no file, where there are no rows.

    Args:
        directory: where.
        table: `messages` or `flows`.
        numbers: its own, and the first and the last that it stands for.
        slices: the rows, in order of arrival.
        durable: whether it must survive a power cut.
        stop: asked between slices.

    Raises:
        OSError, pa.ArrowException: the disk is full or failing, or a source of the rows is damaged; nothing of it is left.
        InterruptedWorkError: `stop` said so; nothing of it is left.
    """
    number, first, last = numbers
    path = directory / f"{table}-{number:08d}.parquet"
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        rows, bounds = _write(temporary, table, slices, (first, last), stop)
        if not rows:
            temporary.unlink()
            return None
        if durable:
            sync_file(temporary)
        size, checksum = file_sum(temporary)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(directory)
    return LogFile(table, number, first, last, rows, *bounds, size, checksum)


def _write(path: Path, table: str, slices: Iterable[pa.Table], numbers: tuple[int, int], stop: Stop) -> tuple[int, tuple[int, int]]:
    """Write a file; give its rows and the bounds of their arrival."""
    schema, rows = SCHEMAS[table], 0
    first, last = 2**63 - 1, 0
    path.touch(mode=0o600)
    with pq.ParquetWriter(path, schema, **_options(schema)) as writer:
        for part in slices:
            if stop():
                raise InterruptedWorkError
            if not part.num_rows:
                continue
            writer.write_table(part, row_group_size=_ROW_GROUP_ROWS)
            bounds = arrivals(table, part)
            first, last, rows = min(first, bounds[0]), max(last, bounds[1]), rows + part.num_rows
        known = {"store_version": STORE_VERSION, "first": numbers[0], "last": numbers[1], "first_arrival": first, "last_arrival": last}
        writer.add_key_value_metadata({f"{_PREFIX}{name}": str(value) for name, value in known.items()})
    return rows, (first, last)


def _options(schema: pa.Schema) -> dict[str, Any]:
    times = [name for name in _TIMES if name in schema.names]
    plain = {*times, *_UNALIKE}
    dictionary = [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema if f.name not in plain and not pa.types.is_boolean(f.type)]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": dictionary,
        "column_encoding": dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        "write_statistics": [*times, *(name for name in ("destination", "trace_id_high", "trace_id_low") if name in schema.names)],
        "data_page_size": 256 * 1024,
        "store_schema": False,
    }


def arrivals(table: str, rows: pa.Table) -> tuple[int, int]:
    """Give the first and the last arrival (unix nanoseconds) of rows, of which there has to be one; rows that say none arrived in 1970."""
    bounds = pc.min_max(rows.column(_BY[table])).as_py()
    first, last = bounds["min"] or 0, bounds["max"] or 0
    return (first, last) if table == "messages" else (first * MINUTE_NANOS, (last + 1) * MINUTE_NANOS - 1)


def in_order(table: str, rows: pa.Table) -> pa.Table:
    """Give rows in order of arrival."""
    return rows.take(pc.array_sort_indices(rows.column(_BY[table]).combine_chunks()))


def read_rows(path: Path, table: str) -> Iterator[pa.Table]:
    """Give a file's rows in slices, with all columns: those that an older file lacks are null.

    Raises:
        OSError, pa.ArrowException: it is damaged.
    """
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            yield conform(pa.Table.from_batches([batch]), SCHEMAS[table])


def in_row_groups(slices: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Put small slices together to such as are worth a row group."""
    waiting: list[pa.Table] = []
    for rows in slices:
        waiting.append(rows)
        if sum(part.num_rows for part in waiting) >= _ROW_GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def check_file(path: Path, file: LogFile, stop: Stop = never) -> None:
    """Compare a file with its checksum (about 1 GB/s).

    Raises:
        OSError: it differs, or is not there.
        InterruptedWorkError: `stop` said so.
    """
    if file_sum(path, stop) != (file.size_bytes, file.checksum):
        raise OSError(f"{path.name} differs from its checksum")


def describe_file(path: Path, table: str, number: int) -> LogFile:
    """Find out from a file alone what it is, and read all of it, because nothing else says whether it is sound.

    Raises:
        OSError, pa.ArrowException: it is damaged, or not ours.
    """
    metadata = {k.decode(): v.decode() for k, v in (pq.read_metadata(path).metadata or {}).items()}
    try:
        first, last, first_arrival, last_arrival = (int(metadata[f"{_PREFIX}{name}"]) for name in ("first", "last", "first_arrival", "last_arrival"))
    except (KeyError, ValueError) as error:
        raise OSError(f"{path.name} has no footer of ours: {error}") from None
    rows = sum(part.num_rows for part in read_rows(path, table))
    return LogFile(table, number, first, last, rows, first_arrival, last_arrival, *file_sum(path))
