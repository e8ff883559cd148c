"""Whether all of a system's spans come here, or only those of one host: then what is elsewhere is not missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.causes import MATURE_ABSENT, MATURE_SPANS, UNKNOWN, UPSTREAM_LOSS
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


MIN_PRESENT: Final = 0.8
"""Lower 95 % bound of the share of an operation's callers, or of those at one address, that are here, from which on an absent one was lost."""
MIN_ELSEWHERE: Final = 0.2
"""The same bound of the share that is absent from which on callers are elsewhere: losses are rarer."""
UNDECIDED: Final = 0.5


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

    def told(self, causes: pa.Table) -> pa.Table:
        """Leave out the orphans (with their causes) of which nothing is missing in this view, and take back causes that it does not bear.

        Where only a part is seen, all whose parent was in another process. Where all spans are of one host though many callers are here, a system
        may have other hosts still: whose caller has no span in the trace, and is not nearly always here, may have been called from elsewhere. If
        many such are absent, those are left out; else it is not known whether a span was lost.
        """
        if self.partial:
            return causes.filter(pc.invert(pc.fill_null(causes.column("parent_is_remote"), fill_value=True)))
        if self._configured != "auto" or self._several:
            return causes
        _, first, place = np.unique(np.asarray(causes.column("alike")), return_index=True, return_inverse=True)
        facts = causes.take(pa.array(first)).to_pylist()
        doubtful = [row["cause"] == UPSTREAM_LOSS and not row["caller_in_trace"] and not _mostly_here(row) for row in facts]
        elsewhere = pa.array([doubt and _often_absent(row) for doubt, row in zip(doubtful, facts, strict=True)], pa.bool_()).take(pa.array(place))
        told = pa.array(doubtful, pa.bool_()).take(pa.array(place))
        for name, instead in (("cause", UNKNOWN), ("confidence", UNDECIDED)):
            at = causes.schema.get_field_index(name)
            causes = causes.set_column(at, causes.schema.field(at), pc.if_else(told, instead, causes.column(at)))
        return causes.filter(pc.invert(elsewhere))

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


def _mostly_here(row: Mapping[str, Any]) -> bool:
    """Say whether an operation's callers, or those at the orphan's address, are nearly always here."""
    pairs = ((row["present"], row["absent"]), (row["address_present"], row["address_absent"]))
    return any(least_share(present, present + absent) >= MIN_PRESENT for present, absent in pairs)


def _often_absent(row: Mapping[str, Any]) -> bool:
    """Say whether it is known that many of an operation's callers are absent."""
    known = row["spans"] >= MATURE_SPANS and row["absent"] >= MATURE_ABSENT
    return bool(known and least_share(row["absent"], row["present"] + row["absent"]) >= MIN_ELSEWHERE)
