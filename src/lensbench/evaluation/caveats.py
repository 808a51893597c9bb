"""What is said beside an interval that is too narrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from lensbench.evaluation.ranking import Floats, Integers

FEW = 10
"""Fewer examples of a class, or fewer false positives, tell too little of how they vary."""

Caveat: TypeAlias = Callable[[Integers, int], str]
"""From the (N,) labels that an estimate compares (`Metric.compared`), and how many examples are
called wrong, to a clause on its interval, empty where nothing is wrong with it."""


def none(_: Integers, __: int) -> str:
    """Say nothing."""
    return ""


def noise_of_bins(_: Integers, __: int) -> str:
    """Say that a calibration error is too large by an amount that no interval knows."""
    return "too narrow, since it leaves out what the noise of finite bins adds to the value"


def noise_that_stays(_: Integers, __: int) -> str:
    """Say that a debiased calibration error still holds part of that amount, and when it shows."""
    return "too narrow where probabilities are nearly right, since some of the bins' noise stays"


def few_wrong_calls(_: Integers, n_wrong: int) -> str:
    """Say that most of a proper score comes from a few examples.

    With two wrong calls of 450 in the mean, intervals of 95 % held the expected log loss in 84 % of
    400 simulated test sets and the expected Brier score in 87 %; with 0.7 of 150, in 67 and 65 %.
    """
    return f"too narrow with so few wrong calls ({n_wrong})" if n_wrong < FEW else ""


def few_examples(labels: Integers, _: int = 0) -> str:
    """Say that the variance within a class is hardly known from a few of its examples."""
    smallest = size_of_smallest_class(labels)
    return f"too narrow with so few of a class ({smallest})" if smallest < FEW else ""


def few_false_positives(allowed_of: Callable[[Floats], Floats]) -> Caveat:
    """Return the caveat of a true positive rate whose threshold is one of the highest others.

    With none allowed the threshold is the highest score of the others, and no resample has a
    higher one. The bootstrap of an extreme is inconsistent (Bickel & Freedman 1981, Ann. Statist.
    9, 1196, sec. 6): intervals of 95 % held the expected value of 500 simulated test sets in 77 %
    of them, and two equal models, 150 images a class, were called different in 17 % of 400 pairs.
    With a few allowed, the threshold is one of the highest few, which resamples hardly vary.

    Args:
        allowed_of: From (B,) numbers of others to (B,) numbers of false positives.
    """

    def caveat(labels: Integers, n_wrong: int) -> str:
        n_allowed = int(allowed_of(np.array([float((labels == 0).sum())]))[0])
        if n_allowed >= FEW:
            return few_examples(labels, n_wrong)
        if n_allowed:
            return f"too narrow, since the threshold hangs on so few others ({n_allowed + 1})"
        return (
            "too narrow, and equal models are called different too often, since resamples have no "
            "higher score than the highest one seen"
        )

    return caveat


def size_of_smallest_class(labels: Integers) -> int:
    """Return how many examples the smallest class has, of those that occur.

    Args:
        labels: (N,) int64, at least one.
    """
    return int(np.unique(labels, return_counts=True)[1].min())
