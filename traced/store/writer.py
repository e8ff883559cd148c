"""The one writer: takes what waits, drops what is stored already, commits it as a group, then answers everybody at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final, Protocol

import pyarrow as pa
import structlog

from traced.errors import OverloadedError, StoreError
from traced.model.batch import Batch, Receipt
from traced.store.disk import is_full
from traced.store.group import Bases, Group, Known, lay_out
from traced.store.segment import MAX_ROWS_PER_TRANSACTION, Segment
from traced.telemetry import Telemetry

log = structlog.get_logger(__name__)

MAX_GROUP_ITEMS: Final = 50_000
"""A group stops growing here; one batch is at most as large (ReceiverSettings.max_items_per_request)."""

MAX_FAILED_COMMITS: Final = 20
MAX_FAILED_ROLLS: Final = 3
"""Commits, and attempts to begin a fresh segment, in a row that may fail for another reason than a full disk, before a restart is
asked for (`/livez`)."""

MAX_WAL_BYTES: Final = 128 * 2**20
"""A segment is frozen at this size, too: log bodies can make few rows large, and hot rows are in memory."""

_RETRY_SECONDS: Final = 1.0


class Roll(Protocol):
    """Freezes the hot segment and gives a fresh one."""

    def __call__(self, next_batch: int, *, broken: bool) -> Segment:
        """`broken`: the hot segment's instance was invalidated by an I/O error."""
        ...


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """How much waits, and how much a segment takes.

    Attributes:
        queue_bytes: decoded batches waiting.
        segment_rows: a segment is frozen from so many rows on.
    """

    queue_bytes: int
    segment_rows: int


@dataclass(frozen=True, slots=True)
class Committed:
    """Where writing goes on.

    Attributes:
        batch: the last sequence number given.
        arrival: the newest arrival (ns).
    """

    batch: int
    arrival: int


@dataclass(slots=True)
class _Waiting:
    batch: Batch
    answer: Future[Receipt]


_Answer = tuple[_Waiting, Receipt | OverloadedError]


