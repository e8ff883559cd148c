"""One open finding as it grows and shrinks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from traced.findings.saving import dump_occurrence, load_occurrence
from traced.model.finding import Example
from traced.model.occurrence import Level, Occurrence

_LATER: Final = 3


@dataclass(slots=True)
class Open:
    """One open finding as it grows and shrinks."""

    newest: Occurrence
    count: int = 0
    first_seen: int = 2**63 - 1
    last_seen: int = 0
    worst: Level = Level.INFORMATION
    confidence_sum: float = 0.0
    last_found: float = 0.0
    examples: deque[Example] = field(default_factory=deque)
    adjusted_sum: float = 0.0
    weighed: int = 0
    """Occurrences of which it is known how they were sampled, and what they stand for together."""
    instance: str = ""
    """That of all occurrences; empty where they differ or one names none."""

    def weigh(self, occurrence: Occurrence, sign: int = 1) -> None:
        """Add what an occurrence stands for, or take it away."""
        if occurrence.adjusted_count is not None:
            self.adjusted_sum += sign * occurrence.adjusted_count
            self.weighed += sign


def dump_open(one: Open) -> list[Any]:
    """Give it as a list of JSON values."""
    examples = [[*e.trace_id, e.span_id] for e in one.examples]
    numbers: list[Any] = [one.count, one.first_seen, one.last_seen, str(one.worst), one.confidence_sum, one.last_found]
    return [dump_occurrence(one.newest), *numbers, examples, one.instance, one.adjusted_sum, one.weighed]


def load_open(values: list[Any], max_examples: int) -> Open:
    """Take what `dump_open` gave.

    Raises:
        ValueError, TypeError: it did not give this.
    """
    newest, count, first, last, worst, confidence, found, examples, *rest = values
    instance, adjusted, weighed = rest if len(rest) == _LATER else (rest[0] if rest else "", 0.0, 0)  # an earlier version has not all of them
    shown = deque((Example((high, low), span_id) for high, low, span_id in examples), maxlen=max_examples)
    numbers = int(count), int(first), int(last), Level(worst), float(confidence), float(found)
    return Open(load_occurrence(newest), *numbers, shown, float(adjusted), int(weighed), str(instance))


def fair_share(numbers: Iterable[int], room: int) -> int:
    """Give how many of each group may stay where all have room for `room` together: small groups stay whole, and of the others as many of each."""
    ordered = sorted(numbers)
    for at, number in enumerate(ordered):
        share = room // (len(ordered) - at)
        if number > share:
            return share
        room -= number
    return ordered[-1] if ordered else 0
