"""Claims that something is missing, made before it could be told whether all of a system's spans come here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from traced.graph.windows import WINDOW_SECONDS
from traced.model.occurrence import OccurrenceKey

MAX_CLAIMS: Final = 10_000
KEEP_SECONDS: Final = 2 * WINDOW_SECONDS
"""So long may what shows what is seen be known; what was claimed before has nothing to do with it any more."""


class HastyClaims:
    """Remembers the newest; `dropped` counts those that a limit made be forgotten."""

    def __init__(self) -> None:
        """Start with none."""
        self._claims: OrderedDict[OccurrenceKey, float] = OrderedDict()
        self.dropped = 0

    def note(self, claims: Iterable[OccurrenceKey], now: float) -> None:
        """Remember claims; `now` in unix seconds."""
        for claim in claims:
            self._claims[claim] = now
            self._claims.move_to_end(claim)
        while self._claims and now - next(iter(self._claims.values())) > KEEP_SECONDS:
            self._claims.popitem(last=False)
        while len(self._claims) > MAX_CLAIMS:
            self._claims.popitem(last=False)
            self.dropped += 1

    def take(self) -> frozenset[OccurrenceKey]:
        """Give all that are remembered, and forget them."""
        taken = frozenset(self._claims)
        self._claims.clear()
        return taken
