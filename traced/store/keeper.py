"""The keeper: seals frozen segments, merges small generations, drops old ones, and looks after what is damaged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa
import structlog

from traced.store.catalog import Generation
from traced.store.merge import merge, neighbours_to_merge
from traced.store.message_keeping import LogKeeper
from traced.store.parquet import InterruptedWorkError
from traced.store.seal import seal
from traced.store.sealed_files import check_generation
from traced.store.segment import Segment
from traced.telemetry import Telemetry

if TYPE_CHECKING:
    from traced.store.store import Store

log = structlog.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 5.0
_BUSY_SPANS_PER_SECOND: Final = 20_000
"""Above this rate merging waits, because sorting competes with ingest; but never beyond _MERGE_AT_ANY_RATE times merge_files."""
_MERGE_AT_ANY_RATE: Final = 8
_WINDOWS_PER_RETENTION: Final = 12
"""A merged file spans at most such a part of the retention time, since it goes as a whole."""
_CHECK_BYTES_PER_SECOND: Final = 64 * 2**20
"""How fast sealed files are compared with their checksums after a start: a few percent of a core."""


class Keeper:
    """A thread that works off what the writer leaves behind."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        """Wire the keeper; `start` begins."""
        self._store = store
        self._telemetry = telemetry
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._retry_at = 0.0
        self._check_at = 0.0
        self._rate = _Rate()
        self._messages = LogKeeper(store.message_log)
        self._thread = threading.Thread(target=self._run, name="store-keeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    def close(self) -> None:
        """Stop at the next slice of the step at hand; what is left is done at the next start."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(_PAUSE_SECONDS)
            self._wake.clear()
            for step in self._steps():
                if not self._closing.is_set():
                    self._fenced(step)

    def _steps(self) -> tuple[Callable[[], None], ...]:
        sealed = (self._seal_and_merge, self._drop_expired, self._check_one)
        return (self._reopen, self._look_at_hot, self._freeze_if_due, *sealed, self._tidy_messages, self._report)

    def _fenced(self, step: Callable[[], None]) -> None:
        try:
            step()
        except InterruptedWorkError:
            return
        except Exception as error:
            # thread root: one step that fails must not keep the others from their work
            self._telemetry.seal_errors.inc()
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            log.exception("keeper_step_failed", step=step.__name__.strip("_"), error=repr(error))

    # ------------------------------------------------------------------ segments

    def _reopen(self) -> None:
        """Open again what an I/O error invalidated, once nobody reads it."""
        for segment in self._store.catalog.parts.segments:
            if segment.broken and segment.frozen and self._store.catalog.reopen(segment):
                log.info("segment_reopened", segment=segment.number, batches=segment.extent.last_batch)

    def _look_at_hot(self) -> None:
        """Notice an invalidated instance even when nothing arrives."""
        segment = self._store.writer.segment
        try:
            segment.ping()
        except duckdb.Error as error:
            if segment is self._store.writer.segment:
                log.warning("segment_does_not_answer", segment=segment.number, error=str(error))
                self._store.writer.report_broken(segment)

    def _freeze_if_due(self) -> None:
        writer = self._store.writer
        if writer.segment.extent.last_batch and time.monotonic() - writer.segment_since >= self._store.settings.seal_after_seconds:
            writer.request_roll()

    def _seal_and_merge(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        for segment in self._store.catalog.parts.segments:
            if segment.frozen and not segment.broken:
                self._seal(segment)
        self._merge_if_due()
        self._store.disk.make_ballast()

    def _seal(self, segment: Segment) -> None:
        store = self._store
        try:
            try:
                generation = self._sealed(segment)
            except OSError:
                # the ballast pays for the work that frees room
                if not store.disk.free_ballast():
                    raise
                generation = self._sealed(segment)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            segment.broken = True
            raise
        store.catalog.swap((segment,), (generation,))
        self._telemetry.sealed_spans.inc(generation.extent.spans)
        pa.default_memory_pool().release_unused()

    def _sealed(self, segment: Segment) -> Generation:
        self._store.remember_logs(segment)
        return seal(segment, segment.extent, self._store.sealed_dir, durable=self._store.settings.durable, stop=self._closing.is_set)

    # ------------------------------------------------------------------ sealed files

    def _merge_if_due(self) -> None:
        settings, catalog = self._store.settings, self._store.catalog
        busy = self._rate.of(self._store.writer.spans_written) > _BUSY_SPANS_PER_SECOND
        generations = catalog.parts.generations
        if busy and sum(g.size_bytes < settings.merge_below_bytes for g in generations) < _MERGE_AT_ANY_RATE * settings.merge_files:
            return
        longest = int(settings.retention_seconds * 1e9 / _WINDOWS_PER_RETENTION)
        chosen = neighbours_to_merge(generations, settings.merge_below_bytes, settings.merge_files, longest)
        if not chosen or not self._all_sound(chosen):
            return
        merged = merge(chosen, self._store.sealed_dir, durable=settings.durable, stop=self._closing.is_set)
        catalog.swap(chosen, (merged,))
        self._telemetry.merged_files.inc(len(chosen))
        pa.default_memory_pool().release_unused()

    def _all_sound(self, generations: tuple[Generation, ...]) -> bool:
        """Set aside what is damaged, so that a merge does not carry it on."""
        return not [g for g in generations if self._is_set_aside(g)]

    def _is_set_aside(self, generation: Generation) -> bool:
        try:
            check_generation(generation, self._closing.is_set)
        except (OSError, pa.ArrowException) as error:
            return self._store.set_aside(generation, str(error))
        return False

    def _check_one(self) -> None:
        """Compare one sealed generation that was there at the start with its checksums, now and then."""
        if time.monotonic() < self._check_at:
            return
        generation = self._store.next_unchecked()
        if generation is not None:
            self._check_at = time.monotonic() + generation.size_bytes / _CHECK_BYTES_PER_SECOND
            self._is_set_aside(generation)

    def _drop_expired(self) -> None:
        """Drop whole generations, oldest first, by age and by what they take together."""
        settings, parts = self._store.settings, self._store.catalog.parts
        oldest_kept = time.time_ns() - int(settings.retention_seconds * 1e9)
        size = sum(g.size_bytes for g in parts.generations)
        for generation in parts.generations:
            if generation.extent.last_arrival < oldest_kept:
                reason = "age"
            elif size > settings.retention_bytes:
                reason = "size"
            else:
                return
            size -= generation.size_bytes
            files = len(generation.paths())
            self._store.drop(generation)
            self._telemetry.dropped_files.labels(reason).inc(files)
            log.info("generation_dropped", first=generation.first, last=generation.last, reason=reason, spans=generation.extent.spans)

    def _tidy_messages(self) -> None:
        if time.monotonic() >= self._retry_at:
            self._messages.tidy(self._closing.is_set)

    def _report(self) -> None:
        parts = self._store.catalog.parts
        self._telemetry.sealed_files.set(sum(len(g.paths()) for g in parts.generations))
        self._telemetry.sealed_bytes.set(sum(g.size_bytes for g in parts.generations))
        self._telemetry.hot_spans.set(sum(s.extent.spans for s in parts.segments))


class _Rate:
    """How fast a count has grown over the last seconds."""

    _OVER_SECONDS: Final = 5.0

    def __init__(self) -> None:
        self._count = 0
        self._since = time.monotonic()
        self._last = 0.0

    def of(self, count: int) -> float:
        """Give the growth per second since the last look, which is at most so long ago."""
        now = time.monotonic()
        elapsed = now - self._since
        if elapsed >= 1.0:
            self._last = (count - self._count) / elapsed
        if elapsed >= self._OVER_SECONDS:
            self._count, self._since = count, now
        return self._last
