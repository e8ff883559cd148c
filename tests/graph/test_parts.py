"""Parts of traces are a habit only where gaps of both kinds remain once what comes late has come."""

from __future__ import annotations

from traced.graph.parts import CALLEE_GONE, CALLER_GONE, MAX_TRACES, REMAINS, Parts

BOTH = [(n, CALLER_GONE if n % 2 else CALLEE_GONE, "web") for n in range(12)]


def test_traces_without_the_caller_and_traces_without_the_callee_are_parts() -> None:
    parts = Parts()
    parts.learn(BOTH[:8])
    assert not parts.kept("web")
    parts.learn(BOTH[8:])
    assert parts.kept("web")
    assert not parts.kept("cart")


def test_remains_say_that_spans_were_lost() -> None:
    parts = Parts()
    parts.learn(BOTH)
    parts.learn((100 + n, REMAINS, "web") for n in range(3))
    assert not parts.kept("web")


def test_what_a_trace_showed_is_taken_back_when_the_rest_of_it_comes() -> None:
    parts = Parts()
    parts.learn(BOTH)
    parts.take_back([0, 2, 99])
    assert not parts.kept("web")
    parts.learn([(0, CALLEE_GONE, "web")])
    assert parts.kept("web")
    parts.take_back([1, 1])
    assert parts.dump()["windows"][1] == {"web": [5, 5, 0]}


def test_of_more_traces_than_the_limit_the_newest_can_be_taken_back() -> None:
    parts = Parts()
    parts.learn((n, REMAINS, "web") for n in range(MAX_TRACES + 1))
    parts.take_back([0, 1])
    assert parts.dump()["windows"][1] == {"web": [0, 0, MAX_TRACES]}
