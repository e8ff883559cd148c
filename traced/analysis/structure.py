"""What operations usually have below them, and where their time goes: learned pass by pass, and told where it is out of the ordinary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from traced.graph.gap_history import GapHistory
from traced.graph.gaps import gaps
from traced.graph.operations import Operated, operated
from traced.graph.relation import Relation


class Structure:
    """Keeps what is learned from one pass to the next."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self.gaps = GapHistory()
        self._rehearsed = False

    def tables(self, made: Relation, earlier: Relation | None, seen: Operated, now: float, *, learn_only: bool) -> dict[str, pa.Table]:
        """Learn from a pass and give `pass_gaps`.

        Args:
            made: the traces of the pass.
            earlier: what was learned of the same traces before.
            seen: the operations of `made`.
            now: unix seconds, for the windows.
            learn_only: a first round over files; in the second one nothing is learned twice.
        """
        self.gaps.turn(now)
        found = gaps(made, seen, self.gaps.watched)
        if not self._rehearsed or learn_only:
            self.gaps.learn(made, found)
            if earlier is not None:
                self.gaps.learn(earlier, gaps(earlier, operated(earlier), self.gaps.watched), -1)
        self._rehearsed |= learn_only
        return {"pass_gaps": self.gaps.blind(made, found)}

    @property
    def dropped(self) -> int:
        """Count what limits left out."""
        return self.gaps.dropped

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values."""
        return {"gaps": self.gaps.dump()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart; a state of an earlier version knows nothing of it.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        if "gaps" in state:
            self.gaps.load(state["gaps"])
