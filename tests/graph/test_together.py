"""What ties an orphan of a silent caller to a service that reports nothing: the traces that hold both."""

from __future__ import annotations

import pytest
from fake_views import finding, occurrence

from traced.graph.suspects import group
from traced.graph.together import MIN_TRACES, silent_callees
from traced.model.occurrence import Level, Occurrence

Trace = list[Occurrence]


def orphan(service: str = "tax", name: str = "GET /rates", cause: str = "upstream_silent") -> Occurrence:
    return occurrence(service=service, signal_name=name, cause=cause, peer="")


def silent(service: str = "pricing", caller: str = "web") -> Occurrence:
    return occurrence(id="silent_service", service=service, signal_name=service, cause="", peer=caller)


def both() -> Trace:
    return [orphan(), silent()]


@pytest.mark.parametrize(
    "traces",
    [
        pytest.param([both()] * MIN_TRACES, id="in every trace"),
        pytest.param([both()] * 6 + [[orphan()]] * 4, id="in most traces"),
        pytest.param([[orphan(), orphan(), silent("pricing", "web"), silent("pricing", "app")]] * 3, id="called by two, twice in a trace"),
    ],
)
def test_a_silent_service_that_most_of_its_traces_call_is_named(traces: list[Trace]):
    assert silent_callees(traces) == {orphan().fingerprint: ("pricing",)}


@pytest.mark.parametrize(
    "traces",
    [
        pytest.param([], id="nothing"),
        pytest.param([both()] * (MIN_TRACES - 1), id="too few traces"),
        pytest.param([both()] * 5 + [[orphan()]] * 5, id="in half of its traces"),
        pytest.param([[orphan()], [silent()]] * 9, id="never in one trace"),
        pytest.param([[orphan(cause="upstream_loss"), silent()]] * 9, id="the caller reports, and lost it"),
        pytest.param([[orphan(), occurrence(id="root_client_span", service="pricing", cause="")]] * 9, id="another finding of a service"),
    ],
)
def test_else_none_is(traces: list[Trace]):
    assert not any(silent_callees(traces).values())


def test_one_silent_service_below_several_orphans_and_a_root_is_one_thing_to_fix():
    orphans = [finding(s, cause="upstream_silent", peer="", level=Level.IMPROVEMENT, signal_name=f"GET {s}") for s in ("tax", "cart", "stock")]
    root = finding("tax", id="missing_root_span", cause="upstream_silent", peer="", signal_name="GET tax", level=Level.INFORMATION)
    dead = finding("pricing", id="silent_service", cause="", peer="web", signal_name="pricing", level=Level.IMPROVEMENT)
    together = silent_callees([[silent(), *(orphan(s, f"GET {s}") for s in ("tax", "cart", "stock"))]] * 3)
    (suspect,) = group([*orphans, root, dead], together).ranked
    assert (suspect.place, suspect.defect, len(suspect.findings)) == ("pricing", "reports_nothing", 5)
    assert len(group([*orphans, root, dead]).ranked) == 4


def test_without_a_finding_that_names_it_a_silent_service_is_no_suspect():
    together = silent_callees([both()] * 3)
    (suspect,) = group([finding("tax", cause="upstream_silent", peer="", signal_name="GET /rates")], together).ranked
    assert suspect.place == "what calls tax"
