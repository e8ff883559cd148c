"""Edges of the message graph, as every surface shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from traced.model.messages import DELAY_BUCKETS_SECONDS


@dataclass(frozen=True, slots=True, order=True)
class MessageEdgeKey:
    """Who sends what to whom, by which destination; what cannot be named is empty.

    Attributes:
        destination: as the consumer calls it, else as the producer does.
        producer_destination: as the producer calls it.
        consumer_group: its group or subscription; '' where the queue says who it is.
    """

    producer: str
    destination: str
    consumer: str
    system: str = ""
    consumer_group: str = ""
    producer_namespace: str = ""
    consumer_namespace: str = ""
    environment: str = ""
    producer_destination: str = ""


@dataclass(frozen=True, slots=True)
class MessageCounts:
    """What was seen on an edge.

    Attributes:
        messages: that the consumer took, each once; of an edge without a consumer those that were published.
        errors: of them those whose span has error status.
        at_least: there may have been more: links were dropped.
        dead_letters: of them those that were taken from, or put into, a destination for dead letters or retries.
        delays, delay_sum_seconds, delay_buckets: from publication to consumption, by two clocks; negative ones are left out. Buckets are not cumulative,
            one more than DELAY_BUCKETS_SECONDS: the last is +Inf.
    """

    messages: int = 0
    errors: int = 0
    at_least: int = 0
    dead_letters: int = 0
    delays: int = 0
    delay_sum_seconds: float = 0.0
    delay_buckets: tuple[int, ...] = (0,) * (len(DELAY_BUCKETS_SECONDS) + 1)

    def plus(self, other: MessageCounts) -> MessageCounts:
        """Add what was seen elsewhere."""
        return MessageCounts(
            self.messages + other.messages,
            self.errors + other.errors,
            self.at_least + other.at_least,
            self.dead_letters + other.dead_letters,
            self.delays + other.delays,
            self.delay_sum_seconds + other.delay_sum_seconds,
            tuple(a + b for a, b in zip(self.delay_buckets, other.delay_buckets, strict=True)),
        )

    def delay_below(self, share: float) -> float | None:
        """Give the bound (seconds) below which a share of the delays lies; None where none is known, or only that it is above the last bound."""
        seen = 0
        for bound, number in zip(DELAY_BUCKETS_SECONDS, self.delay_buckets, strict=False):
            seen += number
            if self.delays > 0 and seen >= share * self.delays:
                return bound
        return None


@dataclass(frozen=True, slots=True)
class MessageEdge:
    """One edge with its counts.

    Attributes:
        published: how many messages the producer published to the destination, to whomever; None where nobody knows the producer.
        lag: how many messages were published that this consumer has not taken yet, as far as offsets of both sides say; None where they do not.
    """

    key: MessageEdgeKey
    counts: MessageCounts
    lag: int | None = None
    published: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `message_graph.edges`."""
        k, c = self.key, self.counts
        shown: dict[str, Any] = {
            "producer": k.producer,
            "destination": k.destination,
            "system": k.system,
            "consumer_group": k.consumer_group,
            "consumer": k.consumer,
            "messages": c.messages,
            "published": self.published,
            "at_least": c.at_least > 0,
            "errors": c.errors,
            "dead_letters": c.dead_letters,
            "lag": self.lag,
            "delay": {
                "count": c.delays,
                "mean_seconds": round(c.delay_sum_seconds / c.delays, 6) if c.delays > 0 else None,
                "p50_below_seconds": c.delay_below(0.5),
                "p99_below_seconds": c.delay_below(0.99),
            },
        }
        other = k.producer_destination if k.producer_destination != k.destination else ""
        optional = {
            "producer_destination": other,
            "environment": k.environment,
            "producer_namespace": k.producer_namespace,
            "consumer_namespace": k.consumer_namespace,
        }
        return shown | {name: value for name, value in optional.items() if value}
