"""A hot segment: a small DuckDB file that lives in its WAL and is never checkpointed.

Why (measured, see ARCHITECTURE.md): a commit fdatasyncs the WAL before it returns and survives kill -9; a checkpoint rewrites a
metadata block in place and does not. So a segment sees CREATE TABLE once, then only INSERTs of fewer than 122,880 rows a
transaction and table (a full row group would bypass the WAL), and in the end is read, sealed to Parquet and unlinked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from traced.store.expand import Dictionaries
from traced.store.ledger import Ledger
from traced.store.queries import load_folder
from traced.store.spill import Spill, spill_settings

MAX_ROWS_PER_TRANSACTION: Final = 100_000


@dataclass(frozen=True, slots=True)
class Extent:
    """What a segment or a sealed file holds: rows, and the first and last batch and arrival (0 when empty)."""

    spans: int = 0
    logs: int = 0
    first_batch: int = 0
    last_batch: int = 0
    first_arrival: int = 0
    last_arrival: int = 0


def segment_paths(directory: Path, number: int) -> tuple[Path, Path, Path]:
    """Give the segment's database file, its WAL and its ledger."""
    stem = f"hot-{number:08d}"
    return directory / f"{stem}.duckdb", directory / f"{stem}.duckdb.wal", directory / f"{stem}.ledger"