class Writer:
    """A thread that owns the hot segment.

    Attributes:
        segment: the hot one.
        committed: the last sequence number and arrival.
        spans_written: since the start.
        segment_since: when the hot segment was begun (monotonic seconds).
    """

    def __init__(
        self,
        segment: Segment,
        committed: Committed,
        known: Known,
        roll: Roll,
        refuse: Callable[[], OverloadedError | None],
        telemetry: Telemetry,
        limits: WriterLimits,
    ) -> None:
        """Wire the writer.

        Args:
            segment: an empty one.
            committed: what recovery found.
            known: what is stored, to recognise what comes again.
            roll: freezes the hot segment and gives a fresh one.
            refuse: says why nothing is taken at present, in an error of the caller's own.
            telemetry: counts.
            limits: of queue and segment.
        """
        self.segment = segment
        self.committed = committed
        self.spans_written = 0
        self.segment_since = time.monotonic()
        self._known = known
        self._roll = roll
        self._refuse = refuse
        self._telemetry = telemetry
        self._limits = limits
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._condition = threading.Condition()
        self._closing = False
        self._roll_wanted = False
        self._roll_not_before = 0.0
        self._arriving = 0
        self._shown_until = committed.arrival
        self._bases = Bases()
        self._segment_rows = 0
        self._broken = ""
        self._failed_commits = 0
        self._failed_rolls = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    # ------------------------------------------------------------------ what others ask

    def accept(self, batch: Batch) -> Future[Receipt]:
        """Queue a batch; the future is done when it is durable.

        Raises:
            OverloadedError: the queue or the disk is full, the store is failing or closing; nothing was stored.
        """
        with self._condition:
            refusal = self.refusal
            if refusal is not None:
                raise refusal
            if self._queued_bytes and self._queued_bytes + batch.size_bytes > self._limits.queue_bytes:
                raise OverloadedError("too much waits to be written; nothing of this request was stored", retry_after_seconds=2, reason="queue_full")
            waiting = _Waiting(batch, Future())
            waiting.answer.set_running_or_notify_cancel()  # from here on nobody can cancel it: it is answered by the writer
            self._queue.append(waiting)
            self._queued_bytes += batch.size_bytes
            self._condition.notify()
            return waiting.answer

    @property
    def refusal(self) -> OverloadedError | None:
        """Why nothing is taken at present, as a fresh error each time, or None."""
        if self._closing:
            return OverloadedError("the store is shutting down; nothing of this request was stored", retry_after_seconds=5, reason="shutting_down")
        if self._broken:
            return _refusal(self._broken)
        return self._refuse()

    @property
    def visible_until(self) -> int:
        """Say up to which arrival time everything that was or will be taken is committed and readable."""
        with self._condition:
            if self._arriving:
                return self._arriving - 1
            # what comes next arrives after this, even if the clock is set back
            self._shown_until = max(self._shown_until, self.committed.arrival, time.time_ns())
            return self._shown_until

    @property
    def alive(self) -> bool:
        """Whether the thread runs, and commits and fresh segments have not failed many times in a row."""
        return self._thread.is_alive() and self._failed_commits < MAX_FAILED_COMMITS and self._failed_rolls < MAX_FAILED_ROLLS

    def request_roll(self) -> None:
        """Ask for the hot segment to be frozen soon."""
        with self._condition:
            self._roll_wanted = True
            self._condition.notify()

    def report_broken(self, segment: Segment) -> None:
        """Say that the hot segment does not answer any more: a fresh one takes over."""
        with self._condition:
            if segment is self.segment and not self._broken:
                self._broken = "store_reopening"
                self._condition.notify()

    def close(self) -> None:
        """Write what waits, then stop; nothing is taken meanwhile."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while (group := self._next()) is not None:
            waits = (self._broken or self._roll_due()) and not self._roll_over()
            answers = self._write(group)
            with self._condition:
                self._arriving = 0
            # only now: who is answered may read what was stored
            for waiting, answer in answers:
                if isinstance(answer, Receipt):
                    waiting.answer.set_result(answer)
                else:
                    waiting.answer.set_exception(answer)
            if waits and self._broken:
                self._pause()

    def _next(self) -> list[_Waiting] | None:
        """Wait for work; give the next group, empty where only a fresh segment is wanted; None at the end."""
        with self._condition:
            while not (self._queue or self._closing or self._roll_wanted or self._broken):
                self._condition.wait()
            if self._closing and not self._queue:
                return None
            group: list[_Waiting] = []
            items = attributes = 0
            while self._queue:
                batch = self._queue[0].batch
                items += batch.items.num_rows
                attributes += batch.attributes.num_rows
                if group and (items > MAX_GROUP_ITEMS or attributes > MAX_ROWS_PER_TRANSACTION):
                    break
                group.append(self._queue.popleft())
                self._queued_bytes -= batch.size_bytes
            if group:
                self._arriving = max(self.committed.arrival + 1, self._shown_until + 1, time.time_ns())
            return group

    def _pause(self) -> None:
        """Wait a little before the next attempt, without waking for what is refused anyway."""
        with self._condition:
            self._condition.wait_for(lambda: self._closing, _RETRY_SECONDS)

    # ------------------------------------------------------------------ segments

    def _roll_due(self) -> bool:
        if time.monotonic() < self._roll_not_before:
            self._roll_wanted = False  # the keeper asks again
            return False
        return self._roll_wanted or self._segment_rows >= self._limits.segment_rows

    def _roll_over(self) -> bool:
        """Begin a fresh segment; say whether that was possible."""
        self._roll_wanted = False
        try:
            self.segment = self._roll(self.committed.batch + 1, broken=bool(self._broken))
        except Exception as error:
            # thread root: whatever it is, it is tried again;
            # a whole segment goes on being written to; a broken one refuses everything until a fresh one can be made
            log.exception("segment_not_begun", error=repr(error))
            self._failed_rolls += not is_full(error)
            self._roll_not_before = time.monotonic() + _RETRY_SECONDS
            return False
        if self._broken:
            self._telemetry.reopened.inc()
        self._bases = Bases()
        self._segment_rows = 0
        self._broken = ""
        self._failed_rolls = 0
        self.segment_since = time.monotonic()
        return True

    # ------------------------------------------------------------------ one group

    def _write(self, group: list[_Waiting]) -> list[_Answer]:
        if not group:
            return []
        if self._broken:
            return _refused(group, self._broken)
        try:
            laid = lay_out([w.batch for w in group], self._bases, self.committed.batch, self._arriving, self._known)
        except Exception as error:
            # thread root: no batch may wait for ever, nor take others down with it
            if len(group) > 1:
                return [answer for one in group for answer in self._write([one])]
            log.exception("batch_not_laid_out", error=repr(error))
            return _refused(group, "store_reopening" if isinstance(error, StoreError) else "store_failed")
        try:
            with self._telemetry.commit_seconds.time():
                self._commit(laid)
        except Exception as error:  # noqa: BLE001 (thread root, as above)
            return self._failed(group, laid, error)
        self._count(laid)
        return list(zip(group, laid.receipts, strict=True))

    def _commit(self, laid: Group) -> None:
        """Make a group durable.

        Raises:
            duckdb.Error, OSError, pa.ArrowException: it is not known to be; the segment must not be written to again.
        """
        self.segment.insert(self._early(laid.dictionaries) | laid.tables)
        extent = self.segment.extent
        first, last = laid.numbers
        self.segment.extent = replace(
            extent,
            spans=extent.spans + laid.spans,
            logs=extent.logs + laid.logs,
            first_batch=extent.first_batch or first,
            last_batch=last,
            first_arrival=extent.first_arrival or laid.arrival,
            last_arrival=laid.arrival,
        )
        self.segment.note_in_ledger(last, laid.arrival, self.segment.extent.spans)
        self.committed = Committed(last, laid.arrival)
        self._bases = laid.bases

    def _early(self, dictionaries: dict[str, pa.Table]) -> dict[str, pa.Table]:
        """Give the dictionary rows for the group's transaction; what would not fit into one goes first, in transactions of its own.

        A crash in between leaves rows that nothing names, which is harmless.
        """
        longest = max(t.num_rows for t in dictionaries.values())
        last = (longest - 1) // MAX_ROWS_PER_TRANSACTION * MAX_ROWS_PER_TRANSACTION if longest else 0
        for start in range(0, last, MAX_ROWS_PER_TRANSACTION):
            self.segment.insert({name: rows.slice(start, MAX_ROWS_PER_TRANSACTION) for name, rows in dictionaries.items()})
        return {name: rows.slice(last) for name, rows in dictionaries.items()}

    def _failed(self, group: list[_Waiting], laid: Group, error: BaseException) -> list[_Answer]:
        """Refuse a group whose commit failed, and give the segment up.

        It may be durable all the same, so its keys are remembered: when it is sent again, it is compared with what is there.
        """
        log.error("commit_failed", error=str(error), batches=len(group))
        self._known.add(laid)
        self._failed_commits += not is_full(error)
        with self._condition:
            self._broken = "disk_full" if is_full(error) else "store_reopening"
            self.committed = replace(self.committed, arrival=laid.arrival)
        return _refused(group, self._broken)

    def _count(self, laid: Group) -> None:
        self._failed_commits = 0
        self._known.add(laid)
        self.spans_written += laid.spans
        self._segment_rows += laid.rows
        if self.segment.wal_bytes() >= MAX_WAL_BYTES:
            self._roll_wanted = True
        for content, count in laid.repeated.items():
            self._telemetry.repeated_spans.labels(content).inc(count)
        self._telemetry.repeated_logs.inc(laid.repeated_logs)
        self._telemetry.last_arrival.set(laid.arrival / 1e9)
        self._telemetry.hot_spans.inc(laid.spans)


_MESSAGES: Final = {
    "disk_full": "the disk is full; the request was not acknowledged: send it again, it is kept once",
    "store_reopening": "the store recovers from a failed write; the request was not acknowledged: send it again, it is kept once",
    "store_failed": "the batch could not be prepared; nothing of this request was stored",
}
"""After a failed commit nobody knows whether it is on disk."""


def _refusal(reason: str) -> OverloadedError:
    return OverloadedError(_MESSAGES[reason], retry_after_seconds=2, reason=reason)


def _refused(group: list[_Waiting], reason: str) -> list[_Answer]:
    """Refuse each batch with an error of its own: a raised one collects tracebacks."""
    return [(waiting, _refusal(reason)) for waiting in group]
