"""Looking after the files of the message log: small ones are merged, old ones dropped, damaged ones found. Done by the store's keeper."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

import duckdb
import pyarrow as pa
import structlog

from traced.store.message_files import SCHEMAS, LogFile, check_file, in_row_groups, read_rows, write_file
from traced.store.message_log import MessageLog
from traced.store.parquet import Stop, never
from traced.telemetry import LogLoss

log = structlog.get_logger(__name__)

MERGED_AT_ONCE: Final = 8
MERGE_BELOW_BYTES: Final = 32 * 2**20
"""Larger files are not merged any more."""
_WINDOWS_PER_RETENTION: Final = 32
"""A merged file spans at most such a part of the retention time, since it goes as a whole."""
_MAX_SUMMED_ROWS: Final = 200_000
"""Flows of more rows are not added up when they are merged: files of that size have few minutes in common, and it takes about a kilobyte of memory a row."""
_CHECK_BYTES_PER_SECOND: Final = 64 * 2**20
"""How fast files are compared with their checksums after a start."""


class LogKeeper:
    """Does one thing at a time, for one thread."""

    def __init__(self, message_log: MessageLog, clock: Callable[[], int] = time.time_ns) -> None:
        """Look after a log; `clock` gives unix nanoseconds."""
        self._log = message_log
        self._shelf = message_log.shelf
        self._telemetry = message_log.telemetry
        self._clock = clock
        settings = message_log.settings
        self._limits = {
            "messages": (int(settings.message_retention_seconds * 1e9), settings.message_retention_bytes),
            "flows": (int(settings.flow_retention_seconds * 1e9), settings.flow_retention_bytes),
        }
        self._unchecked: list[LogFile] | None = None
        self._check_at = 0.0

    def tidy(self, stop: Stop = never) -> None:
        """Drop what is too old or too much, merge once, compare one file with its checksum; nothing before the log was restored.

        Raises:
            OSError, pa.ArrowException: the disk is full or failing.
            InterruptedWorkError: `stop` said so.
        """
        if not self._log.restored or self._shelf.directory is None:
            return
        for table in SCHEMAS:
            self._drop(table)
            self._merge(table, stop)
        self._check_one(stop)
        for table, files in self._shelf.files.items():
            self._telemetry.log_files.labels(table).set(len(files))
            self._telemetry.log_bytes.labels(table).set(sum(file.size_bytes for file in files))

    def _drop(self, table: str) -> None:
        seconds, most = self._limits[table]
        files = self._shelf.files[table]
        size = sum(file.size_bytes for file in files)
        for file in files:
            if file.last_arrival < self._clock() - seconds:
                reason = LogLoss.AGE
            elif size > most:
                reason = LogLoss.SIZE
            else:
                return
            size -= file.size_bytes
            self._shelf.swap((file,), None)
            self._log.dropped_until[table] = max(self._log.dropped_until[table], file.last_arrival)
            self._telemetry.lost_log_rows.labels(table, reason).inc(file.rows)
            log.info("log_file_dropped", file=file.name, reason=reason, rows=file.rows)

    def _merge(self, table: str, stop: Stop) -> None:
        longest = self._limits[table][0] // _WINDOWS_PER_RETENTION
        chosen = neighbours(self._shelf.files[table], longest)
        if not chosen or not self._all_sound(chosen, stop):
            return
        with self._shelf.hold((table,)):
            path = self._shelf.path(chosen[0])
            numbers = self._shelf.number(), min(f.first for f in chosen), max(f.last for f in chosen)
            merged = write_file(path.parent, table, numbers, self._rows(table, chosen), durable=self._log.settings.durable, stop=stop)
        if self._shelf.swap(chosen, merged):
            self._telemetry.merged_files.inc(len(chosen))
        elif merged is not None:
            self._shelf.path(merged).unlink(missing_ok=True)
        pa.default_memory_pool().release_unused()

    def _rows(self, table: str, files: Sequence[LogFile]) -> Iterator[pa.Table]:
        paths = tuple(self._shelf.path(file) for file in files)
        if table == "flows" and sum(file.rows for file in files) <= _MAX_SUMMED_ROWS:
            with contextlib.suppress(duckdb.OutOfMemoryException):
                return iter((self._log.reader.merged_flows(paths),))
        return in_row_groups(chain.from_iterable(read_rows(path, table) for path in paths))

    def _all_sound(self, files: Sequence[LogFile], stop: Stop) -> bool:
        """Set aside what is damaged, so that a merge does not carry it on."""
        return not [file for file in files if self._is_set_aside(file, stop)]

    def _is_set_aside(self, file: LogFile, stop: Stop) -> bool:
        try:
            check_file(self._shelf.path(file), file, stop)
        except OSError as error:
            return self._log.set_aside(file, str(error))
        return False

    def _check_one(self, stop: Stop) -> None:
        """Compare a file that was there at the start with its checksum, now and then, the newest first."""
        if self._unchecked is None:
            self._unchecked = sorted((f for files in self._shelf.files.values() for f in files), key=lambda f: f.last_arrival)
        if not self._unchecked or time.monotonic() < self._check_at:
            return
        file = self._unchecked.pop()
        if file in self._shelf.files[file.table]:
            self._check_at = time.monotonic() + file.size_bytes / _CHECK_BYTES_PER_SECOND
            self._is_set_aside(file, stop)


def neighbours(files: Sequence[LogFile], longest_nanos: int, at_once: int = MERGED_AT_ONCE) -> tuple[LogFile, ...]:
    """Choose neighbouring files to be merged; nothing where there are not enough.

    None of them may hold many more rows than the others, so that a row is written a logarithmic number of times.

    Args:
        files: of one table, the oldest first.
        longest_nanos: how much time of arrival they may span together.
        at_once: how many.
    """
    for start in range(len(files) - at_once + 1):
        run = tuple(files[start : start + at_once])
        rows = [file.rows for file in run]
        spanned = max(f.last_arrival for f in run) - min(f.first_arrival for f in run)
        alike = max(rows) <= max(sum(rows) - max(rows), 2 * min(rows))
        if alike and spanned <= longest_nanos and max(f.size_bytes for f in run) < MERGE_BELOW_BYTES:
            return run
    return ()
