"""What operations usually have below them, and where their time goes: learned pass by pass, and told where it is out of the ordinary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from traced.graph.baseline import Baseline
from traced.graph.children import children
from traced.graph.columns import Unsigned, mix
from traced.graph.gap_history import GapHistory
from traced.graph.gaps import gaps
from traced.graph.operations import Operated, operated
from traced.graph.relation import Relation
from traced.graph.shifts import MISSING


class Structure:
    """Keeps what is learned from one pass to the next."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self.gaps, self.baseline = GapHistory(), Baseline()
        self._rehearsed = False

    def tables(self, made: Relation, earlier: Relation | None, seen: Operated, now: float, *, learn_only: bool) -> dict[str, pa.Table]:
        """Learn from a pass and give `pass_gaps` and `pass_shifts`.

        Args:
            made: the traces of the pass.
            earlier: what was learned of the same traces before.
            seen: the operations of `made`.
            now: unix seconds, for the windows.
            learn_only: a first round over files; in the second one no time is counted twice, and only there is anything said to have gone.
        """
        self.gaps.turn(now)
        found = gaps(made, seen, self.gaps.watched)
        if learn_only or not self._rehearsed:
            self.gaps.learn(made, found)
            if earlier is not None:
                # nothing is watched here: what has a stretch that is long enough was looked into then as well, of the rest nobody knows
                self.gaps.learn(earlier, gaps(earlier, operated(earlier), ()), -1)
        self._rehearsed |= learn_only
        return {"pass_gaps": self.gaps.blind(made, found), "pass_shifts": MISSING.empty_table() if learn_only else self._shifts(made, earlier, seen, now)}

    def _shifts(self, made: Relation, earlier: Relation | None, seen: Operated, now: float) -> pa.Table:
        self.baseline.turn(now)
        again = np.zeros(made.forest.traces, bool) if earlier is None else np.isin(_traces(made), _traces(earlier))
        return self.baseline.missing(made, seen, children(made, seen, again, self.baseline.watched))

    @property
    def dropped(self) -> int:
        """Count what limits left out."""
        return self.gaps.dropped + self.baseline.dropped

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what was learned as JSON values."""
        return {"gaps": self.gaps.dump(), "baseline": self.baseline.dump()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart; of what a state of an earlier version does not have, nothing is known.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        if "gaps" in state:
            self.gaps.load(state["gaps"])
        if "baseline" in state:
            self.baseline.load(state["baseline"])


def _traces(made: Relation) -> Unsigned:
    """Hash the ids of the traces, in the order of their numbers."""
    first = np.asarray(made.pass_traces.column("row"))
    hashed: Unsigned = mix(*(np.asarray(made.forest.spans.column(name))[first] for name in ("trace_id_high", "trace_id_low")))
    return hashed
