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
    """Solve what is ambiguous, component by component."""
    # 35 MiB that nobody pays whose contexts travel
    from scipy.sparse import coo_array, csr_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching  # noqa: PLC0415

    _, c = np.unique(caller, return_inverse=True)
    _, r = np.unique(receiver, return_inverse=True)
    callers, receivers = int(c.max()) + 1, int(r.max()) + 1
    graph = coo_array((np.ones(len(c)), (r, receivers + c)), shape=(receivers + callers, receivers + callers))
    _, component = connected_components(graph, directed=False)
    of = component[r]
    chosen: list[int] = []
    left_out = 0
    for number in np.unique(of).tolist():
        pairs = np.flatnonzero(of == number)
        rows, mine = np.unique(r[pairs], return_inverse=True)
        if len(rows) > MAX_COMPONENT:
            left_out += len(rows)
            continue
        columns, theirs = np.unique(c[pairs], return_inverse=True)
        # a column of its own for each receiver that stays alone; the solver wants positive costs
        top = float(weight[pairs].max()) + 1.0
        costs = np.concatenate([top - weight[pairs], np.full(len(rows), top)])
        places = np.concatenate([mine, np.arange(len(rows))]), np.concatenate([theirs, len(columns) + np.arange(len(rows))])
        matrix = csr_array((costs, places), shape=(len(rows), len(columns) + len(rows)))
        taken, given = min_weight_full_bipartite_matching(matrix)
        lookup = {(a, b): at for a, b, at in zip(mine.tolist(), theirs.tolist(), pairs.tolist(), strict=True)}
        chosen.extend(lookup[a, b] for a, b in zip(taken.tolist(), given.tolist(), strict=True) if b < len(columns))
    return np.array(chosen, np.int64), left_out
