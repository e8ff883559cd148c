"""The store: one hot segment, frozen ones waiting to be sealed, sealed generations, and the threads that move rows between them."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, Final

import duckdb
import pyarrow as pa
import structlog

from traced.config import StoreSettings
from traced.errors import OverloadedError, StoreError
from traced.model.batch import Batch, Fingerprint, Receipt
from traced.store.account import Account, count, load_account
from traced.store.catalog import Catalog, Generation, Part, Parts, sealed_paths
from traced.store.disk import Disk, is_full
from traced.store.group import Known
from traced.store.keeper import Keeper
from traced.store.log_batches import SealedLogBatches
from traced.store.memory import newest, remember_generation, remember_segment
from traced.store.message_log import LogPlaces, MessageLog
from traced.store.quarantine import Quarantine
from traced.store.reading import SealedReader, hot_log_batches
from traced.store.recent_keys import RecentKeys
from traced.store.recovery import Places, Recovered, Recovery
from traced.store.rows import StoredRows
from traced.store.sealed_files import check_generation
from traced.store.segment import Segment
from traced.store.spill import Spill
from traced.store.state import StateFiles
from traced.store.version import check_version, write_version
from traced.store.writer import Committed, Writer, WriterLimits
from traced.telemetry import Telemetry

log = structlog.get_logger(__name__)

_MAX_SEGMENTS: Final = 8
"""Hot and frozen segments at once; when sealing does not keep up, senders are told to come back."""
_QUARANTINE_PART: Final = 8
"""The quarantine may take such a part of `retention_bytes`."""
_CHECK_SECONDS_AT_START: Final = 1.0
"""How long a start may compare sealed files with their checksums, newest first; the keeper goes on with the others."""


class Store(StoredRows):
    """Keeps spans and logs; safe to call from any thread. What it answers: StoredRows."""

    def __init__(self, settings: StoreSettings, telemetry: Telemetry, message_keys: frozenset[str] = frozenset()) -> None:
        """Remember the settings; `open` does the work.

        Args:
            settings: of the store.
            telemetry: where losses and sizes are told.
            message_keys: attributes that say something of messages here, beside those that always do.
        """
        super().__init__(settings, Catalog())
        self._message_keys = message_keys
        self._telemetry = telemetry
        root = settings.data_dir
        self.hot_dir, self.sealed_dir, self.state_dir = root / "hot", root / "sealed", root / "state"
        self.spill = Spill(root / "spill", settings.max_spill_bytes)
        self.disk = Disk(root, settings.max_disk_fraction, with_ballast=settings.durable)
        self._quarantine = Quarantine(root / "quarantine", max(2**20, settings.retention_bytes // _QUARANTINE_PART))
        self._state = StateFiles(self.state_dir, durable=settings.durable)
        self.message_log = MessageLog(settings, telemetry, LogPlaces(root / "messages", self._quarantine, self.spill))
        """What outlives the spans; the analysis fills and restores it, the keeper looks after its files."""
        self._closing = ExitStack()
        self._accounting = threading.Lock()
        self._unchecked: list[Generation] = []
        self._next_number = 1

    # ------------------------------------------------------------------ life

    def open(self) -> None:
        """Recover what is there and start the writer and the keeper; nothing is left open when that fails.

        Raises:
            StoreError: the directory cannot be used, is in use, or belongs to a newer version (then nothing was changed).
        """
        check_version(self.settings.data_dir, self.sealed_dir)
        try:
            try:
                self._open()
            except (OSError, duckdb.Error) as error:
                # a daemon that was restarted because its disk is full must come back to say so, and to answer queries
                if not is_full(error) or not self.disk.free_ballast():
                    raise
                self._closing.close()
                self._open()
        except (OSError, duckdb.Error) as error:
            self._closing.close()
            raise StoreError(
                f"the data directory {self.settings.data_dir} cannot be used: {error}",
                next_safe_actions=("Check that the path exists, is writable and has room, or name another with --data-dir.",),
            ) from error
        except BaseException:
            self._closing.close()
            raise

    def _open(self) -> None:
        self._take_directory()
        self._closing.callback(self._close_segments)
        self._closing.callback(self.message_log.close)
        found = self._recover()
        known = Known(
            RecentKeys(self.settings.dedup_window_spans),
            self._stored,
            RecentKeys(self.settings.dedup_window_log_batches),
            self._stored_logs,
        )
        self._sealed_logs = SealedLogBatches(self.settings.dedup_window_log_batches, self._state)
        self._reader = SealedReader(2, self.settings.memory_limit_bytes, self.spill, self.state_dir / "no_spans.parquet")
        self._closing.callback(self._reader.close)
        self._check_newest()
        self._remember(known)
        self._next_number = found.next_number
        segment = self._new_segment(found.last_batch + 1)
        self.catalog.swap((), (segment,))
        self._writer = Writer(
            segment,
            Committed(found.last_batch, found.last_arrival),
            known,
            self._roll,
            self._refuse,
            self._telemetry,
            WriterLimits(self.settings.max_queue_bytes, self.settings.seal_after_spans),
        )
        if found.last_arrival:
            self._telemetry.last_arrival.set(found.last_arrival / 1e9)
        self._keeper = Keeper(self, self._telemetry)
        self.disk.refusal()
        self.disk.make_ballast()
        self._writer.start()
        self._closing.callback(self._close_account)
        self._closing.callback(self._keeper.close)
        self._closing.callback(self._writer.close)
        self._keeper.start()

    def close(self) -> None:
        """Write what waits, stop, and leave unsealed segments to the next start."""
        self._closing.close()

    def _close_account(self) -> None:
        """Write down up to where batches were committed: an empty segment, whose ledger would say so, is removed."""
        try:
            with self._accounting:
                self._save_account(self._account.with_last(self._writer.committed.batch))
        except OSError as error:
            log.warning("account_not_saved", error=str(error))

    def _take_directory(self) -> None:
        """Make the directories, lock them, and remove what another run left in the middle of something."""
        root = self.settings.data_dir
        for directory in (root, self.hot_dir, self.sealed_dir, self._quarantine.directory, self.state_dir, root / "messages"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._closing.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"the data directory {root} is in use by another traced",
                next_safe_actions=("Stop the other daemon, or name another --data-dir.",),
                error_code="store_in_use",
            ) from None
        write_version(root)
        for left_over in (*root.glob("snapshot-*"), *root.glob("findings-*"), self.spill.directory):
            shutil.rmtree(left_over, ignore_errors=True)
        self.spill.directory.mkdir(mode=0o700, exist_ok=True)

    def _recover(self) -> Recovered:
        places = Places(self.hot_dir, self.sealed_dir, self.disk.ballast)
        account = load_account(self._state.load("batches"))
        fresh = not any(self.sealed_dir.iterdir()) and not any(self.hot_dir.iterdir())
        if fresh and account.dropped_to is None:
            account = account.with_dropped(0)
        found = Recovery(places, self._quarantine, account, self.settings.memory_limit_bytes, self.spill).run()
        self._telemetry.lost_batches.inc(found.lost_batches)
        self._telemetry.quarantined.inc(found.quarantined)
        self._save_account(found.account)
        self.catalog = Catalog()
        for segment in found.segments:
            segment.message_keys = self._message_keys
        self.catalog.swap((), (*found.generations, *found.segments))
        self._unchecked = list(found.generations)
        return found

    def _check_newest(self) -> None:
        """Compare the newest sealed files with their checksums before anybody reads them."""
        until = time.monotonic() + _CHECK_SECONDS_AT_START
        while time.monotonic() < until and (generation := self.next_unchecked()) is not None:
            try:
                check_generation(generation)
            except (OSError, pa.ArrowException) as error:
                self.set_aside(generation, str(error))

    def next_unchecked(self) -> Generation | None:
        """Take the newest generation whose files were not compared with their checksums since the start."""
        while self._unchecked:
            generation = self._unchecked.pop()
            if generation in self.catalog.parts.generations:
                return generation
        return None

    def _remember(self, known: Known) -> None:
        """Fill the memory of recent spans and batches of log records, oldest first."""
        for generation in newest(self.catalog.parts.generations, known.spans.capacity):
            try:
                remember_generation(known.spans, generation)
            except (OSError, pa.ArrowException) as error:
                self.set_aside(generation, str(error))
        known.logs.add(self._sealed_logs.keys)
        for segment in self.catalog.parts.segments:
            remember_segment(known.spans, segment)
            known.logs.add(hot_log_batches(segment)[:, 1])

    def _close_segments(self) -> None:
        for segment in self.catalog.parts.segments:
            try:
                if segment.extent.last_batch:
                    segment.close()
                else:
                    segment.remove()
            except (OSError, duckdb.Error) as error:
                log.warning("segment_not_closed", segment=segment.number, error=str(error))

    # ------------------------------------------------------------------ writing

    def accept(self, batch: Batch) -> Future[Receipt]:
        """Take a batch (the receiver's BatchConsumer); the future is done when it is durable.

        Raises:
            OverloadedError: at once, or in the future: nothing was stored, the sender may come back.
        """
        return self._writer.accept(batch)

    @property
    def writer(self) -> Writer:
        """The writer, for the keeper."""
        return self._writer

    @property
    def visible_until(self) -> int:
        """Up to which arrival time (ns) everything that was or will be accepted can be read."""
        return self._writer.visible_until

    @property
    def refusal(self) -> OverloadedError | None:
        """Why nothing is accepted at present, or None."""
        return self._writer.refusal

    @property
    def alive(self) -> bool:
        """Whether the writer and the keeper run, and writing has not failed again and again."""
        return self._writer.alive and self._keeper.alive

    def _refuse(self) -> OverloadedError | None:
        if len(self.catalog.parts.segments) >= _MAX_SEGMENTS:
            message = "sealing does not keep up; nothing of this request was stored"
            return OverloadedError(message, retry_after_seconds=2, reason="queue_full")
        return self.disk.refusal()

    def _new_segment(self, next_batch: int) -> Segment:
        number, self._next_number = self._next_number, self._next_number + 1
        segment = Segment.create(self.hot_dir, number, self.settings.memory_limit_bytes, next_batch, durable=self.settings.durable, spill=self.spill)
        segment.message_keys = self._message_keys
        return segment

    def _roll(self, next_batch: int, *, broken: bool) -> Segment:
        """Freeze the hot segment and give a fresh one (called by the writer's thread).

        Raises:
            duckdb.Error, OSError: there is no fresh one; the hot one stays.
        """
        old = self._writer.segment
        fresh = self._new_segment(next_batch)
        # an invalidated instance refuses everything; what was acknowledged is in its WAL: the keeper opens it again
        old.broken = broken
        self.catalog.swap((), (fresh,))
        try:
            old.freeze()
        except OSError as error:
            log.warning("ledger_not_synced", segment=old.number, error=str(error))
        old.frozen = True
        self._keeper.wake()
        return fresh

    # ------------------------------------------------------------------ batches of log records

    def _stored_logs(self, candidates: Sequence[Fingerprint]) -> set[Fingerprint]:
        """Find which batches of log records are stored.

        Raises:
            StoreError: a segment is being reopened after an I/O error: what is in it is not known.
        """

        def work(parts: Parts) -> set[Fingerprint]:
            hot = {(high, low) for s in parts.segments for high, low, _ in hot_log_batches(s).tolist()}
            return {one for one in candidates if one in hot or any(self._is_here(n, parts) for n in self._sealed_logs.numbers(one))}

        return self._read(work)

    def _is_here(self, number: int, parts: Parts) -> bool:
        """Say whether a batch is in a sealed generation: not dropped, not lost."""
        here = any(g.extent.first_batch <= number <= g.extent.last_batch for g in parts.generations)
        return here and not any(first <= number <= last for first, last in self._account.lost)

    def remember_logs(self, segment: Segment) -> None:
        """Keep what tells a segment's batches of log records, before it is sealed and its table of batches goes.

        Raises:
            OSError: the disk is full or failing.
            duckdb.Error: the segment cannot be read.
        """
        self._sealed_logs.add(hot_log_batches(segment))

    # ------------------------------------------------------------------ sealed generations, for the keeper

    def drop(self, generation: Generation) -> None:
        """Remove a generation because of its age or size; it is written down first that its batches are not lost.

        Raises:
            OSError: that could not be written; the generation stays.
        """
        with self._accounting:
            self._save_account(self._account.with_dropped(generation.extent.last_batch))
            self.catalog.swap((generation,), ())

    def set_aside(self, generation: Generation, error: str) -> bool:
        """Quarantine a damaged generation and count its batches as lost; say whether it was still there.

        Raises:
            OSError: the loss could not be written down: the next start counts it again.
        """
        with self._accounting:
            if generation not in self.catalog.parts.generations:
                return False
            lost = (generation.extent.first_batch, generation.extent.last_batch)
            log.error("sealed_file_damaged", first=generation.first, last=generation.last, batches=count([lost]), error=error)

            def farewell(_: Part) -> None:
                paths = sealed_paths(generation.directory, generation.first, generation.last)
                self._quarantine.move(f"sealed-{generation.first:08d}-{generation.last:08d}", paths, error=error, batches=lost)

            self.catalog.swap((generation,), (), farewell)
            self._telemetry.lost_batches.inc(count([lost]))
            self._telemetry.quarantined.inc()
            self._save_account(self._account.with_lost([lost]))
            return True

    def _save_account(self, account: Account) -> None:
        try:
            self._state.save("batches", account.dump())
        except OSError:
            if not self.disk.free_ballast():
                raise
            self._state.save("batches", account.dump())
        self._account = account

    # ------------------------------------------------------------------ small state of others

    def save_state(self, name: str, state: Any) -> None:
        """Keep a small JSON value across restarts; the last whole one wins."""
        self._state.save(name, state)

    def load_state(self, name: str) -> Any | None:
        """Give what `save_state` kept, or None (also where the file is damaged: state can be rebuilt)."""
        return self._state.load(name)
