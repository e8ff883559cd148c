"""The best assignment of callers to receivers, each at most once, by scipy's solver."""

from __future__ import annotations

from typing import Final

import numpy as np

from traced.graph.columns import Ints
from traced.graph.delays import Floats

MAX_COMPONENT: Final = 2_000
"""Receivers that compete for the same callers; a larger component is left out, and counted."""
_BEST: Final = 16
"""Candidates of a receiver that take part."""


def assigned(caller: Ints, receiver: Ints, weight: Floats) -> tuple[Ints, int]:
    """Choose pairs so that the sum of weights is greatest, no half twice, none below 0; give their positions, and how many receivers were left out."""
    worth = np.flatnonzero(weight > 0)
    worth = worth[_best(receiver[worth], weight[worth])]
    if not len(worth):
        return worth, 0
    _, c = np.unique(caller[worth], return_inverse=True)
    _, r = np.unique(receiver[worth], return_inverse=True)
    alone = (np.bincount(c)[c] == 1) & (np.bincount(r)[r] == 1)
    chosen = [worth[alone]]
    rest = worth[~alone]
    left_out = 0
    if len(rest):
        solved, left_out = _solved(c[~alone], r[~alone], weight[rest])
        chosen.append(rest[solved])
    return np.sort(np.concatenate(chosen)), left_out


def _best(receiver: Ints, weight: Floats) -> Ints:
    """Give the positions of each receiver's best candidates."""
    order = np.lexsort((-weight, receiver))
    ordered = receiver[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, np.int64)
    rank = np.arange(len(ordered)) - np.repeat(first, np.diff(np.append(first, len(ordered))))
    return np.sort(order[rank < _BEST])


def _solved(caller: Ints, receiver: Ints, weight: Floats) -> tuple[Ints, int]:
    """Solve what is ambiguous: all components at once, those that are too large left out."""
    # 35 MiB that nobody pays whose contexts travel
    from scipy.sparse import coo_array, csr_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching  # noqa: PLC0415

    _, c = np.unique(caller, return_inverse=True)
    rows, r = np.unique(receiver, return_inverse=True)
    callers, receivers = int(c.max()) + 1, len(rows)
    graph = coo_array((np.ones(len(c)), (r, receivers + c)), shape=(receivers + callers, receivers + callers))
    _, component = connected_components(graph, directed=False)
    large = np.bincount(component[:receivers])[component[:receivers]] > MAX_COMPONENT
    kept = np.flatnonzero(~large[r])
    left_out = int(np.count_nonzero(large))
    if not len(kept):
        return kept, left_out
    rows, r = np.unique(r[kept], return_inverse=True)
    c = c[kept]
    # a column of its own for each receiver that stays alone; the solver wants positive costs
    top = float(weight[kept].max()) + 1.0
    costs = np.concatenate([top - weight[kept], np.full(len(rows), top)])
    places = np.concatenate([r, np.arange(len(rows))]), np.concatenate([c, callers + np.arange(len(rows))])
    taken, given = min_weight_full_bipartite_matching(csr_array((costs, places), shape=(len(rows), callers + len(rows))))
    matched = given < callers
    keys, wanted = r * callers + c, taken[matched].astype(np.int64) * callers + given[matched]
    return kept[np.isin(keys, wanted)], left_out
