"""What is remembered of messages from pass to pass: within its limits, and across restarts."""

from __future__ import annotations

import base64
from typing import Any

import pyarrow as pa
import pytest
from looking import NOW
from message_cases import Kept, passes_of, taken
from spans import spans

from traced.graph import message_memory
from traced.graph.flows import total
from traced.graph.message_memory import MessageMemory

WAITS = "bill CONSUMER {trace}:c msg=kafka dest=t op=process id={trace}"


def written(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return base64.b64encode(sink.getvalue().to_pybytes()).decode()


@pytest.mark.parametrize("state", [{}, {"published": "!", "waiting": "", "channels": [[], []]}, {"published": "AAAA", "waiting": "", "channels": [[], []]}])
def test_a_state_that_is_none_is_refused(state: dict[str, Any]):
    with pytest.raises((KeyError, ValueError, TypeError)):
        MessageMemory().load(state)


def test_what_another_version_remembered_is_left_out_and_nothing_else_is_lost():
    memory = MessageMemory()
    memory.channels.join([("rabbitmq", "exchange", "queue")])
    state = memory.dump() | {"waiting": written(pa.table({"a": [1]})), "published": written(pa.table({"b": ["x"]}))}
    again = MessageMemory()
    again.load(state)
    assert again.empty
    assert again.channels.name("rabbitmq", "queue") == "exchange"


def test_the_oldest_that_wait_are_forgotten_and_counted_and_stay_counted_as_they_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(message_memory, "MAX_WAITING", 2)
    passes = passes_of()
    flows = [passes.run(spans(WAITS.format(trace=trace)).settled(), NOW).flows for trace in ("a", "b", "c")]
    assert passes.messages.dropped == 1
    published = spans(*(f"shop PRODUCER p{trace}:p msg=kafka dest=t op=send id={trace}" for trace in ("a", "b", "c")))
    flows.append(passes.run(published.settled(), NOW).flows)
    assert taken(total(*flows)) == {("", "t", "bill", ""): 1, ("shop", "t", "bill", "message_id"): 2}


def test_publications_beyond_the_limit_join_nothing_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(message_memory, "MAX_PUBLISHED", 1)
    passes = passes_of()
    log = Kept()
    for lines in (
        [f"shop PRODUCER p{n}:p msg=kafka dest=t op=send id={n}" for n in ("a", "b")],
        [WAITS.format(trace="a"), WAITS.format(trace="b")],
    ):
        outcome = passes.run(spans(*lines).settled(), NOW)
        log.add(outcome.messages, outcome.flows)
    assert log.taken() == {("shop", "t", "bill", "message_id"): 1, ("", "t", "bill", ""): 1}
