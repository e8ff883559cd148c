"""What processes send: batches of the spans that ended since the last one, and when each arrives."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from eval.otlp_lines import lines
from eval.traces import EPOCH, SECOND, Span

from traced.receiver.json_requests import traces_from_json

EXPORT_SECONDS = 5
"""How often an SDK's batch processor sends, by default."""
SPANS_A_BATCH = 512


@dataclass(frozen=True)
class Export:
    """One request: its arrival in seconds after EPOCH, and its bytes (protobuf)."""

    arrival: float
    body: bytes


def exports(spans: Iterable[Span], rng: random.Random) -> list[Export]:
    """Give the batches of each process in order of their spans' ends; each process has its own beat."""
    by_process: dict[int, list[Span]] = defaultdict(list)
    for span in spans:
        by_process[id(span.resource)].append(span)
    sent: list[Export] = []
    for one in by_process.values():
        offset = rng.random() * EXPORT_SECONDS
        batches: dict[int, list[Span]] = defaultdict(list)
        for span in sorted(one, key=lambda s: s.end):
            batches[int(((span.end - EPOCH) / SECOND + offset) // EXPORT_SECONDS)].append(span)
        for beat, batch in batches.items():
            arrival = max(0.0, (beat + 1) * EXPORT_SECONDS - offset)
            sent += [Export(arrival, _body(batch[at : at + SPANS_A_BATCH])) for at in range(0, len(batch), SPANS_A_BATCH)]
    return sorted(sent, key=lambda e: (e.arrival, e.body))


def delayed(sent: Sequence[Export], settle_seconds: float, share: float, rng: random.Random) -> list[Export]:
    """Let a share of the batches come 1 to 20 settle times later."""
    late = set(rng.sample(range(len(sent)), round(share * len(sent))))
    moved = [replace(e, arrival=e.arrival + settle_seconds * rng.uniform(1, 20)) if at in late else e for at, e in enumerate(sent)]
    return sorted(moved, key=lambda e: (e.arrival, e.body))


def _body(spans: Sequence[Span]) -> bytes:
    (line,) = lines(spans)
    body, _ = traces_from_json(line.encode())
    return body
