"""Which rows the message log has at one moment: its files, and the tail that is in no file yet.

A file that is taken off goes when no reader holds it, and when a manifest without it was kept: a start has to find every file that its manifest names.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import structlog

from traced.store.message_files import SCHEMAS, LogFile
from traced.store.message_reading import View
from traced.store.segment import sync_directory

log = structlog.get_logger(__name__)

_EVER: Final = (0, 2**63 - 1)


class Shelf:
    """The files and the tail; thread-safe.

    Attributes:
        directory: where the files are; None where there are none.
        changed: whether files came or went since the last manifest was given.
    """

    def __init__(self, directory: Path | None, *, durable: bool) -> None:
        self.directory = directory
        self.changed = False
        self._durable = durable
        self._lock = threading.Lock()
        self._files: dict[str, tuple[LogFile, ...]] = dict.fromkeys(SCHEMAS, ())
        self._tails: dict[str, tuple[pa.Table, ...]] = dict.fromkeys(SCHEMAS, ())
        self._held: Counter[LogFile] = Counter()
        self._retired: set[LogFile] = set()
        self._leaving: set[LogFile] = set()
        self._free: set[LogFile] = set()
        self._next = 1

    # ------------------------------------------------------------------ the tail

    def add(self, parts: dict[str, pa.Table]) -> None:
        """Put rows, by table, behind the tail."""
        with self._lock:
            for table, rows in parts.items():
                if rows.num_rows:
                    self._tails[table] = (*self._tails[table], rows)

    def tail(self, table: str) -> tuple[pa.Table, ...]:
        """Give the parts of a table's tail, the oldest first."""
        return self._tails[table]

    @property
    def tail_bytes(self) -> int:
        """Say how large the tails are."""
        return sum(rows.nbytes for tail in self._tails.values() for rows in tail)

    def forget_oldest(self, table: str) -> pa.Table:
        """Take the oldest part off a table's tail, which has to have one, and give it."""
        with self._lock:
            first, *rest = self._tails[table]
            self._tails[table] = tuple(rest)
        return first

    # ------------------------------------------------------------------ files

    @property
    def files(self) -> dict[str, tuple[LogFile, ...]]:
        """The files by table, the oldest first."""
        with self._lock:
            return dict(self._files)

    def path(self, file: LogFile) -> Path:
        """Say where a file is.

        Raises:
            ValueError: this shelf has no files.
        """
        if self.directory is None:
            raise ValueError("a log that lives in memory has no files")
        return self.directory / file.name

    def number(self) -> int:
        """Give a number that no file has."""
        with self._lock:
            number, self._next = self._next, self._next + 1
        return number

    @property
    def next_number(self) -> int:
        """The number that will be given next."""
        return self._next

    def begin(self, files: Sequence[LogFile], next_number: int) -> None:
        """Take what a start found."""
        with self._lock:
            self._files = {table: tuple(sorted((f for f in files if f.table == table), key=lambda f: f.first)) for table in SCHEMAS}
            self._next = next_number

    def put(self, file: LogFile, parts: int) -> None:
        """Take a file in the place of the oldest so many parts of its table's tail, in one step for every reader."""
        with self._lock:
            self._files[file.table] = (*self._files[file.table], file)
            self._tails[file.table] = self._tails[file.table][parts:]
            self.changed = True

    def swap(self, gone: Sequence[LogFile], come: LogFile | None) -> bool:
        """Replace neighbouring files by one, or by none; say whether all of them were still there: otherwise nothing is done."""
        table = gone[0].table
        with self._lock:
            if not set(gone) <= set(self._files[table]):
                return False
            place = self._files[table].index(gone[0])
            kept = [f for f in self._files[table] if f not in set(gone)]
            kept[place:place] = [come] if come else []
            self._files[table] = tuple(kept)
            self._retired.update(gone)
            self.changed = True
        return True

    def take_off(self, file: LogFile) -> bool:
        """Let no new reader see a file that is damaged; say whether it was still there. What becomes of it is the caller's business."""
        with self._lock:
            there = file in self._files[file.table]
            self._files[file.table] = tuple(f for f in self._files[file.table] if f != file)
            self.changed |= there
        return there

    # ------------------------------------------------------------------ manifests

    def manifest(self) -> list[list[Any]]:
        """Give all files as JSON values; those taken off by now may go once this was kept."""
        with self._lock:
            self._leaving = set(self._retired)
            self.changed = False
            return [file.dump() for table in SCHEMAS for file in self._files[table]]

    def manifest_kept(self) -> None:
        """Let go of the files that the last manifest does not name."""
        with self._lock:
            self._free |= self._leaving
            self._retired -= self._leaving
            self._leaving = set()
            gone = self._unheld()
        self._unlink(gone)

    # ------------------------------------------------------------------ readers

    @contextmanager
    def hold(self, tables: Sequence[str] = tuple(SCHEMAS), window: tuple[int, int] = _EVER) -> Iterator[View]:
        """Keep what may hold arrivals of a window (both ends, unix nanoseconds) readable until the block ends."""
        with self._lock:
            files = {t: tuple(f for f in self._files[t] if f.last_arrival >= window[0] and f.first_arrival <= window[1]) for t in tables}
            tails = {table: self._tails[table] for table in tables}
            held = [file for of_table in files.values() for file in of_table]
            self._held.update(held)
        try:
            together = {table: pa.concat_tables(parts) if parts else SCHEMAS[table].empty_table() for table, parts in tails.items()}
            yield View(self.directory, files, together)
        finally:
            with self._lock:
                self._held.subtract(held)
                gone = self._unheld()
            self._unlink(gone)

    def _unheld(self) -> list[LogFile]:
        self._held = +self._held
        gone = [file for file in self._free if not self._held[file]]
        self._free.difference_update(gone)
        return gone

    def _unlink(self, gone: list[LogFile]) -> None:
        try:
            for file in gone:
                self.path(file).unlink(missing_ok=True)
            if gone and self.directory is not None and self._durable:
                sync_directory(self.directory)
        except OSError as error:
            # the next start removes what no manifest names
            log.warning("log_file_not_removed", error=str(error))
