"""What a pair of halves weighs: the likelihood of its delays against chance, and what is left for it beside all its rivals."""

from __future__ import annotations

from typing import Final

import numpy as np

from traced.graph.columns import Ints, Mask
from traced.graph.delays import DelayModel, Floats

PRIOR: Final = 0.8
"""Chance that a receiver's caller is among the candidates, before anything is known of their times."""
OUTLIERS: Final = 0.05
"""Share of calls whose delays follow no rule: paused, queued, retried."""
_ROUNDS: Final = 40


def tail(successes: int, trials: int, chance: float) -> float:
    """Bound P(at least so many successes) from above (Chernoff): exp(-n KL(k/n || p))."""
    share = successes / trials
    if share <= chance:
        return 1.0
    divergence = share * np.log(share / chance) + ((1 - share) * np.log((1 - share) / (1 - chance)) if share < 1 else 0.0)
    return float(np.exp(-trials * divergence))


def columns_of(models: list[DelayModel]) -> Floats:
    """Give the models as rows: median, spread and least of the request's delay, then of the response's, in nanoseconds."""
    fields = [(m.request, m.request_scale, m.request_least, m.response, m.response_scale, m.response_least) for m in models]
    return np.array(fields, np.float64).reshape(len(models), 6)


def _mixed(density: Floats, room: Floats) -> Floats:
    """Give the log of a density relative to chance, where a share of calls takes any time that it has room for."""
    mixed: Floats = np.log((1 - OUTLIERS) * np.exp(density) * room + OUTLIERS)
    return mixed


def weights(model: Floats, request: Floats, response: Floats, room: Floats, messages: Mask) -> Floats:
    """Give log of (density of both delays on this edge) over (density by chance: anywhere within the caller's time)."""
    forth = _mixed(_density(request, model[:, 0], model[:, 1]), np.maximum(room, model[:, 1]))
    back = _mixed(_density(response, model[:, 3], model[:, 4]), np.maximum(room, model[:, 4]))
    weighed: Floats = np.where(messages, forth, forth + back)
    return weighed


def _density(value: Floats, location: Floats, scale: Floats) -> Floats:
    """Give the log density of Student's t with three degrees of freedom: a median and a spread, and tails that forgive."""
    z = (value - location) / scale
    density: Floats = -2.0 * np.log1p(z * z / 3.0) - np.log(scale) - 1.0008888  # log of 2 / (pi sqrt 3), negated
    return density


def balanced(caller: Ints, receiver: Ints, weight: Floats, prior: float = PRIOR) -> Floats:
    """Turn weights into shares, so that those of each caller, and of each receiver, and of its having no other half, add up to one.

    Sinkhorn's balancing of the sparse matrix; the share is what is said for the pair with regard to all rivals on both sides.
    """
    if not len(caller):
        return np.zeros(0)
    _, c = np.unique(caller, return_inverse=True)
    _, r = np.unique(receiver, return_inverse=True)
    ratio = np.exp(weight) * prior / (1 - prior)
    of_caller, of_receiver = np.ones(c.max() + 1), np.ones(r.max() + 1)
    for _ in range(_ROUNDS):
        of_receiver = 1 / (1 + np.bincount(r, ratio * of_caller[c]))
        of_caller = 1 / (1 + np.bincount(c, ratio * of_receiver[r]))
    shares: Floats = ratio * of_caller[c] * of_receiver[r]
    return np.minimum(shares, 1.0)
