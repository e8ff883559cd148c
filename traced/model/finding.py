"""A finding: all open occurrences that share a fingerprint, as people and programs see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from traced.model.occurrence import Level
from traced.model.span import span_id_hex, trace_id_hex


@dataclass(frozen=True, slots=True)
class Example:
    """Where to look: one occurrence's trace and span."""

    trace_id: tuple[int, int]
    span_id: int

    def as_dict(self) -> dict[str, str]:
        """Give the ids as lower-case hex."""
        return {"trace_id": trace_id_hex(*self.trace_id), "span_id": span_id_hex(self.span_id)}


@dataclass(frozen=True, slots=True)
class Finding:
    """An immutable snapshot of one finding.

    Attributes:
        id: the detector's id.
        fingerprint: 16 hex digits over (id, cause, service, peer, signal_name).
        count: open occurrences now.
        adjusted_count: how many there were before sampling; None where how some were sampled is not known.
        first_seen_unix_nano: the earliest open occurrence, by its span's clock.
        last_seen_unix_nano: the latest.
        message: one sentence for people.
        how_to_fix: the first step of the fix, from the detector's documentation.
        examples: a few occurrences.
        context: evidence of the newest occurrence.
        instance: the one `service.instance.id` that all open occurrences name; empty where they name several, or none.
    """

    id: str
    level: Level
    cause: str
    fingerprint: str
    service: str
    peer: str
    signal_type: str
    signal_name: str
    count: int
    confidence: float
    first_seen_unix_nano: int
    last_seen_unix_nano: int
    message: str
    how_to_fix: str
    examples: tuple[Example, ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    instance: str = ""
    adjusted_count: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `analyze --format json` and `/api/v1/findings`."""
        return {
            "id": self.id,
            "level": str(self.level),
            "cause": self.cause,
            "fingerprint": self.fingerprint,
            "service": self.service,
            "peer": self.peer or None,
            "signal_type": self.signal_type,
            "signal_name": self.signal_name,
            "count": self.count,
            "adjusted_count": None if self.adjusted_count is None else round(self.adjusted_count, 1),
            "confidence": round(self.confidence, 4),
            "first_seen": timestamp(self.first_seen_unix_nano),
            "last_seen": timestamp(self.last_seen_unix_nano),
            "message": self.message,
            "how_to_fix": self.how_to_fix,
            "examples": [e.as_dict() for e in self.examples],
            "context": self.context,
        }


def timestamp(unix_nano: int) -> str:
    """Give a time as RFC 3339 in UTC with nanoseconds, whatever the sender's clock said.

    Seconds come from `datetime`, which ends at year 9999; int64 nanoseconds end at 2262.
    """
    seconds, nanos = divmod(unix_nano, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
