"""What silence proves: how large a share, or how many uses, may be there and not have been seen.

The unit of one consumer is a sampled trace that holds one of its consumptions or more, never a span, a message or an adjusted count: sampling is per trace, and
a batch of 500 messages in one trace is one draw. `doubt` is 1 - confidence, shared among the consumers (Bonferroni).
"""

from __future__ import annotations

from math import ceil, exp, expm1, floor, inf, lgamma, log, log1p
from typing import Final

import numpy as np
import numpy.typing as npt

_TOLERANCE: Final = 1e-9
"""Of a quotient of logarithms: for p = 0.9 and a doubt of 0.01 it is 1.9999999999999996, and is meant to be 2."""
_HALVINGS: Final = 60
_NEGLIGIBLE: Final = 1e-15
_RHYTHM: Final = 3
"""How many uses after the first say how often they come."""


def doubt_each(confidence: float, consumers: int) -> float:
    """Give the doubt that each of some consumers may have, so that all together have 1 - confidence."""
    return (1.0 - confidence) / max(1, consumers)


def share_bound(units: int, doubt: float) -> float:
    """Give the largest share that none of so many units is still compatible with (Clopper and Pearson); 1 of none."""
    return -expm1(log(doubt) / units) if units > 0 else 1.0


def units_needed(max_share: float, doubt: float) -> int:
    """Give how many units without a use make the bound no larger than a share (0 < max_share < 1)."""
    return max(1, _ceiling(log(doubt) / log1p(-max_share)))


def unseen_uses(probability: float | None, doubt: float) -> int | None:
    """Give how many uses, each in a trace of its own, may have gone unseen; 0 where all is kept, None where the probability is not known.

    Exactly the largest N of (1 - p)^N >= doubt: too few would say too much.
    """
    if probability is None or probability <= 0:
        return None
    if probability >= 1:
        return 0
    quotient = log(doubt) / log1p(-probability)
    return floor(quotient + _TOLERANCE * max(1.0, quotient))


def rate_excluded(probability: float, silent_seconds: float, doubt: float) -> float:
    """Give the rate (uses a second) that an irregular consumer, silent for so long, does not exceed; infinite where nothing was looked at."""
    return -log(doubt) / (probability * silent_seconds) if probability > 0 and silent_seconds > 0 else inf


def runs_needed(probability: float, traces_per_run: int, doubt: float) -> int:
    """Give how many runs of a periodic consumer it takes to see one of its traces."""
    if probability >= 1:
        return 1
    return max(1, _ceiling(log(doubt) / (traces_per_run * log1p(-probability))))


def window_needed(period_seconds: float, runs: int) -> float:
    """Give the seconds in which so many runs lie for certain, wherever in its period the consumer is."""
    return period_seconds * (runs + 1)


def silence_needed(times: npt.NDArray[np.float64], uses: npt.NDArray[np.int64], begin: float, doubt: float) -> float:
    """Give the silence after the last of some uses that would be unusual, if they went on as they came.

    Of uses that come at random, k after a first one lie anywhere between that and now. That all lie before a silence S, in a time T, has the chance
    (T / (T + S))^k; where that is no more than the doubt, they have ceased. So who used something a thousand times and stopped is told from who uses it once a
    month. Uses may have become rarer, so the same is asked of the latest four, five and so on; of fewer it is asked since the first look.

    Args:
        times: when uses came, unix seconds, ascending; at least one.
        uses: how many at each time.
        begin: since when they would have been seen.
        doubt: 1 - confidence.
    """
    later = uses[::-1].cumsum()[::-1] - uses
    told = later >= _RHYTHM
    if not told.any():
        return max(0.0, float(times[-1]) - begin) * expm1(-log(doubt) / int(uses.sum()))
    return float(((times[-1] - times[told]) * np.expm1(-log(doubt) / later[told])).max())


def share_bound_of(part: int, whole: int, doubt: float) -> float:
    """Give the upper bound (Clopper and Pearson) of the share that part is of whole; 1 of nothing."""
    if part >= whole:
        return 1.0
    if part <= 0:
        return share_bound(whole, doubt)
    low, high = part / whole, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        low, high = (share, high) if _at_most(part, whole, share) > doubt else (low, share)
    return high


def least_share(part: int, whole: int, doubt: float) -> float:
    """Give the lower bound (Clopper and Pearson) of the share that part is of whole; 0 of nothing."""
    return 1.0 - share_bound_of(whole - part, whole, doubt) if whole > 0 else 0.0


def _at_most(part: int, whole: int, share: float) -> float:
    """Give the chance of so small a part or a smaller one, where there is such a share (binomial distribution)."""
    total = 0.0
    # from the largest term downwards, since part is below what is expected
    for k in range(part, -1, -1):
        choices = lgamma(whole + 1) - lgamma(k + 1) - lgamma(whole - k + 1)
        term = exp(choices + k * log(share) + (whole - k) * log1p(-share)) if share < 1 else 0.0
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return total


def _ceiling(quotient: float) -> int:
    """Round up, but for what is a whole number but for floating point."""
    return ceil(quotient - _TOLERANCE * max(1.0, quotient))
