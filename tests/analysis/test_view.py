"""What is called missing where only a part of the system is seen: nothing that others should have sent."""

from __future__ import annotations

import pytest
from looking import NOW, look, new_passes
from spans import many, spans, trace_id

from traced.analysis import hasty
from traced.analysis.hasty import KEEP_SECONDS, HastyClaims
from traced.detectors import detectors
from traced.graph.view import MIN_PARENTS, View

PARTIAL = {"view": "partial"}
ALONE = many(30, "cart SERVER a<x remote host=pod-1", "cart CLIENT b<a addr=pay status=200 host=pod-1")
"""What the sidecar of one pod sees: callers and callees are elsewhere."""
LOCAL = "cart INTERNAL i<gone local host=pod-1"
REMOTE = {"orphan_span", "missing_root_span", "missing_server_span", "silent_service", "missing_consumer_span", "missing_producer_span", "unexpected_root"}


def test_one_pods_spans_are_a_partial_view_in_which_only_its_own_losses_are_told() -> None:
    seen = look([*ALONE, LOCAL])
    assert seen.passes.view.name == "partial"
    assert {(o.id, o.cause) for o in seen.outcome.occurrences} == {("orphan_span", "local_loss")}
    assert set(seen.found("orphan_span")) == {"i"}


def test_the_same_spans_are_judged_whole_where_the_view_is_said_to_be_complete() -> None:
    seen = look([*ALONE, LOCAL], analysis={"view": "complete"})
    assert seen.passes.view.name == "complete"
    assert {"orphan_span", "missing_root_span", "silent_service"} <= seen.ids


@pytest.mark.parametrize(
    "lines",
    [
        [line.replace("host=pod-1", "") for line in ALONE],
        [*ALONE, "cart SERVER other:a host=pod-2"],
        many(30, "web CLIENT c host=pod-1", "cart SERVER a<c remote host=pod-1", "cart SERVER x:b<y remote host=pod-1".replace("x:", "")),
        ALONE[: 2 * (MIN_PARENTS - 1)],
    ],
    ids=["resources that name no host", "a second host", "callers of the same host", "too few callers to tell"],
)
def test_other_views_are_complete(lines: list[str]) -> None:
    seen = look(lines)
    assert seen.passes.view.name == "complete"
    assert "orphan_span" in seen.ids


def of_one_node(here: int, elsewhere: int) -> list[str]:
    """Give calls of cart, on one host: of some the caller is on it too, of others it is on another one."""
    local = [line for n in range(here) for line in (f"web SERVER h{n}:w host=one", f"web CLIENT h{n}:c<w addr=cart host=one", f"cart SERVER h{n}:s<c host=one")]
    return [*local, *(line for n in range(elsewhere) for line in (f"cart SERVER e{n}:s<x{n} host=one", f"cart INTERNAL e{n}:i<s host=one"))]


def test_of_one_host_whose_callers_are_mostly_elsewhere_nothing_is_missing() -> None:
    seen = look(of_one_node(160, 240))
    assert seen.passes.view.name == "complete"
    assert not seen.ids & REMOTE


def test_the_same_calls_are_losses_where_there_are_several_hosts_or_the_view_is_complete() -> None:
    for more, settings in ((["stock SERVER z host=two"], {}), ([], {"view": "complete"})):
        seen = look([*of_one_node(160, 240), *more], analysis=settings)
        assert {o.cause for o in seen.found("orphan_span").values()} == {"upstream_loss"}
        assert len(seen.found("orphan_span")) == 240


def test_on_one_host_it_is_not_known_of_a_few_whether_they_were_lost() -> None:
    seen = look(of_one_node(25, 10))
    assert {(o.cause, o.confidence) for o in seen.found("orphan_span").values()} == {("unknown", 0.5)}
    assert seen.outcome.undecided >= {trace_id(f"e{n}") for n in range(10)}


def test_on_one_host_losses_are_told_where_nearly_all_callers_are_here_or_the_caller_is_in_the_trace() -> None:
    seen = look([*of_one_node(160, 3), "web SERVER lost:w host=one", "cart SERVER lost:s<gone host=one"])
    assert {o.cause for o in seen.found("orphan_span").values()} == {"upstream_loss"}
    seen = look([*of_one_node(30, 30), "web SERVER lost:w host=one", "cart SERVER lost:s<gone host=one"])
    assert seen.found("orphan_span")["lost:s"].cause == "upstream_loss"


def test_on_one_host_losses_within_a_process_are_told() -> None:
    seen = look([*of_one_node(160, 240), "cart INTERNAL i<gone local host=one"])
    assert {(o.cause, place) for place, o in seen.found("orphan_span").items()} == {("local_loss", "i")}


def test_a_view_said_to_be_partial_is_so_whatever_is_seen() -> None:
    seen = look(["web SERVER a host=one", "cart SERVER b<x remote host=two"], analysis=PARTIAL)
    assert seen.passes.view.name == "partial"
    assert not seen.ids


def test_what_was_called_missing_before_it_could_be_told_is_taken_back() -> None:
    passes = new_passes()
    first = passes.run(spans(*ALONE[:10], LOCAL).settled(), NOW, 1)
    missing = {o.key for o in first.occurrences if o.cause != "local_loss"}
    assert {key[0] for key in missing} == {"orphan_span", "missing_root_span"}
    second = passes.run(spans(*ALONE[10:]).settled(), NOW + 5, 2)
    assert passes.view.partial
    assert second.withdrawn == missing
    assert second.occurrences == []
    assert not passes.run(spans("cart SERVER more:a<x remote host=pod-1").settled(), NOW + 9, 3).withdrawn


def test_what_may_be_taken_back_is_bounded_by_age_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = HastyClaims()
    key = ("orphan_span", 1, 1, 1)
    claims.note([key, ("orphan_span", 1, 1, 2)], NOW)
    claims.note([key], NOW + KEEP_SECONDS)
    claims.note([], NOW + KEEP_SECONDS + 1)
    assert claims.take() == {key}
    assert claims.take() == frozenset()
    monkeypatch.setattr(hasty, "MAX_CLAIMS", 3)
    claims.note((("orphan_span", 1, 1, n) for n in range(5)), NOW)
    assert claims.dropped == 2
    assert {place[3] for place in claims.take()} == {2, 3, 4}


def test_a_system_on_one_host_does_not_remember_its_claims_for_ever() -> None:
    passes = new_passes()
    for hour in range(6):
        outcome = passes.run(spans(f"cart INTERNAL h{hour}:a<x host=vm", f"cart SERVER h{hour}:b<y host=vm").settled(), NOW + 3600 * hour)
        assert {o.id for o in outcome.occurrences} >= {"orphan_span", "missing_root_span"}
    assert passes.view.unsure
    assert {key[1:3] for key in passes.hasty.take()} == {trace_id(f"h{hour}") for hour in (3, 4, 5)}


def test_the_view_is_known_again_after_a_restart() -> None:
    passes = new_passes()
    passes.run(spans(*ALONE).settled(), NOW, 1)
    again = View()
    again.load(passes.view.dump())
    assert again.partial
    again.turn(NOW + 3600)
    assert again.partial
    again.turn(NOW + 7201)
    again.turn(NOW + 10802)
    assert not again.partial


def test_every_detector_that_needs_the_whole_says_so() -> None:
    assert {d.id for d in detectors() if d.whole_view} | {"orphan_span"} >= REMOTE
