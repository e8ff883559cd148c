"""Verdicts are remembered when they change, and when somebody asks."""

from dataclasses import replace

from traced.model.migration import Code, Gate, Verdict, VerdictRecord, recorded

ONE = VerdictRecord("m", Gate.STOP_PUBLISH, Verdict.NOT_SAFE, 1.0, 2.0, (Code.OLD_USE_SEEN,))


def test_a_verdict_survives_being_stored():
    assert VerdictRecord.from_dict(ONE.as_dict()) == ONE


def test_the_first_is_recorded_and_the_same_again_is_not():
    assert recorded((), ONE) == (ONE,)
    assert recorded((ONE,), replace(ONE, as_of_unix_seconds=9.0)) == (ONE,)


def test_a_change_is_recorded_and_so_is_one_of_the_reasons_alone():
    safe = replace(ONE, verdict=Verdict.SAFE, reasons=())
    more = replace(ONE, reasons=(Code.OLD_USE_SEEN, Code.CAPTURE_GAP))
    assert recorded((ONE,), safe) == (ONE, safe)
    assert recorded((ONE,), more) == (ONE, more)


def test_what_somebody_asked_for_is_recorded_in_any_case():
    asked = replace(ONE, explicit=True)
    assert recorded((ONE,), asked) == (ONE, asked)
    assert recorded((ONE, asked), ONE) == (ONE, asked)


def test_of_too_many_the_oldest_go():
    history: tuple[VerdictRecord, ...] = ()
    for second in range(10):
        history = recorded(history, replace(ONE, as_of_unix_seconds=float(second), explicit=True), limit=3)
    assert [one.as_of_unix_seconds for one in history] == [7.0, 8.0, 9.0]
