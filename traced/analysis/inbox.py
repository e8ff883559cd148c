"""Where measurements wait between the receiver and the next turn of the analysis."""

from __future__ import annotations

import threading
from typing import Final

from traced.model.measurement import Measurement

MAX_WAITING: Final = 50_000
"""Data points, about 300 bytes each; a turn of the analysis takes all of them."""


class Inbox:
    """Takes measurements from any thread (MeasurementConsumer); what was taken and not saved yet is lost with the process, and counted again by senders."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        """Start empty."""
        self._max = max_waiting
        self._lock = threading.Lock()
        self._waiting: list[Measurement] = []

    def measured(self, points: tuple[Measurement, ...]) -> bool:
        """Take data points, all or none; say whether there was room. A request larger than the limit is taken when nothing else waits."""
        with self._lock:
            if self._waiting and len(self._waiting) + len(points) > self._max:
                return False
            self._waiting.extend(points)
            return True

    def take(self) -> list[Measurement]:
        """Give what waits, and forget it."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken
