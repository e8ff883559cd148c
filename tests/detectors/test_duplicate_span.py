"""The same span came more than once, with the same content."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import NOW, new_passes
from spans import many, spans

from traced.graph.history import History
from traced.model.occurrence import Level

DETECTOR = "duplicate_span"

FIRES: Fires = {
    "a span sent twice": (["web SERVER a", "web SERVER a"], {"a": {"service": "web", "level": Level.INFORMATION, "repeats": 1}}),
    "sent three times": (["web SERVER a", "web SERVER a @5s", "web SERVER a @9s"], {"a": {"repeats": 2}}),
    "a whole batch sent twice": (
        ["web SERVER a", "web CLIENT b<a", "web SERVER a @5s", "web CLIENT b<a @5s"],
        {"a": {"repeats": 1}, "b": {"repeats": 1}},
    ),
    "one half of a shared id sent twice": (["web CLIENT a", "cart SERVER a", "cart SERVER a"], {"a": {"service": "cart", "repeats": 1}}),
    "the same content under another service's name": (["web SERVER a name=x", "shop SERVER a name=x"], {"a": {"repeats": 1}}),
    "a span of no service": (["- INTERNAL a", "- INTERNAL a"], {"a": {"service": "unknown_service", "repeats": 1, "instance_repeats": 1}}),
    "a span of no service under a named one": (
        ["web SERVER a", "- INTERNAL b<a", "- INTERNAL b<a"],
        {"b": {"service": "web", "repeats": 1, "instance_spans": 2}},
    ),
    "two of 210 spans of an instance: harmless": (
        [*many(210, "web SERVER a instance=i1"), "web SERVER m0:a instance=i1", "web SERVER m1:a instance=i1"],
        {"m0:a": {"level": Level.INFORMATION, "instance_spans": 210, "instance_repeats": 2}, "m1:a": {}},
    ),
    "one instance of two sends everything twice": (
        [*many(200, "web SERVER a instance=i1"), *[f"web SERVER m{n}:a instance=i1" for n in range(200)], *many(200, "web SERVER b instance=i2")],
        {f"m{n}:a": {"level": Level.VIOLATION} for n in range(200)},
    ),
    "one in sixteen of few spans is not often yet": (
        [*many(16, "web SERVER a instance=i1"), "web SERVER m0:a instance=i1"],
        {"m0:a": {"level": Level.INFORMATION}},
    ),
}

STAYS_SILENT: Silent = {
    "spans sent once": ["web SERVER a", "web CLIENT b<a"],
    "the two halves of a shared id": ["web CLIENT a", "cart SERVER a"],
    "the two halves of a shared id in one service": ["web CLIENT a", "web SERVER a"],
    "a producer and a consumer of one id": ["shop PRODUCER a", "billing CONSUMER a"],
    "equal ids in other traces": ["web SERVER one:a", "web SERVER two:a"],
    "the same id with another name": ["web SERVER a name=x", "web SERVER a name=y"],
    "the same id with another parent": ["web SERVER a", "web SERVER a<b", "web CLIENT b"],
    "the same id with another start": ["web SERVER a +1ms ~1ms", "web SERVER a +2ms ~1ms"],
    "the same id with another status": ["web SERVER a", "web SERVER a err"],
    "the same id with another name under another service": ["web SERVER a name=x", "shop SERVER a name=y"],
    "an INTERNAL span with the id of a SERVER": ["web SERVER a name=x", "web INTERNAL a name=x"],
    "spans alike but for their ids": ["web SERVER a", "web CLIENT b<a", "web CLIENT c<a", "web CLIENT d<a"],
    "a broker's redelivery, with ids of its own": ["shop PRODUCER p", "billing CONSUMER k<p", "billing CONSUMER r<p +5s"],
    "one CLIENT answered by two SERVERs": ["web CLIENT a", "cart SERVER b<a", "cart SERVER c<a"],
}


def test_instances_without_number_cost_no_more_than_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traced.graph.history.MAX_INSTANCES", 20)
    passes = new_passes()
    passes.run(spans(*(f"web SERVER t{n}:a instance=i{n}" for n in range(20))).settled(), NOW)
    assert passes.history.dropped == 0
    outcome = passes.run(spans(*(f"web SERVER u{n}:a instance=i{n}" for n in range(15, 25)), *["web SERVER v:a instance=i24"] * 2).settled(), NOW + 1)
    assert passes.history.dropped == 5, "i20 to i24 found no room; i15 to i19 were known"
    [one] = [o for o in outcome.occurrences if o.id == DETECTOR]
    assert (one.level, one.context["instance_spans"], one.context["instance_repeats"]) == (Level.INFORMATION, 0, 1)


def test_only_of_instances_that_repeat_spans_is_it_told_how_many_they_have() -> None:
    history = History()
    history.learn_instances({("web", f"i{n}"): 7 for n in range(1000)}, {("web", "i3"): 2})
    assert history.tables([("web", "i3"), ("web", "new")])["instance_history"].to_pylist() == [
        {"service": "web", "instance": "i3", "spans": 7, "repeats": 2},
        {"service": "web", "instance": "new", "spans": 0, "repeats": 0},
    ]


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
