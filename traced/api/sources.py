"""What the JSON API asks of the rooms behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from traced.model.views import FindingsView, GraphView, MessageGraphView, MigrationView, QueryView, StatusView, TraceView


class MetricsView(Protocol):
    """Whoever renders `/metrics`."""

    def negotiate(self, accept: str) -> tuple[bytes, str]:
        """Give (body, content type) in the format that an Accept header asks for."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything the API answers from."""

    findings: FindingsView
    graph: GraphView
    messages: MessageGraphView
    traces: TraceView
    status: StatusView
    queries: QueryView
    migrations: MigrationView
    metrics: MetricsView
