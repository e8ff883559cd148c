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


def test_queries_are_asked_about_a_kind_once_whatever_ids_names_and_messages_hold(monkeypatch: pytest.MonkeyPatch):
    passes = passes_of()
    asked: list[str] = []
    run = passes._workbench.run
    monkeypatch.setattr(passes._workbench, "run", lambda query, *params: asked.append(query.name) or run(query, *params))
    for number in range(3):
        lines = [f"shop PRODUCER p{number}:p msg=kafka dest=t op=send id=m{number} partition={number} offset={number} name='order {number} send'"]
        outcome = passes.run(spans(*lines).settled(), NOW)
        assert [(row["message_id"], row["offset"]) for row in outcome.messages.to_pylist()] == [(f"m{number}", number)]
    assert (asked.count("message_facts"), asked.count("message_versions")) == (1, 1)


def test_more_kinds_than_are_kept_are_asked_about_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("traced.analysis.messages.MAX_KINDS", 2)
    passes = passes_of()
    for number in range(3):
        lines = [f"shop PRODUCER p{number}{n}:p msg=kafka dest=t{number}{n} op=send" for n in range(3)]
        outcome = passes.run(spans(*lines).settled(), NOW)
        assert sorted(row["destination"] for row in outcome.messages.to_pylist()) == [f"t{number}{n}" for n in range(3)]
