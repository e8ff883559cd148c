"""Whatever senders put into attributes, kinds, parents and links of messages: a pass reads it, and its sums add up."""

from __future__ import annotations

import shlex
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from looking import NOW
from message_cases import passes_of, sums
from spans import Spans, spans
from thorough import rounds

from traced.graph.flows import flows, less, total

KEYS = (
    "messaging.system", "messaging.operation", "messaging.operation.type", "messaging.destination.name", "messaging.destination", "aws.queue_url",
    "messaging.batch.message_count", "messaging.kafka.offset", "messaging.destination.partition.id", "messaging.message.id", "celery.retries",
    "kafka.record.queue_time_ms", "message.schema.version", "cloudevents.event_type", "messaging.header.schema-version", "messaging.kafka.message.tombstone",
    "messaging.destination.temporary", "message.schema.disposition",
)  # fmt: skip
VALUES = (
    "", "kafka", "rabbitmq", "send", "process", "receive", "ack", "t", "t.v2", "(temporary)", "-1", "0", "3", "999999999999999999", "99999999999999999999",
    "1.5",
    "true", "com.shop.v3", '["1","2"]', '["', "\x1f", "é\u202e", "handled", "https://sqs/1/q?x#y", "/", "x" * 5000,
)  # fmt: skip
KINDS = ("PRODUCER", "CONSUMER", "CLIENT", "SERVER", "INTERNAL", "UNSPECIFIED")
NAMES = ("a", "b", "c", "d", "e", "f")


@st.composite
def some_spans(draw: Any) -> Spans:
    """Give six spans of two traces that have to do with each other in any way."""
    lines = []
    for number, name in enumerate(NAMES):
        trace = draw(st.sampled_from(("x", "y")))
        parent = draw(st.sampled_from(("", *(f"<{other}" for other in NAMES[:number]))))
        words = [f"{draw(st.sampled_from(('shop', 'bill', '-')))}", draw(st.sampled_from(KINDS)), f"{trace}:{name}{parent}"]
        words += [f"{key}={value}" for key, value in draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=5)).items()]
        for target in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
            words.append(f"->{draw(st.sampled_from(('x', 'y', 'z')))}:{target}[flags={draw(st.integers(0, 3))};offset={draw(st.integers(-1, 2))}]")
        words += draw(st.lists(st.sampled_from(("err", "dropped_links=2", "state=ot=th:8", "+9ms", "name=recv")), max_size=2, unique=True))
        lines.append(shlex.join(words))
    return spans(*lines)


@settings(max_examples=rounds(20, 1000), deadline=None)
@given(some_spans())
def test_any_spans_are_read_and_their_flows_are_the_sums_of_their_rows(given_spans):
    passes = passes_of()
    outcome = passes.run(given_spans.settled(), NOW)
    assert passes.messages.unread == 0
    rows = outcome.messages
    assert total(flows(rows), less(outcome.flows)).num_rows == 0
    assert all(count >= 0 for count in rows.column("messages").to_pylist())
    assert sum(outcome.flows.column("traces").to_pylist()) >= len({(r["trace_id_low"], r["role"]) for r in rows.to_pylist()})
    assert len(sums([outcome.flows])) <= outcome.flows.num_rows
