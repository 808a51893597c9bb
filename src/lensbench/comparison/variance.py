"""How sure a model's result is, and a difference of two, with one training seed or several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lensbench.evaluation.intervals import interval_within
from lensbench.evaluation.joint import Joint

Rows: TypeAlias = Sequence[int]

_SMALLEST_P = 1e-300

_ROUNDING = 1e-24
"""Variances that rounding alone gives to results of order one stay below it."""


class SeedVariance(NamedTuple):
    """What the seeds of one model add to the variance of its mean result."""

    variance: float
    n_runs: int


@dataclass(frozen=True)
class Uncertainty:
    """The variance of a result, in its parts.

    Attributes:
        test: From the finite test set.
        trainings: From the seeds of each model, over and above; none where it is not known.
    """

    test: float
    trainings: tuple[SeedVariance, ...] = ()

    @property
    def training(self) -> float:
        """The variance that all training adds."""
        return sum(one.variance for one in self.trainings)

    @property
    def is_none(self) -> bool:
        """Whether nothing varies but by rounding."""
        return self.test + self.training < _ROUNDING

    def half_width(self, level: float) -> float:
        """Return half of the confidence interval.

        The half-widths that the parts would have alone are added in quadrature, as Howe (1974,
        J. Am. Stat. Assoc. 69, 789) does for a sum of means: the normal one of the test set, and
        Student's with R - 1 degrees of freedom of R seeds. With two to five seeds the one
        deviation with Satterthwaite's degrees of freedom covers too little (89 to 94 % in place
        of 95), and this 94 to 97 %, whatever the share of training
        (`tests/comparison/test_variance.py`).
        """
        return self._reach((1 - level) / 2)

    def interval(
        self, value: float, level: float, limits: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the confidence interval of a result, within the limits of its metric.

        The test set's part is that of `interval_within`. Training's part is added to each side in
        quadrature, on the scale of the results themselves: near a limit the other scale magnifies
        Student's factor of two seeds, 12.7, until the interval holds nearly everything.
        """
        low, high = interval_within(value, Uncertainty(self.test).half_width(level), limits)
        training = Uncertainty(0.0, self.trainings).half_width(level)
        return (
            max(limits[0], value - math.hypot(value - low, training)),
            min(limits[1], value + math.hypot(high - value, training)),
        )

    def p_value(self, difference: float) -> float:
        """Return the two-sided p-value of a difference from zero.

        It is 1 less the level of the interval that just reaches zero; 1 where nothing varies, since
        this test can say nothing then.
        """
        size = abs(difference)
        if size == 0 or self.is_none:
            return 1.0
        if self._reach(_SMALLEST_P) <= size:
            return 0.0
        if not self.trainings:
            return 2 * float(special.ndtr(-size / math.sqrt(self.test)))
        # Takes a fifth of a second, which a ranking of single runs does without.
        from scipy.optimize import brentq

        found = brentq(
            lambda log_tail: self._reach(math.exp(log_tail)) - size,
            math.log(_SMALLEST_P),
            math.log(0.5),
            xtol=1e-13,
        )
        return 2 * math.exp(found)

    def _reach(self, tail: float) -> float:
        """Return the half-width of which each tail holds that probability."""
        return math.hypot(
            float(special.ndtri(tail)) * math.sqrt(self.test),
            *(
                float(special.stdtrit(one.n_runs - 1, tail)) * math.sqrt(one.variance)
                for one in self.trainings
            ),
        )


def of_mean(joint: Joint, runs: Rows) -> Uncertainty:
    """Return the uncertainty of the mean result of a model's runs, which differ in their seed.

    Every run meets the same test images, as every reader of a multi-reader, multi-case study meets
    the same cases; a seed stands for a reader. With R runs, s^2 the sample variance of their
    results, V the mean variance that the test set gives a run and C the mean covariance of two
    runs, Obuchowski & Rockette (1995, Commun. Stat. Simul. Comput. 24, 285) have
    E[s^2] = Var_training + V - C and Var(mean) = s^2 / R + C. The test set's own part of that is
    (V + (R - 1) C) / R, and training's the rest, (s^2 - V + C) / R, taken as 0 where it comes out
    negative.

    Args:
        joint: Results of all runs and their covariance.
        runs: Rows of the model's runs.
    """
    test = float(joint.covariance[np.ix_(runs, runs)].mean())
    return Uncertainty(test, _trainings(joint, runs))


def of_difference(joint: Joint, one: Rows, other: Rows) -> Uncertainty:
    """Return the uncertainty of the difference between the mean results of two models.

    The test part is the paired one. Seeds of different models have nothing in common, so the
    training parts of `of_mean` add up.

    Args:
        joint: Results of all runs and their covariance.
        one: Rows of one model's runs.
        other: Rows of the other model's runs.
    """
    rows = [*one, *other]
    weights = np.array([1 / len(one)] * len(one) + [-1 / len(other)] * len(other))
    test = max(0.0, float(weights @ joint.covariance[np.ix_(rows, rows)] @ weights))
    return Uncertainty(test, (*_trainings(joint, one), *_trainings(joint, other)))


def _trainings(joint: Joint, runs: Rows) -> tuple[SeedVariance, ...]:
    n_runs = len(runs)
    if n_runs == 1:
        return ()
    spread = float(np.var(joint.values[list(runs)], ddof=1))
    noise = _own_test_noise(joint.covariance[np.ix_(runs, runs)])
    return (SeedVariance(max(0.0, spread - noise) / n_runs, n_runs),)


def _own_test_noise(covariance: NDArray[np.float64]) -> float:
    """Return V - C, the variance between runs that the test set alone gives."""
    n = len(covariance)
    shared = (covariance.sum() - np.trace(covariance)) / (n * (n - 1))
    return float(np.trace(covariance) / n - shared)
