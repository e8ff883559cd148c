"""SERVER spans that may turn out to be callers: they carry the id of their request, and their services emit no calling spans."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Mask, Unsigned, mix
from traced.graph.correlation import shared, straight_servers
from traced.graph.halves import HALVES, halves
from traced.graph.relation import Relation

MAX_STANDBY: Final = 20_000
"""The newest that are kept until a receiver in another trace carries the same id."""


class Standby:
    """Keeps them; `dropped` counts those that a limit left out."""

    def __init__(self) -> None:
        """Start with none."""
        self._rows = HALVES.empty_table()
        self.dropped = 0

    def come(self, made: Relation, again: Mask, receivers: pa.Table) -> pa.Table:
        """Take those of a pass, and give (rows of HALVES) all of whose request another trace has a receiver too: these are kept no longer."""
        rows = straight_servers(made)
        if not len(rows) and not self._rows.num_rows:
            return HALVES.empty_table()
        if again.any():
            looked_at = np.unique(_traces(made.forest.spans.filter(pa.array(again))))
            self._rows = self._rows.filter(pa.array(~np.isin(_traces(self._rows), looked_at)))
        waiting = pa.concat_tables([self._rows, halves(made, rows, again)]).combine_chunks()
        both = [waiting.column("correlation_id"), receivers.column("correlation_id")]
        requests = shared(pa.chunked_array([c for column in both for c in column.chunks], pa.string()), np.concatenate([_traces(waiting), _traces(receivers)]))
        called = pc.and_(pc.is_in(waiting.column("correlation_id"), requests), pc.is_in(waiting.column("correlation_id"), both[1].combine_chunks()))
        rest = waiting.filter(pc.invert(called))
        self.dropped += max(0, rest.num_rows - MAX_STANDBY)
        self._rows = rest.slice(max(0, rest.num_rows - MAX_STANDBY)).combine_chunks()
        return waiting.filter(called)


def _traces(table: pa.Table) -> Unsigned:
    return mix(np.asarray(table.column("trace_id_high")), np.asarray(table.column("trace_id_low")))
