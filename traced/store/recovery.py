"""What a start finds in the data directory, and what it does about it. Nothing here needs a person.

Left-overs of an interrupted step are removed; a segment is first opened in a child process, because the replay of a damaged
WAL can abort the process; a damaged one is set aside, repaired as far as its WAL reads, and what is lost is counted by batch numbers.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import structlog

from traced.store.account import Account, Range, count
from traced.store.catalog import Generation, numbers_of, remove_sealed, sealed_path, sealed_paths
from traced.store.checking import Looked, look_at
from traced.store.ledger import Noted, read_ledger
from traced.store.quarantine import Quarantine
from traced.store.sealed_files import open_generation
from traced.store.segment import Extent, Segment, remove_segment, segment_paths, sync_directory
from traced.store.spill import Spill

log = structlog.get_logger(__name__)

_HOT_NAME: Final = re.compile(r"^hot-(\d{8})\.(duckdb|duckdb\.wal|ledger)$")
_CORRUPT_AT: Final = re.compile(r"entry at byte position (\d+)")
_REPAIR_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are.

    Attributes:
        hot: segments.
        sealed: sealed files.
        ballast: a file that is removed where room is needed for a repair.
    """

    hot: Path
    sealed: Path
    ballast: Path


@dataclass(slots=True)
class Recovered:
    """What was found.

    Attributes:
        account: what is known of batches that are not there, this start's losses included.
        generations: sealed ones whose footers are sound, oldest first.
        segments: left-over segments that open, oldest first; to be sealed.
        next_number: the number of the next segment.
        last_batch: the last sequence number that was ever given, as far as anything says.
        lost: batches that must be there, are not, and were not counted before.
        quarantined: how many segments or generations were set aside.
    """

    account: Account
    generations: list[Generation] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    next_number: int = 1
    last_batch: int = 0
    lost: tuple[Range, ...] = ()
    quarantined: int = 0

    @property
    def lost_batches(self) -> int:
        """Count what this start found lost."""
        return count(self.lost)

    @property
    def last_arrival(self) -> int:
        """Give the newest arrival stored (ns), 0 where nothing is."""
        return max((extent.last_arrival for extent in self.extents()), default=0)

    def extents(self) -> list[Extent]:
        """Give what each part holds."""
        return [*(g.extent for g in self.generations), *(s.extent for s in self.segments)]


