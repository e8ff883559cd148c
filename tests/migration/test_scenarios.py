"""What is said of a migration in each situation that is known to mislead: the verdict with all its reasons."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from flow_lines import NOW, flows, migration, seen
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import SAFE, SCENARIOS, SETTINGS, Scenario

from traced.migration.verdict import assess
from traced.model.migration import EXIT_CODES, Code, Gate, State, Verdict, conditions_of
from traced.model.verdict import Acceptance, GateVerdict

BUCKET = 1
EVERY = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))


def verdict(scenario: Scenario, table: pa.Table | None = None, **given: object) -> GateVerdict:
    one = migration(SETTINGS[scenario.shape] | dict(scenario.settings), *scenario.others)
    known = seen(scenario.lines, scenario.capture, without=scenario.without, more=scenario.more)
    (report,) = assess([one], flows(scenario.lines) if table is None else table, known, bucket_minutes=BUCKET, **given)
    return report.gate(scenario.gate)


@EVERY
def test_the_verdict_has_all_its_reasons_and_no_other(scenario: Scenario) -> None:
    said = verdict(scenario)
    assert (str(said.verdict), {str(reason.code) for reason in said.reasons}) == (scenario.verdict, set(scenario.reasons)), said.sentence
    details = " | ".join(reason.detail for reason in said.reasons)
    for words in scenario.says:
        assert words in details


@EVERY
def test_what_is_said_is_of_one_piece(scenario: Scenario) -> None:
    said = verdict(scenario)
    told = said.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert [condition["name"] for condition in told["conditions"]] == [str(code) for code in conditions_of(scenario.gate)]
    states = Counter(condition["state"] for condition in told["conditions"])
    assert (told["verdict"] == "SAFE") == (set(states) == {"met"})
    assert (told["verdict"] == "NOT_SAFE") == (states["broken"] > 0)
    assert {c["name"] for c in told["conditions"] if c["state"] != "met"} == {r["code"] for r in told["reasons"]}
    assert said.exit_code == {"SAFE": 0, "NOT_SAFE": 1, "NOT_ENOUGH_EVIDENCE": 3}[told["verdict"]]
    assert bool(told["next_safe_actions"]) == (told["verdict"] != "SAFE")
    assert all(reason.next_safe_actions for reason in said.reasons)
    assert told["sentence"].splitlines() == [told["sentence"]]
    assert told["sentence"].startswith(told["verdict"].replace("_", " "))


@EVERY
def test_nothing_that_somebody_accepts_makes_it_safe(scenario: Scenario) -> None:
    accepted = tuple(Acceptance(Code(code), "known") for code in scenario.reasons)
    said = verdict(scenario, accepted=accepted)
    assert str(said.verdict) == scenario.verdict
    assert said.as_dict()["accepted"] == [{"code": str(one.code), "reason": "known"} for one in accepted]


@pytest.mark.parametrize("code", Code)
def test_each_condition_alone_flips_safe_to_its_verdict(code: Code) -> None:
    alone = [one for one in SCENARIOS.values() if one.reasons == {str(code)}]
    assert {one.verdict for one in alone} - {SAFE}, code


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_rows_in_any_order_and_in_parts_give_the_same_verdict(data: st.DataObject) -> None:
    scenario = data.draw(st.sampled_from([one for one in SCENARIOS.values() if one.lines]))
    table = flows(scenario.lines)
    order = data.draw(st.permutations(range(min(table.num_rows, 30))))
    shuffled = table.take([*range(30, table.num_rows), *order][::-1])
    cut = data.draw(st.integers(0, table.num_rows))
    parts = pa.concat_tables([shuffled.slice(cut), shuffled.slice(0, cut)])
    assert verdict(scenario, parts).as_dict() == verdict(scenario).as_dict()


@settings(deadline=None, max_examples=80)
@given(
    scenario=st.sampled_from([one for one in SCENARIOS.values() if one.verdict == SAFE and one.gate is Gate.STOP_PUBLISH and "cutoff" not in one.settings]),
    service=st.sampled_from(["billing", "shipping", "ghost", "order"]),
    minutes=st.integers(1, 14 * 1440 - 2),
    words=st.sampled_from(["", "p=0.01", "error", "replayed", "traces=0", "x3 p=?", "source=inherited"]),
)
def test_one_old_use_in_the_window_is_never_safe(scenario: Scenario, service: str, minutes: int, words: str) -> None:
    place = {"two_destinations": "orders.v1", "two_messages": "orders#1", "one_message": "orders#1", "route": "api"}[scenario.shape]
    old = scenario.settings.get("old", {}).get("destination", place) if scenario.shape == "two_destinations" else place
    how = {"two_messages": "handled", "one_message": "source=attribute", "route": "from=/v1/orders"}.get(scenario.shape, "")
    line = f"{service} takes {shlex.quote(old)} -{minutes}m {words} {how}"
    assert verdict(replace(scenario, lines=(*scenario.lines, line))).verdict is not Verdict.SAFE


@EVERY
def test_longer_buckets_never_make_it_safe(scenario: Scenario) -> None:
    """Where rows may stand for an hour, what is near the edge of the window counts against it, and never for it."""
    one = migration(SETTINGS[scenario.shape] | dict(scenario.settings), *scenario.others)
    (report,) = assess([one], flows(scenario.lines), seen(scenario.lines, scenario.capture, without=scenario.without, more=scenario.more))
    if scenario.verdict != SAFE:
        assert report.gate(scenario.gate).verdict is not Verdict.SAFE


def test_exit_codes_are_those_of_the_command_line() -> None:
    assert {str(verdict): code for verdict, code in EXIT_CODES.items()} == {"SAFE": 0, "NOT_SAFE": 1, "NOT_ENOUGH_EVIDENCE": 3}


def test_a_verdict_says_of_when_it_is_and_how_long_it_holds() -> None:
    told = verdict(SCENARIOS["all moved"]).as_dict()
    assert (told["as_of"], told["valid_until"]) == ("2027-01-15T08:00:00.000000000Z", "2027-01-16T08:00:00.000000000Z")
    assert told["window"]["from"] == "2027-01-01T08:00:00.000000000Z"
    assert told["window"]["needed_seconds"] == told["window"]["listened_seconds"] == 14 * 86400
    assert told["services_seen"] == ["billing", "order", "shipping"]


def test_the_sentence_of_safe_says_the_period_and_what_is_left() -> None:
    assert verdict(SCENARIOS["all moved"]).sentence == (
        "SAFE to stop publishing the old schema of m: in 14 days all 2 consumers of the list used the new schema and nobody was seen using the old; "
        "at 0.95 confidence at most 0.816 % of what a consumer takes can be old. It says nothing about services that do not export here."
    )


def test_the_sentence_of_not_safe_says_who_and_when_first() -> None:
    said = verdict(SCENARIOS["not safe and not enough evidence, both are said"])
    assert said.sentence.startswith(
        "NOT SAFE, do not stop publishing the old schema of m: billing used the old schema: 1 message seen, the last 59 minutes before"
    )
    assert said.sentence.endswith("; and 3 more reasons.")


def test_what_a_consumer_s_silence_is_worth() -> None:
    lines = ("order sends orders.v1 x450", *(f"{who} takes orders.v2 x1204 p=0.1" for who in ("billing", "shipping")))
    said = verdict(Scenario(lines, SAFE, frozenset(), settings={"longest_period": "1h"})).as_dict()["consumers"][0]
    assert said["p"] == 0.1
    assert said["p_source"] == "measured"
    assert said["unseen_uses"] == 35
    assert said["unseen_share"] == pytest.approx(0.003059, abs=1e-5)


def test_examples_are_the_newest_and_can_be_looked_up() -> None:
    said = verdict(SCENARIOS["old use that returns after zero"])
    (broken,) = [one for one in said.conditions if one.state is State.BROKEN]
    assert 1 <= len(broken.examples) <= 5
    assert all(len(one.as_dict()["trace_id"]) == 32 and len(one.as_dict()["span_id"]) == 16 for one in broken.examples)


def test_a_window_is_of_listening_time() -> None:
    scenario = SCENARIOS["a short gap is tolerated"]
    said = verdict(scenario)
    assert said.since_unix_seconds == NOW - 14 * 86400 - 60


def test_both_gates_are_in_a_report() -> None:
    scenario = SCENARIOS["removed, with everything attested"]
    one = migration(SETTINGS[scenario.shape] | dict(scenario.settings))
    (report,) = assess([one], flows(scenario.lines), seen(scenario.lines), bucket_minutes=BUCKET)
    assert {gate["gate"]: gate["verdict"] for gate in report.as_dict()["gates"]} == {str(gate): "SAFE" for gate in Gate}
    assert report.as_dict()["phase"] == "old_removed"
