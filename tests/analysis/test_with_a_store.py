"""The analysis on the real store: what it finds, withdraws and remembers is the same as on one in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from arrivals import Watched
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from spans import EPOCH, spans

from traced.config import AnalysisSettings, StoreSettings
from traced.receiver.decode import decode_logs, decode_traces
from traced.receiver.wire import Limits
from traced.store.store import Store
from traced.telemetry import Telemetry


@dataclass
class StoreClock:
    """Stands for the module `time` in the store's writer: arrivals are when the test says."""

    seconds: float = 0.0
    monotonic = staticmethod(time.monotonic)

    def time_ns(self) -> int:
        """Give the test's time."""
        return EPOCH + round(self.seconds * 1e9)


@dataclass
class Kept(Watched):
    """An analysis on a real store in a directory."""

    directory: Path = field(default_factory=Path)
    clock: StoreClock = field(default_factory=StoreClock)

    @classmethod
    def on(cls, directory: Path, clock: StoreClock, **settings: object) -> Kept:
        """Open a store and begin."""
        return cls(_open(directory), AnalysisSettings(**settings), directory=directory, clock=clock)  # type: ignore[arg-type]

    def send(self, seconds: float, *lines: str) -> None:
        """Let spans arrive; sealing is what the keeper makes of it."""
        self.clock.seconds = seconds
        for _, body in spans(*lines).requests():
            self.store.accept(decode_traces(body, Limits())).result(10)  # type: ignore[attr-defined]

    def at(self, seconds: float) -> int:
        """Set all clocks and run passes."""
        self.clock.seconds = self.now = seconds
        passes = 1
        while self.analysis.turn():
            passes += 1
        return passes

    def reopen(self, *, save: bool) -> None:
        """Close the store, and go on with a new store and a new analysis on the same directory."""
        if save:
            self.analysis._save()
        self.analysis._workbench.close()
        self.store.close()  # type: ignore[attr-defined]
        self.store = _open(self.directory)  # type: ignore[assignment]
        self.begin()


def _open(directory: Path) -> Store:
    for_long = dict.fromkeys(("retention_seconds", "message_retention_seconds", "flow_retention_seconds"), 1e9)
    store = Store(StoreSettings(data_dir=directory, durable=False, max_disk_fraction=1.0, **for_long), Telemetry())
    store.open()
    return store


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Give an analysis with a settle time of 30 s on an empty store."""
    clock = StoreClock()
    monkeypatch.setattr("traced.store.writer.time", clock)
    run = Kept.on(tmp_path, clock)
    yield run
    run.analysis._workbench.close()
    run.store.close()  # type: ignore[attr-defined]


def test_a_trace_is_looked_at_once_quiet_and_again_when_its_root_comes_late(kept: Kept) -> None:
    kept.send(1, "web CLIENT b<a addr=cart", "cart SERVER c<b")
    kept.at(20)
    assert kept.analysis.traces_analyzed == 0
    kept.at(32)
    assert kept.counts() == {"missing_root_span": 1, "orphan_span": 1}
    kept.send(100, "web SERVER a")
    kept.at(140)
    assert kept.counts() == {}
    assert kept.graph() == {("user", "web", "virtual_node"): (1, 0), ("web", "cart", ""): (1, 0)}
    assert kept.analysis.spans_analyzed() == {"web": 2, "cart": 1}
    assert kept.lag == 0


@pytest.mark.parametrize("save", [True, False], ids=["in order", "as after a crash"])
def test_a_restart_in_the_middle_goes_on_without_counting_twice(kept: Kept, save: bool) -> None:  # noqa: FBT001
    kept.send(1, "web CLIENT one:b<a addr=cart", "cart SERVER one:c<b", "cart SERVER two:b<x")
    kept.at(32)
    kept.analysis._save()
    kept.send(40, "web SERVER held:a")
    kept.send(60, "web INTERNAL held:b<a", "cart SERVER two:b<x")
    kept.at(75)
    assert kept.analysis.waiting_traces == 1
    kept.reopen(save=save)
    assert kept.counts()["orphan_span"] == 2
    kept.at(80)
    assert kept.analysis.waiting_traces == 1
    kept.send(100, "web SERVER one:a")
    kept.at(200)
    assert kept.counts() == {"orphan_span": 1, "missing_root_span": 1, "duplicate_span": 1}
    assert kept.graph() == {("user", "web", "virtual_node"): (2, 0), ("web", "cart", ""): (1, 0)}
    assert kept.analysis.spans_analyzed() == {"web": 4, "cart": 2}
    assert sum(n for key, n in kept.counters().items() if key[:3] == ("found", "orphan_span", "cart")) == 1


def test_links_lead_to_spans_that_were_looked_at_long_before(kept: Kept) -> None:
    kept.send(1, "shop PRODUCER one:p")
    kept.at(40)
    kept.reopen(save=True)
    kept.send(1000, "billing CONSUMER two:k ->one:p ->never:p")
    kept.at(1040)
    assert kept.graph() == {("shop", "billing", "messaging_system"): (1, 0)}


def test_a_clock_that_is_set_back_loses_nothing(kept: Kept) -> None:
    kept.send(1000, "web SERVER one:a")
    kept.at(1040)
    kept.send(500, "web SERVER two:a")  # the store gives it a later arrival than any before
    kept.at(520)
    assert kept.analysis.traces_analyzed == 1
    assert kept.lag > 0
    kept.at(1100)
    assert kept.analysis.traces_analyzed == 2
    assert kept.lag == 0


def test_logs_alone_move_the_analysis_on(kept: Kept) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8).body.string_value = "hello"
    kept.clock.seconds = 5
    kept.store.accept(decode_logs(request.SerializeToString(), Limits())).result(10)  # type: ignore[attr-defined]
    kept.at(100)
    assert kept.analysis.traces_analyzed == 0
    assert kept.lag == 0
    assert kept.counter("traced_analysis_errors") == 0


def test_a_giant_is_counted_before_it_is_read_in_hot_and_sealed_rows(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.settings = AnalysisSettings(max_spans_per_trace=100)
    kept.begin()
    kept.send(1, *[f"web INTERNAL i{n}<gone" for n in range(60)])
    kept.at(35)
    assert kept.analysis.spans_analyzed() == {"web": 60}
    kept.store.writer.request_roll()  # type: ignore[attr-defined]
    for seconds in (100, 200, 300):
        kept.send(seconds, *[f"web INTERNAL j{seconds}-{n}<gone" for n in range(50)])
    read = []
    whole = kept.store.window_of_traces
    monkeypatch.setattr(kept.store, "window_of_traces", lambda *args: read.append(whole(*args)) or read[-1])
    for now in (135, 235, 335):
        kept.at(now)
    assert [rows.num_rows for rows in read] == [110]
    assert kept.analysis.spans_analyzed() == {"web": 100}
    assert kept.counter("traced_analysis_dropped", limit="max_spans_per_trace") == 110
    assert kept.counter("traced_traces_truncated") == 1
