"""What one pass found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from traced.graph.service_graph import ByMinute
from traced.model.edge import EdgeCounts, EdgeKey
from traced.model.messages import FLOWS, MESSAGES
from traced.model.occurrence import Occurrence, OccurrenceKey


@dataclass(slots=True)
class Outcome:
    """What one pass found.

    Attributes:
        occurrences: of all detectors.
        failed: detectors whose earlier claims stay whatever they say now: they raised, or do not speak of single traces.
        undecided: traces with an orphan of whose cause too little is known yet, or whose loss may still be reported.
        later: of traces with an orphan whose parent may still be running, in how many seconds that is decided.
        early: traces with an orphan whose cause was concluded from habits that are little known yet.
        withdrawn: occurrences of earlier passes that something in another trace refutes.
        judged: occurrences of earlier passes that were decided anew: they are withdrawn unless they are among `occurrences`.
        edges: calls of the traces looked at, less what an earlier pass counted of them.
        minutes: the same, by the minute in which the first half of a call arrived.
        again: traces looked at before.
        spans_by_service: spans that no earlier pass looked at.
        complete, incomplete: fresh traces.
        truncated: traces that turned out to have more than max_spans_per_trace spans.
        services: names of all services that reported.
        messages: rows of MESSAGES: publications and consumptions by fresh spans, joined as far as is known now.
        flows: rows of FLOWS: all messages of the traces looked at, less what an earlier pass counted of them, and what is known better of others.
    """

    occurrences: list[Occurrence] = field(default_factory=list)
    failed: frozenset[str] = frozenset()
    undecided: frozenset[tuple[int, int]] = frozenset()
    later: dict[tuple[int, int], float] = field(default_factory=dict)
    early: frozenset[tuple[int, int]] = frozenset()
    withdrawn: frozenset[OccurrenceKey] = frozenset()
    judged: frozenset[OccurrenceKey] = frozenset()
    edges: dict[EdgeKey, EdgeCounts] = field(default_factory=dict)
    minutes: ByMinute = field(default_factory=dict)
    again: frozenset[tuple[int, int]] = frozenset()
    spans_by_service: Counter[str] = field(default_factory=Counter)
    complete: int = 0
    incomplete: int = 0
    truncated: int = 0
    services: frozenset[str] = frozenset()
    messages: pa.Table = field(default_factory=MESSAGES.empty_table)
    flows: pa.Table = field(default_factory=FLOWS.empty_table)
