"""From the causes of orphans to losses and their shapes; and which of them have to be looked at again, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.causes import PENDING, UNKNOWN, early
from traced.graph.forest import Forest
from traced.graph.loss_shapes import with_shapes
from traced.graph.losses import LossLedger
from traced.graph.reconciling import reconcile
from traced.graph.timelines import Timelines

TraceId = tuple[int, int]

SHAPE_AFTER_SECONDS: Final = 20.0
"""A loss is looked at again so much later where nothing is known yet of what its instance did afterwards."""
SHAPE_WITHIN_NANOS: Final = 90_000_000_000
"""That is not done of orphans that began longer ago."""
MAX_SHAPES_AWAITED: Final = 100
"""Traces of one pass that are looked at again for that."""


@dataclass(frozen=True, slots=True)
class Concluded:
    """What follows of one pass's orphans.

    Attributes:
        tables: what detectors read: `orphan_causes`, `reported_losses`, `loss_shapes`.
        undecided, early, later: as in `Outcome`.
    """

    tables: dict[str, pa.Table]
    undecided: frozenset[TraceId]
    early: frozenset[TraceId]
    later: dict[TraceId, float]


def conclude(causes: pa.Table, forest: Forest, losses: LossLedger, timelines: Timelines) -> Concluded:
    """Conclude.

    Args:
        causes: of the orphans that are told of: rows of `queries/analysis/orphan_facts.sql` with what `causes.with_causes` adds.
        forest: the trees of the pass.
        losses: what SDKs count of their spans.
        timelines: what instances ended lately.
    """
    causes, reported = reconcile(causes, forest, losses)
    causes, shapes = with_shapes(causes, forest, timelines)
    undecided = pc.or_(pc.is_in(causes.column("cause"), pa.array([UNKNOWN, PENDING])), causes.column("counts_awaited"))
    tables = {"orphan_causes": causes, "reported_losses": reported, "loss_shapes": shapes}
    again, once_more = (frozenset(_ids(forest, causes.filter(chosen))) for chosen in (undecided, early(causes)))
    return Concluded(tables, again, once_more, _later(forest, causes))


def _later(forest: Forest, causes: pa.Table) -> dict[TraceId, float]:
    """Give traces of which it is known in how many seconds more can be said."""
    elapsed = np.asarray(causes.column("elapsed"))
    young = np.asarray(causes.column("shape_awaited")).astype(bool) & (elapsed >= 0) & (elapsed < SHAPE_WITHIN_NANOS)
    later = dict.fromkeys(_ids(forest, causes.filter(pa.array(young)))[:MAX_SHAPES_AWAITED], SHAPE_AFTER_SECONDS)
    waiting = causes.filter(pc.equal(causes.column("cause"), PENDING)).sort_by([("decided_in", "descending")])
    # of several that wait in one trace the first decides
    return later | dict(zip(_ids(forest, waiting), (nanos / 1e9 for nanos in waiting.column("decided_in").to_pylist()), strict=True))


def _ids(forest: Forest, causes: pa.Table) -> list[TraceId]:
    ids: Any = forest.spans.select(["trace_id_high", "trace_id_low"]).take(causes.column("row"))
    return list(zip(*(column.to_pylist() for column in ids.columns), strict=True))
