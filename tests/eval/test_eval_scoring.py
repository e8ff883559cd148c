"""Scoring, on lines and truth made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from . import report
from .claims import Allowed, Expected, Truth, allowed, expected
from .eval import main, options, tasks
from .evidence import Evidence, parse
from .scoring import Judgement, Verdict, judge
from .tally import Tally, calibration_error, tallies

A, B, C, D = (("t", n) for n in "abcd")
CALLER = ("u", "x")


def orphan(key: tuple[str, str], cause: str = "", confidence: float = 0.9, **more: str) -> Evidence:
    return Evidence("orphan_span", key, cause, confidence=confidence, **more)


def judged(expected_ones: tuple[Expected, ...], allowed_ones: tuple[Allowed, ...], *lines: Evidence) -> Judgement:
    return judge("world/damage", Truth(expected_ones, allowed_ones), lines)


def verdicts(judgement: Judgement) -> list[Verdict]:
    return [x.verdict for x in judgement.judged]


def one(judgement: Judgement, detector: str) -> Tally:
    return tallies([judgement])[detector]


def test_precision_and_recall_count_what_was_found_false_and_missed():
    truth = tuple(expected("orphan_span", key, "local_loss") for key in (A, B, C))
    tally = one(judged(truth, (), orphan(A, "local_loss"), orphan(B, "local_loss"), orphan(D, "local_loss")), "orphan_span")
    assert (tally.truth, tally.reported, tally.found, tally.false, tally.missed) == (3, 3, 2, 1, 1)
    assert tally.precision == tally.recall == pytest.approx(2 / 3)


def test_the_accuracy_of_causes_is_that_of_decided_ones():
    truth = tuple(expected("orphan_span", key, "local_loss", "upstream_loss") for key in (A, B, C, D))
    lines = (orphan(A, "upstream_loss"), orphan(B, "sampled_out"), orphan(C, "unknown"), orphan(D))
    tally = one(judged(truth, (), *lines), "orphan_span")
    assert tally.cause_accuracy == 0.5
    assert tally.unknown == 0.5
    assert tally.precision == tally.recall == 1


def test_where_the_truth_knows_no_cause_none_is_asked_for():
    tally = one(judged((expected("duplicate_span", A),), (), Evidence("duplicate_span", A)), "duplicate_span")
    assert (tally.asked, tally.cause_accuracy, tally.unknown) == (0, None, None)
    assert tally.scored == [(1.0, True, True)]


def test_calibration_is_measured_over_bins_by_their_sizes():
    scored = [(0.95, True), (0.95, True), (0.95, False), (0.65, True), (0.61, False)]
    assert calibration_error(scored) == pytest.approx((abs(2.85 - 2) + abs(1.26 - 1)) / 5)
    assert calibration_error([(1.0, True)]) == 0
    assert calibration_error([(0.9, False), (0.1, True)]) == pytest.approx(0.9)
    assert calibration_error([]) is None


@pytest.mark.parametrize(
    ("line", "right"),
    [
        (orphan(A, "local_loss", missing_span_id="p"), True),
        (orphan(A, "", missing_span_id="p"), True),
        (orphan(A, "unknown", missing_span_id="p"), False),
        (orphan(A, "sampled_out", missing_span_id="p"), False),
        (orphan(A, "local_loss", missing_span_id="q"), False),
        (orphan(B, "local_loss", missing_span_id="p"), False),
    ],
)
def test_an_occurrence_is_right_if_all_that_it_says_is(line: Evidence, right: bool):  # noqa: FBT001 - a fact, not a switch
    claim = replace(expected("orphan_span", A, "local_loss"), missing=frozenset({"p"}))
    assert one(judged((claim,), (), line), "orphan_span").scored[0][:2] == (0.9, right)


def test_undecided_causes_count_in_the_whole_calibration_only():
    truth = tuple(expected("orphan_span", key, "local_loss") for key in (A, B))
    tally = one(judged(truth, (), orphan(A, "local_loss"), orphan(B, "unknown", 0.5)), "orphan_span")
    assert tally.calibration_error() == pytest.approx((0.1 + 0.5) / 2)
    assert tally.calibration_error(decided_only=True) == pytest.approx(0.1)


def test_a_match_is_right_only_with_the_callers_span():
    claims = tuple(Expected("broken_propagation", frozenset({key}), frozenset(), "web", frozenset({CALLER})) for key in (A, B, C))
    lines = [Evidence("broken_propagation", key, peer=peer, matched=m) for key, peer, m in ((A, "web", CALLER), (B, "web", ("u", "y")), (C, "cart", None))]
    tally = one(judged(claims, (), *lines), "broken_propagation")
    assert (tally.matches, tally.matches_right, tally.peers, tally.peers_right) == (3, 1, 3, 2)
    assert [right for _, right, _ in tally.scored] == [True, False, False]


def test_what_is_true_but_not_demanded_is_neither_found_nor_false():
    result = judged((), (allowed("missing_server_span", A),), Evidence("missing_server_span", A))
    assert verdicts(result) == [Verdict.ALLOWED]
    assert one(result, "missing_server_span").precision is None


@pytest.mark.parametrize(
    ("cause", "strict", "verdict"),
    [
        ("sampled_out", False, Verdict.ALLOWED),
        ("unknown", False, Verdict.ALLOWED),
        ("", False, Verdict.ALLOWED),
        ("callee_loss", False, Verdict.FALSE),
        ("sampled_out", True, Verdict.ALLOWED),
        ("unknown", True, Verdict.FALSE),
    ],
)
def test_what_is_allowed_for_one_cause_is_false_for_another(cause: str, strict: bool, verdict: Verdict):  # noqa: FBT001 - as above
    allowance = allowed("missing_server_span", A, "sampled_out", strict=strict)
    assert verdicts(judged((), (allowance,), Evidence("missing_server_span", A, cause))) == [verdict]


def test_information_that_nobody_asked_for_is_set_aside():
    lines = [Evidence("missing_server_span", key, level=level) for key, level in ((A, "information"), (B, "improvement"), (C, "violation"))]
    assert verdicts(judged((), (), *lines)) == [Verdict.ASIDE, Verdict.FALSE, Verdict.FALSE]


def test_several_spans_of_one_occurrence_are_found_once():
    claim = Expected("missing_root_span", frozenset({A, B}))
    result = judged((claim,), (), Evidence("missing_root_span", A), Evidence("missing_root_span", B))
    assert verdicts(result) == [Verdict.FOUND, Verdict.AGAIN]
    assert result.missed == ()


def test_equal_claims_about_different_spans_are_missed_one_by_one():
    result = judged(tuple(expected("orphan_span", key, "local_loss") for key in (A, B)), (), orphan(A))
    assert [min(c.keys) for c in result.missed] == [B]


def test_a_line_that_comes_again_is_false():
    assert verdicts(judged((expected("orphan_span", A),), (), orphan(A), orphan(A))) == [Verdict.FOUND, Verdict.FALSE]


def test_a_span_is_broken_or_unexpected_but_not_both():
    claim = Expected("broken_propagation", frozenset({A}), matched=frozenset({CALLER}))
    allowances = (allowed("unexpected_root", A), allowed("missing_server_span", CALLER))
    both = (Evidence("unexpected_root", A), Evidence("broken_propagation", A, matched=CALLER))
    assert verdicts(judged((claim,), allowances, *both)) == [Verdict.FALSE, Verdict.FOUND]
    assert verdicts(judged((claim,), allowances, both[0])) == [Verdict.ALLOWED]


def test_a_caller_that_was_matched_does_not_lack_its_server():
    lines = (Evidence("missing_server_span", CALLER), Evidence("broken_propagation", A, matched=CALLER))
    claims = (Expected("broken_propagation", frozenset({A}), matched=frozenset({CALLER})),)
    assert verdicts(judged(claims, (allowed("missing_server_span", CALLER),), *lines))[0] is Verdict.FALSE
    assert verdicts(judged(claims, (allowed("missing_server_span", CALLER),), lines[0])) == [Verdict.ALLOWED]


def test_an_allowance_without_a_span_holds_everywhere():
    assert verdicts(judged((), (allowed("inconsistent_sampling", None),), Evidence("inconsistent_sampling", B))) == [Verdict.ALLOWED]


def test_detectors_of_which_the_truth_does_not_speak_are_not_judged():
    result = judged((), (), Evidence("latency_regression", A))
    assert verdicts(result) == [Verdict.UNJUDGED]
    assert report.not_judged([result]) == ["not judged: latency_regression, 1 reported"]
    assert len(report.by_detector([result], frozenset({"latency_regression"}), markdown=True)) == 2


def test_what_is_not_built_is_said_and_not_scored():
    result = judged((expected("leaked_context", A), expected("orphan_span", B, "local_loss")), (), orphan(B, "local_loss"))
    assert report.not_built([result], frozenset({"orphan_span"})) == ["not built: leaked_context, 1 expected"]
    rows = report.by_detector([result], frozenset({"orphan_span"}), markdown=True)
    assert rows[0].startswith("| detector | truth | reported |")
    assert len(rows) == 3
    assert rows[2].startswith("| orphan_span | ")
    assert rows[2].split(" | ")[1:11] == ["1", "1", "1", "0", "0", "0", "1.000", "1.000", "1.000", "0.000"]


def test_false_ones_of_undamaged_sets_are_shown_and_bounded():
    lines = [orphan(("t", str(n))) for n in range(report.MAX_FALSE_SHOWN + 5)]
    shown = report.false_in_clean([judge("shop/clean", Truth((), ()), lines), judge("shop/loss_5", Truth((), ()), lines)])
    assert len(shown) == report.MAX_FALSE_SHOWN + 1
    assert shown[-1].endswith(f"{len(lines)} of orphan_span in shop/clean")


def test_the_worst_name_traces_and_what_would_have_been_right():
    truth = (expected("orphan_span", A, "local_loss"), expected("orphan_span", B, "local_loss", peer="web"), expected("orphan_span", C))
    shown = report.worst([judged(truth, (), orphan(A, "sampled_out"), orphan(D))], frozenset({"orphan_span"}), 1)
    assert [line.split()[0] for line in shown] == ["false", "missed", "wrong"]
    assert "trace t span b" in shown[1]
    assert "(true: cause local_loss, peer web)" in shown[1]


def test_a_line_of_evidence_is_read_as_it_is_written():
    told = {"id": "orphan_span", "cause": "unknown", "trace_id": "t", "span_id": "a", "service": "cart", "peer": None, "missing_span_id": "p", "matched": None}
    assert parse(json.dumps(told)) == Evidence("orphan_span", A, "unknown", "cart", missing_span_id="p")
    told |= {"matched": {"trace_id": "u", "span_id": "x"}, "confidence": 0.5, "level": "information"}
    assert (parse(json.dumps(told)).matched, parse(json.dumps(told)).grave) == (CALLER, False)


def test_sets_are_chosen_by_a_part_of_their_name():
    assert [t.name for t in tasks(["shop@20/cut_5"], everywhere=False)] == ["shop@20/cut_5"]
    assert {t.world for t in tasks(["/clean"], everywhere=False)} >= {"shop", "fanout_link", "scheduled"}
    assert len(tasks([], everywhere=True)) > len(tasks([], everywhere=False)) > 100
    assert tasks(["dsb_hotel/skew"], everywhere=True) == []
    assert options().parse_args([]).seed == 7


def test_one_set_goes_through_the_real_program(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    main(["--only", "retries/drop_server", "--traces", "40", "--keep", str(tmp_path), "--format", "markdown", "--worst", "1"])
    printed = capsys.readouterr().out
    assert "| retries/drop_server | orphan_span |" in printed
    assert printed.index("## By detector") < printed.index("## By set")
    assert {path.name for path in tmp_path.iterdir()} == {"retries.drop_server.jsonl", "retries.drop_server.evidence"}


def test_a_name_that_no_set_has_is_refused():
    with pytest.raises(SystemExit, match="no set is called nowhere"):
        main(["--only", "nowhere"])
