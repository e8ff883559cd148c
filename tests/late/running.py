"""The daemon's store and analysis, without threads for time: arrivals and passes happen when a clock that is set says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from eval.traces import EPOCH

from traced.analysis.edge_history import EdgeHistory
from traced.analysis.loop import Analysis
from traced.analysis.revisits import AFTER_SECONDS
from traced.config import AnalysisSettings, FindingsSettings, GraphSettings, StoreSettings
from traced.detectors import detectors
from traced.findings.ledger import Ledger, Wording
from traced.model.occurrence import Occurrence
from traced.model.views import Tallies
from traced.receiver.decode import decode_traces
from traced.receiver.wire import Limits
from traced.store.store import Store
from traced.telemetry import Telemetry

from .exports import Export

STEP_SECONDS = 10.0
"""How often the analysis takes a turn while spans come."""
AFTERWARDS_SECONDS = 100.0
"""The same after the last one."""


@dataclass
class Clock:
    """Stands for the module `time` in the store's writer."""

    seconds: float = 0.0
    monotonic = staticmethod(time.monotonic)

    def time_ns(self) -> int:
        """Give the time that was set, in unix nanoseconds."""
        return EPOCH + round(self.seconds * 1e9)

    def time(self) -> float:
        """Give it in unix seconds."""
        return self.time_ns() / 1e9


@dataclass(frozen=True)
class Ended:
    """What a run ended with.

    Attributes:
        occurrences: what is open.
        shown: the open findings by (id, cause, service, peer, signal name), and how many occurrences each says it has.
        tallies: the counters.
    """

    occurrences: tuple[Occurrence, ...]
    shown: Counter[tuple[str, ...]]
    tallies: Tallies


@dataclass
class Run:
    """One run of the daemon on a directory."""

    directory: Path
    settings: AnalysisSettings
    clock: Clock = field(default_factory=Clock)

    def begin(self) -> None:
        """Start: open the store, and take up where the saved state says."""
        self.store = Store(StoreSettings(data_dir=self.directory, durable=False, max_disk_fraction=1.0, retention_seconds=1e9), Telemetry())
        self.store.open()
        telemetry = Telemetry()
        self.ledger = Ledger(FindingsSettings(), telemetry, {d.id: Wording(d.sentence, d.fix) for d in detectors()})
        self.analysis = Analysis(self.store, self.ledger, EdgeHistory(10_000, 60), self.settings, GraphSettings(), telemetry, self.clock.time)
        self.analysis.restore()

    def end(self) -> None:
        """Stop in order."""
        self.analysis._save()
        self.analysis._workbench.close()
        self.store.close()

    def play(self, sent: Sequence[Export], restarts: Sequence[float] = ()) -> Ended:
        """Let everything arrive and settle; end and begin anew at some seconds."""
        waiting, ends = list(reversed(sent)), sorted(restarts, reverse=True)
        last = sent[-1].arrival
        while self.clock.seconds < last + 4 * self.settings.settle_seconds + AFTER_SECONDS[-1] + AFTERWARDS_SECONDS:
            self.clock.seconds += STEP_SECONDS if self.clock.seconds < last + 4 * self.settings.settle_seconds else AFTERWARDS_SECONDS
            while waiting and waiting[-1].arrival <= self.clock.seconds:
                self.store.accept(decode_traces(waiting.pop().body, Limits())).result(10)
            if ends and ends[-1] <= self.clock.seconds:
                ends.pop()
                self.end()
                self.begin()
            while self.analysis.turn():
                pass
            assert not self.analysis._failures, "a pass failed"
        tallies = self.analysis._counted()
        open_now = tuple(o for trace in self.ledger._by_trace for o in self.ledger.of_trace(trace))
        shown = Counter({(f.id, f.cause, f.service, f.peer, f.signal_name): f.count for f in self.ledger.findings()})
        return Ended(open_now, shown, tallies)


@contextmanager
def running(directory: Path, settle_seconds: float) -> Iterator[Run]:
    """Give a run that has begun, and end it."""
    run = Run(directory, AnalysisSettings(settle_seconds=settle_seconds))
    with mock.patch("traced.store.writer.time", run.clock):
        run.begin()
        try:
            yield run
        finally:
            run.end()
