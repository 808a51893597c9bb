"""Which of several choices are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Find the points that no other point beats: none is as cheap and as good, and better in one.

    Points that are equal in both stand or fall together. Where more of the first quantity is
    better, give its negative.

    >>> pareto_front([1, 2, 3, 4], [0.90, 0.95, 0.94, 0.99])
    [0, 1, 3]

    Args:
        costs: (N,) the lower, the better.
        values: (N,) the higher, the better.

    Returns:
        Indices, by rising cost.
    """
    front: list[int] = []
    best = (math.inf, -math.inf)
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        if values[i] > best[1] or (costs[i], values[i]) == best:
            front.append(i)
            best = (costs[i], values[i])
    return front
