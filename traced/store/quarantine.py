"""Where damaged files are kept for a person: a directory an incident, with a note of what is missing; within a size, oldest gone first."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog

from traced.store.segment import sync_directory

log = structlog.get_logger(__name__)

_NOTE = "note.json"


class Quarantine:
    """The quarantine directory."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Keep up to so many bytes."""
        self.directory = directory
        self._max_bytes = max_bytes

    def keep_copies(self, name: str, paths: Iterable[Path], **note: Any) -> None:
        """Copy files there before they are repaired.

        Raises:
            OSError: there is no room, or the disk is failing.
        """
        place = self._place(name, note)
        try:
            for path in paths:
                if path.exists():
                    copy = place / path.name
                    shutil.copy2(path, copy)
                    copy.chmod(0o600)
        except OSError:
            shutil.rmtree(place, ignore_errors=True)
            raise
        self.trim()

    def move(self, name: str, paths: Iterable[Path], **note: Any) -> None:
        """Move files there: takes no room.

        Raises:
            OSError: the disk is failing.
        """
        place = self._place(name, note)
        for path in paths:
            if path.exists():
                path.rename(place / path.name)
                sync_directory(path.parent)
        sync_directory(place)
        self.trim()

    def trim(self) -> None:
        """Remove the oldest incidents until the rest is within the limit; the newest stays in any case."""
        places = sorted(p for p in self.directory.iterdir() if p.is_dir())
        sizes = [sum(f.stat().st_size for f in place.iterdir() if f.is_file()) for place in places]
        for index, place in enumerate(places[:-1]):
            if sum(sizes[index:]) <= self._max_bytes:
                return
            log.warning("quarantine_trimmed", incident=place.name, size_bytes=sizes[index])
            shutil.rmtree(place, ignore_errors=True)

    def _place(self, name: str, note: dict[str, Any]) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for attempt in range(1000):
            place = self.directory / f"{stamp}-{attempt:03d}-{name}"
            try:
                place.mkdir(mode=0o700)
            except FileExistsError:
                continue
            break
        else:
            raise FileExistsError(f"no free name in {self.directory}")
        descriptor = os.open(place / _NOTE, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(note | {"at": stamp}, indent=1) + "\n")
        return place