def connect(path: Path, memory_limit_bytes: int, spill: Spill | None, *, read_only: bool, durable: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a segment so that nothing ever checkpoints it.

    The settings must be in place before the first commit: under the default, opening a long WAL checkpoints at that commit.
    """
    connection = duckdb.connect(
        str(path),
        read_only=read_only,
        config={
            "wal_autocheckpoint": "1TB",
            "checkpoint_on_detach": "DISABLED",
            "fsync_mode": "STANDARD" if durable else "NONE",
            "memory_limit": f"{memory_limit_bytes}B",
            **spill_settings(spill, path.stem),
            # inserts are small: a second thread only costs scheduling (measured: 4.2 against 8.1 ms CPU for 8,192 rows)
            "threads": 1,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_persistent_secrets": False,
            "python_enable_replacements": False,
        },
    )
    if not read_only:
        connection.execute(load_folder("store")["stay_in_wal"].sql)
    return connection


class Segment:
    """One hot or frozen segment, open in this process.

    Attributes:
        number: also that of the sealed file it becomes.
        extent: what is committed.
        frozen: nothing is written any more; it waits to be sealed.
        broken: an I/O error invalidated its instance: every statement fails until it is reopened.
        message_keys: keys that say something of messages here, beside those that always do.
    """

    def __init__(
        self, directory: Path, number: int, connection: duckdb.DuckDBPyConnection, extent: Extent, memory_limit_bytes: int, spill: Spill | None = None
    ) -> None:
        self.directory = directory
        self.number = number
        self.extent = extent
        self.frozen = False
        self.broken = False
        self.message_keys: frozenset[str] = frozenset()
        self._memory_limit_bytes = memory_limit_bytes
        self._spill = spill
        self._connection = connection
        self._ledger: Ledger | None = None

    @classmethod
    def create(cls, directory: Path, number: int, memory_limit_bytes: int, next_batch: int, *, durable: bool = True, spill: Spill | None = None) -> Segment:
        """Make a new, empty segment for writing; its files are durable when this returns. Without `spill` all of it stays in memory.

        Raises:
            duckdb.Error, OSError: the disk is full or failing; nothing of it is left.
        """
        path, wal, ledger = segment_paths(directory, number)
        try:
            connection = connect(path, memory_limit_bytes, spill, read_only=False, durable=durable)
            segment = cls(directory, number, connection, Extent(), memory_limit_bytes, spill)
            with segment._transaction():
                for query in load_folder("ddl/tables").values():
                    connection.execute(query.sql)
            path.chmod(0o600)
            wal.chmod(0o600)
            segment._ledger = Ledger(ledger, next_batch - 1)
            # DuckDB creates the WAL at the first write and never syncs the directory: without this, a power cut loses the files
            sync_directory(directory)
        except (duckdb.Error, OSError):
            for left_over in (path, wal, ledger):
                left_over.unlink(missing_ok=True)
            raise
        return segment

    @classmethod
    def open(cls, directory: Path, number: int, memory_limit_bytes: int, spill: Spill | None = None) -> Segment:
        """Open a left-over segment read only: its WAL is replayed, nothing is written.

        Raises:
            duckdb.Error: it is damaged.
        """
        connection = connect(segment_paths(directory, number)[0], memory_limit_bytes, spill, read_only=True)
        segment = cls(directory, number, connection, Extent(), memory_limit_bytes, spill)
        segment.extent = read_extent(connection)
        segment.frozen = True
        return segment

    def reopen(self) -> None:
        """Open it again, read only, after an I/O error invalidated its instance; nobody may be reading.

        Raises:
            duckdb.Error: it cannot be read yet; it stays broken.
        """
        with contextlib.suppress(duckdb.Error, OSError):
            self.close()
        self._connection = connect(segment_paths(self.directory, self.number)[0], self._memory_limit_bytes, self._spill, read_only=True)
        self.extent = read_extent(self._connection)
        self.broken = False

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Give a cursor of its own for a reading thread: one connection shared by threads returns wrong rows."""
        return self._connection.cursor()

    def ping(self) -> None:
        """See whether its instance answers.

        Raises:
            duckdb.Error: it does not.
        """
        cursor = self.cursor()
        try:
            cursor.begin()
        finally:
            cursor.close()

    def insert(self, tables: dict[str, pa.Table]) -> None:
        """Insert rows in one transaction, durable when this returns.

        Args:
            tables: rows by table name, in the order of the table's columns, each below MAX_ROWS_PER_TRANSACTION.

        Raises:
            duckdb.Error: nothing of it was committed.
        """
        queries = load_folder("store")
        connection = self._connection
        try:
            with self._transaction():
                for name, rows in tables.items():
                    if rows.num_rows:
                        connection.register("incoming", rows)
                        connection.execute(queries[f"insert_{name}"].sql)
        finally:
            connection.unregister("incoming")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.begin()
        try:
            yield
            self._connection.commit()
        except BaseException:
            # a failed COMMIT has rolled back already; an invalidated instance refuses every statement
            with contextlib.suppress(duckdb.Error):
                self._connection.rollback()
            raise

    def note_in_ledger(self, last_batch: int, arrival: int, spans: int) -> None:
        """Note what is committed by now.

        Raises:
            OSError: the disk is full or failing.
        """
        if self._ledger is not None:
            self._ledger.note(last_batch, arrival, spans)

    def freeze(self) -> None:
        """Make the ledger durable and close it: nothing is written any more.

        Raises:
            OSError: the disk is failing.
        """
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()

    def wal_bytes(self) -> int:
        """Give the size of the WAL, about what its rows take in memory; 0 where it cannot be said."""
        try:
            return segment_paths(self.directory, self.number)[1].stat().st_size
        except OSError:
            return 0

    def dictionaries(self, cursor: duckdb.DuckDBPyConnection, first_attribute: int = 0, last_attribute: int = 2**32 - 1) -> Dictionaries:
        """Read what the segment's numbers stand for; of the attributes a range is enough for recent rows."""
        queries = load_folder("store")
        attributes = cursor.sql(queries["hot_attributes"].sql, params={"first": first_attribute, "last": last_attribute}).to_arrow_table()
        resources = cursor.sql(queries["hot_resources"].sql).to_arrow_table()
        scopes = cursor.sql(queries["hot_scopes"].sql).to_arrow_table()
        return Dictionaries(attributes, resources, scopes, first_attribute, self.message_keys)

    def close(self) -> None:
        """Close the connection (without a checkpoint) and the ledger.

        Raises:
            OSError: the ledger could not be made durable.
        """
        try:
            self.freeze()
        finally:
            self._connection.close()

    def remove(self) -> None:
        """Close and unlink all files of the segment.

        Raises:
            OSError: a file cannot be unlinked; the next start does it.
        """
        with contextlib.suppress(OSError):
            self.close()
        remove_segment(self.directory, self.number)
        sync_directory(self.directory)


def remove_segment(directory: Path, number: int) -> None:
    """Unlink the files of a segment that is not open.

    The WAL goes first: what a crash in between leaves is an empty segment, not a damaged one.
    """
    database, wal, ledger = segment_paths(directory, number)
    for path in (wal, database, ledger):
        path.unlink(missing_ok=True)


def read_extent(connection: duckdb.DuckDBPyConnection) -> Extent:
    """Count what an open segment holds.

    Raises:
        duckdb.Error: the file holds no such tables (a crash before the first commit), or cannot be read.
    """
    row = connection.execute(load_folder("store")["hot_extent"].sql).fetchone()
    return Extent(*row) if row is not None else Extent()


def sync_directory(directory: Path) -> None:
    """Make renames, creations and removals in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
