"""The message graph: producer, destination, consumer group, consumer; with delays, and lag where offsets allow."""

from __future__ import annotations

import pyarrow as pa
import pytest
from message_cases import look

from traced.analysis.message_history import MessageHistory
from traced.graph.channels import Channels
from traced.graph.message_graph import Offsets, as_edges, edges_by_minute, total
from traced.model.messages import MESSAGES


def edges(*lines: str) -> list[dict]:
    """Give the edges of one pass."""
    rows, flows = look(lines)
    offsets = Offsets()
    offsets.learn(pa.Table.from_pylist(rows, schema=MESSAGES))
    return [edge.as_dict() for edge in as_edges(total(edges_by_minute(flows).values()), offsets)]


def test_an_edge_says_who_sends_what_to_whom():
    (edge,) = edges(
        "shop PRODUCER a:p msg=kafka dest=orders op=send ~10ms env=prod",
        "bill CONSUMER b:c msg=kafka dest=orders op=process group=g ->a:p +30ms err env=prod",
    )
    assert edge == {
        "producer": "shop",
        "destination": "orders",
        "system": "kafka",
        "consumer_group": "g",
        "consumer": "bill",
        "messages": 1,
        "published": 1,
        "at_least": False,
        "errors": 1,
        "dead_letters": 0,
        "lag": None,
        "delay": {"count": 1, "mean_seconds": 0.02, "p50_below_seconds": 0.025, "p99_below_seconds": 0.025},
        "environment": "prod",
    }


def test_a_side_without_a_name_is_empty_and_what_nobody_took_has_no_consumer():
    found = edges("shop PRODUCER p msg=kafka dest=orders op=send", "bill CONSUMER x:c msg=rabbitmq dest=jobs", "- CONSUMER y:c msg=rabbitmq dest=jobs")
    assert [(e["producer"], e["destination"], e["consumer"], e["messages"]) for e in found] == [
        ("", "jobs", "", 1),
        ("", "jobs", "bill", 1),
        ("shop", "orders", "", 1),
    ]


def test_a_queue_has_another_name_than_its_exchange():
    (edge,) = edges("shop PRODUCER p msg=rabbitmq dest=exchange op=send", "bill CONSUMER c<p msg=rabbitmq dest=queue op=process")
    assert (edge["destination"], edge["producer_destination"]) == ("queue", "exchange")


def test_lag_is_what_was_published_and_not_taken_by_partition():
    sends = [f"shop PRODUCER p{n} msg=kafka dest=t op=send partition={n % 2} offset={n}" for n in range(10)]
    found = edges(*sends, "bill CONSUMER c<p4 msg=kafka dest=t op=process group=g partition=0 offset=4", "far CONSUMER d<p1 msg=kafka dest=t op=process")
    assert {e["consumer"]: e["lag"] for e in found} == {"bill": 4, "far": None}


# ---------------------------------------------------------------------- channels


def test_links_and_parents_prove_a_channel_and_dead_letters_stay_out():
    channels = Channels()
    channels.learn(
        pa.Table.from_pylist(
            [
                {"system": "rabbitmq", "producer_destination": "exchange,key", "destination": "exchange", "dead_letter": False, "joined_by": "parent"},
                {"system": "rabbitmq", "producer_destination": "exchange", "destination": "queue", "dead_letter": False, "joined_by": "link"},
                {"system": "rabbitmq", "producer_destination": "exchange", "destination": "queue.dlq", "dead_letter": True, "joined_by": "link"},
                {"system": "rabbitmq", "producer_destination": "queue.dlq", "destination": "other", "dead_letter": False, "joined_by": "link"},
                {"system": "rabbitmq", "producer_destination": "exchange", "destination": "third", "dead_letter": False, "joined_by": "message_id"},
            ]
        )
    )
    names = ("exchange,key", "exchange", "queue", "queue.dlq", "other", "third")
    assert [channels.name("rabbitmq", name) for name in names] == ["exchange", "exchange", "exchange", "queue.dlq", "other", "third"]
    again = Channels()
    again.load(channels.dump())
    assert [again.name("rabbitmq", name) for name in names] == [channels.name("rabbitmq", name) for name in names]


# ---------------------------------------------------------------------- over time


def history_of(*lines: str, history: MessageHistory | None = None) -> MessageHistory:
    history = history or MessageHistory(100, 60)
    rows, flows = look(lines)
    history.add(pa.Table.from_pylist(rows, schema=MESSAGES), flows)
    return history


def test_a_history_is_asked_by_minute_and_survives_a_restart():
    history = history_of("shop PRODUCER p msg=kafka dest=t op=send", "bill CONSUMER c<p msg=kafka dest=t op=process @90s")
    start = 1_700_000_000.0
    assert [(e.key.consumer, e.counts.messages) for e in history.message_edges(None, None)] == [("bill", 1)]
    assert [(e.key.consumer, e.counts.messages) for e in history.message_edges(start, start)] == [("", 1)]
    assert [(e.key.consumer, e.counts.messages) for e in history.message_edges(start + 60, start + 120)] == [("bill", 1)]
    again = MessageHistory(100, 60)
    again.load(history.dump())
    assert again.message_edges(None, None) == history.message_edges(None, None)


def test_a_full_history_counts_what_it_leaves_out():
    history = MessageHistory(2, 60)
    history_of(*(f"shop PRODUCER p{n} msg=kafka dest=t{n} op=send" for n in range(5)), history=history)
    assert len(history.message_edges(None, None)) == 2
    assert history.dropped == 3


@pytest.mark.parametrize("state", [{}, {"edges": [], "offsets": []}, {"edges": [[["a"], [1]]], "offsets": [[], []]}])
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises((KeyError, IndexError, ValueError, TypeError)):
        MessageHistory(100, 60).load(state)
