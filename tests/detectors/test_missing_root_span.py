"""A whole trace came without its root."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import look
from spans import many

DETECTOR = "missing_root_span"

FIRES: Fires = {
    "the only span names a parent that is not here": (
        ["cart SERVER b<x"],
        {"b": {"service": "cart", "missing": "x", "confidence": 0.5, "cause": "unknown", "spans": 1}},
    ),
    "a tree below a lost root": (["web CLIENT b<x", "cart SERVER c<b", "cart INTERNAL d<c"], {"b": {"missing": "x", "spans": 3}}),
    "several children of the lost root: the first to begin, and one missing span": (
        ["web CLIENT c<x +5ms", "web CLIENT b<x +2ms", "web CLIENT d<x +9ms"],
        {"b": {"missing": "x", "spans_without_parent": 1, "confidence": 0.5, "cause": "unknown"}},
    ),
    "two absent parents: either may be the root, or neither": (
        ["web CLIENT b<x +1ms", "cart SERVER c<y +2ms"],
        {"b": {"missing": "x", "spans_without_parent": 2, "confidence": 0.45}},
    ),
    "traces of the kind begin with the absent parent: its service lost the root": (
        [*many(2, "web SERVER a", "web CLIENT b<a"), "web CLIENT lost:b<x"],
        {"lost:b": {"cause": "local_loss", "confidence": 0.85, "parent_begins_traces": True}},
    ),
    "two levels lost, both of the service that begins such traces": (
        [*many(25, "web INTERNAL a", "web CLIENT c<a", "cart SERVER s<c"), "cart SERVER lost:s<x"],
        {"lost:s": {"cause": "upstream_loss", "parent_begins_traces": True}},
    ),
    "the absent parent is another service's than the root": (
        [*many(25, "web CLIENT a", "cart SERVER s<a", "cart CLIENT b<s"), "cart CLIENT lost:b<x"],
        {"lost:b": {"cause": "unknown", "confidence": 0.5, "parent_begins_traces": False}},
    ),
    "the absent parent is the caller's, and the root another's": (
        [*many(25, "web CLIENT a", "cart SERVER s<a", "cart CLIENT b<s", "stock SERVER t<b"), "stock SERVER lost:t<x"],
        {"lost:t": {"cause": "unknown", "parent_begins_traces": False}},
    ),
    "one in each of two traces": (["web CLIENT one:b<x", "web CLIENT two:b<x"], {"one:b": {}, "two:b": {}}),
    "a consumer whose producer's trace was lost": (["billing CONSUMER k<p"], {"k": {}}),
    "a rootless trace beside a whole one": (["web SERVER a", "cart SERVER other:b<x"], {"other:b": {}}),
    "a lost root above shared ids": (["web CLIENT b<x", "cart SERVER b<x"], {"b": {"service": "web"}}),
}

STAYS_SILENT: Silent = {
    "a SERVER root": ["web SERVER a", "web CLIENT b<a"],
    "a CLIENT root": ["web CLIENT a", "cart SERVER b<a"],
    "an INTERNAL root": ["job INTERNAL a", "job CLIENT b<a"],
    "a PRODUCER root": ["shop PRODUCER a"],
    "a CONSUMER root": ["billing CONSUMER a"],
    "a CONSUMER root with a link": ["billing CONSUMER a ->gone:p"],
    "a root of no kind": ["thing UNSPECIFIED a", "thing INTERNAL b<a"],
    "a root beside orphans": ["web SERVER a", "web CLIENT b<x", "cart SERVER c<y"],
    "two roots": ["web SERVER a", "cart SERVER b"],
    "a span that is its own parent": ["web SERVER a<a"],
    "a loop": ["web SERVER a<b", "web INTERNAL b<a"],
    "a loop beside an orphan": ["web SERVER a<b", "web INTERNAL b<a", "cart SERVER c<x"],
    "a root that came 10 minutes late": ["web CLIENT b<a", "web SERVER a @10min"],
    "a root that began after its children": ["web SERVER a +5s", "web CLIENT b<a +1s"],
    "a root whose sending half shares its id": ["web CLIENT a", "cart SERVER a<a"],
    "a root that was sent twice": ["web SERVER a", "web SERVER a", "web CLIENT b<a"],
    "a root without a service name": ["- SERVER a", "web CLIENT b<a"],
    "a cron job": ["cron INTERNAL a name=nightly", "cron CLIENT b<a db=postgresql"],
    "a health probe": ["cart SERVER a name=/healthz"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_of_orphans_that_began_at_the_same_time_it_is_the_same_one_in_any_order() -> None:
    lines = ["web CLIENT c<x +1ms", "web CLIENT b<x +1ms", "web CLIENT d<x +1ms"]
    found = look(lines).found(DETECTOR)
    assert len(found) == 1
    assert set(look(lines[::-1]).found(DETECTOR)) == set(found)


def test_a_trace_of_which_spans_were_left_out_is_said_to_lack_none() -> None:
    lines = ["web SERVER a +50ms", *[f"web INTERNAL b{n}<a +{n}ms" for n in range(20)]]
    assert look(lines, analysis={"max_spans_per_trace": 10}).found(DETECTOR) == {}
    assert set(look(lines[1:]).found(DETECTOR)) == {"b0"}
