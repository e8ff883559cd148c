"""Which segments and sealed files there are, and who reads them: a part goes only when no reader holds it.

A sealed generation is up to three files of one number range: `spans-A-B.parquet`, `logs-A-B.parquet`, `repeats-A-B.parquet`,
where A to B are the numbers of the segments in them, and `sums-A-B.json` with their checksums. The spans file is always written,
and last: it vouches for the others.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import structlog

from traced.errors import StoreError
from traced.store.segment import Extent, Segment, sync_directory

log = structlog.get_logger(__name__)

KINDS: Final = ("logs", "repeats", "spans")
"""In the order of writing."""

_NAME: Final = re.compile(r"^(?:logs|repeats|spans|sums)-(\d{8})-(\d{8})\.(?:parquet|json)$")


@dataclass(frozen=True, slots=True)
class Generation:
    """One sealed generation on disk."""

    directory: Path
    first: int
    last: int
    extent: Extent
    size_bytes: int

    def path(self, kind: str) -> Path:
        """Give the path of one of its files, whether or not it exists."""
        return sealed_path(self.directory, kind, self.first, self.last)

    def paths(self) -> tuple[Path, ...]:
        """Give the files that exist."""
        return tuple(p for p in (self.path(kind) for kind in KINDS) if p.exists())


Part = Segment | Generation
Farewell = Callable[[Part], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """A consistent view of everything stored: each row is in exactly one part.

    Attributes:
        generations: sealed, oldest first.
        segments: frozen ones, oldest first, then the hot one.
    """

    generations: tuple[Generation, ...] = ()
    segments: tuple[Segment, ...] = ()


def sealed_path(directory: Path, kind: str, first: int, last: int) -> Path:
    """Give the path of a sealed file."""
    return directory / f"{kind}-{first:08d}-{last:08d}.parquet"


def sums_path(directory: Path, first: int, last: int) -> Path:
    """Give the path of the checksums of a generation's files."""
    return directory / f"sums-{first:08d}-{last:08d}.json"


def numbers_of(path: Path) -> tuple[int, int] | None:
    """Read (first, last) from the name of a sealed file; None for any other name."""
    match = _NAME.match(path.name)
    return (int(match[1]), int(match[2])) if match else None


class Catalog:
    """The parts there are; thread-safe."""

    def __init__(self) -> None:
        """Start empty; recovery adds what is on disk."""
        self._lock = threading.Lock()
        self._parts = Parts()
        self._readers: Counter[int] = Counter()
        self._leaving: dict[int, tuple[Part, Farewell]] = {}

    @property
    def parts(self) -> Parts:
        """A snapshot; its files may go at any time unless a lease is held."""
        return self._parts

    def swap(self, gone: tuple[Part, ...], come: tuple[Part, ...], farewell: Farewell | None = None) -> None:
        """Replace parts in one step for every reader.

        Args:
            gone: parts that no new reader sees.
            come: parts that hold the same rows, or new ones.
            farewell: what is done with each part gone once nobody reads it: `discard` unless given.
        """
        with self._lock:
            leaving = {id(part): part for part in gone}
            kept = [part for part in (*self._parts.generations, *self._parts.segments) if id(part) not in leaving]
            everything = [*kept, *come]
            self._parts = Parts(
                tuple(sorted((p for p in everything if isinstance(p, Generation)), key=lambda g: g.first)),
                tuple(sorted((p for p in everything if isinstance(p, Segment)), key=lambda s: s.number)),
            )
            self._leaving.update({key: (part, farewell or discard) for key, part in leaving.items()})
            free = self._free()
        _say_farewell(free)

    @contextmanager
    def lease(self, *, segments: bool = True) -> Iterator[Parts]:
        """Hold the present parts until the block ends: what is swapped meanwhile stays readable here.

        Args:
            segments: whether hot and frozen rows are read, too; if not, a segment's instance is not waited for.

        Raises:
            StoreError: a segment's instance is being reopened after an I/O error; without it rows would be missing.
        """
        with self._lock:
            seen = self._parts if segments else Parts(self._parts.generations)
            if any(segment.broken for segment in seen.segments):
                raise StoreError(
                    "a segment is being reopened after an I/O error",
                    status=503,
                    error_code="store_reopening",
                    next_safe_actions=("Ask again in a few seconds.",),
                )
            held = self._hold((*seen.generations, *seen.segments))
        try:
            yield seen
        finally:
            self._let_go(held)

    @contextmanager
    def lease_again(self, generations: tuple[Generation, ...]) -> Iterator[None]:
        """Hold generations of a lease that the caller has, beyond its end."""
        with self._lock:
            held = self._hold(generations)
        try:
            yield
        finally:
            self._let_go(held)

    def _hold(self, parts: tuple[Part, ...]) -> list[int]:
        held = [id(part) for part in parts]
        self._readers.update(held)
        return held

    def _let_go(self, held: list[int]) -> None:
        with self._lock:
            self._readers.subtract(held)
            for key in held:
                if not self._readers[key]:
                    del self._readers[key]
            free = self._free()
        _say_farewell(free)

    def reopen(self, segment: Segment) -> bool:
        """Open a broken segment again once nobody reads it; say whether that was done.

        Raises:
            duckdb.Error: it cannot be read yet.
        """
        with self._lock:
            if self._readers[id(segment)]:
                return False
            segment.reopen()
            return True

    def _free(self) -> list[tuple[Part, Farewell]]:
        return [self._leaving.pop(key) for key in list(self._leaving) if not self._readers[key]]


def discard(part: Part) -> None:
    """Unlink the files of a part."""
    if isinstance(part, Segment):
        part.remove()
        return
    remove_sealed(part.directory, part.first, part.last)
    sync_directory(part.directory)


def remove_sealed(directory: Path, first: int, last: int) -> None:
    """Unlink the files of a generation.

    The vouching spans file goes first: without it the others are left-overs that the next start removes.
    """
    for path in sealed_paths(directory, first, last):
        path.unlink(missing_ok=True)


def sealed_paths(directory: Path, first: int, last: int) -> tuple[Path, ...]:
    """Name all files that a generation may have, the spans file first."""
    return (*(sealed_path(directory, kind, first, last) for kind in reversed(KINDS)), sums_path(directory, first, last))


def _say_farewell(free: list[tuple[Part, Farewell]]) -> None:
    for part, farewell in free:
        try:
            farewell(part)
        except (OSError, duckdb.Error) as error:
            # the rows are in other parts, or expired: the next start removes what is left
            log.warning("part_not_removed", error=str(error))
