"""A service records so many spans in one trace that what matters is hard to find among them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import look

from traced.detectors.span_flood import sentence
from traced.model.occurrence import Level

DETECTOR = "span_flood"


def under(parent: str, count: int, *words: str, kind: str = "INTERNAL", service: str = "web", first: int = 0) -> list[str]:
    """Give spans under one parent, 1 ms one after the other, each 10 ms long unless the words say otherwise."""
    duration = "" if any(word.startswith("~") for word in words) else "~10ms"
    return [f"{service} {kind} s{n}<{parent} +{n}ms {duration} {' '.join(words)}" for n in range(first, first + count)]


ROOT = "web SERVER a ~1s"

FIRES: Fires = {
    "eleven INTERNAL spans: SPA-001, just exceeded": (
        [ROOT, *under("a", 11)],
        {"s0": {"service": "web", "level": Level.INFORMATION, "cause": "internal_spans", "spans": 11, "names": 1, "rule": "SPA-001", "allowed": 10}},
    ),
    "eleven INTERNAL spans, at one of the name that most have": (
        [ROOT, *under("a", 4, "name=few"), *under("a", 7, "name=most", first=4)],
        {"s4": {"spans": 11, "names": 2, "worst_name": "most", "of_worst_name": 7}},
    ),
    "a hundred and one INTERNAL spans at any depth: more than ten times the rule": (
        [ROOT, *(f"web INTERNAL i{n}<{f'i{n - 1}' if n else 'a'} +{n}ms ~10ms" for n in range(101))],
        {"i0": {"level": Level.IMPROVEMENT, "cause": "internal_spans", "spans": 101}},
    ),
    "twenty-one short spans of any kind: SPA-005": (
        [ROOT, *under("a", 21, "~4ms", kind="CLIENT")],
        {"s0": {"level": Level.INFORMATION, "cause": "short_spans", "spans": 21, "rule": "SPA-005", "allowed": 20}},
    ),
    "two hundred and one short spans": (
        [ROOT, *under("a", 201, "~4ms", "db=redis", kind="CLIENT")],
        {"s0": {"level": Level.IMPROVEMENT, "cause": "short_spans", "spans": 201}},
    ),
    "a hundred calls of one name under one parent": (
        [ROOT, *under("a", 100, kind="CLIENT")],
        {"s0": {"level": Level.IMPROVEMENT, "cause": "siblings", "spans": 100, "of_worst_name": 100}},
    ),
    "three floods of the same spans, each at a span of its own": (
        [ROOT, *under("a", 150, "~1ms")],
        {
            "s0": {"cause": "siblings", "spans": 150, "level": Level.IMPROVEMENT},
            "s1": {"cause": "internal_spans", "spans": 150, "level": Level.IMPROVEMENT},
            "s2": {"cause": "short_spans", "spans": 150, "level": Level.INFORMATION},
        },
    ),
    "each service of a trace for itself": (
        [ROOT, *under("a", 11), "cart SERVER b<a +100ms ~500ms", *under("b", 12, service="cart", first=50)],
        {"s0": {"service": "web", "spans": 11}, "s50": {"service": "cart", "spans": 12}},
    ),
    "each trace for itself": (
        [line.replace(" s", f" {t}:s").replace(" a ", f" {t}:a ") for t in ("one", "two") for line in (ROOT, *under("a", 11))],
        {"one:s0": {}, "two:s0": {}},
    ),
    "INTERNAL spans whose parents are absent": (under("x", 11), {"s0": {"cause": "internal_spans"}}),
    "spans without a name": ([ROOT, *under("a", 11, "name=")], {"s0": {"worst_name": ""}}),
}

STAYS_SILENT: Silent = {
    "INTERNAL spans that share a SERVER's id: pieces of it, sent without their kind": [
        ROOT,
        *(f"web {kind} s{n}<a name=get +{n}ms ~{lasts}ms" for n in range(11) for kind, lasts in (("SERVER", 10), ("INTERNAL", 0))),
    ],
    "ten INTERNAL spans": [ROOT, *under("a", 10)],
    "twenty INTERNAL spans, ten in each of two traces": [
        line.replace(" s", f" {t}:s").replace(" a ", f" {t}:a ") for t in ("one", "two") for line in (ROOT, *under("a", 10))
    ],
    "twenty INTERNAL spans, ten of each of two services": [ROOT, *under("a", 10), *under("a", 10, service="cart", first=50)],
    "twenty short spans": [ROOT, *under("a", 20, "~4ms", kind="CLIENT")],
    "forty short spans, twenty of each of two services": [
        ROOT,
        *under("a", 20, "~1ms", kind="CLIENT"),
        *under("a", 20, "~1ms", kind="CLIENT", service="cart", first=50),
    ],
    "ninety-nine calls of exactly 5 ms": [ROOT, *under("a", 99, "~5ms", kind="CLIENT")],
    "spans of no duration, of which the end is not known": [ROOT, *under("a", 60, "~0ns", kind="CLIENT")],
    "spans that end before they start": [ROOT, *under("a", 60, "~-1s", kind="CLIENT")],
    "spans without a time": [ROOT, *(f"web CLIENT s{n}<a +-1700000000s ~1ms" for n in range(60))],
    "a hundred calls of which each has a name of its own": [ROOT, *(f"web CLIENT c{n}<a ~10ms name=call{n}" for n in range(100))],
    "a hundred and fifty calls under two parents": [ROOT, "web SERVER b ~1s", *under("a", 75, kind="CLIENT"), *under("b", 75, kind="CLIENT", first=100)],
    "a hundred and fifty calls of two services": [ROOT, *under("a", 75, kind="CLIENT"), *under("a", 75, kind="CLIENT", service="cart", first=100)],
    "queries repeated under one parent: a fault of their own kind": [ROOT, *under("a", 150, "db=postgresql", "addr=orders-db", kind="CLIENT")],
    "a message to very many consumers": ["shop PRODUCER p ~1s", *under("p", 150, kind="CONSUMER", service="bill")],
    "one client's very many answers": ["shop CLIENT p ~1s", *under("p", 150, kind="SERVER", service="bill")],
    "a hundred orphans: what is missing is their parent": under("x", 100, kind="CLIENT"),
    "ten INTERNAL spans sent twice": [ROOT, *under("a", 10), *under("a", 10)],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (under("a", 11), "2 traces have more than 10 INTERNAL spans in web: one of them 11, of which 11 are 'web internal'."),
        (under("a", 21, "~1ms", kind="CLIENT"), "2 traces have more than 20 spans under 5 ms in web: one of them 21, of which 21 are 'web client'."),
        (
            under("a", 100, "name=call", kind="CLIENT"),
            "2 traces have 100 or more spans of one name under one parent in web: one of them 100, of which 100 are 'call'.",
        ),
    ],
)
def test_its_sentence_says_what_there_is_too_much_of(lines: list[str], said: str) -> None:
    (one,) = look([ROOT, *lines], only=DETECTOR).found(DETECTOR).values()
    assert sentence(one, 2) == said
