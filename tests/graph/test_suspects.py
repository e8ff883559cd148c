"""What to fix first: one defect takes its findings with it, and defects that only share a service stay apart."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import pytest
from fake_views import finding as made
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.detectors import detector_ids
from traced.graph.defects import ANY, ROLES, Defect, roles_of
from traced.graph.suspects import MAX_FINDINGS, MAX_HEARD, claims_of, group
from traced.model.finding import Finding
from traced.model.occurrence import Level
from traced.model.suspect import Suspect, SuspectKind

_LINE = re.compile(r"(?P<id>\w+)(?:/(?P<cause>\w+))? (?P<service>[\w-]+)(?: <- (?P<peer>[\w-]+))?(?: '(?P<name>[^']*)')?(?P<rest>.*)")


def finding(line: str) -> Finding:
    """Read `id/cause service <- peer 'signal name' xCOUNT LEVEL @INSTANCE ~LOST_BY client|server±`; what follows the service may be left out."""
    read = _LINE.fullmatch(line)
    assert read, line
    rest = read["rest"].split()
    values = {word[0]: word[1:] for word in rest if word[0] in "x@~"}
    level = next((Level(word) for word in rest if word in set(Level)), Level.VIOLATION)
    clock = next((word for word in rest if word[-1] in "+-"), "")
    context: dict[str, Any] = (
        {"client_clock": clock.split("|")[0], "server_clock": clock.split("|")[1][:-1], "offset_at_least_ms": float(f"{clock[-1]}5")} if clock else {}
    )
    return made(
        read["service"],
        id=read["id"],
        cause=read["cause"] or "",
        peer=read["peer"] or "",
        signal_name=read["name"] or clock or "GET /",
        count=int(values.get("x", 1)),
        level=level,
        instance=values.get("@", ""),
        context=context | ({"lost_by": values["~"]} if "~" in values else {}),
        message=f"said: {line}",
        how_to_fix=f"mend: {line}",
        confidence=0.9,
    )


def grouped(*lines: str) -> list[str]:
    """Group findings and name each suspect: `kind place: defect (findings)`."""
    return [f"{s.kind} {s.place}: {s.defect} ({len(s.findings)})" for s in group([finding(line) for line in lines]).ranked]


ONE_DEFECT = [
    pytest.param(
        "service payment: loses_spans (4)",
        (
            "orphan_span/upstream_loss fraud <- payment x9",
            "orphan_span/local_loss payment",
            "missing_server_span/callee_loss order <- payment x4",
            "missing_root_span/upstream_loss fraud",
        ),
        id="an exporter that drops spans: what it lost itself, what hangs below, who called it, and roots that are gone",
    ),
    pytest.param(
        "service payment: loses_spans (2)",
        ("orphan_span/upstream_loss fraud <- payment", "missing_server_span order <- payment"),
        id="a call without an answer follows from a loss that is known otherwise",
    ),
    pytest.param(
        "service payment: reports_nothing (4)",
        (
            "silent_service/went_silent payment <- order",
            "orphan_span/upstream_loss fraud <- payment",
            "missing_server_span order <- payment",
            "orphan_span/local_loss payment",
        ),
        id="a service that fell silent explains its callees' orphans and its callers' unanswered calls",
    ),
    pytest.param(
        "service pricing: reports_nothing (3)",
        ("silent_service pricing <- web", "orphan_span/upstream_silent tax <- web", "missing_root_span/upstream_silent tax <- web"),
        id="orphans whose silent caller is called by the same service as the silent one",
    ),
    pytest.param(
        "collector gateway: loses_spans (4)",
        (
            "orphan_span/upstream_loss fraud <- payment ~gateway",
            "missing_root_span/upstream_loss fraud",
            "orphan_span/local_loss cart ~gateway",
            "missing_server_span/callee_loss web <- cart",
        ),
        id="a Collector that lost spans while spans of two services went missing",
    ),
    pytest.param(
        "service payment: loses_spans (2)",
        ("orphan_span/upstream_loss fraud <- payment ~gateway", "missing_server_span/callee_loss order <- payment"),
        id="what a Collector lost meanwhile may have been anybody's, where one service explains all",
    ),
    pytest.param(
        "service payment: loses_spans (1)",
        ("orphan_span/upstream_loss fraud <- payment ~payment",),
        id="an exporter that says itself that it lost spans",
    ),
    pytest.param(
        "edge web → cart: loses_context (3)",
        ("broken_propagation/unknown cart <- web x8", "unexpected_root cart", "missing_server_span web <- cart"),
        id="an edge that loses context explains roots without a caller and the calls that seem unanswered",
    ),
    pytest.param(
        "service web: injects_no_context (4)",
        (
            "broken_propagation/not_injected cart <- web",
            "broken_propagation/not_injected tax <- web",
            "unexpected_root cart",
            "unexpected_root tax 'POST /'",
        ),
        id="one caller that injects nothing is cheaper than each of its edges",
    ),
    pytest.param(
        "service web: injects_no_context (3)",
        ("broken_propagation/not_injected cart <- web", "broken_propagation/not_injected tax <- web", "broken_propagation/unknown pay <- web"),
        id="an edge that nothing is known of, from a caller that injects nothing",
    ),
    pytest.param(
        "service cart: extracts_no_context (2)",
        ("broken_propagation/not_extracted cart <- web", "broken_propagation/not_extracted cart <- app"),
        id="one callee that extracts nothing",
    ),
    pytest.param(
        "service gate: samples_apart (4)",
        (
            "orphan_span/sampled_out cart <- gate information",
            "orphan_span/sampled_out tax <- gate information",
            "missing_root_span/sampled_out tax information",
            "inconsistent_sampling/below_threshold gate",
        ),
        id="a sampler that decides by itself, above several services",
    ),
    pytest.param(
        "service tax: samples_apart (2)",
        ("orphan_span/sampled_out tax <- web information", "orphan_span/sampled_out tax <- app information"),
        id="a service that keeps what several callers dropped",
    ),
    pytest.param(
        "caller what calls tax: samples_apart (2)",
        ("orphan_span/sampled_out tax 'GET /' information", "orphan_span/sampled_out tax 'GET /a' information"),
        id="one of several callers, and nobody knows which, samples by itself",
    ),
    pytest.param(
        "service tax: samples_apart (3)",
        (
            "orphan_span/sampled_out tax <- web information",
            "orphan_span/sampled_out tax <- app information",
            "orphan_span/sampled_out tax 'GET /a' information",
        ),
        id="a service that keeps what several callers dropped, one of which is not known",
    ),
    pytest.param(
        "caller what calls tax: loses_spans (2)",
        ("orphan_span/upstream_loss tax 'GET /'", "orphan_span/upstream_loss tax 'GET /a'"),
        id="one of several callers, and nobody knows which, loses spans",
    ),
    pytest.param(
        "host c: clock_ahead (2)",
        ("clock_skew cart <- web a|c+", "clock_skew tax <- cart c|b-"),
        id="one clock that is ahead of two others",
    ),
    pytest.param(
        "host_pair a and b: clocks_differ (3)",
        ("clock_skew cart <- web a|b+", "clock_skew web <- cart b|a-", "clock_skew tax <- web a|b+ x9 improvement"),
        id="two clocks, seen from several services and both directions",
    ),
    pytest.param(
        "edge proxy → cart: changes_ids (3)",
        ("orphan_span/propagation_mangled cart <- proxy", "truncated_trace_id cart", "missing_root_span/propagation_mangled cart"),
        id="a hop that changes ids",
    ),
    pytest.param(
        "instance cart: exports_twice (2)",
        ("duplicate_span cart 'GET /a' @i-1", "duplicate_span cart 'GET /b' @i-1"),
        id="all evidence lies on one instance",
    ),
    pytest.param(
        "service cart: exports_twice (2)",
        ("duplicate_span cart 'GET /a' @i-1", "duplicate_span cart 'GET /b' @i-2"),
        id="two instances are the service",
    ),
    pytest.param(
        "service cart: fails_to_answer (2)",
        ("missing_server_span/not_reached web <- cart information", "missing_server_span/not_reached app <- cart information"),
        id="one that nobody reaches",
    ),
    pytest.param(
        "service cart: reuses_span_ids (2)",
        ("conflicting_span cart", "parent_loop cart"),
        id="span ids that are used twice make loops",
    ),
    pytest.param(
        "service cart: lacks_parents (2)",
        ("orphan_span/unknown cart", "missing_root_span/unknown cart"),
        id="what is not known of an orphan is not known of its trace's root",
    ),
    pytest.param("service cart: undecided (2)", ("heard_of_never cart", "heard_of_never cart 'POST /'"), id="a detector that the table does not know"),
    pytest.param("service cart: undecided (1)", ("missing_server_span cart",), id="a call whose callee is not named"),
    pytest.param(
        "service cart: loses_spans (3)",
        ("missing_operation/local_loss cart", "missing_operation/unknown cart 'POST /'", "orphan_span/local_loss cart 'x'"),
        id="an operation that is gone where spans are lost",
    ),
]


@pytest.mark.parametrize(("suspect", "lines"), ONE_DEFECT)
def test_one_defect_takes_all_its_findings_with_it(suspect: str, lines: Sequence[str]):
    assert grouped(*lines) == [suspect]


APART = [
    pytest.param(("duplicate_span cart", "orphan_span/local_loss cart", "span_flood cart", "leaked_context cart"), 4, id="four defects of one service"),
    pytest.param(("orphan_span/upstream_loss cart <- web", "orphan_span/upstream_loss cart <- app"), 2, id="two callers that lose spans"),
    pytest.param(("broken_propagation/unknown cart <- web", "broken_propagation/unknown cart <- app"), 2, id="two edges, and nothing says which side"),
    pytest.param(
        ("broken_propagation/not_injected cart <- web", "broken_propagation/unknown cart <- app"), 2, id="another caller than the one that injects nothing"
    ),
    pytest.param(("broken_propagation/unknown cart <- web", "unexpected_root tax"), 2, id="a root at another service than the broken edge"),
    pytest.param(("broken_propagation/unknown cart <- web", "orphan_span/propagation_mangled cart <- web"), 2, id="no context, and changed ids"),
    pytest.param(("broken_propagation/unknown cart <- web", "missing_server_span cart <- web"), 2, id="an unanswered call the other way"),
    pytest.param(("silent_service pricing <- web", "orphan_span/upstream_silent tax <- app"), 2, id="a silent caller that another service calls"),
    pytest.param(("silent_service pricing <- web", "orphan_span/upstream_silent tax"), 2, id="a silent caller of which nothing is known"),
    pytest.param(("clock_skew cart <- web a|b+", "clock_skew tax <- web b|c+"), 2, id="a clock ahead of one and behind another explains neither"),
    pytest.param(("blind_gap cart 'GET /a' improvement", "blind_gap cart 'GET /b' improvement"), 2, id="a span is wanted at each operation"),
    pytest.param(("orphan_span/unknown cart", "orphan_span/local_loss cart"), 2, id="what is not known is no loss"),
    pytest.param(("orphan_span/unknown cart", "missing_producer_span/unknown cart"), 2, id="two things that are not known"),
    pytest.param(("missing_server_span/not_reached web <- cart", "orphan_span/upstream_loss tax <- cart"), 2, id="not reached is no loss"),
    pytest.param(("missing_server_span/callee_loss web <- cart", "missing_server_span/callee_loss web <- tax"), 2, id="two callees of one caller"),
    pytest.param(("missing_root_span/upstream_loss cart", "orphan_span/upstream_loss cart <- web 'POST /'"), 2, id="a root below another operation"),
    pytest.param(("conflicting_span cart", "parent_loop tax"), 2, id="a loop elsewhere"),
]


@pytest.mark.parametrize(("lines", "suspects"), APART)
def test_what_shares_no_defect_stays_apart(lines: Sequence[str], suspects: int):
    assert len(grouped(*lines)) == suspects


def test_a_finding_belongs_to_what_it_names_even_where_more_would_follow_from_another():
    lines = (
        "broken_propagation/unknown cart <- web x9",
        "unexpected_root cart",
        "missing_server_span/callee_loss web <- cart",
        "orphan_span/local_loss cart",
    )
    assert sorted(grouped(*lines)) == ["edge web → cart: loses_context (2)", "service cart: loses_spans (2)"]


def test_the_worst_level_comes_first_then_who_explains_more():
    lines = (
        *(f"missing_server_span/not_reached web <- cart '{n}' x999 information" for n in range(9)),
        "root_client_span job x500 improvement",
        "duplicate_span stock x300",
        "orphan_span/local_loss cart 'a'",
        "orphan_span/local_loss cart 'b'",
    )
    assert [s.level for s in group([finding(line) for line in lines]).ranked] == ["violation", "violation", "improvement", "information"]
    assert grouped(*lines)[:2] == ["service cart: loses_spans (2)", "service stock: exports_twice (1)"]


def test_what_nobody_knows_how_to_mend_comes_after_what_can_be_mended():
    lines = (*(f"orphan_span/unknown cart '{n}' x99" for n in range(9)), "duplicate_span stock", "blind_gap web x999 improvement")
    assert grouped(*lines) == ["service stock: exports_twice (1)", "service cart: lacks_parents (9)", "operation GET / of web: hides_time (1)"]
    assert [s.known for s in group([finding(line) for line in lines]).ranked] == [True, False, True]


def test_of_equals_the_one_at_which_more_detectors_point_comes_first():
    lines = (
        "duplicate_span stock 'a' x99",
        "duplicate_span stock 'b' x99",
        "orphan_span/upstream_loss fraud <- payment",
        "missing_server_span order <- payment",
    )
    assert grouped(*lines) == ["service payment: loses_spans (2)", "service stock: exports_twice (2)"]


def only(*lines: str) -> Suspect:
    """Give the one suspect of some findings."""
    (suspect,) = group([finding(line) for line in lines]).ranked
    return suspect


def test_a_suspect_says_what_is_wrong_where_and_how_to_mend_it():
    most, some = "orphan_span/upstream_loss fraud <- payment x6", "missing_server_span/callee_loss order <- payment x2 improvement"
    suspect = only(some, most)
    assert (suspect.rank, suspect.kind, suspect.service, suspect.peer, suspect.level) == (1, SuspectKind.SERVICE, "payment", "", Level.VIOLATION)
    assert (suspect.message, suspect.how_to_fix) == ("payment makes spans that never arrive.", f"mend: {most}")
    assert (suspect.findings, suspect.occurrences) == ((finding(most).fingerprint, finding(some).fingerprint), 8)
    assert suspect.confidence == pytest.approx(0.9)


def test_what_was_decided_says_how_to_mend_it_though_more_was_found_before_the_cause_was_known():
    suspect = only("broken_propagation/unknown cart <- web 'GET /a' x9", "broken_propagation/not_injected cart <- web 'GET /b' x2")
    assert suspect.how_to_fix == "mend: broken_propagation/not_injected cart <- web 'GET /b' x2"
    assert only("broken_propagation/unknown cart <- web").how_to_fix == "mend: broken_propagation/unknown cart <- web"


def test_an_edge_names_both_sides_and_speaks_with_the_numbers_of_its_only_finding():
    suspect = only("broken_propagation/unknown cart <- web", "unexpected_root cart x9")
    assert (suspect.service, suspect.peer, suspect.message) == ("cart", "web", "said: broken_propagation/unknown cart <- web")


def test_evidence_on_one_instance_is_said():
    suspect = only("duplicate_span cart 'a' @i-1", "duplicate_span cart 'b' @i-1")
    assert (suspect.instance, suspect.message) == ("i-1", "cart sends spans more than once, all of it from instance i-1.")
    assert only("duplicate_span cart 'a' @i-1", "duplicate_span cart 'b'").instance == ""


def test_an_instance_of_the_callee_is_not_one_of_the_caller():
    assert only("orphan_span/upstream_loss fraud <- payment @i-1").instance == ""


def test_a_service_without_a_name_has_a_place_all_the_same():
    nameless = made("", id="span_flood", cause="", peer="")
    assert group([nameless]).ranked[0].place == "a service without a name"


def test_findings_beyond_the_limit_are_counted_and_the_worst_are_kept():
    mild = [made(f"s{n}", id="span_flood", cause="", level=Level.INFORMATION) for n in range(MAX_FINDINGS)]
    suspects = group([*mild, finding("parent_loop cart")])
    assert suspects.not_grouped == 1
    assert suspects.ranked[0].place == "cart"
    assert len(suspects.ranked) == MAX_FINDINGS


def test_many_roots_and_many_broken_edges_of_one_service_are_bounded_pairs():
    edges = [made("cart", id="broken_propagation", cause="unknown", peer=f"p{n}") for n in range(500)]
    roots = [made("cart", id="unexpected_root", cause="", peer="", signal_name=f"r{n}") for n in range(500)]
    claims = claims_of([*edges, *roots])
    assert max(len(mine) for mine in claims) == MAX_HEARD + 1
    assert len(group([*edges, *roots]).ranked) == len(edges)


def test_every_detector_has_roles_and_every_role_a_place():
    assert set(detector_ids()) <= set(ROLES)
    for detector, by_cause in ROLES.items():
        for cause, roles in by_cause.items():
            assert any(role.names for role in roles), (detector, cause)
    assert roles_of("orphan_span", "a cause of tomorrow") == ROLES["orphan_span"][ANY]
    assert {role.defect for role in roles_of("heard_of_never", "")} == {Defect.UNDECIDED}


NAMES = st.sampled_from(["web", "cart", "tax", ""])
PAIRS = st.sampled_from(sorted((detector, cause) for detector, causes in ROLES.items() for cause in causes))
FINDINGS = st.lists(st.tuples(PAIRS, NAMES, NAMES, st.sampled_from("ab"), st.sampled_from(list(Level)), st.integers(1, 9)), max_size=14).map(
    lambda rows: list(
        {
            one.fingerprint: one
            for (detector, cause), service, peer, name, level, count in rows
            for one in [made(service, id=detector, cause=cause.replace(ANY, ""), peer=peer, signal_name=name, level=level, count=count)]
        }.values(),
    ),
)


@settings(max_examples=200, deadline=None)
@given(FINDINGS)
def test_each_finding_belongs_to_one_suspect_and_none_is_held_without_a_finding_that_names_it(found: list[Finding]):
    suspects = group(found).ranked
    assert sorted(fingerprint for s in suspects for fingerprint in s.findings) == sorted(f.fingerprint for f in found)
    named = {(str(c.defect), c.service, c.peer) for mine in claims_of(found) for c, names in mine.items() if names and c.service}
    assert all((s.defect, s.service, s.peer) in named for s in suspects if s.service)
    assert [s.rank for s in suspects] == list(range(1, len(suspects) + 1))
    assert [list(Level).index(s.level) for s in suspects] == sorted(list(Level).index(s.level) for s in suspects)
    assert sum(s.occurrences for s in suspects) == sum(f.count for f in found)


@settings(max_examples=100, deadline=None)
@given(FINDINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_findings_does_not_matter(found: list[Finding], chance: random.Random):
    shuffled = found.copy()
    chance.shuffle(shuffled)
    assert group(shuffled) == group(found)


@settings(max_examples=100, deadline=None)
@given(FINDINGS, st.randoms(use_true_random=False))
def test_what_is_mended_is_no_suspect_any_more(found: list[Finding], chance: random.Random):
    left = [one for one in found if chance.random() < 0.5]
    gone = {one.fingerprint for one in found} - {one.fingerprint for one in left}
    assert all(gone.isdisjoint(s.findings) and s.findings for s in group(left).ranked)
    assert len(group(left).ranked) <= len(left)