class Recovery:
    """One start's look at the data directory."""

    def __init__(self, places: Places, quarantine: Quarantine, account: Account, memory_limit_bytes: int, spill: Spill) -> None:
        """Wire it; `run` does the work."""
        self._places = places
        self._quarantine = quarantine
        self._memory_limit_bytes = memory_limit_bytes
        self._spill = spill
        self._found = Recovered(account)

    def run(self) -> Recovered:
        """Bring the directories to a state from which the store can go on.

        Raises:
            OSError: the disk is full or failing to the point that files cannot even be renamed.
        """
        found, places = self._found, self._places
        for left_over in [*places.sealed.glob("*.tmp"), *places.hot.glob("*.spill")]:
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        self._sealed()
        covered = {n for g in found.generations for n in range(g.first, g.last + 1)}
        numbers = sorted({int(m[1]) for p in places.hot.iterdir() if (m := _HOT_NAME.match(p.name))})
        found.next_number = max([0, *covered, *numbers]) + 1
        for number in numbers:
            if number in covered:
                remove_segment(places.hot, number)
        self._segments([number for number in numbers if number not in covered])
        sync_directory(places.hot)
        sync_directory(places.sealed)
        self._take_stock()
        return found

    # ------------------------------------------------------------------ sealed files

    def _sealed(self) -> None:
        """Keep the sound generations; a merged one stands for its sources."""
        sealed, found = self._places.sealed, self._found
        ranges = sorted({n for path in sealed.iterdir() if (n := numbers_of(path))}, key=lambda r: (r[0], -r[1]))
        reached = 0
        for first, last in ranges:
            if last <= reached or self._is_unfinished(first, last, ranges):
                remove_sealed(sealed, first, last)
                continue
            try:
                generation = open_generation(sealed, first, last)
            except (OSError, pa.ArrowException) as error:
                log.warning("sealed_file_damaged", first=first, last=last, error=str(error))
                self._quarantine.move(f"sealed-{first:08d}-{last:08d}", sealed_paths(sealed, first, last), error=str(error))
                found.quarantined += 1
                continue
            found.generations.append(generation)
            reached = last

    def _is_unfinished(self, first: int, last: int, ranges: list[tuple[int, int]]) -> bool:
        """Say whether a seal or merge ended before it renamed its spans file: what it was made of is still there."""
        if sealed_path(self._places.sealed, "spans", first, last).exists():
            return False
        if first == last:
            return segment_paths(self._places.hot, first)[0].exists()
        return any(first <= other[0] and other[1] <= last for other in ranges if other != (first, last))

    # ------------------------------------------------------------------ segments

    def _segments(self, numbers: list[int]) -> None:
        for looked in look_at(self._places.hot, numbers):
            segment = self._opened(looked)
            if segment is not None:
                self._found.segments.append(segment)

    def _opened(self, looked: Looked) -> Segment | None:
        """Open a segment, repaired where it must be; None where nothing is in it, or nothing of it opens."""
        hot, number = self._places.hot, looked.number
        noted = read_ledger(segment_paths(hot, number)[2])
        self._note(noted)
        if _was_never_used(hot, looked, noted):
            remove_segment(hot, number)
            return None
        expected = noted.last if noted is not None and noted.last > noted.before else 0
        if looked.last_batch is None or looked.last_batch < expected:
            repaired = self._repaired(looked, noted)
            if repaired is None:
                return None
            looked = repaired
        if not looked.last_batch:
            remove_segment(hot, number)  # what its ledger noted is lost, and the original lies in quarantine
            return None
        try:
            return Segment.open(hot, number, self._memory_limit_bytes, self._spill)
        except duckdb.Error as error:
            self._give_up(number, noted, str(error))
            return None

    def _note(self, noted: Noted | None) -> None:
        if noted is not None:
            self._found.last_batch = max(self._found.last_batch, noted.before, noted.last)

    def _repaired(self, looked: Looked, noted: Noted | None) -> Looked | None:
        """Keep the original, and cut the WAL where it does not read; None where that was not possible: the segment is set aside."""
        hot, number = self._places.hot, looked.number
        log.error("segment_damaged", segment=number, last_batch_noted=noted and noted.last, last_batch_found=looked.last_batch, error=looked.error)
        note = {"last_batch_noted": noted and noted.last, "last_batch_found": looked.last_batch, "error": looked.error}
        for attempt in range(2):
            try:
                self._quarantine.keep_copies(f"hot-{number:08d}", segment_paths(hot, number), **note)
                break
            except OSError as error:
                if attempt:
                    self._give_up(number, noted, f"{looked.error}; no room for a copy: {error}")
                    return None
                self._places.ballast.unlink(missing_ok=True)
        self._found.quarantined += 1
        for _ in range(_REPAIR_ATTEMPTS):
            if looked.last_batch is not None:
                return looked
            if not _cut_wal(segment_paths(hot, number)[1], looked.error):
                break
            looked = next(look_at(hot, [number]))
        if looked.last_batch is None:
            remove_segment(hot, number)
            return None
        return looked

    def _give_up(self, number: int, noted: Noted | None, error: str) -> None:
        """Set a segment aside as it is."""
        self._quarantine.move(f"hot-{number:08d}", segment_paths(self._places.hot, number), last_batch_noted=noted and noted.last, error=error)
        self._found.quarantined += 1

    # ------------------------------------------------------------------ loss

    def _take_stock(self) -> None:
        found = self._found
        present = [(e.first_batch, e.last_batch) for e in found.extents() if e.last_batch]
        found.last_batch = max([found.last_batch, found.account.last, *(last for _, last in present)])
        found.lost = found.account.missing(present, found.last_batch)
        if found.lost:
            log.error("batches_lost", batches=found.lost_batches, ranges=found.lost[:20])
        found.account = found.account.with_lost(found.lost).with_last(found.last_batch)
        if found.account.dropped_to is None:
            found.account = found.account.with_dropped(min((first for first, _ in present), default=found.last_batch + 1) - 1)


def _was_never_used(hot: Path, looked: Looked, noted: Noted | None) -> bool:
    """Say whether a segment was killed while it was created, or closed before its first batch."""
    if noted is not None and noted.last > noted.before:
        return False
    if looked.last_batch is not None:
        return looked.last_batch == 0
    # its files are made in this order: database, WAL, ledger; without a WAL nothing was ever committed
    wal = segment_paths(hot, looked.number)[1]
    return not wal.exists() or not wal.stat().st_size


def _cut_wal(wal: Path, error: str) -> bool:
    """Cut the WAL where DuckDB says that it is corrupt; say whether that made it shorter."""
    position = _CORRUPT_AT.search(error)
    if position is None or not wal.exists() or int(position[1]) >= wal.stat().st_size:
        return False
    with wal.open("r+b") as file:
        file.truncate(int(position[1]))
    return True
