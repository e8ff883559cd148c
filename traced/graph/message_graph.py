"""The message graph: producer, destination, consumer group, consumer; from flows, with lag from the offsets of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.model.message_edge import MessageCounts, MessageEdge, MessageEdgeKey
from traced.model.messages import Role

Counts = dict[MessageEdgeKey, MessageCounts]
Place = tuple[str, str, str]
"""System, destination, partition."""

MAX_PARTITIONS: Final = 10_000
_GROUPS: Final = [
    "minute", "role", "environment", "service_namespace", "service_name", "consumer_group", "system", "destination", "dead_letter", "producer_namespace",
    "producer_name", "producer_destination", "error",
]  # fmt: skip


def edges_by_minute(flows: pa.Table) -> dict[int, Counts]:
    """Sum flows to edges, by the minute (unix) of arrival; what was published stands on an edge without a consumer."""
    if not flows.num_rows:
        return {}
    buckets = np.asarray(pc.list_flatten(flows.column("delay_buckets"))).reshape(flows.num_rows, -1)
    names = [f"bucket_{place}" for place in range(buckets.shape[1])]
    sums = ["messages", "at_least", "delays", "delay_sum_seconds", *names]
    table = flows.select([*_GROUPS, "messages", "at_least", "delays", "delay_sum_seconds"])
    for place, name in enumerate(names):
        table = table.append_column(name, pa.array(buckets[:, place]))
    grouped = table.group_by(_GROUPS, use_threads=False).aggregate([(name, "sum") for name in sums])
    result: dict[int, Counts] = {}
    for row in grouped.to_pylist():
        counts = MessageCounts(
            messages=row["messages_sum"],
            errors=row["messages_sum"] if row["error"] else 0,
            at_least=row["at_least_sum"],
            dead_letters=row["messages_sum"] if row["dead_letter"] else 0,
            delays=row["delays_sum"],
            delay_sum_seconds=row["delay_sum_seconds_sum"],
            delay_buckets=tuple(row[f"{name}_sum"] for name in names),
        )
        of_minute, key = result.setdefault(row["minute"], {}), _key(row)
        of_minute[key] = of_minute.get(key, MessageCounts()).plus(counts)
    return result


def _key(row: Mapping[str, Any]) -> MessageEdgeKey:
    destination = row["destination"] or row["producer_destination"]
    producer = {"producer": row["producer_name"], "producer_namespace": row["producer_namespace"]}
    at = {"destination": destination, "system": row["system"], "environment": row["environment"], "producer_destination": row["producer_destination"]}
    if row["role"] == Role.PRODUCER:
        return MessageEdgeKey(consumer="", **producer, **at)
    consumer = {"consumer": row["service_name"], "consumer_namespace": row["service_namespace"], "consumer_group": row["consumer_group"]}
    return MessageEdgeKey(**producer, **consumer, **at)


def total(parts: Iterable[Mapping[MessageEdgeKey, MessageCounts]]) -> Counts:
    """Add up edges of several minutes."""
    result: Counts = {}
    for part in parts:
        for key, counts in part.items():
            result[key] = result[key].plus(counts) if key in result else counts
    return result


def as_edges(counts: Mapping[MessageEdgeKey, MessageCounts], offsets: Offsets | None = None) -> tuple[MessageEdge, ...]:
    """Give the edges that carry messages, in a stable order; what was published to nobody known is an edge without a consumer."""
    taken = {_sender(key) for key, value in counts.items() if key.consumer and key.producer and value.messages > 0}
    published: dict[MessageEdgeKey, int] = {}
    for key, value in counts.items():
        if not key.consumer and key.producer:
            published[_sender(key)] = published.get(_sender(key), 0) + value.messages
    shown = (
        MessageEdge(key, value, offsets.lag(key) if offsets is not None and key.consumer else None, published.get(_sender(key)))
        for key, value in counts.items()
        if value.messages > 0 and (key.consumer or _sender(key) not in taken)
    )
    return tuple(sorted(shown, key=lambda edge: edge.key))


def _sender(key: MessageEdgeKey) -> MessageEdgeKey:
    """Give what is alike of a publication and of those who took it: not the destination, which may have another name there, nor the environment."""
    return replace(key, consumer="", consumer_group="", consumer_namespace="", environment="", destination="")


class Offsets:
    """The highest offsets that were published, and that each consumer took, by partition; `dropped` counts partitions beyond the limit."""

    def __init__(self) -> None:
        """Start with none."""
        self._published: dict[Place, int] = {}
        self._taken: dict[tuple[str, str, str, str], dict[Place, int]] = {}
        self._partitions = 0
        self.dropped = 0

    def learn(self, rows: pa.Table) -> None:
        """Learn from rows of MESSAGES that say a partition and an offset."""
        chosen = rows.filter(pc.and_(pc.is_valid(rows.column("offset")), pc.not_equal(rows.column("partition"), "")))
        if not chosen.num_rows:
            return
        keys = ["role", "environment", "service_namespace", "service_name", "consumer_group", "system", "destination", "partition"]
        for row in chosen.group_by(keys, use_threads=False).aggregate([("offset", "max")]).to_pylist():
            place, offset = (row["system"], row["destination"], row["partition"]), row["offset_max"]
            consumer = (row["environment"], row["service_namespace"], row["service_name"], row["consumer_group"])
            of = self._published if row["role"] == Role.PRODUCER else self._taken.setdefault(consumer, {})
            if place not in of and self._partitions >= MAX_PARTITIONS:
                self.dropped += 1
                continue
            self._partitions += place not in of
            of[place] = max(of.get(place, -1), offset)

    def dump(self) -> list[Any]:
        """Give what is known as JSON values."""
        taken = [[*consumer, *place, offset] for consumer, of in self._taken.items() for place, offset in of.items()]
        return [[[*place, offset] for place, offset in self._published.items()], taken]

    def load(self, state: list[Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        published = {(str(system), str(name), str(partition)): int(offset) for system, name, partition, offset in state[0]}
        taken: dict[tuple[str, str, str, str], dict[Place, int]] = {}
        for *consumer, system, name, partition, offset in state[1]:
            environment, space, service, group = map(str, consumer)
            taken.setdefault((environment, space, service, group), {})[str(system), str(name), str(partition)] = int(offset)
        self._published, self._taken = published, taken
        self._partitions = len(published) + sum(map(len, taken.values()))

    def lag(self, key: MessageEdgeKey) -> int | None:
        """Give how many messages of a destination a consumer has not taken, over the partitions of which both sides are known; None where none is."""
        taken = self._taken.get((key.environment, key.consumer_namespace, key.consumer, key.consumer_group), {})
        both = [place for place in taken if place[:2] == (key.system, key.destination) and place in self._published]
        return sum(max(0, self._published[place] - taken[place]) for place in both) if both else None
