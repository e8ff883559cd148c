"""A request or message was handled in the context of an earlier one that was over."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import look

from traced.detectors.leaked_context import sentence
from traced.model.occurrence import Level

DETECTOR = "leaked_context"


def entries(count: int, apart: str, *words: str, kind: str = "SERVER", parent: str = "") -> list[str]:
    """Give entries of one trace, one after the other, each 10 ms long."""
    number, unit = int(apart[:-2]), apart[-2:]
    return [f"web {kind} e{n}{parent} +{n * number}{unit} ~10ms {' '.join(words)}" for n in range(count)]


FIRES: Fires = {
    "a request in the context of one that had ended": (
        ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +2s ~5ms"],
        {
            "b": {
                "service": "web",
                "level": Level.VIOLATION,
                "confidence": 0.97,
                "above": "web server",
                "began_after_its_end_ms": 1990.0,
                "instance": "w1",
            }
        },
    ),
    "the same where flags say nothing: a little less sure": (
        ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 +2s ~5ms"],
        {"b": {"confidence": 0.8245, "parent_said_to_be_local": False}},
    ),
    "only the host is named": (
        ["web SERVER a host=h1 ~10ms", "web SERVER b<a host=h1 local +2s ~5ms"],
        {"b": {"confidence": 0.8245, "host": "h1", "instance": ""}},
    ),
    "one context that three requests found": (
        ["web SERVER a instance=w1 ~10ms", *(f"web SERVER b{n}<a instance=w1 local +{n}s ~5ms" for n in (1, 2, 3))],
        {"b1": {}, "b2": {}, "b3": {}},
    ),
    "each request in the context of the one before": (
        ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +1s ~10ms", "web SERVER c<b instance=w1 local +2s ~10ms"],
        {"b": {"began_after_its_end_ms": 990.0}, "c": {"began_after_its_end_ms": 990.0}},
    ),
    "what hangs below the misplaced request is not told again": (
        ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +1s ~10ms", "web INTERNAL c<b instance=w1", "web CLIENT d<c instance=w1"],
        {"b": {}},
    ),
    "under an INTERNAL span of the request that had ended": (
        ["web SERVER a instance=w1 ~10ms", "web INTERNAL i<a instance=w1 ~5ms", "web SERVER b<i instance=w1 local +2s ~5ms"],
        {"b": {"above": "web server", "above_kind": "SERVER"}},
    ),
    "under what was done at the start of the process": (
        ["web INTERNAL start instance=w1 ~1s", "web SERVER b<start instance=w1 local +60s ~5ms"],
        {"b": {"above_kind": "INTERNAL"}},
    ),
    "a message in the context of the one before": (
        ["bill CONSUMER a instance=b1 ~10ms msg=kafka op=process", "bill CONSUMER b<a instance=b1 local +1s ~10ms msg=kafka op=process"],
        {"b": {"service": "bill", "confidence": 0.97}},
    ),
    "a message below a poll that was made in the context of the one before": (
        [
            "bill CONSUMER a instance=b1 ~10ms msg=kafka op=process",
            "bill CLIENT p<a instance=b1 local +100ms ~800ms msg=kafka op=receive",
            "bill CONSUMER b<p instance=b1 local +1s ~10ms msg=kafka op=process",
        ],
        {"b": {"above": "bill consumer", "began_after_its_end_ms": 990.0}},
    ),
    "a message under work of the one before that still runs": (
        ["bill CONSUMER a instance=b1 ~10ms", "bill INTERNAL i<a instance=b1 +5ms ~10s", "bill CONSUMER b<i instance=b1 local +1s ~10ms"],
        {"b": {}},
    ),
    "a message in the context of another kind of message": (
        ["bill CONSUMER a instance=b1 ~10ms op=process name=orders", "bill CONSUMER b<a instance=b1 local +1s ~10ms op=process name=mails"],
        {"b": {"above": "orders"}},
    ),
    "a message in the context of a request that had ended: perhaps a queue of its own": (
        ["web SERVER a instance=w1 ~10ms", "web CONSUMER b<a instance=w1 local +1s ~10ms"],
        {"b": {"confidence": 0.8245}},
    ),
    "a request in the context of a message": (
        ["web CONSUMER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +1s ~10ms"],
        {"b": {"above_kind": "CONSUMER", "confidence": 0.97}},
    ),
    "more than the margin after the end": (
        ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 +11001us ~10ms"],
        {"b": {"began_after_its_end_ms": 1.001}},
    ),
    "a busy loop: the next message at once, and flags say that the parent is local": (
        ["bill CONSUMER a instance=b1 ~10ms", "bill CONSUMER b<a instance=b1 local +10001us ~10ms", "bill CONSUMER c<a instance=b1 local +20002us ~10ms"],
        {"b": {"began_after_its_end_ms": 0.001}, "c": {"began_after_its_end_ms": 10.002}},
    ),
    "twenty parentless requests of one trace, five seconds apart": (
        entries(20, "5000ms", "instance=w1"),
        {"e0": {"entries": 20, "spread_seconds": 95.0, "p99_ms": 10.0, "confidence": 0.75}},
    ),
    "twenty parentless messages of one trace": (entries(20, "500ms", "instance=w1", kind="CONSUMER"), {"e0": {"entries": 20}}),
    "a hundred requests below something of the process that has not ended": (
        entries(100, "500ms", "instance=w1", "local", "route=/pay", parent="<start"),
        {"e0": {"entries": 100, "spread_seconds": 49.5}},
    ),
}

STAYS_SILENT: Silent = {
    "a request in the context of one that had ended, of processes without a name": ["web SERVER a ~10ms", "web SERVER b<a local +2s ~5ms"],
    "only one of the two names its instance": ["web SERVER a ~10ms", "web SERVER b<a instance=w1 local +2s ~5ms"],
    "another instance of the service": ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w2 +2s ~5ms"],
    "two instances on one host": ["web SERVER a host=h1 instance=w1 ~10ms", "web SERVER b<a host=h1 instance=w2 +2s ~5ms"],
    "equal instances on two hosts": ["web SERVER a host=h1 instance=1 ~10ms", "web SERVER b<a host=h2 instance=1 +2s ~5ms"],
    "another service of the same instance": ["web SERVER a instance=1 ~10ms", "cart SERVER b<a instance=1 +2s ~5ms"],
    "a parent said to be remote: it was handed on": ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 remote +2s ~5ms"],
    "doubled instrumentation: the outer span is still open": ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local"],
    "doubled instrumentation that ends before its inner span": ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +5ms ~1s"],
    "within the margin after the end": ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 +11ms ~10ms"],
    "at the very end": ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +10ms ~10ms"],
    "a task that was started and not waited for": ["web SERVER a instance=w1 ~10ms", "web INTERNAL b<a instance=w1 local +2s ~5ms"],
    "a call after the answer": ["web SERVER a instance=w1 ~10ms", "web CLIENT b<a instance=w1 local +2s ~5ms"],
    "a message sent after the answer": ["web SERVER a instance=w1 ~10ms", "web PRODUCER b<a instance=w1 local +2s ~5ms"],
    "a queue of its own": ["web PRODUCER a instance=w1 ~10ms", "web CONSUMER b<a instance=w1 local +2s ~5ms"],
    "a queue of its own, sent by a CLIENT": ["web CLIENT a instance=w1 ~10ms msg=sqs op=publish", "web CONSUMER b<a instance=w1 +2s ~5ms msg=sqs"],
    "a queue of its own below a request": ["web SERVER r instance=w1 ~20ms", "web PRODUCER a<r instance=w1 ~10ms", "web CONSUMER b<a instance=w1 +2s ~5ms"],
    "a late call to itself": ["web CLIENT a instance=w1 ~10ms", "web SERVER b<a instance=w1 +2s ~5ms"],
    "the halves of a shared id": ["web CLIENT a instance=w1 ~10ms", "web SERVER a instance=w1 +2s ~5ms"],
    "a batch: received, then processed one by one": [
        "bill CONSUMER a instance=b1 ~10ms msg=kafka op=receive",
        *(f"bill CONSUMER p{n}<a instance=b1 local +{n}s ~5ms msg=kafka op=process" for n in (1, 2, 3)),
    ],
    "a batch that a CLIENT received": ["bill CLIENT a instance=b1 ~10ms msg=kafka op=receive", "bill CONSUMER b<a instance=b1 local +2s ~5ms msg=kafka"],
    "a poll, and what it brought, by an older tracer that names no operation": [
        "bill CONSUMER a instance=b1 ~10ms name=poll",
        "bill CONSUMER b<a instance=b1 +2s ~5ms name=on-message",
    ],
    "a batch job that hands out messages": ["bill INTERNAL a instance=b1 ~1s", "bill CONSUMER b<a instance=b1 +2s ~5ms"],
    "a batch job that still runs": ["bill INTERNAL a instance=b1 ~1h", *(f"bill CONSUMER k{n}<a instance=b1 local +{n}min ~5ms" for n in range(1, 30))],
    "a parent of no kind: perhaps it called": ["web UNSPECIFIED a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +2s ~5ms"],
    "a message under work of a request that still runs": [
        "web SERVER a instance=w1 ~10ms",
        "web INTERNAL i<a instance=w1 +5ms ~10s",
        "web CONSUMER b<i instance=w1 local +1s ~5ms",
    ],
    "a step of a request that ended, the request still open": [
        "web SERVER a instance=w1 ~10s",
        "web INTERNAL i<a instance=w1 ~5ms",
        "web SERVER b<i instance=w1 local +1s ~5ms",
    ],
    "a stream: its messages come while it is open": [
        "web SERVER a instance=w1 ~1h",
        *(f"web SERVER m{n}<a instance=w1 local +{n}min ~5ms" for n in range(1, 30)),
    ],
    "a WebSocket: the request that opened it was answered": ["web SERVER a instance=w1 status=101 ~10ms", "web CONSUMER b<a instance=w1 local +1s ~5ms"],
    "a parent without a time": ["web SERVER a instance=w1 +-1700000000s ~10ms", "web SERVER b<a instance=w1 local +2s ~5ms"],
    "a parent of no duration": ["web SERVER a instance=w1 ~0ns", "web SERVER b<a instance=w1 local +2s ~5ms"],
    "a parent that ends before it starts": ["web SERVER a instance=w1 ~-1s", "web SERVER b<a instance=w1 local +2s ~5ms"],
    "a span of no duration": ["web SERVER a instance=w1 ~10ms", "web SERVER b<a instance=w1 local +2s ~0ns"],
    "neither has a time": ["web SERVER a instance=w1 +-1700000000s ~0ns", "web SERVER b<a instance=w1 local +-1700000000s ~0ns"],
    "an absent parent": ["web SERVER a instance=w1 ~10ms", "web SERVER b<x instance=w1 local +2s ~5ms"],
    "a link to what was over: as it should be": ["web SERVER one:a instance=w1 ~10ms", "web SERVER two:b instance=w1 ->one:a +2s ~5ms"],
    "no service name": ["- SERVER a instance=w1 ~10ms", "- SERVER b<a instance=w1 local +2s ~5ms"],
    "the same ids in two traces": [
        "web SERVER one:a instance=w1 ~10ms",
        "web SERVER two:a instance=w1 +1s ~5ms",
        "web SERVER two:b<a instance=w1 +1001ms ~3ms",
    ],
    "nineteen parentless requests of one trace": entries(19, "5000ms", "instance=w1"),
    "twenty parentless requests in traces of their own": [line.replace(" e", f" t{n}:e") for n, line in enumerate(entries(20, "5000ms", "instance=w1"))],
    "twenty parentless requests of one trace, of processes without a name": entries(20, "5000ms"),
    "twenty parentless requests of one trace at several instances: they were sent so": [
        *entries(10, "5000ms", "instance=w1"),
        *(line.replace(" e", " f") for line in entries(10, "5000ms", "instance=w2")),
    ],
    "twenty parentless requests that overlap": [line.replace("~10ms", "~3s") for line in entries(20, "1000ms", "instance=w1")],
    "twenty parentless requests within a second": entries(20, "50ms", "instance=w1"),
    "ten requests of each of two routes": [
        *entries(10, "5000ms", "instance=w1", "route=/a"),
        *(x.replace(" e", " f") for x in entries(10, "5000ms", "instance=w1", "route=/b")),
    ],
    "twenty calls of a batch job whose span is absent": entries(20, "5000ms", "instance=w1", "remote", parent="<job"),
    "twenty calls below an absent span, and flags say nothing": entries(20, "5000ms", "instance=w1", parent="<job"),
    "twenty messages below an absent span of the process: a job that still runs": entries(20, "5000ms", "instance=w1", "local", kind="CONSUMER", parent="<job"),
    "twenty linked messages of one trace": ["shop PRODUCER o:p", *entries(20, "5000ms", "instance=w1", "->o:p", kind="CONSUMER")],
    "twenty calls of one client": ["cron CLIENT c ~10min", *entries(20, "5000ms", "instance=w1", parent="<c")],
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
        (
            ["web SERVER a instance=w1 ~10ms name=GET", "web SERVER b<a instance=w1 local +2s ~5ms name=PUT"],
            "1 'PUT' span began in the context of work of the same process that was over, such as 'GET'.",
        ),
        (entries(20, "5000ms", "instance=w1"), "1 trace holds very many requests of 'web server', one of them 20 over 95 s."),
    ],
)
def test_its_sentence_says_what_was_over(lines: list[str], said: str) -> None:
    (one,) = look(lines, only=DETECTOR).found(DETECTOR).values()
    assert sentence(one, 1) == said
