"""The files of a sealed generation: written so that what bears its final name is whole, with checksums beside them.

Everything is written under temporary names and synced, then renamed, the spans file last, then the directory is synced. Parquet
readers do not notice a flipped byte in a page that still decodes, so `sums-A-B.json` holds the size and checksums of each file.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from traced.model.schema import LOGS, REPEATS, SPANS
from traced.store.catalog import KINDS, Generation, sealed_path, sums_path
from traced.store.expand import encoded
from traced.store.parquet import InterruptedWorkError, Stop, never, read_footer, write_parquet
from traced.store.segment import Extent, sync_directory

SCHEMAS: Final = {"logs": encoded(LOGS), "repeats": REPEATS, "spans": encoded(SPANS)}
"""How rows are written, by kind: the public schema with repetitive text as dictionaries, which is the same in Parquet."""

_CHUNK: Final = 2**20
_TAIL: Final = struct.Struct("<I4s")
"""How a Parquet file ends: the footer's length, and the magic bytes."""


@dataclass(frozen=True, slots=True)
class _Sum:
    """What a file was when it was written.

    Attributes:
        size: in bytes.
        content: CRC-32 of all of it.
        footer: CRC-32 of its footer, which a start reads and trusts.
    """

    size: int
    content: int
    footer: int


def write_generation(
    directory: Path, numbers: tuple[int, int], extent: Extent, tables: Mapping[str, Iterable[pa.Table]], *, durable: bool = True, stop: Stop = never
) -> Generation:
    """Write a generation, durable and whole when this returns; files of the same name are replaced.

    Args:
        directory: where.
        numbers: of the first and the last segment in it.
        extent: what it holds.
        tables: by kind, in SCHEMAS; spans always, the others where there are any.
        durable: whether it must survive a power cut.
        stop: asked between slices.

    Raises:
        OSError: the disk is full or failing; nothing of it is left.
        InterruptedWorkError: `stop` said so; nothing of it is left.
    """
    finals = [sealed_path(directory, kind, *numbers) for kind in KINDS if kind in tables]
    # the vouching spans file comes last
    finals.insert(-1, sums_path(directory, *numbers))
    temporaries = [path.with_name(f"{path.name}.tmp") for path in finals]
    try:
        for kind, rows in tables.items():
            path = sealed_path(directory, kind, *numbers)
            write_parquet(path.with_name(f"{path.name}.tmp"), rows, SCHEMAS[kind], extent, stop)
        sums = {final.name: _sum(temporary) for final, temporary in zip(finals, temporaries, strict=True) if final.suffix == ".parquet"}
        _write_sums(sums_path(directory, *numbers).with_name(f"{sums_path(directory, *numbers).name}.tmp"), sums)
        if durable:
            for temporary in temporaries:
                sync_file(temporary)
        for temporary, final in zip(temporaries, finals, strict=True):
            temporary.rename(final)
    except BaseException:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(directory)
    return Generation(directory, *numbers, extent, sum(s.size for s in sums.values()))


def open_generation(directory: Path, first: int, last: int) -> Generation:
    """Read a generation's extent from its footers, and compare them with their checksums and with each other.

    Raises:
        StoreError: written by a newer store.
        OSError, pa.ArrowException: damaged, or a file of it is missing.
    """
    size, spans_path = 0, sealed_path(directory, "spans", first, last)
    for name, expected in _read_sums(sums_path(directory, first, last)).items():
        if (directory / name).stat().st_size != expected.size or _footer_sum(directory / name) != expected.footer:
            raise OSError(f"{name} differs from its checksum")
    rows, extent = read_footer(spans_path)
    counts = {"spans": (rows, extent.spans)}
    for kind in KINDS:
        path = sealed_path(directory, kind, first, last)
        if path.exists():
            rows, of_this = read_footer(path)
            if of_this != extent:
                raise OSError(f"{path.name} and {spans_path.name} are not of one generation")
            counts[kind] = rows, rows if kind == "repeats" else getattr(extent, kind)
            size += path.stat().st_size
        elif kind == "logs" and extent.logs:
            raise OSError(f"{path.name} is missing: {extent.logs} log records")
    wrong = [f"{kind}: {rows} rows, {noted} expected" for kind, (rows, noted) in counts.items() if rows != noted]
    if wrong:
        raise OSError(f"{spans_path.name}: {'; '.join(wrong)}")
    return Generation(directory, first, last, extent, size)


def check_generation(generation: Generation, stop: Stop = never) -> None:
    """Compare every file of a generation with its checksum (about 1 GB/s), or decode it where there is none.

    Raises:
        OSError, pa.ArrowException: it is damaged.
        InterruptedWorkError: `stop` said so.
    """
    sums = _read_sums(sums_path(generation.directory, generation.first, generation.last))
    for path in generation.paths():
        if path.name not in sums:
            _decode(path, stop)
        elif _sum(path, stop) != sums[path.name]:
            raise OSError(f"{path.name} differs from its checksum")
    missing = set(sums) - {path.name for path in generation.paths()}
    if missing:
        raise OSError(f"missing: {', '.join(sorted(missing))}")


def _decode(path: Path, stop: Stop) -> None:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            for column in file.schema_arrow.names:
                if stop():
                    raise InterruptedWorkError
                file.read_row_group(group, columns=[column], use_threads=False)


def _sum(path: Path, stop: Stop = never) -> _Sum:
    return _Sum(*file_sum(path, stop), _footer_sum(path))


def file_sum(path: Path, stop: Stop = never) -> tuple[int, int]:
    """Give the size of a file and its CRC-32.

    Raises:
        OSError: it cannot be read.
        InterruptedWorkError: `stop` said so.
    """
    size = checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if stop():
                raise InterruptedWorkError
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return size, checksum


def _footer_sum(path: Path) -> int:
    """Give the checksum of a file's footer; of what is there where it has none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _TAIL.size))
        tail = file.read()
        length = _TAIL.unpack(tail)[0] if len(tail) == _TAIL.size else 0
        file.seek(max(0, end - _TAIL.size - length))
        return zlib.crc32(file.read())


def _write_sums(path: Path, sums: Mapping[str, _Sum]) -> None:
    files = json.dumps({name: astuple(values) for name, values in sums.items()})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"crc32": zlib.crc32(files.encode()), "files": files}, file)


def _read_sums(path: Path) -> dict[str, _Sum]:
    """Read the checksums; none where the file is missing, or differs from its own."""
    try:
        content = json.loads(path.read_text(encoding="ascii"))
        if zlib.crc32(content["files"].encode()) != content["crc32"]:
            return {}
        return {str(name): _Sum(*map(int, values)) for name, values in json.loads(content["files"]).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def sync_file(path: Path) -> None:
    """Make what was written to a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
