"""What a trace waited for, held against a walk that a person would make."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from spans import Spans, spans

from traced.graph.critical_path import MAX_DEPTH, on_critical_path
from traced.graph.forest import Forest


def on_path(read: Spans) -> set[str]:
    forest = Forest(read.staged())
    names = read.names()
    marks = on_critical_path(forest, np.arange(forest.count))
    return {names[int(forest.span_id[row])] for row in np.flatnonzero(marks)}


def test_children_one_after_the_other_are_all_waited_for() -> None:
    assert on_path(spans("web SERVER a ~100ms", "web CLIENT b<a +0ms ~30ms", "web CLIENT c<a +40ms ~30ms", "web CLIENT d<a +80ms ~20ms")) == set("abcd")


def test_of_children_that_overlap_the_last_to_end_is_waited_for() -> None:
    assert on_path(spans("web SERVER a ~100ms", "web CLIENT b<a +0ms ~90ms", "web CLIENT c<a +20ms ~80ms", "web CLIENT d<a +0ms ~20ms")) == set("acd")


def test_a_child_that_ends_after_its_parent_is_not_waited_for() -> None:
    assert on_path(spans("web SERVER a ~100ms", "web CLIENT b<a +50ms ~90ms", "web CLIENT c<a +20ms ~40ms", "web INTERNAL d<b +60ms ~20ms")) == set("ac")


def test_children_of_no_duration_neither_hide_nor_hold_up_the_walk() -> None:
    instants = [f"web INTERNAL z{n}<a +50ms ~0ms" for n in range(9)]
    assert on_path(spans("web SERVER a ~100ms", "web CLIENT b<a +0ms ~50ms", *instants)) >= {"a", "b"}


def test_spans_of_a_tree_without_a_root_are_on_no_path() -> None:
    assert on_path(spans("web SERVER a<x ~100ms", "web CLIENT b<a +0ms ~30ms")) == set()


def test_what_lies_too_deep_is_not_said_to_be_on_the_path() -> None:
    chain = ["web SERVER s0 ~1s", *(f"web INTERNAL s{n}<s{n - 1} +{n}us ~{10**6 - 2 * n}us" for n in range(1, MAX_DEPTH + 3))]
    assert on_path(spans(*chain)) == {f"s{n}" for n in range(MAX_DEPTH + 1)}


@st.composite
def trees(draw: st.DrawFn) -> list[str]:
    """Draw a tree of spans with times that overlap, touch and leave their parents."""
    lines = ["web SERVER s0 +0ms ~20ms"]
    for number in range(1, draw(st.integers(1, 12))):
        parent, start, lasts = draw(st.integers(0, number - 1)), draw(st.integers(-1, 20)), draw(st.integers(0, 12))
        lines.append(f"web INTERNAL s{number}<s{parent} +{start}ms ~{lasts}ms")
    return lines


@given(trees())
def test_it_is_the_path_that_a_walk_from_the_end_takes(lines: list[str]) -> None:
    read = spans(*lines)
    assert on_path(read) == walked(read)


def walked(read: Spans) -> set[str]:
    """Walk back from the end of each span on the path, from child to child."""
    found, todo = {"s0"}, ["s0"]
    lines = {line.span: line for line in read.lines}
    ids = {name: number for number, name in read.names().items()}
    while todo:
        span = lines[todo.pop()]
        start, end = span.start or 0, (span.start or 0) + (span.duration or 0)
        children = [c for c in read.lines if c.parent == span.span and (c.start or 0) >= start and (c.start or 0) + (c.duration or 0) <= end]
        at = end
        for child in sorted(children, key=lambda c: ((c.start or 0) + (c.duration or 0), ids[c.span]), reverse=True):
            if (child.start or 0) + (child.duration or 0) <= at:
                at = child.start or 0
                found.add(child.span)
                todo.append(child.span)
    return found
