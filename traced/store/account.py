"""Which committed batches must be there: batch numbers have no gap, so what is neither here, nor dropped, nor known as lost is a new loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

Range = tuple[int, int]
"""First and last batch number, both included."""

_MAX_LOST_RANGES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of batches that are not there; kept across restarts.

    Attributes:
        dropped_to: retention dropped every batch up to this one; None where that is not known.
        lost: ranges that were counted as lost already.
        last: a batch that was given this number was committed; there may be later ones.
    """

    dropped_to: int | None = None
    lost: tuple[Range, ...] = ()
    last: int = 0

    def missing(self, present: Iterable[Range], last: int) -> tuple[Range, ...]:
        """Find the ranges up to batch `last` that must be there and are not.

        Where it is not known what retention dropped, nothing before the first batch present is claimed.
        """
        here = sorted(r for r in present if r[1])
        dropped_to = self.dropped_to if self.dropped_to is not None else (here[0][0] - 1 if here else last)
        gaps, reached = [], dropped_to
        for first, to in sorted([*here, *self.lost]):
            if first > reached + 1:
                gaps.append((reached + 1, first - 1))
            reached = max(reached, to)
        if last > reached:
            gaps.append((reached + 1, last))
        return tuple(gaps)

    def with_lost(self, ranges: Iterable[Range]) -> Account:
        """Remember ranges as lost; the oldest are forgotten beyond a limit (they would be counted again, never hidden)."""
        merged: list[Range] = []
        for first, last in sorted([*self.lost, *(r for r in ranges if r[1])]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return replace(self, lost=tuple(merged[-_MAX_LOST_RANGES:]))

    def with_dropped(self, last: int) -> Account:
        """Remember that retention dropped everything up to a batch."""
        to = max(last, self.dropped_to or 0)
        return replace(self, dropped_to=to, lost=tuple(r for r in self.lost if r[1] > to))

    def with_last(self, last: int) -> Account:
        """Remember up to where batches were committed."""
        return replace(self, last=max(last, self.last))

    def dump(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {"dropped_to": self.dropped_to, "lost": [list(r) for r in self.lost], "last": self.last}


def load_account(state: Any) -> Account:
    """Read what `Account.dump` gave; anything else is an account that knows nothing."""
    try:
        dropped_to = state["dropped_to"]
        lost = tuple((int(first), int(last)) for first, last in state["lost"])
        return Account(None if dropped_to is None else int(dropped_to), lost, int(state["last"]))
    except (TypeError, KeyError, ValueError):
        return Account()


def count(ranges: Iterable[Range]) -> int:
    """Count the batches in ranges that do not overlap."""
    return sum(last - first + 1 for first, last in ranges)
