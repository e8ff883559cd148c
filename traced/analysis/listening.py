"""Keeps the record of when the daemon listened: fed from the loop, and kept in a file of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from traced.analysis.capture import CaptureRecorder, Missed
from traced.model.capture import Capture, GapReason
from traced.store.message_log import MessageLog
from traced.store.store import Store

log = structlog.get_logger(__name__)

_STATE: Final = "capture"
_KEPT_SECONDS: Final = 15.0
"""How often it is kept that the daemon listens, where nothing else has to be: after a crash so much at most is taken for a gap."""


class Listening:
    """The recorder, where it hears of losses, and its file: a later version may not take the analysis' state over, and weeks of listening count."""

    def __init__(self, store: Store, message_log: MessageLog) -> None:
        """Wire it; `begin` starts."""
        self.recorder = CaptureRecorder()
        self._store = store
        self._messages = message_log
        self._kept_at = 0.0

    def watch(self, missed: Callable[[], Missed]) -> None:
        """Hear at each turn what the receiver did not take."""
        self.recorder.watch(missed)

    def capture(self) -> Capture:
        """Give when the daemon listened, and what it missed; from any thread."""
        return self.recorder.capture()

    def begin(self, now: float) -> None:
        """Take up what an earlier run kept."""
        self.recorder.begin(now, self._store.load_state(_STATE))

    def turn(self, now: float) -> None:
        """Say that the daemon listens, and note what is gone from the message log; keep that where it was not done lately."""
        self.recorder.beat(now)
        for since, until in self._messages.take_losses():
            self.recorder.note(since, until, GapReason.DROPPED)
        self.recorder.forget(self._messages.dropped_until["flows"] / 1e9)
        if time.monotonic() - self._kept_at > _KEPT_SECONDS:
            self.keep()

    def missed(self, since: int, until: int, reason: GapReason, items: int = 0) -> None:
        """Note that arrivals of a time (ns) are missing."""
        self.recorder.note(since / 1e9, until / 1e9, reason, items)

    def keep(self) -> None:
        """Keep it; where that fails it is tried again."""
        self._kept_at = time.monotonic()
        try:
            self._store.save_state(_STATE, self.recorder.dump())
        except OSError as error:
            log.warning("capture_not_saved", error=str(error))
