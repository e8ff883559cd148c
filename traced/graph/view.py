"""Whether all of a system's spans come here, or only those of one host: then what is elsewhere is not missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from traced.graph.columns import Mask, used
from traced.graph.places import said_local
from traced.graph.relation import Relation
from traced.graph.shares import least_share
from traced.graph.windows import turned

Configured = Literal["auto", "complete", "partial"]

MIN_PARENTS: Final = 20
"""Parents in other processes that spans name, from which on it is said what is seen of them."""
MIN_ABSENT: Final = 0.85
"""Lower 95 % bound of the share of these that are absent where only one host is seen: 20 of 20, or nearly all of many."""


@dataclass(slots=True)
class _Seen:
    """Parents in other processes that spans name, here and absent; the host of all spans ('' before the first), or that there are several."""

    here: int = 0
    absent: int = 0
    host: str = ""
    several: bool = False


class View:
    """Learns from which hosts spans come, and whether callers are among them; in two windows that take turns."""

    def __init__(self, configured: Configured = "auto") -> None:
        """Start knowing nothing; `configured` decides unless it is `auto`."""
        self._configured = configured
        self._now, self._before = _Seen(), _Seen()
        self._turned = 0.0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = _Seen(), self._now

    def learn(self, made: Relation, fresh: Mask) -> None:
        """Learn from the fresh spans of a pass."""
        forest, seen = made.forest, self._now
        hosts = forest.codes["host"]
        for code in used(hosts.of[fresh]):
            text = hosts.texts[code]
            # a resource that names no host may be of any
            seen.several |= not text or (bool(seen.host) and seen.host != text)
            seen.host = seen.host or text
        named = np.flatnonzero(fresh & forest.receiving & (forest.parent_id != 0) & (forest.sender < 0))
        named = named[~said_local(forest, named)]
        gone = int(np.count_nonzero(forest.absent[named]))
        seen.here += len(named) - gone
        seen.absent += gone

    @property
    def unsure(self) -> bool:
        """Say whether too little was seen to tell, though all of it is of one host and no caller came."""
        here, absent = self._parents()
        return self._configured == "auto" and not self._several and not here and absent < MIN_PARENTS

    @property
    def partial(self) -> bool:
        """Say whether only a part of the system is seen: one host, and next to no caller of any of its services."""
        if self._configured != "auto":
            return self._configured == "partial"
        here, absent = self._parents()
        return not self._several and here + absent >= MIN_PARENTS and least_share(absent, here + absent) >= MIN_ABSENT

    @property
    def name(self) -> str:
        """Give the view in a word: complete or partial."""
        return "partial" if self.partial else "complete"

    @property
    def _several(self) -> bool:
        hosts = {seen.host for seen in (self._before, self._now) if seen.host}
        return self._before.several or self._now.several or len(hosts) != 1

    def _parents(self) -> tuple[int, int]:
        return self._before.here + self._now.here, self._before.absent + self._now.absent

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give both windows as JSON values."""
        return {"turned": self._turned, "windows": [[seen.here, seen.absent, seen.host, seen.several] for seen in (self._before, self._now)]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = (_Seen(int(here), int(absent), str(host), bool(several)) for here, absent, host, several in state["windows"])
        self._turned, self._before, self._now = float(state["turned"]), before, now
