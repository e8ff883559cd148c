"""What the first page shows: health, what to mend first, findings by service, the graph, and why there may be nothing to show yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from traced.model.edge import Edge
from traced.model.finding import Finding
from traced.model.message_edge import MessageEdge
from traced.model.occurrence import Level
from traced.model.suspect import Suspect, Suspects
from traced.model.views import Status
from traced.pages.drawing import connections_of, draw

MAX_SUSPECTS = 20
MAX_EXPLAINED = 10
"""Findings listed below each suspect."""
MAX_FINDINGS = 200
MAX_CONNECTIONS = 300
_WORST_FIRST = (Level.VIOLATION, Level.IMPROVEMENT, Level.INFORMATION)
_WILDCARDS = ("0.0.0.0:", "[::]:")


@dataclass(frozen=True, slots=True)
class ServiceFindings:
    """One service's findings, worst first; `total` counts also those not shown."""

    service: str
    anchor: str
    level: Level
    findings: tuple[Finding, ...]
    total: int


@dataclass(frozen=True, slots=True)
class ShownSuspect:
    """A suspect with the first of the findings that it explains."""

    suspect: Suspect
    findings: tuple[Finding, ...]


def home(status: Status, findings: Sequence[Finding], suspects: Suspects, edges: Sequence[Edge], now_unix_seconds: float) -> dict[str, Any]:
    """Give the template's values.

    Args:
        status: how the daemon is.
        findings: the open ones, worst first.
        suspects: what explains these findings, what to mend first in front.
        edges: the service graph.
        now_unix_seconds: the present, to say how long ago.
    """
    groups = by_service(findings)
    connections = connections_of(edges)
    anchors = {group.service: (group.anchor, group.total) for group in groups}
    last = status.last_arrival_unix_seconds
    quiet = None if last is None else max(0.0, now_unix_seconds - last)
    return {
        "status": status,
        "state": state_of(status, findings),
        "quiet_seconds": quiet,
        "remaining_seconds": None if quiet is None else max(0.0, status.settle_seconds - quiet),
        "failing": [detector for detector in status.detectors if detector.errors],
        "suspects": with_findings(suspects, findings),
        "total_suspects": len(suspects.ranked),
        "not_grouped": suspects.not_grouped,
        "groups": groups,
        "shown_findings": sum(len(group.findings) for group in groups),
        "total_findings": len(findings),
        "drawing": draw(connections, anchors) if connections else None,
        "connections": connections[:MAX_CONNECTIONS],
        "total_connections": len(connections),
        "endpoints": [("OTLP/gRPC", reachable(status.otlp_grpc), "grpc"), ("OTLP/HTTP", reachable(status.otlp_http), "http/protobuf")],
    }


def messages(edges: Sequence[MessageEdge]) -> dict[str, Any]:
    """Give the template's values of the message graph, the edges with the most messages first."""
    busiest = sorted(edges, key=lambda edge: (-edge.counts.messages, edge.key))
    return {"message_edges": busiest[:MAX_CONNECTIONS], "total_message_edges": len(edges)}


def state_of(status: Status, findings: Sequence[Finding]) -> str:
    """Say which page it is: findings, or why there are none (looked and found nothing, not settled yet, no spans among what came, nothing received)."""
    if findings:
        return "findings"
    if status.traces_analyzed or status.spans_analyzed:
        return "clean"
    last, until = status.last_arrival_unix_seconds, status.analyzed_until_unix_seconds
    waits = status.traces_waiting or (last is not None and (until is None or until < last))
    # what an earlier run stored may be log records alone: as long as it waits nobody knows
    stored_before = status.store.sealed_files or not status.received_logs
    if status.received_spans or status.store.hot_spans or (waits and stored_before):
        return "waiting"
    return "nothing" if last is None else "logs"


def with_findings(suspects: Suspects, findings: Sequence[Finding]) -> list[ShownSuspect]:
    """Give the first suspects, each with some of its findings."""
    known = {finding.fingerprint: finding for finding in findings}
    return [ShownSuspect(suspect, tuple(known[f] for f in suspect.findings[:MAX_EXPLAINED])) for suspect in suspects.ranked[:MAX_SUSPECTS]]


def by_service(findings: Sequence[Finding]) -> list[ServiceFindings]:
    """Group findings by service: the service with the worst one first, then the one with more of them."""
    services: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: _WORST_FIRST.index(f.level)):
        services.setdefault(finding.service, []).append(finding)
    order = sorted(services.items(), key=lambda item: (_WORST_FIRST.index(item[1][0].level), -len(item[1]), item[0]))
    groups: list[ServiceFindings] = []
    room = MAX_FINDINGS
    for number, (service, its_own) in enumerate(order):
        shown = tuple(its_own[:room])
        if not shown:
            break
        room -= len(shown)
        groups.append(ServiceFindings(service, f"service-{number}", its_own[0].level, shown, len(its_own)))
    return groups


def reachable(address: str) -> str:
    """Give an address that a sender on this machine can use, where the bound one stands for all addresses."""
    for wildcard in _WILDCARDS:
        if address.startswith(wildcard):
            return f"127.0.0.1:{address.removeprefix(wildcard)}"
    return address
