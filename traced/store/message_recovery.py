"""What a start makes of the files of the message log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from traced.store.message_files import MINUTE_NANOS, LogFile, describe_file, in_row_groups, numbers_in, read_rows, write_file
from traced.store.message_reading import MessageReader
from traced.store.message_shelf import Shelf

log = structlog.get_logger(__name__)

MANIFEST_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that must be there, and whole, and is not.

    Attributes:
        path: where it is, or would be.
        table: `messages` or `flows`.
        rows: how many it held; 0 where nothing says so.
        arrivals: the bounds of their arrival (ns): where nothing says so, since the file before it and until it was written.
        problem: what is wrong.
    """

    path: Path
    table: str
    rows: int
    arrivals: tuple[int, int]
    problem: str


@dataclass(slots=True)
class Found:
    """What is there.

    Attributes:
        files: those that hold the rows.
        next_number: a number above all that were ever given, as far as anything says.
        damaged: what is not.
        dropped_until: up to which arrival (ns) retention dropped rows, by table.
    """

    files: list[LogFile] = field(default_factory=list)
    next_number: int = 1
    damaged: list[Damage] = field(default_factory=list)
    dropped_until: dict[str, int] = field(default_factory=dict)


def look(directory: Path, manifest: Any) -> Found:
    """Find the files that a manifest names, and remove all others; without a manifest that can be read, find out from the files themselves.

    Raises:
        OSError: the directory cannot be read.
    """
    for left_over in directory.glob("*.tmp"):
        left_over.unlink(missing_ok=True)
    try:
        return _named(directory, manifest)
    except (KeyError, ValueError, TypeError) as error:
        if manifest is not None:
            log.warning("log_manifest_unreadable", error=repr(error))
    return _whatever_is_there(directory)


def _named(directory: Path, manifest: Any) -> Found:
    if manifest["version"] != MANIFEST_VERSION:
        raise ValueError(f"manifest of version {manifest['version']}")
    files = [LogFile.load(values) for values in manifest["files"]]
    dropped = {str(table): int(until) for table, until in manifest["dropped_until"].items()}
    there = numbers_in(directory)
    found = Found(next_number=max([int(manifest["next"]), *(number + 1 for _, number in there.values())]), dropped_until=dropped)
    names = {file.name for file in files}
    for path in there:
        if path.name not in names:
            path.unlink(missing_ok=True)
    for file in files:
        path = directory / file.name
        size = path.stat().st_size if path.exists() else None
        if size == file.size_bytes:
            found.files.append(file)
        else:
            problem = "it is missing" if size is None else f"{size} bytes, {file.size_bytes} expected"
            found.damaged.append(damage_of(path, file, problem))
    return found


def damage_of(path: Path, file: LogFile, problem: str) -> Damage:
    """Say what is lost with a file."""
    return Damage(path, file.table, file.rows, (file.first_arrival, file.last_arrival), problem)


def _whatever_is_there(directory: Path) -> Found:
    """Of files that hold the same rows, keep the one that was written last; it is read as a whole, so that the others do not go in its favour for nothing."""
    found, there = Found(), numbers_in(directory)
    known: list[LogFile] = []
    for path, (table, number) in there.items():
        found.next_number = max(found.next_number, number + 1)
        try:
            known.append(describe_file(path, table, number))
        except (OSError, pa.ArrowException) as error:
            since = max((file.last_arrival for file in known if file.table == table), default=0)
            found.damaged.append(Damage(path, table, 0, (since, max(since, path.stat().st_mtime_ns)), str(error)))
    for file in known:
        if any(other.stands_for(file) for other in known):
            (directory / file.name).unlink(missing_ok=True)
        else:
            found.files.append(file)
    return found


def cut(shelf: Shelf, reader: MessageReader, after: int, *, durable: bool) -> int:
    """Take off the rows that arrived after a time (ns), because they will come again; give how many.

    Of the minute in which that is, the flows that stay are counted anew from the rows of messages that stay.

    Raises:
        OSError, pa.ArrowException: the disk is full or failing, or a file is damaged.
    """
    files = shelf.files
    minute = (after + 1) // MINUTE_NANOS
    taken = 0
    for file in files["messages"]:
        if file.last_arrival > after:
            taken += _rewrite(shelf, file, lambda rows: pc.less_equal(rows.column("arrival_time_unix_nano"), after), None, durable=durable)
    late = [file for file in files["flows"] if file.last_arrival > after]
    for file in late:
        more = None
        if file is late[-1]:
            with shelf.hold(("messages",), (minute * MINUTE_NANOS, after)) as view:
                more = reader.flows_of_messages(view, minute * MINUTE_NANOS, after)
        taken += _rewrite(shelf, file, lambda rows: pc.less(rows.column("minute"), minute), more, durable=durable)
    return taken


def _rewrite(shelf: Shelf, file: LogFile, stays: Callable[[pa.Table], pa.Array], more: pa.Table | None, *, durable: bool) -> int:
    """Write those rows of a file that stay, and more behind them, as a file in its place; give how many did not stay."""
    path = shelf.path(file)
    kept = 0

    def rows() -> Any:
        nonlocal kept
        for part in in_row_groups(read_rows(path, file.table)):
            staying = part.filter(stays(part))
            kept += staying.num_rows
            yield staying
        if more is not None:
            yield more

    come = write_file(path.parent, file.table, (shelf.number(), file.first, file.last), rows(), durable=durable)
    shelf.swap((file,), come)
    return file.rows - kept
