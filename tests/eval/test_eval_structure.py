"""The truth about what lies below spans: it knows the waits of the world that has them, and demands lost leaves only where they show."""

from __future__ import annotations

import pytest

from .claims import Expected, Truth
from .damage import Damaged
from .damages import DAMAGES
from .kinship import kinship
from .traces import Span, TraceSet
from .truth import truth_of
from .worlds import world

SEED, MANY = 5, 500


def done(name: str, damage: str) -> tuple[TraceSet, Damaged, Truth]:
    clean = world(name, SEED, MANY)
    damaged = DAMAGES[damage].done_to(clean, SEED)
    return clean, damaged, truth_of(clean, damaged)


def demanded(truth: Truth, detector: str) -> list[Expected]:
    return [claim for claim in truth.expected if claim.id == detector]


def at(damaged: Damaged, claim: Expected) -> set[tuple[str, str]]:
    spans = {span.key: span for span in damaged.spans}
    return {(spans[key].service, spans[key].name) for key in claim.keys}


@pytest.mark.parametrize("damage", ["clean", "leaves_5", "leaves_instance"])
def test_the_three_waits_that_requests_and_messages_have_are_demanded_and_nothing_else(damage: str) -> None:
    _, damaged, truth = done("waiting", damage)
    places = [at(damaged, claim) for claim in demanded(truth, "blind_gap")]
    assert sorted(places, key=min) == [{("desk", "POST /orders")}, {("printer", "process labels")}, {("stock", "reserve")}]


@pytest.mark.parametrize("name", ["shop", "mesh", "gateway", "old", "fanout_parent", "entry"])
def test_worlds_whose_spans_explain_their_time_demand_no_more(name: str) -> None:
    assert demanded(done(name, "clean")[2], "blind_gap") == []


@pytest.mark.parametrize(("damage", "cause"), [("leaves_instance", "local_loss"), ("leaves_version", "changed")])
@pytest.mark.parametrize("name", ["shop", "gateway", "old"])
def test_a_kind_of_leaf_that_is_gone_is_demanded_once_at_spans_that_lack_it(name: str, damage: str, cause: str) -> None:
    clean, damaged, truth = done(name, damage)
    (claim,) = demanded(truth, "missing_operation")
    assert claim.causes == {cause}
    kin, here = kinship(clean), {span.uid: span for span in damaged.spans}
    spans: dict[tuple[str, str], Span] = {span.key: span for span in here.values()}
    lost = [[c for c in kin.children[spans[key].uid] if c not in here] for key in claim.keys]
    assert all(len(children) == 1 for children in lost)
    assert len({clean.spans[c].name for children in lost for c in children}) == 1
    assert len({spans[key].resource.attributes["service.version"] for key in claim.keys}) == 1


@pytest.mark.parametrize("name", ["shop", "fifty"])
def test_leaves_lost_by_chance_leave_too_little_to_demand(name: str) -> None:
    clean, damaged, truth = done(name, "leaves_5")
    assert len(damaged.spans) < len(clean.spans)
    assert demanded(truth, "missing_operation") == []
    assert any(claim.id == "missing_operation" for claim in truth.allowed)


def test_a_request_is_handled_to_its_end_by_the_version_that_took_it() -> None:
    _, damaged, _ = done("shop", "leaves_version")
    spans = {span.key: span for span in damaged.spans}
    local = [(span, spans[span.trace_id, span.parent_span_id]) for span in damaged.spans if span.parent_span_id and not span.remote]
    assert any(str(span.resource.attributes["service.version"]).endswith("-next") for span, _ in local)
    assert all(span.resource is parent.resource for span, parent in local)
