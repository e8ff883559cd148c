"""How full the volume is, and a ballast: a file that is given up when room is needed to free room."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import structlog

from traced.errors import OverloadedError

log = structlog.get_logger(__name__)

BALLAST_BYTES: Final = 16 * 2**20
"""More than one sealed segment takes."""

_LOOK_EVERY_SECONDS: Final = 0.05


class Disk:
    """The volume under the data directory; safe to ask from any thread."""

    def __init__(self, data_dir: Path, max_fraction: float, *, with_ballast: bool) -> None:
        """Watch a directory's volume; nothing is written before `make_ballast`."""
        self._data_dir = data_dir
        self._max_fraction = max_fraction
        self._with_ballast = with_ballast
        self._looked_at = 0.0
        self._fraction = 0.0
        self._was_full = False
        self.ballast = data_dir / "ballast"

    def refusal(self) -> OverloadedError | None:
        """Say why nothing more is written, in an error of the caller's own; None below the limit."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_SECONDS:
            self._looked_at = now
            self._fraction = self._look()
        full = self._fraction >= self._max_fraction
        if full != self._was_full:
            self._was_full = full
            log.warning("disk_full" if full else "disk_has_room_again", fraction=round(self._fraction, 4))
        if not full:
            return None
        return OverloadedError(f"the disk is {self._fraction:.0%} full; nothing of this request was stored", retry_after_seconds=10, reason="disk_full")

    def _look(self) -> float:
        try:
            volume = os.statvfs(self._data_dir)
        except OSError:
            return self._fraction  # a write will say what is wrong
        # what an unprivileged process may use, as df shows it
        used = volume.f_blocks - volume.f_bfree
        return used / max(1, used + volume.f_bavail)

    def make_ballast(self) -> None:
        """Take the room, where there is any."""
        if not self._with_ballast or self._fraction >= self._max_fraction:
            return
        try:
            if self.ballast.exists() and self.ballast.stat().st_size >= BALLAST_BYTES:
                return
            descriptor = os.open(self.ballast, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            self.free_ballast()

    def free_ballast(self) -> bool:
        """Give the room up for a seal or a drop; say whether there was any."""
        try:
            self.ballast.unlink()
        except OSError:
            return False
        return True


def is_full(error: BaseException) -> bool:
    """Say whether an error of the system or of DuckDB means a full disk."""
    return "No space left" in str(error) or "ENOSPC" in str(error) or "quota" in str(error)
