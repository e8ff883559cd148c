"""When the daemon listened, and what it missed: exactly, by a clock that the tests set."""

from __future__ import annotations

import pytest

from traced.analysis import capture as module
from traced.analysis.capture import CaptureRecorder, Missed
from traced.model.capture import Capture, Gap, GapReason, Interval
from traced.telemetry import Telemetry


class Clock:
    """Both clocks, in seconds; `asleep` lets only the calendar go on."""

    def __init__(self, recorder_begins: float = 1000.0) -> None:
        self.now, self.steady, self.missed = recorder_begins, 5.0, Missed()
        self.recorder = self.start()

    def start(self, stored=None) -> CaptureRecorder:
        self.recorder = CaptureRecorder(lambda: self.steady)
        self.recorder.watch(lambda: self.missed)
        self.recorder.begin(self.now, stored)
        return self.recorder

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds
        self.recorder.beat(self.now)

    def asleep(self, seconds: float) -> None:
        self.now += seconds


def of(*intervals: tuple[float, float], gaps: tuple[Gap, ...] = ()) -> Capture:
    return Capture(tuple(Interval(*one) for one in intervals), gaps)


def test_each_beat_makes_the_present_interval_longer():
    clock = Clock()
    clock.passes(2)
    clock.passes(3)
    assert clock.recorder.capture() == of((1000, 1005))


def test_the_time_from_the_last_beat_that_was_kept_to_a_start_is_a_gap():
    clock = Clock()
    clock.passes(10)
    kept = clock.recorder.dump()
    clock.passes(7)  # killed here: these seven seconds were not kept
    clock.now += 100
    clock.start(kept)
    clock.passes(1)
    assert clock.recorder.capture() == of((1000, 1010), (1117, 1118), gaps=(Gap(1010, 1117, GapReason.STOPPED),))


def test_what_is_kept_is_what_is_read_again():
    clock = Clock()
    clock.missed = Missed(3, 0)
    clock.passes(10)
    clock.recorder.forget(1005)
    first = clock.recorder.capture()
    again = CaptureRecorder(lambda: 0.0)
    again.begin(clock.now, clock.recorder.dump())
    assert again.capture().gaps == first.gaps
    assert again.capture().intervals == (*first.intervals, Interval(1010, 1010))


@pytest.mark.parametrize("stored", [{}, [], {"intervals": [[1]], "gaps": []}, {"intervals": [], "gaps": [[1, 2, "unheard", 0]]}, "x"])
def test_a_record_that_cannot_be_read_begins_anew(stored):
    clock = Clock()
    clock.start(stored)
    assert clock.recorder.capture() == of((1000, 1000))


def test_what_the_receiver_did_not_take_is_a_gap_since_the_beat_before():
    clock = Clock()
    clock.passes(10)
    clock.missed = Missed(refused=2)
    clock.passes(2)
    clock.passes(2)
    clock.missed = Missed(refused=2, rejected=5)
    clock.passes(2)
    gaps = (Gap(1010, 1012, GapReason.REFUSED, 2), Gap(1014, 1016, GapReason.REJECTED, 5))
    assert clock.recorder.capture() == of((1000, 1016), gaps=gaps)


def test_refusals_that_go_on_are_one_gap():
    clock = Clock()
    for number in range(1, 6):
        clock.missed = Missed(refused=number)
        clock.passes(2)
    clock.passes(2)
    clock.missed = Missed(refused=9)
    clock.passes(2)
    assert clock.recorder.capture().gaps == (Gap(1000, 1010, GapReason.REFUSED, 5), Gap(1012, 1014, GapReason.REFUSED, 4))


def test_what_was_refused_before_the_recorder_watched_is_not_told():
    clock = Clock()
    clock.missed = Missed(7, 7)
    clock.start()
    clock.passes(2)
    assert clock.recorder.capture().gaps == ()


def test_a_machine_that_slept_did_not_listen():
    clock = Clock()
    clock.passes(2)
    clock.asleep(3600)
    clock.passes(2)
    assert clock.recorder.capture() == of((1000, 1002), (4604, 4604), gaps=(Gap(1002, 4604, GapReason.STOPPED),))


