"""What passes yield is in the message log once, whatever ends the daemon; and what is missing is in the record of when it listened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from arrivals import Watched, watched
from logged import EVER, START, counts, flow, flows, message, messages, numbers
from spans import EPOCH
from test_with_a_store import Kept, StoreClock

from traced.analysis.outcome import Outcome
from traced.analysis.passes import Passes
from traced.model.capture import Gap, GapReason, Interval
from traced.telemetry import AnalysisLimit


@pytest.fixture
def _logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each pass yield a message and a flow for each fresh span of a PRODUCER, by its arrival."""
    run = Passes.run

    def logged(self, settled, now, until=0, **options: object) -> Outcome:
        outcome = run(self, settled, now, until, **options)
        rows = [row for row, fresh in zip(settled.spans.to_pylist(), settled.fresh, strict=True) if fresh and row["kind"] == 4]
        arrivals = [row["arrival_time_unix_nano"] for row in rows]
        outcome.messages = messages(*(message(r["span_id"], (at - START) / 1e9, arrival_time_unix_nano=at) for r, at in zip(rows, arrivals, strict=True)))
        outcome.flows = flows(*(flow(minute=(at - START) // 60_000_000_000) for at in arrivals))
        return outcome

    monkeypatch.setattr(Passes, "run", logged)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _logging: None) -> Iterator[Kept]:
    """Give an analysis with a settle time of 30 s on an empty store."""
    clock = StoreClock()
    monkeypatch.setattr("traced.store.writer.time", clock)
    run = Kept.on(tmp_path, clock)
    yield run
    run.analysis._workbench.close()
    run.store.close()  # type: ignore[attr-defined]


def logged(run: Watched) -> tuple[int, int, int]:
    """Give the number of distinct messages, of all messages, and of those that the flows count."""
    log = run.store.message_log
    found = numbers(log)
    return len(found), sum(found.values()), counts(log)


def send(run: Kept, numbers: range) -> None:
    for number in numbers:
        run.send(number, f"shop PRODUCER t{number}:p{number}")


def test_what_passes_yield_is_logged(kept: Kept) -> None:
    send(kept, range(1, 6))
    kept.at(40)
    assert logged(kept) == (5, 5, 5)


@pytest.mark.parametrize("save", [True, False], ids=["in order", "as after a crash"])
def test_a_restart_logs_nothing_twice_and_forgets_nothing(kept: Kept, save: bool) -> None:  # noqa: FBT001
    send(kept, range(1, 4))
    kept.at(40)
    kept.analysis._save()
    send(kept, range(50, 54))
    kept.at(90)
    assert logged(kept) == (7, 7, 7)
    kept.reopen(save=save)
    kept.at(91)
    assert logged(kept) == (7, 7, 7)
    kept.analysis._save()
    kept.reopen(save=False)
    assert logged(kept) == (7, 7, 7)


@pytest.mark.parametrize("lost", ["damaged", "of another version", "of before there was a log"])
def test_where_the_state_is_lost_what_is_analysed_again_counts_once(kept: Kept, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    send(kept, range(1, 4))
    kept.at(40)
    kept.analysis._save()
    path = kept.directory / "state" / "analysis.json.gz"
    if lost == "damaged":
        path.write_bytes(b"x")
    elif lost == "of another version":
        monkeypatch.setattr("traced.analysis.loop._STATE_VERSION", 99)
    else:
        state = kept.store.load_state("analysis")
        del state["messages"]
        kept.store.save_state("analysis", state)
    kept.reopen(save=False)
    if lost != "of before there was a log":
        assert logged(kept) == (0, 0, 0)
    kept.at(90)
    assert logged(kept) == (3, 3, 3)


def test_rows_older_than_the_oldest_span_stay_where_the_state_is_lost(kept: Kept) -> None:
    old = EPOCH - 10_000_000_000
    kept.store.message_log.add(messages(message(99, (old - START) / 1e9)), flows(flow((old - START) // 60_000_000_000)))
    send(kept, range(1, 4))
    kept.at(40)
    kept.analysis._save()
    (kept.directory / "state" / "analysis.json.gz").unlink()
    kept.reopen(save=False)
    kept.at(90)
    found = numbers(kept.store.message_log)
    assert found[99] == 1
    assert sum(found.values()) == 4
    assert counts(kept.store.message_log) == 4


@pytest.mark.usefixtures("_logging")
def test_a_part_that_fails_is_told_again_and_the_messages_are_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = watched(*(f"shop PRODUCER t{n}:p{n} @{n}s" for n in range(1, 4)))
    tries = []
    count = run.analysis._count

    def failing(outcome: Outcome) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("not now")
        count(outcome)

    monkeypatch.setattr(run.analysis, "_count", failing)
    for _ in range(6):
        run.at(60)
    assert logged(run) == (3, 3, 3)


def test_the_daemon_says_when_it_listened_and_that_it_was_stopped(kept: Kept) -> None:
    kept.at(10)
    kept.at(40)
    kept.analysis._save()
    kept.at(50)
    kept.now = 100.0
    kept.reopen(save=False)
    kept.at(110)
    capture = kept.analysis.listening.capture()
    at = EPOCH / 1e9
    assert capture.intervals == (Interval(at, at + 40), Interval(at + 100, at + 110))
    assert capture.gaps == (Gap(at + 40, at + 100, GapReason.STOPPED),)


def test_a_window_that_is_given_up_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    run = watched("shop PRODUCER a @5s")
    run.at(30)

    def fail(*_given: object, **_options: object) -> None:
        raise RuntimeError("never")

    monkeypatch.setattr(Passes, "run", fail)
    for second in range(36, 40):
        run.at(second)
    (gap,) = run.analysis.listening.capture().gaps
    assert gap.reason is GapReason.FAILED_PASS
    assert gap.since_unix_seconds <= EPOCH / 1e9 + 5 <= gap.until_unix_seconds
    assert run.counter("traced_analysis_dropped", limit=AnalysisLimit.FAILED_PASS) == 1


def test_spans_left_out_of_giant_traces_are_a_gap() -> None:
    run = watched(*(f"shop INTERNAL t:s{n} @5s" for n in range(130)), max_spans_per_trace=100)
    run.at(60)
    (gap,) = run.analysis.listening.capture().gaps
    assert (gap.reason, gap.items) == (GapReason.DROPPED, 30)
    assert gap.since_unix_seconds <= EPOCH / 1e9 + 5 <= gap.until_unix_seconds


def test_what_is_gone_from_the_log_is_a_gap(kept: Kept) -> None:
    send(kept, range(1, 4))
    kept.at(40)
    kept.analysis._save()
    log = kept.store.message_log
    (file,) = log.shelf.files["messages"]
    log.set_aside(file, "for a test")
    kept.at(50)
    (gap,) = kept.analysis.listening.capture().gaps
    assert (gap.reason, gap.since_unix_seconds, gap.until_unix_seconds) == (GapReason.DROPPED, EPOCH / 1e9 + 1, EPOCH / 1e9 + 3)


def test_files_that_came_and_went_make_the_state_worth_keeping(kept: Kept) -> None:
    send(kept, range(1, 4))
    kept.at(40)
    kept.analysis._save()
    log = kept.store.message_log
    assert not log.changed
    log.shelf.swap(log.shelf.files["flows"], None)
    assert log.changed
    kept.analysis._save()
    assert not log.changed
    assert counts(log) == 0
    assert log.flows(EVER).num_rows == 0
