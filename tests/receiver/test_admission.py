"""Admission: what fits is let in, what does not is told when to come back."""

from __future__ import annotations

import threading

import pytest

from traced.errors import OverloadedError
from traced.receiver.admission import Admission


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_request_beyond_the_last_slot_is_refused_as_queue_full_until_one_ends() -> None:
    admission = Admission(1000, 2)
    with admission.slot() as first, admission.slot() as second:
        first.begin()
        second.begin()
        with pytest.raises(OverloadedError) as refused, admission.slot() as third:
            third.begin()
        assert refused.value.reason == "queue_full"
        assert 1 <= refused.value.retry_after_seconds <= 30
        with pytest.raises(OverloadedError):
            admission.check()
    admission.check()
    assert admission.wait_idle(0)


def test_bytes_beyond_the_bound_are_refused_and_all_bytes_are_given_back() -> None:
    admission = Admission(1000, 10)
    with admission.slot() as first, admission.slot() as second:
        first.hold(600)
        second.hold(400)
        with pytest.raises(OverloadedError) as refused:
            second.hold(1)
        assert refused.value.reason == "queue_full"
        first.let_go(600)
        second.hold(600)
        assert admission.bytes_in_flight == 1000
    assert admission.bytes_in_flight == 0


def test_a_request_larger_than_all_bytes_in_flight_is_taken_when_it_is_alone() -> None:
    admission = Admission(1000, 10)
    with admission.slot() as slot:
        slot.hold(800)
        slot.hold(800)
        with pytest.raises(OverloadedError), admission.slot() as other:
            other.hold(1)
    with admission.slot() as other:
        other.hold(1)


def test_a_closing_admission_refuses_the_new_and_waits_for_the_old() -> None:
    admission = Admission(1000, 10)
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with admission.slot() as slot:
            slot.begin()
            begun.set()
            end.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(10)
    admission.close()
    with pytest.raises(OverloadedError) as refused, admission.slot() as slot:
        slot.begin()
    assert refused.value.reason == "shutting_down"
    assert not admission.wait_idle(0.01)
    end.set()
    assert admission.wait_idle(10)
    thread.join()


def test_the_delay_follows_how_long_slots_are_held_and_stays_in_bounds() -> None:
    clock = Clock()
    admission = Admission(1000, 1, clock=clock)

    def delays() -> list[int]:
        return [admission.retry_after_seconds() for _ in range(200)]

    assert max(delays()) <= 3
    for _ in range(50):
        with admission.slot() as slot:
            slot.begin()
            clock.now += 12
    slow = delays()
    assert 6 <= min(slow) < max(slow) <= 18, "jitter spreads senders around the time a slot is held"
    with admission.slot() as slot:
        slot.begin()
        clock.now += 3600
        assert max(delays()) == 30
    for _ in range(50):
        with admission.slot() as slot:
            slot.begin()
            clock.now += 0.01
    assert set(delays()) == {1}


def test_many_threads_never_exceed_the_bounds_and_leave_nothing_behind() -> None:
    admission = Admission(500, 5)
    seen: list[tuple[int, int]] = []
    begun: set[object] = set()

    def work() -> None:
        for _ in range(300):
            try:
                with admission.slot() as slot:
                    slot.hold(100)
                    slot.begin()
                    begun.add(slot)
                    seen.append((admission.bytes_in_flight, len(begun)))
                    begun.remove(slot)
            except OverloadedError:
                pass

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen
    assert max(size for size, _ in seen) <= 500
    assert max(requests for _, requests in seen) <= 5
    assert admission.bytes_in_flight == 0
    assert admission.wait_idle(0)