def test_a_long_pass_is_no_gap():
    clock = Clock()
    clock.passes(1800)
    assert clock.recorder.capture() == of((1000, 2800))


def test_a_clock_that_is_set_back_makes_no_interval_shorter():
    clock = Clock()
    clock.passes(100)
    clock.now -= 50
    clock.passes(10)
    assert clock.recorder.capture() == of((1000, 1100))
    clock.passes(100)
    assert clock.recorder.capture() == of((1000, 1160))
    kept = clock.recorder.dump()
    clock.now -= 500
    clock.start(kept)
    assert clock.recorder.capture().gaps == ()


def test_what_is_noted_is_told_and_what_overlaps_of_one_reason_is_one():
    clock = Clock()
    clock.passes(100)
    clock.recorder.note(1010, 1020, GapReason.DROPPED, 3)
    clock.recorder.note(1015, 1030, GapReason.DROPPED, 4)
    clock.recorder.note(1015, 1016, GapReason.FAILED_PASS)
    clock.recorder.note(1050, 1040, GapReason.DROPPED)
    assert clock.recorder.capture().gaps == (
        Gap(1010, 1030, GapReason.DROPPED, 7),
        Gap(1015, 1016, GapReason.FAILED_PASS),
        Gap(1040, 1040, GapReason.DROPPED),
    )


def test_what_lies_before_anybody_listened_is_no_gap_of_its_own():
    clock = Clock()
    clock.recorder.note(0, 900, GapReason.FAILED_PASS)
    clock.recorder.note(0, 1001, GapReason.FAILED_PASS)
    assert clock.recorder.capture().gaps == (Gap(1000, 1001, GapReason.FAILED_PASS),)


def test_what_retention_dropped_is_a_gap_from_the_beginning_and_older_intervals_and_gaps_go():
    clock = Clock()
    clock.passes(10)
    clock.asleep(1000)
    clock.passes(10)
    clock.passes(100)
    clock.recorder.note(1005, 1006, GapReason.DROPPED)
    clock.recorder.forget(1008)
    assert clock.recorder.capture() == of((1000, 1010), (2020, 2120), gaps=(Gap(1000, 1008, GapReason.RETENTION), Gap(1010, 2020, GapReason.STOPPED)))
    clock.recorder.forget(1007)
    clock.recorder.forget(2050)
    assert clock.recorder.capture() == of((2020, 2120), gaps=(Gap(2020, 2050, GapReason.RETENTION),))


def test_of_too_many_the_oldest_are_told_as_one_and_never_less_is_missing(monkeypatch):
    monkeypatch.setattr(module, "MAX_GAPS", 4)
    monkeypatch.setattr(module, "MAX_INTERVALS", 3)
    clock = Clock(0.0)
    for _ in range(6):
        clock.passes(10)
        clock.asleep(90)
        clock.passes(0)
    capture = clock.recorder.capture()
    assert capture.intervals == (Interval(0, 410), Interval(500, 510), Interval(600, 600))
    assert capture.gaps == (
        Gap(10, 300, GapReason.STOPPED),
        *(Gap(n * 100 + 10, n * 100 + 100, GapReason.STOPPED) for n in (3, 4, 5)),
    )


def test_what_the_receiver_did_not_take_is_read_from_the_telemetry_of_spans_alone():
    telemetry = Telemetry()
    assert Missed(*telemetry.not_taken("traces")) == Missed()
    telemetry.refused.labels("traces", "grpc", "queue_full").inc(3)
    telemetry.refused.labels("traces", "http", "disk_full").inc()
    telemetry.refused.labels("logs", "grpc", "queue_full").inc(9)
    telemetry.rejected_items.labels("traces", "span_id").inc(5)
    telemetry.rejected_items.labels("metrics", "x").inc(9)
    assert Missed(*telemetry.not_taken("traces")) == Missed(refused=4, rejected=5)


def test_a_day_of_beats_is_one_interval():
    clock = Clock()
    for _ in range(43_200):
        clock.passes(2)
    assert clock.recorder.capture() == of((1000, 87_400))
