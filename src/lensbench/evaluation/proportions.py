"""Intervals of counted things: accuracy, precision, recall, F1."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lensbench.evaluation.estimate import Estimate


def wilson_interval(n_hits: int, n: int, level: float) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927, JASA 22, 209, eq. 1).

    With n = 0 nothing is known: (0, 1).

    >>> low, high = wilson_interval(9, 10, 0.95)
    >>> round(low, 4), round(high, 4)
    (0.5958, 0.9821)
    """
    if n == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    share = n_hits / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    low, high = float(centre - half), float(centre + half)
    # The bounds at the ends are exact; only their arithmetic is not.
    return 0.0 if n_hits == 0 else low, 1.0 if n_hits == n else high


def proportion_estimate(name: str, n_hits: int, n: int, level: float) -> Estimate:
    """Return a share of n examples with its interval; 0 of 0 counts as 0."""
    low, high = wilson_interval(n_hits, n, level)
    return Estimate(
        name=name,
        value=n_hits / n if n else 0.0,
        low=low,
        high=high,
        level=level,
        method="Wilson",
        n=n,
    )


def f1_scores(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return F1 of each class from confusion matrices.

    Args:
        confusion: (..., K, K) counts; rows are true classes, columns what they were called.

    Returns:
        (..., K) float64; 0 where a class was neither present nor predicted.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    scores: NDArray[np.float64] = 2 * hits / np.maximum(total, 1)
    return scores


def f1_intervals(
    confusion: NDArray[np.int64], level: float, n_resamples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return percentile bootstrap intervals of F1, stratified by true class.

    Resampling the examples of a class with replacement is a multinomial draw from its row of the
    confusion matrix, so no example is touched.

    Args:
        confusion: (K, K) counts.
        level: Confidence level.
        n_resamples: Bootstrap resamples.
        rng: Source of randomness.

    Returns:
        Lower and upper bounds, (K,) each.
    """
    resampled = np.stack(
        [rng.multinomial(row.sum(), row / max(row.sum(), 1), n_resamples) for row in confusion],
        axis=1,
    )
    low, high = np.quantile(
        f1_scores(resampled), [(1 - level) / 2, (1 + level) / 2], axis=0, method="linear"
    )
    return low, high
