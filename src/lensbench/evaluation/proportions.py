"""Shares of counted things, such as accuracy, and their intervals."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lensbench.evaluation.estimate import Estimate, undefined_estimate


def share(hits: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return hits / n; NaN where n is 0, since a share of nothing does not exist.

    Args:
        hits: Array of any shape, float64.
        n: Array that broadcasts with it.
    """
    shape = np.broadcast_shapes(hits.shape, n.shape)
    shares: NDArray[np.float64] = np.divide(hits, n, out=np.full(shape, np.nan), where=n > 0)
    return shares


def wilson_interval(n_hits: int, n: int, level: float) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927, JASA 22, 209).

    With n = 0 nothing is known: (0, 1).

    >>> low, high = wilson_interval(9, 10, 0.95)
    >>> round(low, 4), round(high, 4)
    (0.5958, 0.9821)
    """
    if n == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    rate = n_hits / n
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    low, high = float(centre - half), float(centre + half)
    # The bounds at the ends are exact; only their arithmetic is not.
    return 0.0 if n_hits == 0 else low, 1.0 if n_hits == n else high


def proportion_estimate(name: str, n_hits: int, n: int, level: float) -> Estimate:
    """Return a share of n examples with its interval.

    The share of no examples is NaN, with an `UndefinedMetricWarning`.
    """
    if n == 0:
        return undefined_estimate(name, level, n, "a share of no examples")
    low, high = wilson_interval(n_hits, n, level)
    return Estimate(
        name=name, value=n_hits / n, low=low, high=high, level=level, method="Wilson", n=n
    )
