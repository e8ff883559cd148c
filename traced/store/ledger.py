"""The ledger beside a hot segment: which batch was committed last, so that a loss is a number and not a guess.

Append-only records of fixed size with a checksum. Not synced at each commit: after a power cut it may lag behind its segment,
never run ahead of what was acknowledged.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_RECORD: Final = struct.Struct("<QQQ")
_CHECKSUM: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Noted:
    """What a ledger says.

    Attributes:
        before: the last batch before its segment.
        last: the last batch committed to its segment; `before` where there is none.
        spans: how many spans the segment held then.
    """

    before: int
    last: int
    spans: int


class Ledger:
    """One ledger, open for appending; for one thread."""

    def __init__(self, path: Path, before: int) -> None:
        """Make the file, durable with its first record: the last batch before the segment.

        Raises:
            OSError: the disk is full or failing.
        """
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.note(before, 0, 0)
            os.fdatasync(self._descriptor)
        except OSError:
            os.close(self._descriptor)
            raise

    def note(self, last_batch: int, arrival: int, spans: int) -> None:
        """Append what is committed by now.

        Raises:
            OSError: the disk is full or failing; nothing may be appended after that, since a torn record hides what follows.
        """
        if self._descriptor is None:
            raise OSError("the ledger is closed")
        body = _RECORD.pack(last_batch, arrival, spans)
        record = body + _CHECKSUM.pack(zlib.crc32(body))
        if os.write(self._descriptor, record) != len(record):
            raise OSError("the ledger's record was not written whole: No space left on device")

    def close(self) -> None:
        """Make it durable and close it; may be called again.

        Raises:
            OSError: the disk is failing; it is closed all the same.
        """
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def read_ledger(path: Path) -> Noted | None:
    """Read a ledger as far as its records are whole; None without one.

    A torn last record is normal after a crash.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = _RECORD.size + _CHECKSUM.size
    records = []
    for start in range(0, len(content) - size + 1, size):
        body = content[start : start + _RECORD.size]
        if _CHECKSUM.unpack_from(content, start + _RECORD.size)[0] != zlib.crc32(body):
            # a damaged record in the middle does not hide the sound ones behind it: all are of one size
            continue
        records.append(_RECORD.unpack(body))
    if not records:
        return None
    last = max(record[0] for record in records)
    return Noted(min(record[0] for record in records), last, max(record[2] for record in records))
