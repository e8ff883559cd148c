"""Channels: destinations that are proven to carry the same messages under several names; names alone prove nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes
from traced.model.messages import JoinedBy

MAX_NAMES: Final = 5_000

Name = tuple[str, str]
"""System and destination."""


class Channels:
    """A union of names, proven by links and parents; `dropped` counts pairs beyond the limit.

    RabbitMQ has four spellings of one destination, Pub/Sub a topic and subscriptions. Destinations for dead letters and retries stay out: a broker's move
    would merge a queue with all that lies in its dead letters.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._above: dict[Name, Name] = {}
        self._apart: set[Name] = set()
        self.dropped = 0

    def learn(self, rows: pa.Table) -> None:
        """Learn from rows of MESSAGES."""
        if not rows.num_rows:
            return
        pairs = rows.select(["system", "producer_destination", "destination", "dead_letter", "joined_by"]).group_by(
            ["system", "producer_destination", "destination", "dead_letter", "joined_by"],
        )
        found = pairs.aggregate([]).to_pylist()
        self._apart.update((row["system"], row["destination"]) for row in found if row["dead_letter"] and len(self._apart) < MAX_NAMES)
        proven = (row for row in found if row["joined_by"] in {JoinedBy.LINK, JoinedBy.PARENT})
        self.join((row["system"], row["producer_destination"], row["destination"]) for row in proven)

    def join(self, pairs: Iterable[tuple[str, str, str]]) -> None:
        """Take (system, destination of the producer, destination of the consumer) for one channel each."""
        for system, one, other in pairs:
            names = ((system, one), (system, other))
            if not one or not other or one == other or any(name in self._apart for name in names):
                continue
            if len(self._above) >= MAX_NAMES:
                self.dropped += 1
                continue
            low, high = sorted(self._top(name) for name in names)
            if low != high:
                self._above[high] = low

    def _top(self, name: Name) -> Name:
        """Find the name that stands for a channel: the first by alphabet."""
        at = name
        while (up := self._above.get(at)) is not None:
            at = up
        while (up := self._above.get(name)) is not None:
            self._above[name] = at
            name = up
        return at

    def name(self, system: str, destination: str) -> str:
        """Give the name of a destination's channel."""
        return self._top((system, destination))[1]

    def of(self, rows: pa.Table) -> pa.Array:
        """Give the channel of each row's destination."""
        if not self._above:
            return rows.column("destination")
        both = pc.binary_join_element_wise(rows.column("system"), rows.column("destination"), "\x1f")
        codes = Codes.from_column(both)
        names = [self.name(*text.split("\x1f", 1)) if "\x1f" in text else text for text in codes.texts]
        return Codes(codes.of, names).column().cast(pa.string())

    def dump(self) -> list[Any]:
        """Give what is known as JSON values."""
        return [[[*name, up[1]] for name, up in self._above.items()], [list(name) for name in self._apart]]

    def load(self, state: list[Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        above, apart = state
        self._above, self._apart = {(str(s), str(d)): (str(s), str(up)) for s, d, up in above}, {(str(s), str(d)) for s, d in apart}
