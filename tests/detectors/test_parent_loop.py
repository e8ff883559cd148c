"""A span is its own ancestor."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent

from traced.model.occurrence import Level

DETECTOR = "parent_loop"

FIRES: Fires = {
    "a span that names itself": (["web SERVER a<a"], {"a": {"service": "web", "level": Level.VIOLATION, "itself": True}}),
    "two that name each other": (["web SERVER a<b", "web INTERNAL b<a"], {"a": {"itself": False}, "b": {"itself": False}}),
    "three in a ring": (["web SERVER a<c", "web INTERNAL b<a", "web INTERNAL c<b"], {"a": {}, "b": {}, "c": {}}),
    "only the ring, not what hangs below it": (["web SERVER a<b", "web INTERNAL b<a", "web INTERNAL c<b", "web INTERNAL d<c"], {"a": {}, "b": {}}),
    "a ring beside a root": (["web SERVER r", "web CLIENT a<b", "web CLIENT b<a"], {"a": {}, "b": {}}),
    "two rings in one trace": (["web CLIENT a<b", "web CLIENT b<a", "web CLIENT c<d", "web CLIENT d<c"], {"a": {}, "b": {}, "c": {}, "d": {}}),
    "a ring through two services": (["web CLIENT a<b", "cart SERVER b<a"], {"a": {"service": "web"}, "b": {"service": "cart"}}),
    "a ring of fifty": ([f"web INTERNAL s{n}<s{(n + 1) % 50}" for n in range(50)], {f"s{n}": {} for n in range(50)}),
    "one ring sent twice": (["web SERVER a<a", "web SERVER a<a"], {"a": {}}),
    "a sending half that names the shared id": (["web CLIENT b<b", "cart SERVER b<b"], {"b": {"service": "cart"}}),
}

STAYS_SILENT: Silent = {
    "a root": ["web SERVER a"],
    "a chain": ["web SERVER a", "web INTERNAL b<a", "web CLIENT c<b", "cart SERVER d<c"],
    "a chain of 500": ["web SERVER s0", *[f"web INTERNAL s{n}<s{n - 1}" for n in range(1, 500)]],
    "a receiving half whose parent id is the shared id": ["web SERVER a", "web CLIENT b<a", "cart SERVER b<b"],
    "a consuming half whose parent id is the shared id": ["shop PRODUCER p", "billing CONSUMER p<p"],
    "a receiving half with its sender's parent": ["web SERVER a", "web CLIENT b<a", "cart SERVER b<a"],
    "a child of each half of a shared id": ["web CLIENT b", "cart SERVER b", "web INTERNAL c<b", "cart INTERNAL d<b"],
    "an absent parent": ["web SERVER a<x"],
    "the same id in another trace as the parent": ["web CLIENT one:a", "cart SERVER two:b<a", "web CLIENT two:a"],
    "equal ids across traces that would form a ring": ["web CLIENT one:a<b", "web CLIENT two:b<a"],
    "a link back to the consumer's own trace": ["shop PRODUCER p", "billing CONSUMER k<p ->p"],
    "links in a ring": ["a CONSUMER one:k ->two:l", "b CONSUMER two:l ->one:k"],
    "services that call each other in a ring": ["a SERVER s", "a CLIENT b<s", "b SERVER c<b", "b CLIENT d<c", "a SERVER e<d"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
