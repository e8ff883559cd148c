"""The message log: rows of messages, and how many of a kind there were in each minute. They outlive the spans that they were read from.

What passes yield is put into a tail in memory. Whoever keeps the state of the analysis has the tail written (`flush`), keeps the manifest that names
all files inside that state, and says so (`saved`). So files and state are of one moment, whenever the process ends: at a start what the manifest
does not name is removed, because the passes that made it are run again, and a file that it names is there, because none is removed before a
manifest without it was kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from traced.config import StoreSettings
from traced.errors import StoreError
from traced.model.message_reads import EVERYTHING, MessageFilter, MessageRows, Window
from traced.store.message_files import SCHEMAS, LogFile, arrivals, check_file, in_order, write_file
from traced.store.message_reading import MAX_ROWS, LogUnreadableError, MessageReader, View
from traced.store.message_recovery import MANIFEST_VERSION, Damage, cut, damage_of, look
from traced.store.message_shelf import Shelf
from traced.store.quarantine import Quarantine
from traced.store.reading import conform
from traced.store.spill import Spill
from traced.telemetry import LogLoss, Telemetry

log = structlog.get_logger(__name__)

_FULL_TAIL_BYTES: Final = 16 * 2**20
"""From this size on a tail is written though nobody keeps a manifest yet: a pass over a backlog makes many rows."""
_MAX_TAIL_BYTES: Final = 128 * 2**20
"""What a tail may hold while the disk cannot be written; then the oldest rows go."""
_MAX_LOSSES: Final = 1_000
_EXACT_NANOS: Final = 1_000_000_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogPlaces:
    """Where a log that outlives its process lies.

    Attributes:
        directory: its files; made here.
        quarantine: what is damaged.
        spill: what its database cannot hold in memory.
    """

    directory: Path
    quarantine: Quarantine
    spill: Spill


class MessageLog:
    """Keeps messages and flows; without places it lives in memory. `add`, `restore`, `flush` and `saved` are for one thread; all else is safe from any."""

    def __init__(self, settings: StoreSettings, telemetry: Telemetry, places: LogPlaces | None = None) -> None:
        """Remember where it lies; nothing is read before `restore`."""
        self.settings = settings
        self.telemetry = telemetry
        self._places = places
        self.shelf = Shelf(places.directory if places else None, durable=settings.durable)
        self.reader = MessageReader(settings.memory_limit_bytes, places.spill if places else None)
        self._guard = threading.Lock()
        self._losses: list[tuple[int, int]] = []
        self.dropped_until: dict[str, int] = dict.fromkeys(SCHEMAS, 0)
        """Up to which arrival (ns) retention dropped rows, by table."""
        self.restored = places is None

    def close(self) -> None:
        """Close what reads."""
        self.reader.close()

    @property
    def changed(self) -> bool:
        """Whether files came or went since a manifest was given: the state has to be kept again for their sake."""
        return self.shelf.changed

    # ------------------------------------------------------------------ across restarts

    def restore(self, manifest: Any, again_after: int | None = None) -> None:
        """Take up what an earlier run left.

        Args:
            manifest: what `flush` gave when the state of the analysis was kept last; None where that is lost.
            again_after: arrivals (ns) after it are analysed again, so that their rows are taken off; None where the manifest is of the same moment.

        Raises:
            StoreError: rows that will come again cannot be taken off.
            OSError: the directory cannot be used.
        """
        places = self._places
        if places is None:
            return
        places.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = look(places.directory, manifest)
        self.shelf.begin(found.files, found.next_number)
        self.dropped_until |= found.dropped_until
        for damage in found.damaged:
            self._count(damage)
        if again_after is not None:
            self._cut(again_after)
        self.restored = True

    def _cut(self, after: int) -> None:
        for last in (False, True):
            try:
                taken = cut(self.shelf, self.reader, after, durable=self.settings.durable)
            except (LogUnreadableError, OSError, pa.ArrowException, duckdb.Error) as error:
                with self.shelf.hold() as view:
                    if last or not self._examine(view):
                        raise _unreadable(error) from error
            else:
                log.info("message_log_cut", after=after, rows=taken)
                return

    def flush(self) -> Any:
        """Write the tail, and give the manifest that names every file: a JSON value, to be kept with the state that the rows are of.

        Raises:
            OSError: the disk is full or failing; the tail stays in memory.
        """
        if self._places is None:
            return None
        self._write_tails()
        files = self.shelf.manifest()
        return {"version": MANIFEST_VERSION, "next": self.shelf.next_number, "files": files, "dropped_until": dict(self.dropped_until)}

    def saved(self) -> None:
        """Say that the last manifest was kept: files that it does not name may go."""
        self.shelf.manifest_kept()

    # ------------------------------------------------------------------ what passes yield

    def add(self, messages: pa.Table, flows: pa.Table) -> None:
        """Take rows, as MESSAGES and FLOWS; all of them or, where this raises, none.

        Raises:
            ValueError, TypeError: they do not fit.
        """
        parts = {"messages": conform(messages, SCHEMAS["messages"]), "flows": conform(flows, SCHEMAS["flows"])}
        self.shelf.add(parts)
        for table, rows in parts.items():
            self.telemetry.logged_rows.labels(table).inc(rows.num_rows)
        if self._places is not None and self.shelf.tail_bytes > _FULL_TAIL_BYTES:
            try:
                self._write_tails()
            except OSError as error:
                log.warning("message_log_not_written", error=str(error))
                self._bound_tails()

    def _write_tails(self) -> None:
        for table in SCHEMAS:
            parts = self.shelf.tail(table)
            if parts and self._places is not None:
                number = self.shelf.number()
                rows = in_order(table, pa.concat_tables(parts))
                file = write_file(self._places.directory, table, (number, number, number), [rows], durable=self.settings.durable)
                if file is not None:
                    self.shelf.put(file, len(parts))

    def _bound_tails(self) -> None:
        while self.shelf.tail_bytes > _MAX_TAIL_BYTES:
            table = max(SCHEMAS, key=lambda name: sum(rows.nbytes for rows in self.shelf.tail(name)))
            rows = self.shelf.forget_oldest(table)
            self.telemetry.lost_log_rows.labels(table, LogLoss.FULL).inc(rows.num_rows)
            self._lose(*arrivals(table, rows))

    # ------------------------------------------------------------------ what is lost

    def _lose(self, first: int, last: int) -> None:
        """Remember that rows of some arrivals are gone; of too many losses the oldest two are told as one."""
        with self._guard:
            self._losses.append((first, last))
            if len(self._losses) > _MAX_LOSSES:
                (a, b), (c, d), *rest = self._losses
                self._losses = [(min(a, c), max(b, d)), *rest]

    def take_losses(self) -> list[tuple[float, float]]:
        """Give the bounds of arrival (unix seconds) of rows that are gone and should not be, each once."""
        with self._guard:
            losses, self._losses = self._losses, []
        return [(first / 1e9, last / 1e9) for first, last in losses]

    def set_aside(self, file: LogFile, problem: str) -> bool:
        """Quarantine a damaged file and count its rows as lost; say whether it was still there."""
        if not self.shelf.take_off(file):
            return False
        self._count(damage_of(self.shelf.path(file), file, problem))
        return True

    def _count(self, damage: Damage) -> None:
        log.error("log_file_damaged", file=damage.path.name, rows=damage.rows, error=damage.problem)
        self.telemetry.quarantined.inc()
        self.telemetry.lost_log_rows.labels(damage.table, LogLoss.DAMAGED).inc(damage.rows)
        self._lose(*damage.arrivals)
        try:
            if self._places is not None and damage.path.exists():
                self._places.quarantine.move(damage.path.stem, [damage.path], error=damage.problem, rows=damage.rows)
        except OSError as error:
            # nobody reads it any more, and the next start removes it
            log.warning("log_file_not_set_aside", file=damage.path.name, error=str(error))

    # ------------------------------------------------------------------ reading

    def flows(self, window: Window, seconds: int = 0, wanted: MessageFilter = EVERYTHING, *, histograms: bool = True) -> pa.Table:
        """Give FLOWS of a window: how many messages of each kind there were in each so many seconds (whole minutes); 0 gives one stretch, the whole window.

        `minute` is the first of a stretch. What adds up to nothing is left out. The minutes in which the window begins and ends count as a whole;
        `trace_ids` of the filter do not count. Without `histograms` it takes half the time, and `delay_buckets` is null.

        Raises:
            StoreError: it cannot be read at present, or the answer is too much at once.
        """
        return self._read(("flows",), window, lambda view: self.reader.flows(view, window, seconds, wanted, histograms=histograms))

    def messages(self, window: Window, wanted: MessageFilter = EVERYTHING, max_rows: int = MAX_ROWS) -> MessageRows:
        """Give the newest rows of messages of a window, at most so many.

        Raises:
            StoreError: it cannot be read at present.
        """
        return self._read(("messages",), window, lambda view: self.reader.messages(view, window, wanted, min(max_rows, MAX_ROWS)))

    def pairings(self, window: Window, old: MessageFilter, new: MessageFilter, environments: tuple[str, ...] = ()) -> pa.Table:
        """Give PAIRINGS: how each producer published the old and the new schema, which are told by destination, system and version.

        Raises:
            StoreError: it cannot be read at present.
        """
        return self._read(("messages",), window, lambda view: self.reader.pairings(view, window, old, new, environments))

    def _read(self, tables: tuple[str, ...], window: Window, work: Callable[[View], _T]) -> _T:
        bounds = max(0, int(window.since * 1e9) - 60 * _EXACT_NANOS), int(window.until * 1e9) + 60 * _EXACT_NANOS
        for last in (False, True):
            with self.shelf.hold(tables, bounds) as view:
                try:
                    return work(view)
                except duckdb.OutOfMemoryException as error:
                    raise _too_much(error) from error
                except (LogUnreadableError, duckdb.Error) as error:
                    if last or not self._examine(view):
                        raise _unreadable(error) from error
        raise AssertionError("the second attempt returns or raises")

    def _examine(self, view: View) -> bool:
        """Compare files with their checksums; say whether a damaged one was set aside."""
        found = False
        for file in (file for files in view.files.values() for file in files):
            try:
                check_file(self.shelf.path(file), file)
            except OSError as error:
                found |= self.set_aside(file, str(error))
        return found

    @contextmanager
    def snapshot(self, directory: Path) -> Iterator[dict[str, tuple[Path, ...]]]:
        """Give files that hold all rows by now, by table, and that nobody changes until the block ends; the tail is written to `directory`.

        Raises:
            OSError: the disk is full or failing.
        """
        with self.shelf.hold() as view:
            files = {table: view.paths(table) for table in SCHEMAS}
            for table, rows in view.tails.items():
                if rows.num_rows:
                    path = directory / f"{table}-tail.parquet"
                    pq.write_table(rows, path)
                    files[table] = (*files[table], path)
            yield files


def _too_much(error: Exception) -> StoreError:
    return StoreError(
        f"the answer takes more memory than store.memory_limit_bytes allows: {str(error).partition(chr(10))[0]}",
        status=413,
        error_code="message_log_too_much",
        next_safe_actions=("Ask for a shorter time, for longer stretches of it, or for one destination.",),
    )


def _unreadable(error: Exception) -> StoreError:
    return StoreError(f"the message log cannot be read: {error}", status=503, next_safe_actions=("Ask again in a few seconds; traced's log says more.",))
