"""Occurrences as JSON values, to be kept across a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from traced.model.occurrence import Level, Occurrence


def dump_occurrence(o: Occurrence) -> list[Any]:
    """Give an occurrence as a list of JSON values."""
    return [
        o.id,
        str(o.level),
        *o.trace_id,
        o.span_id,
        o.service,
        o.signal_name,
        o.time_unix_nano,
        o.cause,
        o.peer,
        o.confidence,
        o.missing_span_id,
        list(o.matched) if o.matched else None,
        o.context,
        o.reporter,
        o.adjusted_count,
    ]


def load_occurrence(values: list[Any]) -> Occurrence:
    """Take what `dump_occurrence` gave.

    Raises:
        ValueError, TypeError: it did not give this.
    """
    kind, level, high, low, span_id, service, signal_name, time, cause, peer, confidence, missing, matched, context, reporter, *rest = values
    bare = Occurrence(kind, Level(level), (high, low), span_id, service, signal_name, time)
    found = {"cause": cause, "peer": peer, "confidence": confidence, "missing_span_id": missing, "context": context, "reporter": reporter}
    adjusted = rest[0] if rest else None  # an earlier version has none
    return replace(bare, matched=tuple(matched) if matched else None, adjusted_count=adjusted, **found)
