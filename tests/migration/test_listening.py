"""Windows are counted in the time in which somebody listened."""

from traced.migration.listening import Listening, Window
from traced.model.capture import Capture, Gap, GapReason, Interval, united

STOPPED = GapReason.STOPPED


def window(capture: Capture, until: float, exposed_until: float, needed: float) -> Window:
    return Listening(capture, until, exposed_until).window(needed)


def test_a_window_without_a_gap_is_as_long_as_it_has_to_be():
    found = window(Capture((Interval(0, 1000),)), 1000, 1000, 300)
    assert (found.since, found.listened_seconds, found.gaps, found.long_enough) == (700, 300, (), True)


def test_a_gap_makes_it_longer():
    found = window(Capture((Interval(0, 1000),), (Gap(800, 900, STOPPED),)), 1000, 1000, 300)
    assert (found.since, found.listened_seconds, found.missing_seconds) == (600, 300, 100)
    assert [(gap.since_unix_seconds, gap.until_unix_seconds) for gap in found.gaps] == [(800, 900)]


def test_between_two_intervals_nobody_listened_whether_it_is_said_or_not():
    said, unsaid = (window(Capture((Interval(800, 1000), Interval(0, 700)), gaps), 1000, 1000, 300) for gaps in ((Gap(700, 800, STOPPED),), ()))
    assert said == unsaid
    assert (said.since, said.missing_seconds) == (600, 100)


def test_a_moment_is_a_minute():
    found = window(Capture((Interval(0, 1000),), (Gap(800, 800, GapReason.REJECTED, 7),)), 1000, 1000, 300)
    assert (found.since, found.missing_seconds, found.gaps[0].items, found.gaps[0].reason) == (640, 60, 7, GapReason.REJECTED)


def test_too_short():
    found = window(Capture((Interval(900, 1000),)), 1000, 1000, 300)
    assert (found.since, found.listened_seconds, found.long_enough) == (900, 100, False)


def test_of_after_the_cutoff_nothing_makes_the_window_long():
    found = window(Capture((Interval(0, 1000),)), 1000, 600, 300)
    assert (found.since, found.until, found.listened_seconds) == (300, 1000, 300)


def test_the_newest_interval_goes_on_until_now():
    assert window(Capture((Interval(0, 950),)), 1000, 1000, 300).gaps == ()
    assert window(Capture((Interval(0, 800),)), 1000, 1000, 300).missing_seconds == 200


def test_gaps_that_overlap_are_one():
    gaps = (Gap(700, 800, STOPPED), Gap(750, 850, GapReason.REFUSED, 3))
    (gap,) = window(Capture((Interval(0, 1000),), gaps), 1000, 1000, 300).gaps
    assert (gap.since_unix_seconds, gap.until_unix_seconds, gap.items) == (700, 850, 3)


def test_a_gap_before_the_window_does_not_matter():
    assert window(Capture((Interval(0, 1000),), (Gap(100, 200, STOPPED),)), 1000, 1000, 300).gaps == ()


def test_nobody_ever_listened():
    found = window(Capture(), 1000, 1000, 300)
    assert (found.since, found.listened_seconds, found.long_enough) == (1000, 0, False)


def test_capture_survives_being_stored():
    one = Capture((Interval(0.0, 1000.0),), (Gap(1.0, 2.0, GapReason.FAILED_PASS, 4),))
    assert Capture.from_dict(one.as_dict()) == one


def test_times_are_united():
    assert united([(5, 7), (1, 3), (2, 4), (4, 5), (9, 9)]) == [(1, 7)]
