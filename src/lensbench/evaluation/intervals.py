"""Intervals that stay within the limits of their metric."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from scipy import special

_LARGEST_EXPONENT = 600.0


def interval_within(
    value: float, half_width: float, limits: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval around a value that stays within the limits of its metric.

    It is symmetric on a scale without limits, the logit of the share of the way from the least
    value to the greatest, or the logarithm where there is no greatest, and as wide there as
    `half_width` makes it (Pepe 2003, The Statistical
    Evaluation of Medical Tests, sec. 5.2, for AUCs). At a limit itself there is no such scale,
    and the interval is cut.

    Args:
        value: Of the metric.
        half_width: Of its interval, were there no limits.
        limits: The least and the greatest value there is; the greatest may be infinite.
    """
    low, high = limits
    if not low < value < high:
        return max(low, value - half_width), min(high, value + half_width)
    above = value - low
    if math.isinf(high):
        factor = float(np.exp(min(half_width / above, _LARGEST_EXPONENT)))
        return low + above / factor, low + above * factor
    span = high - low
    share = above / span
    centre, reach = special.logit(share), half_width / (span * share * (1 - share))
    return (
        low + span * float(special.expit(centre - reach)),
        low + span * float(special.expit(centre + reach)),
    )


def normal_half_width(deviation: float, level: float) -> float:
    """Return half of the confidence interval that a normal error of a standard deviation gives."""
    return NormalDist().inv_cdf((1 + level) / 2) * deviation
