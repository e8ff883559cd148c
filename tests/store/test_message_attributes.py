"""What the store keeps of messages is the same in hot segments and in sealed files, and is all that a pass needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from message_cases import passes_of
from spans import first_look, shared_workbench, spans
from store_parts import freeze, open_store

from traced.model.schema import REPEATS
from traced.receiver.decode import decode_traces
from traced.receiver.wire import Limits
from traced.store.queries import load_folder
from traced.store.store import Store

LINES = (
    "shop PRODUCER a:p msg=kafka dest=t op=send v=2 partition=0 offset=5 env=prod thread.id=7",
    "shop PRODUCER a2:p msg=kafka dest=t op=send resource.deployment.environment=prod",
    "bill CONSUMER b:c msg=kafka dest=t op=process group=g ->a:p[flags=1;offset=5;partition=0;messaging.kafka.message.key=k] ->a2:p env=prod",
    "bill CONSUMER c:c celery.action=run messaging.message_id=7 aws.queue_url=https://sqs/1/jobs",
    "web SERVER d:s route=/x",
)


def messages(store: Store) -> list[dict[str, Any]]:
    """Give the message rows of one pass over everything that a store has."""
    bench = shared_workbench()
    bench.register({"window_spans": store.window(0, 2**62)})
    staged = bench.run(load_folder("analysis")["staged_spans"], {"since": 0, "until": 2**62})
    rows = passes_of(store).run(first_look(staged, REPEATS.empty_table()), 0.0).messages.to_pylist()
    return sorted(rows, key=lambda row: (row["trace_id_low"], row["span_id"], row["link_position"]))


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path, merge_below_bytes=0) as opened:
        for _, body in spans(*LINES).requests():
            opened.accept(decode_traces(body, Limits())).result(30)
        yield opened


def test_hot_and_sealed_spans_tell_the_same_messages(store: Store) -> None:
    hot = messages(store)
    freeze(store)
    assert messages(store) == hot
    taken = [row for row in hot if row["service_name"] == "bill"]
    assert [(row["joined_by"], row["link_position"], row["offset"], row["environment"]) for row in taken if row["system"] == "kafka"] == [
        ("link", 1, 5, "prod"),
        ("link", 2, None, "prod"),
    ]
    assert {row["environment"] for row in hot if row["service_name"] == "shop"} == {"prod"}
    assert [(row["system"], row["destination"], row["message_id"]) for row in taken if row["system"] == "celery"] == [("celery", "jobs", "7")]


def test_only_what_says_something_of_messages_is_kept_twice(store: Store) -> None:
    freeze(store)
    (generation,) = store.catalog.parts.generations
    rows = pq.read_table(generation.path("spans"), columns=["service_name", "message_attributes"]).to_pylist()
    keys = {key for row in rows for key in (entry["key"] for entry in row["message_attributes"] or ())}
    assert "thread.id" not in keys
    assert {"messaging.system", "celery.action", "aws.queue_url", "message.schema.version"} <= keys
    assert [row["message_attributes"] for row in rows if row["service_name"] == "web"] == [None]


def test_keys_that_migrations_are_configured_by_are_kept_too(tmp_path: Path) -> None:
    with open_store(tmp_path) as opened:
        store = Store(opened.settings.model_copy(update={"data_dir": tmp_path / "other"}), opened._telemetry, frozenset({"bill.format"}))
        store.open()
        for _, body in spans("bill CONSUMER c bill.format=old other.key=1").requests():
            store.accept(decode_traces(body, Limits())).result(30)
        kept = [store.window(0, 2**62).column("message_attributes").to_pylist()]
        freeze(store)
        kept.append(store.window(0, 2**62).column("message_attributes").to_pylist())
        store.close()
    assert kept == [[[{"key": "bill.format", "type": 1, "value": "old"}]]] * 2
