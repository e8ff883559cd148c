"""Edges of the service graph, as every surface shows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ConnectionType(StrEnum):
    """Tempo's `connection_type` label; Grafana draws `""` and `messaging_system` ends as instrumented."""

    CALL = ""
    MESSAGING_SYSTEM = "messaging_system"
    DATABASE = "database"
    VIRTUAL_NODE = "virtual_node"


DURATION_BUCKETS_SECONDS: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
"""Upper bounds of the graph's latency histograms: Tempo's 0.1 * 2**n for n = 0..7."""


@dataclass(frozen=True, slots=True)
class EdgeKey:
    """Who calls whom, and how."""

    client: str
    server: str
    connection_type: ConnectionType = ConnectionType.CALL
    client_namespace: str = ""
    server_namespace: str = ""


@dataclass(frozen=True, slots=True)
class Durations:
    """A classic histogram of seconds.

    Attributes:
        count: observations.
        sum_seconds: their sum.
        buckets: observations per bucket (not cumulative), one more than DURATION_BUCKETS_SECONDS: the last is +Inf.
    """

    count: int = 0
    sum_seconds: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(DURATION_BUCKETS_SECONDS) + 1)

    def plus(self, other: Durations, sign: int = 1) -> Durations:
        """Add (or with sign -1 take away) another histogram's observations."""
        return Durations(
            self.count + sign * other.count,
            self.sum_seconds + sign * other.sum_seconds,
            tuple(a + sign * b for a, b in zip(self.buckets, other.buckets, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """What was seen on an edge.

    Attributes:
        calls: calls, each counted once however many spans describe it.
        errors: calls of which either half has error status.
        unpaired: CLIENT or PRODUCER spans (and remote SERVER spans) that found no other half.
        client_seconds: duration of the calling halves.
        server_seconds: duration of the answering halves (0 s is observed where that half is absent).
        weighed, weight: calls of which it is known how they were sampled, and how many calls these stand for.
        messaging_seconds: from end of producing to start of consuming; negative delays are left out.
    """

    calls: int = 0
    errors: int = 0
    unpaired: int = 0
    client_seconds: Durations = Durations()
    server_seconds: Durations = Durations()
    messaging_seconds: Durations = Durations()
    weighed: int = 0
    weight: float = 0.0

    @property
    def adjusted_calls(self) -> float | None:
        """Give how many calls there were before sampling; None where how some were sampled is not known."""
        return self.weight if self.calls and self.weighed == self.calls else None

    def plus(self, other: EdgeCounts, sign: int = 1) -> EdgeCounts:
        """Add (or with sign -1 take away) what was seen elsewhere."""
        return EdgeCounts(
            self.calls + sign * other.calls,
            self.errors + sign * other.errors,
            self.unpaired + sign * other.unpaired,
            self.client_seconds.plus(other.client_seconds, sign),
            self.server_seconds.plus(other.server_seconds, sign),
            self.messaging_seconds.plus(other.messaging_seconds, sign),
            self.weighed + sign * other.weighed,
            self.weight + sign * other.weight,
        )


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge with its counts."""

    key: EdgeKey
    counts: EdgeCounts

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `service_graph.edges`."""
        k, c = self.key, self.counts
        shown: dict[str, Any] = {
            "client": k.client,
            "server": k.server,
            "connection_type": str(k.connection_type),
            "calls": c.calls,
            "errors": c.errors,
            "adjusted_calls": None if c.adjusted_calls is None else round(c.adjusted_calls, 1),
        }
        if k.client_namespace or k.server_namespace:
            shown |= {"client_namespace": k.client_namespace, "server_namespace": k.server_namespace}
        return shown
