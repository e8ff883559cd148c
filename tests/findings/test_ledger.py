"""The ledger: occurrences become findings, are withdrawn, resolved, remembered within limits, and counted honestly."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.config import FindingsSettings
from traced.findings.ledger import Ledger, Wording
from traced.findings.open import fair_share
from traced.model.occurrence import Level, Occurrence
from traced.telemetry import Telemetry

IDS = ("orphan_span", "parent_loop")
ONE, TWO, THREE = (0, 1), (0, 2), (0, 3)
NOTHING: frozenset[str] = frozenset()


def ledger(telemetry: Telemetry | None = None, **settings_: Any) -> Ledger:
    """Give an empty ledger."""
    return Ledger(
        FindingsSettings(**settings_), telemetry or Telemetry(), {i: Wording(lambda o, n: f"{n} {o.signal_name}.", lambda _, i=i: f"mend {i}") for i in IDS}
    )


def found(trace: tuple[int, int] = ONE, span: int = 1, **fields: Any) -> Occurrence:
    """Give an orphan in the service cart."""
    return replace(Occurrence("orphan_span", Level.VIOLATION, trace, span, "cart", "GET /cart", 100 + span, missing_span_id=9), **fields)


def dropped(telemetry: Telemetry, limit: str) -> float:
    """Give how many occurrences a limit dropped."""
    return telemetry.dropped_findings.labels(limit)._value.get()


def traces(book: Ledger) -> set[tuple[int, int]]:
    """Name the traces with open occurrences."""
    return set(book._by_trace)


def test_occurrences_alike_are_one_finding() -> None:
    book = ledger()
    book.record([found(span=1, confidence=0.8), found(span=2, confidence=0.9), found(TWO, 3, context={"k": 1})], (), NOTHING, 5.0)
    (finding,) = book.findings()
    assert (finding.count, finding.first_seen_unix_nano, finding.last_seen_unix_nano) == (3, 101, 103)
    assert finding.confidence == pytest.approx(0.9)
    assert (finding.message, finding.how_to_fix, finding.context) == ("3 GET /cart.", "mend orphan_span", {"k": 1})
    assert [(e.trace_id, e.span_id) for e in finding.examples] == [(ONE, 1), (ONE, 2), (TWO, 3)]
    assert book.finding(finding.fingerprint) == finding
    assert book.finding("0" * 16) is None


@pytest.mark.parametrize("differs", [{"id": "parent_loop"}, {"cause": "sampled_out"}, {"service": "web"}, {"peer": "web"}, {"signal_name": "POST"}])
def test_another_id_cause_service_peer_or_name_is_another_finding(differs: dict[str, Any]) -> None:
    book = ledger()
    book.record([found(), found(TWO, **differs)], (), NOTHING, 5.0)
    assert [f.count for f in book.findings()] == [1, 1]


def test_the_worst_come_first() -> None:
    book = ledger()
    levels = [Level.INFORMATION, Level.VIOLATION, Level.IMPROVEMENT]
    book.record([found((0, n), n + 1, level=level, service=f"s{n}") for n, level in enumerate(levels)], (), NOTHING, 5.0)
    assert [f.level for f in book.findings()] == [Level.VIOLATION, Level.IMPROVEMENT, Level.INFORMATION]


def test_what_was_decided_anew_holds_only_if_it_is_found_again_and_is_never_counted_twice() -> None:
    book = ledger()
    book.record([found(span=n, id="parent_loop") for n in (1, 2, 3)] + [found(span=4)], (), NOTHING, 5.0)
    again = [found(span=1, id="parent_loop"), found(span=2, id="parent_loop", cause="known by now")]
    book.record(again, (), NOTHING, 6.0, judged={("parent_loop", *ONE, n) for n in (1, 2, 3)})
    assert {(f.id, f.cause): f.count for f in book.findings()} == {("parent_loop", ""): 1, ("parent_loop", "known by now"): 1, ("orphan_span", ""): 1}
    tallies = book.tallies()
    assert tallies.occurrences["parent_loop", "cart", "", ""] == 3
    assert tallies.withdrawn == {("parent_loop", "cart", "", ""): 2}


def test_what_a_detector_could_not_decide_anew_stays() -> None:
    book = ledger()
    book.record([found(span=1)], (), NOTHING, 5.0)
    book.record([], (), frozenset({"orphan_span"}), 6.0, judged={("orphan_span", *ONE, 1)})
    assert [f.count for f in book.findings()] == [1]


def test_what_a_trace_no_longer_has_is_withdrawn_and_counted_as_withdrawn() -> None:
    book = ledger()
    book.record([found(span=1), found(span=2)], (), NOTHING, 5.0)
    book.record([found(span=2)], {ONE}, NOTHING, 6.0)
    assert [f.count for f in book.findings()] == [1]
    assert book.of_trace(ONE) == (found(span=2),)
    book.record([], {ONE}, NOTHING, 7.0)
    assert book.findings() == ()
    assert traces(book) == set()
    tallies = book.tallies()
    assert tallies.occurrences == tallies.withdrawn == {("orphan_span", "cart", "", ""): 2}
    assert tallies.missing_spans == {("cart", ""): 1}


def test_a_finding_says_of_those_that_are_left_what_they_say() -> None:
    book = ledger()
    book.record([found(span=1), found(TWO, 2, level=Level.INFORMATION, context={"left": True}), found(THREE, 3)], (), NOTHING, 5.0)
    book.record([], {ONE, THREE}, NOTHING, 6.0)
    (finding,) = book.findings()
    assert (finding.level, finding.count, finding.first_seen_unix_nano, finding.last_seen_unix_nano) == (Level.INFORMATION, 1, 102, 102)
    assert finding.context == {"left": True}
    assert [(e.trace_id, e.span_id) for e in finding.examples] == [(TWO, 2)]


def test_a_trace_that_was_not_looked_at_whole_keeps_what_it_had() -> None:
    book = ledger()
    book.record([found(span=1)], (), NOTHING, 5.0)
    book.record([found(span=2)], (), NOTHING, 6.0)
    assert {o.span_id for o in book.of_trace(ONE)} == {1, 2}
    assert book.tallies().withdrawn == {}


def test_what_a_detector_that_could_not_look_found_before_stays() -> None:
    book = ledger()
    book.record([found(), found(id="parent_loop")], (), NOTHING, 5.0)
    book.record([], {ONE}, frozenset({"orphan_span"}), 6.0)
    assert [f.id for f in book.findings()] == ["orphan_span"]


def test_found_again_it_is_not_counted_again() -> None:
    book = ledger()
    for now in range(5):
        book.record([found(), found(span=2)], {ONE}, NOTHING, now)
    assert book.tallies().occurrences == {("orphan_span", "cart", "", ""): 2}
    assert book.tallies().missing_spans == {("cart", ""): 1}


def test_a_cause_that_is_decided_later_is_another_finding_in_place_of_the_first() -> None:
    book = ledger()
    book.record([found()], (), NOTHING, 5.0)
    book.record([found(cause="sampled_out")], {ONE}, NOTHING, 6.0)
    assert [(f.cause, f.count) for f in book.findings()] == [("sampled_out", 1)]
    assert book.tallies().withdrawn == {("orphan_span", "cart", "", ""): 1}
    # the span that is missing was counted when it was first missed
    assert sum(book.tallies().missing_spans.values()) == 1


def test_several_orphans_of_one_lost_span_are_one_missing_span() -> None:
    book = ledger()
    book.record([found(span=1), found(span=2), found(span=3, missing_span_id=8), found(TWO, 4)], (), NOTHING, 5.0)
    assert book.tallies().missing_spans == {("cart", ""): 3}


# ---------------------------------------------------------------------- limits


def test_findings_above_the_limit_are_counted_as_dropped() -> None:
    telemetry = Telemetry()
    book = ledger(telemetry, max_findings=10)
    book.record([found((0, n), service=f"s{n}") for n in range(15)], (), NOTHING, 5.0)
    assert len(book.findings()) == 10
    assert dropped(telemetry, "max_findings") == 5
    # known fingerprints still grow
    book.record([found((1, n), service=f"s{n}") for n in range(15)], (), NOTHING, 6.0)
    assert {f.count for f in book.findings()} == {2}
    assert dropped(telemetry, "max_findings") == 10


def test_a_worse_finding_takes_the_place_of_a_milder_one_when_all_places_are_taken() -> None:
    telemetry = Telemetry()
    book = ledger(telemetry, max_findings=10)
    book.record([found((0, n), service=f"mild{n}", level=Level.INFORMATION) for n in range(10)], (), NOTHING, 5.0)
    book.record([found((1, n), service="mild9", level=Level.INFORMATION) for n in range(3)], (), NOTHING, 6.0)
    book.record([found((2, n), service=f"bad{n}") for n in range(4)], (), NOTHING, 7.0)
    services = [f.service for f in book.findings()]
    assert len(services) == 10
    assert {"bad0", "bad1", "bad2", "bad3", "mild9"} <= set(services)
    assert dropped(telemetry, "max_findings") == 4
    book.record([found((3, n), service=f"bad{n}") for n in range(20)], (), NOTHING, 8.0)
    assert {f.level for f in book.findings()} == {Level.VIOLATION}
    assert len(book.findings()) == 10
    # a trace of a finding that had to go is looked at again: there is nothing left to withdraw it from
    book.record([], [(0, 0)], NOTHING, 9.0)
    assert len(book.findings()) == 10


def test_a_finding_that_had_to_go_leaves_nothing_behind_that_could_be_withdrawn_from_it_when_it_comes_again() -> None:
    telemetry = Telemetry()
    book = ledger(telemetry, max_findings=10)
    mild = [found((0, n), service=f"mild{n}", level=Level.INFORMATION) for n in range(10)]
    book.record(mild, (), NOTHING, 5.0)
    for trace in range(1, 4):
        book.record([found((trace, 9), service="mild9", level=Level.INFORMATION)], (), NOTHING, 4.0)
    book.record([found((7, 0), service="bad")], (), NOTHING, 6.0)
    (gone,) = {f"mild{n}" for n in range(10)} - {f.service for f in book.findings()}
    assert dropped(telemetry, "max_findings") == 4
    assert all(o.service != gone for trace in traces(book) for o in book.of_trace(trace))
    book.record([], {(7, 0)}, NOTHING, 7.0)
    book.record([found((5, 5), service=gone, level=Level.INFORMATION)], (), NOTHING, 8.0)
    # traces of before are looked at again: what was forgotten with the finding is not withdrawn from the one that is open now
    book.record([], {(0, 9), (1, 9)}, NOTHING, 9.0)
    assert [f.count for f in book.findings() if f.service == gone] == [1]
    assert len(book.of_trace((5, 5))) == 1
    assert ("orphan_span", gone, "", "") not in book.tallies().withdrawn


def test_what_had_to_go_stays_out_till_the_pass_is_over_and_what_it_has_in_the_same_pass_goes_with_it() -> None:
    telemetry = Telemetry()
    book = ledger(telemetry, max_findings=10)
    mild = [found((0, n), service=f"mild{n}", level=Level.INFORMATION) for n in range(10)]
    book.record(mild, (), NOTHING, 5.0)
    gone = max(mild, key=lambda o: o.fingerprint)  # found as late as the others
    other = next(o for o in mild if o is not gone)
    # it makes room for a worse one; then another one is withdrawn, so that there is room; then it is found again, where it was and elsewhere
    looked_at = [(7, 7), other.trace_id, gone.trace_id]
    book.record([found((7, 7), service="bad"), gone, replace(gone, trace_id=(8, 8))], looked_at, NOTHING, 6.0)
    assert {f.service for f in book.findings()} == {o.service for o in mild} - {gone.service, other.service} | {"bad"}
    remembered = [o for trace in traces(book) for o in book.of_trace(trace)]
    assert {o.service for o in remembered} == {f.service for f in book.findings()}
    assert sum(f.count for f in book.findings()) == len(remembered) == book._remembered
    assert dropped(telemetry, "max_findings") == 2  # with the finding, and of the trace that is new
    book.record([gone], (), NOTHING, 7.0)
    assert [f.count for f in book.findings() if f.service == gone.service] == [1]


def test_occurrences_whose_finding_is_not_open_are_not_taken_from_an_earlier_state() -> None:
    book, again = ledger(), ledger()
    book.record([found(), found(TWO, service="web")], (), NOTHING, 5.0)
    state = book.dump()
    state["findings"] = [values for values in state["findings"] if values[0][5] == "web"]
    again.load(state)
    assert traces(again) == {TWO}


def test_occurrences_above_the_limit_are_forgotten_and_counted_but_their_findings_stay() -> None:
    telemetry = Telemetry()
    book = ledger(telemetry, max_occurrences=100)
    book.record([found((0, n), n + 1) for n in range(250)], (), NOTHING, 5.0)
    assert dropped(telemetry, "max_occurrences") == 155  # some are left free
    assert [f.count for f in book.findings()] == [250]
    assert book.of_trace((0, 0)) == ()
    assert len(book.of_trace((0, 249))) == 1
    # what was forgotten cannot be withdrawn; what is remembered can
    book.record([], {(0, 0), (0, 249)}, NOTHING, 6.0)
    (finding,) = book.findings()
    assert (finding.count, finding.first_seen_unix_nano) == (249, 101)


def test_a_flood_of_one_finding_pushes_out_no_occurrence_of_another() -> None:
    book = ledger(max_occurrences=200)
    few = [found((1, n)) for n in range(20)]
    book.record(few, (), NOTHING, 5.0)
    for at in range(30):
        mine = [found((2, 100 * at + n), id="parent_loop") for n in range(100)]
        book.record([*mine, *(found((3, 100 * at + n), service="web") for n in range(50))], (), NOTHING, 6.0 + at)
    assert book._remembered <= 200
    assert {o.trace_id for o in few} <= traces(book)
    book.record([], {o.trace_id for o in few}, NOTHING, 99.0)
    assert sorted(f.count for f in book.findings()) == [1500, 3000]


def test_of_a_trace_with_several_findings_only_those_that_overflow_are_forgotten() -> None:
    telemetry = Telemetry()
    book = ledger(telemetry, max_occurrences=100)
    book.record([found(), found((0, 1), id="parent_loop"), found(id="parent_loop")], (), NOTHING, 5.0)
    book.record([found((5, n), id="parent_loop") for n in range(200)], (), NOTHING, 6.0)
    assert [o.id for o in book.of_trace(ONE)] == ["orphan_span"]
    assert book._remembered == sum(len(book.of_trace(t)) for t in traces(book)) == 95
    assert dropped(telemetry, "max_occurrences") == 203 - 95


def test_where_there_are_more_findings_than_room_the_oldest_go() -> None:
    book = ledger(max_occurrences=100)
    book.record([found((0, n), service=f"s{n}") for n in range(150)], (), NOTHING, 5.0)
    assert traces(book) == {(0, n) for n in range(55, 150)}


@pytest.mark.parametrize(
    ("numbers", "room", "share"), [([], 10, 0), ([3, 4], 10, 4), ([1, 50, 60], 41, 20), ([100], 95, 95), ([1, 1, 1], 2, 0), ([5, 5, 90], 40, 30)]
)
def test_small_groups_stay_whole_and_the_large_ones_share_the_rest(numbers: list[int], room: int, share: int) -> None:
    assert fair_share(numbers, room) == share


def test_examples_are_few_and_the_newest() -> None:
    book = ledger(examples=3)
    book.record([found((0, n), n + 1) for n in range(10)], (), NOTHING, 5.0)
    assert [e.span_id for e in book.findings()[0].examples] == [8, 9, 10]


def test_labels_that_come_from_data_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traced.findings.ledger._MAX_SERIES", 4)
    book = ledger()
    book.record([found((0, n), service=f"s{n}") for n in range(9)], (), NOTHING, 5.0)
    tallies = book.tallies()
    assert tallies.occurrences["orphan_span", "__other__", "", ""] == 5
    assert tallies.missing_spans["__other__", ""] == 5
    assert sum(tallies.occurrences.values()) == sum(tallies.missing_spans.values()) == 9


# ---------------------------------------------------------------------- resolving


@pytest.mark.parametrize(
    ("now", "looked", "stays"),
    [(3000.0, 3000.0, True), (4000.0, 0.0, True), (4000.0, 1000.0, True), (4000.0, 3900.0, False), (90_000.0, 1000.0, True)],
    ids=["not long ago", "never looked at", "looked at too early", "looked at since", "long ago, but not looked at"],
)
def test_a_finding_is_resolved_after_inactivity_if_its_service_was_looked_at(now: float, looked: float, stays: bool) -> None:  # noqa: FBT001
    book = ledger(resolve_after_seconds=3600)
    book.record([found()], (), NOTHING, 10.0)
    book.resolve(now, {"cart": looked, "web": now})
    assert len(book.findings()) == len(book.of_trace(ONE)) == stays


def test_what_was_resolved_and_comes_again_is_open_again() -> None:
    book = ledger(resolve_after_seconds=3600)
    book.record([found()], (), NOTHING, 10.0)
    book.resolve(4000.0, {"cart": 3900.0})
    book.record([found(TWO)], (), NOTHING, 4001.0)
    assert [f.count for f in book.findings()] == [1]


# ---------------------------------------------------------------------- across restarts


def test_everything_goes_on_after_a_restart() -> None:
    book = ledger(max_occurrences=100, examples=2)
    book.record([found((0, n), n + 1, matched=(1, 2, 3), context={"share": 0.5}) for n in range(130)], (), NOTHING, 77.0)
    book.record([], {(0, 120)}, NOTHING, 78.0)
    other = ledger(max_occurrences=100, examples=2)
    other.load(json.loads(json.dumps(book.dump())))
    assert other.findings() == book.findings()
    assert other.tallies() == book.tallies()
    assert traces(other) == traces(book)
    assert other.of_trace((0, 125)) == book.of_trace((0, 125))
    assert other.dump() == book.dump()
    for one in (book, other):
        one.record([], {(0, 125)}, NOTHING, 80.0)
        one.resolve(77.0 + 3700, {"cart": 77.0 + 3700})
    assert other.findings() == book.findings() == ()


def test_findings_of_a_detector_that_is_gone_are_not_taken() -> None:
    book = ledger()
    book.record([found(), found(id="parent_loop")], (), NOTHING, 5.0)
    state = json.loads(json.dumps(book.dump()).replace("parent_loop", "removed_since"))
    other = ledger()
    other.load(state)
    assert [f.id for f in other.findings()] == ["orphan_span"]


def test_a_state_of_another_form_takes_nothing() -> None:
    book = ledger()
    book.record([found()], (), NOTHING, 5.0)
    before = book.findings()
    with pytest.raises((KeyError, ValueError, TypeError)):
        book.load({"findings": [], "occurrences": [["orphan_span"]], "tallies": [], "withdrawn": [], "missing": []})
    assert book.findings() == before


# ---------------------------------------------------------------------- whatever happens

OCCURRENCES = st.builds(
    lambda trace, span, service, level, missing: found((0, trace), span, service=service, level=level, missing_span_id=missing),
    st.integers(0, 3), st.integers(1, 4), st.sampled_from(["cart", "web"]), st.sampled_from(list(Level)), st.integers(7, 9),
)  # fmt: skip
STEPS = st.lists(st.tuples(st.lists(OCCURRENCES, max_size=6, unique_by=lambda o: o.key), st.sets(st.integers(0, 3))), max_size=8)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_what_is_open_is_what_was_found_less_what_was_withdrawn_and_no_counter_falls(steps: list[tuple[list[Occurrence], set[int]]]) -> None:
    book, before = ledger(), dict[Any, int]()
    for now, (occurrences, again) in enumerate(steps):
        book.record(occurrences, {(0, n) for n in again}, NOTHING, now)
        tallies = book.tallies()
        open_ = [o for trace in traces(book) for o in book.of_trace(trace)]
        assert sum(f.count for f in book.findings()) == len(open_) == sum(tallies.occurrences.values()) - sum(tallies.withdrawn.values())
        for finding in book.findings():
            own = [o for o in open_ if o.fingerprint == finding.fingerprint]
            assert (finding.count, finding.first_seen_unix_nano) == (len(own), min(o.time_unix_nano for o in own))
            assert finding.last_seen_unix_nano == max(o.time_unix_nano for o in own)
        after = {**tallies.occurrences, **{("missing", *k): n for k, n in tallies.missing_spans.items()}}
        assert all(after[k] >= n for k, n in before.items())
        before = after


def test_an_instance_is_named_where_all_occurrences_lie_on_it() -> None:
    book = ledger()
    one, other = {"instance": "i-1"}, {"instance": "i-2"}
    book.record([found(span=1, context=one), found(span=2, context=one)], (), NOTHING, 5.0)
    assert [f.instance for f in book.findings()] == ["i-1"]
    book.record([found(TWO, 3, context=other)], (), NOTHING, 6.0)
    assert [f.instance for f in book.findings()] == [""]
    again = ledger()
    again.load(json.loads(json.dumps(book.dump())))
    again.record([found(THREE, 4, context=one)], (), NOTHING, 7.0)
    assert [f.instance for f in again.findings()] == [""]
    again.record([], {TWO}, NOTHING, 8.0)
    assert [f.instance for f in again.findings()] == ["i-1"]


def test_occurrences_that_name_no_instance_lie_on_none() -> None:
    book = ledger()
    book.record([found(span=1, context={"instance": "i-1"}), found(span=2)], (), NOTHING, 5.0)
    assert [f.instance for f in book.findings()] == [""]


def test_a_state_from_before_instances_were_kept_is_read() -> None:
    book, again = ledger(), ledger()
    book.record([found(context={"instance": "i-1"})], (), NOTHING, 5.0)
    state = book.dump()
    state["findings"] = [values[:8] for values in state["findings"]]
    again.load(state)
    assert [(f.count, f.instance) for f in again.findings()] == [(1, "")]


def test_suspects_are_grouped_once_for_each_snapshot() -> None:
    book = ledger()
    assert book.suspects(book.findings()).ranked == ()
    book.record([found()], (), NOTHING, 5.0)
    before = book.findings()
    suspects = book.suspects(before)
    assert [s.findings for s in suspects.ranked] == [(before[0].fingerprint,)]
    assert book.suspects(book.findings()) is suspects
    book.record([found(TWO, 2, id="parent_loop", cause="")], (), NOTHING, 6.0)
    assert len(book.suspects(book.findings()).ranked) == 2
    assert book.suspects(before) == suspects


def test_suspects_look_into_the_traces_where_a_service_reports_nothing() -> None:
    telemetry = Telemetry()
    book = Ledger(FindingsSettings(), telemetry, {i: Wording(lambda _, n: f"{n}", lambda _: "") for i in ("orphan_span", "silent_service")})
    silent = found(span=2, id="silent_service", service="pricing", peer="web", cause="")
    for number in (1, 2, 3):
        trace = (0, number)
        book.record([found(trace, 1, cause="upstream_silent"), replace(silent, trace_id=trace)], (), NOTHING, float(number))
    assert [(s.place, len(s.findings)) for s in book.suspects(book.findings()).ranked] == [("pricing", 2)]


def test_what_occurrences_stand_for_adds_up_and_is_unknown_where_one_does_not_say() -> None:
    book = ledger()
    book.record([found(adjusted_count=4.0), found(TWO, adjusted_count=2.0)], (), NOTHING, 5.0)
    assert [f.adjusted_count for f in book.findings()] == [6.0]
    book.record([found(THREE)], (), NOTHING, 6.0)
    assert [f.adjusted_count for f in book.findings()] == [None]
    again = ledger()
    again.load(json.loads(json.dumps(book.dump())))
    assert again.findings() == book.findings()
    book.record([], (THREE,), NOTHING, 7.0)
    assert [f.adjusted_count for f in book.findings()] == [6.0]
    book.record([found(adjusted_count=8.0)], (ONE,), NOTHING, 8.0)
    assert [f.adjusted_count for f in book.findings()] == [10.0]
