"""Spans of an operation lack a child that they used to have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import NOW, new_passes, place
from spans import spans

from traced.detectors.missing_operation import fix, sentence
from traced.model.occurrence import Level, Occurrence

DETECTOR = "missing_operation"

QUERY = "CLIENT q<a ~40ms name=query db=redis"


def handled(numbers: Iterable[int], *children: str, by: str = "one", took: int = 100, words: str = "", more: Sequence[str] = ()) -> list[str]:
    """Give requests, one each 10 ms, in traces that are called by who handled them and their number; they take up to 6 ms more than said.

    `by` is the instance, and after a dash its version; `children` begin 5 ms after the request, `more` are whole lines without times.
    """
    instance, _, version = by.partition("-")
    resource = f"{f'instance={instance}' if instance else ''} {f'version={version}' if version else ''}"
    lines = []
    for n in numbers:
        trace = f"{by or 'any'}{n}"
        lines.append(f"web SERVER {trace}:a +{10 * n}ms ~{took + n % 7}ms name=get {resource} {words}")
        for child in children:
            kind, where, *rest = child.split(" ")
            lines.append(f"web {kind} {trace}:{where} +{10 * n + 5}ms {' '.join(rest)} {resource}")
        for line in more:
            service, kind, where, *rest = line.split(" ")
            lines.append(f"{service} {kind} {trace}:{where} +{10 * n + 5}ms {' '.join(rest)}")
    return lines


BEFORE, AFTER = range(120), range(120, 180)

FIRES: Fires = {
    "one of two instances loses it from a moment on": (
        [*handled(BEFORE, QUERY), *handled(AFTER), *handled(range(180), QUERY, by="two")],
        {
            "one179:a": {
                "service": "web",
                "cause": "local_loss",
                "level": Level.VIOLATION,
                "signal_name": "get → query",
                "instance": "one",
                "compared_with": "its own earlier spans",
                "spans_before": 120,
                "with_the_child_before": 120,
                "spans_now": 60,
                "with_the_child_now": 0,
                "time_of_the_child": "spent",
            }
        },
    ),
    "one of two instances loses half of them": (
        [*handled(BEFORE, QUERY), *handled(range(120, 180, 2)), *handled(range(121, 180, 2), QUERY), *handled(range(180), QUERY, by="two")],
        {"one178:a": {"cause": "local_loss", "spans_now": 60, "with_the_child_now": 30}},
    ),
    "an instance that was started just now never has it, and two others do": (
        [*handled(range(120, 150), by="new"), *handled(range(150), QUERY), *handled(range(150), QUERY, by="two")],
        {"new149:a": {"cause": "local_loss", "compared_with": "the other instances", "spans_before": 300, "spans_now": 30}},
    ),
    "of two instances one never has it: which is as it should be, nobody knows": (
        [*handled(BEFORE), *handled(BEFORE, QUERY, by="two")],
        {"one119:a": {"cause": "unknown", "level": Level.IMPROVEMENT, "compared_with": "the other instances"}},
    ),
    "a new version does not have it": (
        [*handled(BEFORE, QUERY, by="one-1"), *handled(AFTER, by="one-2")],
        {"one-2179:a": {"cause": "changed", "level": Level.INFORMATION, "version": "2", "spans_before": 120, "spans_now": 30}},
    ),
    "a new version on two instances does not have it": (
        [*handled(BEFORE, QUERY, by="one-1"), *handled(AFTER, by="two-2"), *handled(AFTER, by="six-2")],
        {"two-2179:a": {"cause": "changed"}, "six-2179:a": {"cause": "changed"}},
    ),
    "a new version does not have it, and may have ceased to do it": (
        [*handled(BEFORE, QUERY, by="one-1"), *handled(AFTER, by="one-2", took=60)],
        {"one-2179:a": {"cause": "changed", "time_of_the_child": "not spent"}},
    ),
    "all lose it at one moment, and take as long as before": (
        [*handled(BEFORE, QUERY, by=""), *handled(AFTER, by="")],
        {"any179:a": {"cause": "unknown", "level": Level.IMPROVEMENT, "instance": "", "time_of_the_child": "spent"}},
    ),
    "two children at once, each at a span of its own": (
        [
            *handled(BEFORE, QUERY, "INTERNAL r<a ~20ms name=render"),
            *handled(AFTER),
            *handled(range(180), QUERY, "INTERNAL r<a ~20ms name=render", by="two"),
        ],
        {"one179:a": {"signal_name": "get → render"}, "one178:a": {"signal_name": "get → query"}},
    ),
    "below INTERNAL work": (
        [
            *(line.replace("SERVER", "INTERNAL") for line in [*handled(BEFORE, QUERY), *handled(AFTER)]),
            *(line.replace("SERVER", "INTERNAL") for line in handled(range(180), QUERY, by="two")),
        ],
        {"one179:a": {"cause": "local_loss"}},
    ),
}

STAYS_SILENT: Silent = {
    "all have it": handled(range(180), QUERY),
    "none ever had it": handled(range(180)),
    "half of them had it: a cache, a flag, a branch": [
        *(line for by in ("one", "two") for half in (handled(range(0, 120, 2), QUERY, by=by), handled(range(1, 120, 2), by=by)) for line in half),
        *handled(AFTER),
        *handled(AFTER, QUERY, by="two"),
    ],
    "one in twenty is lost": [*handled((n for n in range(400) if n % 20), QUERY), *handled(range(0, 400, 20)), *handled(range(400), QUERY, by="two")],
    "too few spans now": [*handled(BEFORE, QUERY), *handled(range(120, 123)), *handled(range(123), QUERY, by="two")],
    "too few spans before": [*handled(range(50), QUERY, by=""), *handled(range(50, 100), by="")],
    "spans became shorter by what it took: the answer is in a cache": [*handled(BEFORE, QUERY, by=""), *handled(AFTER, by="", took=60)],
    "spans of one instance became shorter by what it took: it does something else": [
        *handled(BEFORE, QUERY),
        *handled(AFTER, took=60),
        *handled(range(180), QUERY, by="two"),
    ],
    "it took so little that nobody can tell whether it is still done": [
        *handled(BEFORE, "CLIENT q<a ~500us name=query", by=""),
        *handled(AFTER, by=""),
    ],
    "one instance does not have it, and nobody can tell whether that is a cache": [
        *handled(BEFORE, "CLIENT q<a ~500us name=query"),
        *handled(AFTER),
        *handled(range(180), "CLIENT q<a ~500us name=query", by="two"),
    ],
    "it has another name in the new version": [
        *handled(BEFORE, QUERY, by="one-1"),
        *handled(AFTER, "CLIENT q<a ~40ms name=SELECT db=redis", by="one-2"),
    ],
    "it has another name from a moment on": [
        *handled(BEFORE, QUERY, by=""),
        *handled(AFTER, "CLIENT q<a ~40ms name=SELECT db=redis", by=""),
    ],
    "one instance leads, and only that does it": [
        *handled(range(180), QUERY),
        *(line for name in ("two", "six", "ten", "few") for line in handled(range(180), by=name)),
    ],
    "requests that failed do not get so far": [
        *handled(BEFORE, QUERY),
        *handled(AFTER, words="err"),
        *handled(range(180), QUERY, by="two"),
    ],
    "requests for what is not there do not get so far": [
        *handled(BEFORE, QUERY, words="status=200"),
        *handled(AFTER, words="status=404"),
        *handled(range(180), QUERY, by="two", words="status=200"),
    ],
    "requests that find nothing new have another status": [
        *handled(BEFORE, QUERY, words="status=200"),
        *handled(AFTER, words="status=304"),
        *handled(range(180), QUERY, by="two", words="status=200"),
    ],
    "something else in the trace failed": [
        *handled(BEFORE, QUERY),
        *handled(AFTER, "INTERNAL e<a ~1ms err"),
        *handled(range(180), QUERY, by="two"),
    ],
    "traces of which other spans are missing": [
        *handled(BEFORE, QUERY),
        *handled(AFTER, "INTERNAL e<x ~1ms"),
        *handled(range(180), QUERY, by="two"),
    ],
    "traces with a second root": [
        *handled(BEFORE, QUERY),
        *handled(AFTER, "INTERNAL e ~1ms"),
        *handled(range(180), QUERY, by="two"),
    ],
    "calls of another service: their pairs say more": [
        *handled(BEFORE, more=("cart SERVER q<a ~40ms name=query",)),
        *handled(AFTER),
        *handled(range(180), by="two", more=("cart SERVER q<a ~40ms name=query",)),
    ],
    "calls of oneself": [
        *handled(BEFORE, "SERVER q<a ~40ms name=query"),
        *handled(AFTER),
        *handled(range(180), "SERVER q<a ~40ms name=query", by="two"),
    ],
    "children of which each has a name of its own": [
        *(line for n in range(120) for line in handled([n], f"CLIENT q<a ~40ms name=get-{n}")),
        *handled(AFTER),
    ],
    "all of them lose it where several versions run, and are shorter": [
        *handled(BEFORE, QUERY, by="one-1"),
        *handled(BEFORE, QUERY, by="two-2"),
        *handled(AFTER, by="one-1", took=60),
        *handled(AFTER, by="two-2", took=60),
    ],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def found(*rounds: list[str]) -> list[dict[str, Occurrence]]:
    """Run one pass after the other; give what each found."""
    passes = new_passes(only=DETECTOR)
    said = []
    for number, lines in enumerate(rounds):
        read = spans(*lines)
        said.append({place(read, o): o for o in passes.run(read.settled(), NOW + number).occurrences})
    return said


def test_a_shift_is_told_once_and_again_after_it_was_mended() -> None:
    usual = handled(range(180), QUERY, by="two")
    rounds = [handled(range(first, first + 60), *([QUERY] if mended else [])) for first, mended in ((120, 0), (180, 0), (240, 1), (300, 1), (360, 0))]
    said = found([*handled(BEFORE, QUERY), *usual], *([*lines, *handled(range(900, 960), QUERY, by="two")] for lines in rounds))
    assert [len(one) for one in said] == [0, 1, 0, 0, 0, 1]


def test_what_became_of_the_time_is_told_when_more_spans_have_shown_it() -> None:
    def uneven(numbers: range, *child: str) -> list[str]:
        return [line for n in numbers for line in handled([n], *child, by="", took=100 + 37 * n % 60)]

    said = found(uneven(range(240), "CLIENT q<a ~4ms name=query"), *(uneven(range(240 + 90 * n, 330 + 90 * n)) for n in range(6)))
    told = [n for n, one in enumerate(said) if one]
    assert len(told) == 1
    assert told[0] > 1
    (one,) = said[told[0]].values()
    assert (one.cause, one.context["spans_now"], one.context["time_of_the_child"]) == ("unknown", 90 * told[0], "spent")


def test_what_has_come_back_before_that_is_not_told() -> None:
    def uneven(numbers: range, *child: str) -> list[str]:
        return [line for n in numbers for line in handled([n], *child, by="", took=100 + 37 * n % 60)]

    query = "CLIENT q<a ~4ms name=query"
    assert found(uneven(range(240), query), uneven(range(240, 330)), *(uneven(range(330 + 90 * n, 420 + 90 * n), query) for n in range(5))) == [{}] * 7


def test_of_a_process_alone_a_shift_is_told_again_after_it_was_mended() -> None:
    rounds = [handled(range(first, first + 90), *([QUERY] if mended else []), by="") for first, mended in ((120, 0), (210, 1), (300, 0))]
    assert [len(one) for one in found(handled(BEFORE, QUERY, by=""), *rounds)] == [0, 1, 0, 1]


def test_spans_are_gathered_until_there_are_enough() -> None:
    said = found([*handled(BEFORE, QUERY), *handled(BEFORE, QUERY, by="two")], *([*handled(range(120 + 8 * n, 128 + 8 * n))] for n in range(3)))
    assert [set(one) for one in said] == [set(), set(), set(), {"one143:a"}]
    assert said[3]["one143:a"].context["spans_now"] == 24


@pytest.mark.parametrize(
    ("case", "said", "mend"),
    [
        (
            "one of two instances loses it from a moment on",
            "0 of 60 'get' spans have the child 'query', of 120 earlier ones 120: instance one loses it.",
            "Look at the exporter and the configuration of instance one of web: its queue, its filters, instrumentation switched off there.",
        ),
        (
            "a new version does not have it",
            "0 of 30 'get' spans have the child 'query', of 120 of other instances 120: since version 2.",
            "See whether version 2 of web still does 'query', and if so, whether that library's instrumentation is still enabled.",
        ),
        (
            "all lose it at one moment, and take as long as before",
            "0 of 60 'get' spans have the child 'query', of 120 earlier ones 120: why is not known, but the time that it took is still spent.",
            "See what changed for web when 'query' was last recorded: configuration, filters of the Collector, instrumentation.",
        ),
    ],
)
def test_its_sentence_says_what_is_gone_and_where(case: str, said: str, mend: str) -> None:
    (one,) = found(FIRES[case][0])[0].values()
    assert sentence(one, 5) == said
    assert fix(one) == mend
