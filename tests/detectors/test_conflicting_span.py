"""Two different spans of one trace carry the same span id."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent

from traced.model.occurrence import Level

DETECTOR = "conflicting_span"

FIRES: Fires = {
    "another name": (["web SERVER a name=x", "web SERVER a name=y"], {"a": {"service": "web", "level": Level.VIOLATION, "repeats": 1}}),
    "another parent": (["web SERVER a", "web INTERNAL b<a", "web INTERNAL c<a", "web INTERNAL b<c +1ms ~98ms"], {"b": {}}),
    "another start": (["web SERVER a +1ms ~1ms", "web SERVER a +2ms ~1ms"], {"a": {}}),
    "an earlier end": (["web SERVER a ~9ms", "web SERVER a ~5ms"], {"a": {}}),
    "another status": (["web SERVER a", "web SERVER a err"], {"a": {}}),
    "a later end, but another name": (["web SERVER a name=x ~5ms", "web SERVER a name=y ~9ms"], {"a": {}}),
    "two others beside the first": (["web SERVER a name=x", "web SERVER a name=y", "web SERVER a name=z"], {"a": {"repeats": 2}}),
    "two CLIENTs of one service": (["web CLIENT a name=x", "web CLIENT a name=y"], {"a": {}}),
    "two INTERNAL spans": (["web INTERNAL a name=x", "web INTERNAL a name=y"], {"a": {}}),
    "two services that both receive": (["cart SERVER a name=x", "stock SERVER a name=y"], {"a": {"repeats": 1}}),
    "two services with one name for it, but other times": (["cart SERVER a name=x ~1ms", "stock SERVER a name=x ~2ms"], {"a": {}}),
    "five receivers that took one sender's id": (
        ["shop CLIENT a", *[f"pusher SERVER a name=receive +{n}ms ~1ms" for n in range(1, 6)]],
        {"a": {"repeats": 4, "level": Level.IMPROVEMENT, "cause": "sender_id"}},
    ),
    "a message that two services took under its sender's id": (
        ["shop PRODUCER a", "billing CONSUMER a name=take +1ms ~1ms", "audit CONSUMER a name=take +2ms ~1ms"],
        {"a": {"level": Level.IMPROVEMENT, "cause": "sender_id", "repeats": 1}},
    ),
    "receivers of one name, but nobody who sent": (
        [f"pusher SERVER a name=receive +{n}ms ~1ms" for n in range(1, 4)],
        {"a": {"level": Level.VIOLATION, "cause": ""}},
    ),
    "two senders of one id beside a receiver": (
        ["web CLIENT a name=x", "web CLIENT a name=y", "cart SERVER a"],
        {"a": {"level": Level.VIOLATION, "cause": ""}},
    ),
    "receivers of one sender that do different things": (
        ["shop CLIENT a", "cart SERVER a name=x +1ms ~1ms", "cart SERVER a name=x +2ms ~1ms", "cart SERVER a name=y +3ms ~1ms"],
        {"a": {"level": Level.VIOLATION, "cause": "", "repeats": 2}},
    ),
    "a third span beside the halves of a shared id": (["web CLIENT a", "cart SERVER a name=x", "stock SERVER a name=y"], {"a": {}}),
}

STAYS_SILENT: Silent = {
    "spans with ids of their own": ["web SERVER a", "web CLIENT b<a"],
    "the same span twice": ["web SERVER a", "web SERVER a"],
    "the same span from two resources": ["web SERVER a name=x", "shop SERVER a name=x"],
    "sent again with a later end: it was exported while it ran": ["web SERVER a ~5ms", "web SERVER a ~9ms @5s"],
    "sent again with a later end, one half of a shared id": ["web CLIENT a ~9ms name=call", "cart SERVER a ~5ms", "web CLIENT a ~12ms name=call @5s"],
    "the two halves of a shared id": ["web CLIENT a", "cart SERVER a"],
    "the two halves of a shared id in one service": ["web CLIENT a name=x", "web SERVER a name=y"],
    "the receiving half names another parent": ["web SERVER z", "web CLIENT a<z", "cart SERVER a"],
    "a producer and a consumer of one id": ["shop PRODUCER a", "billing CONSUMER a"],
    "equal ids in different traces": ["web SERVER one:a name=x", "web SERVER two:a name=y"],
    "the same id in every trace": [f"web CLIENT {trace}:a name={trace}" for trace in ("one", "two", "three")],
    "an INTERNAL span with the id of a SERVER": ["web SERVER a", "web INTERNAL a"],
    "one CLIENT answered by two SERVERs": ["web CLIENT a", "cart SERVER b<a", "stock SERVER c<a"],
    "a broker's redelivery, with ids of its own": ["shop PRODUCER p", "billing CONSUMER k<p", "billing CONSUMER r<p +5s"],
    "two services that took one message, each with a span of its own": ["shop PRODUCER p", "billing CONSUMER k<p", "audit CONSUMER m<p"],
    "a sender that came twice beside its receiver": ["shop CLIENT a", "shop CLIENT a", "pusher SERVER a"],
    "a receiver that took its sender's id and came twice": ["shop CLIENT a", "pusher SERVER a", "pusher SERVER a"],
    "a second try with an id of its own": ["web CLIENT a", "cart SERVER a +1ms ~1ms", "cart SERVER b<a +5ms ~1ms"],
    "a trace that was seen by two Collectors": ["web SERVER a", "web CLIENT b<a", "web SERVER a @30s", "web CLIENT b<a @30s"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
