"""Two models on the same test images: how far apart, how sure, and what would make it surer."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from scipy import special

from lensbench.comparison.judged import Judged
from lensbench.comparison.ties import holm
from lensbench.comparison.variance import Rows, Uncertainty, of_difference
from lensbench.evaluation.estimate import ACCURACY, Estimate
from lensbench.evaluation.joint import Joint
from lensbench.evaluation.metrics import metric_of
from lensbench.evaluation.ranking import Booleans
from lensbench.evaluation.scored import Scored

_MCNEMAR = "McNemar's exact test"

_ROUNDING = 1e-12
"""Differences that rounding alone gives to means of equal results stay below it."""

_MOST_IMAGES = 10**12
"""A number that stands for no number of images."""

POWER = 0.8
"""Probability with which the test set that `images_to_separate` speaks of would tell."""


@dataclass(frozen=True)
class Pair:
    """Two models of a ranking, the better one first."""

    first: str
    second: str

    difference: Estimate
    """Of the first result minus the second."""

    p_value: float
    p_holm: float
    """Corrected for the number of pairs."""

    method: str


def all_pairs(
    judged: Sequence[Judged], models: Sequence[Rows], joint: Joint, metric: str, level: float
) -> tuple[Pair, ...]:
    """Test every two models, as `itertools.combinations` has them.

    Args:
        judged: All runs.
        models: The rows in `judged` of each model's runs, best model first.
        joint: Results of all runs and their covariance.
        metric: What is compared.
        level: Confidence level of the differences' intervals.
    """
    both = list(itertools.combinations(models, 2))
    is_right = [
        None if run.predictions is None else Scored.of(run.predictions).is_right for run in judged
    ]
    tests = [_test(judged, is_right, joint, one, other, metric) for one, other in both]
    corrected = holm([p_value for p_value, _ in tests])
    return tuple(
        Pair(
            first=judged[one[0]].model,
            second=judged[other[0]].model,
            difference=_difference(joint, one, other, metric, level),
            p_value=p_value,
            p_holm=p_holm,
            method=method,
        )
        for (one, other), (p_value, method), p_holm in zip(both, tests, corrected, strict=True)
    )


def images_to_separate(
    joint: Joint, one: Rows, other: Rows, level: float, n_pairs: int
) -> int | None:
    """Return how many test images would tell two models apart, with a power of 80 %.

    Taking the present difference d as the true one, a test set of n images finds it if |d| is at
    least the half-width of the interval that it would give, and z_power standard errors beside:
    (z_(1 - alpha/2) + z_power) sqrt(V n_now / n) without seeds, the usual sample size for a
    difference. The test has to hold among all pairs, so alpha is 1 - level divided by their number,
    as for the smallest p-value in Holm's correction. None if no number of images would do: the
    models are equal, or training alone makes the interval as wide, or nothing varies.

    Args:
        joint: Results of all runs and their covariance.
        one: Rows of one model's runs.
        other: Rows of the other model's runs.
        level: Of the ranking's tests.
        n_pairs: How many are made.
    """
    uncertainty = of_difference(joint, one, other)
    difference = abs(_mean_difference(joint, one, other))
    z_power = NormalDist().inv_cdf(POWER)

    def found_with(n: int) -> float:
        then = Uncertainty(uncertainty.test * joint.n / n, uncertainty.trainings)
        deviation = math.sqrt(then.test + then.training)
        return then.half_width(1 - (1 - level) / n_pairs) + z_power * deviation

    if uncertainty.is_none or found_with(_MOST_IMAGES) > difference:
        return None
    return 1 + bisect.bisect_left(range(1, _MOST_IMAGES), -difference, key=lambda n: -found_with(n))


def _test(
    judged: Sequence[Judged],
    is_right: Sequence[Booleans | None],
    joint: Joint,
    one: Rows,
    other: Rows,
    metric: str,
) -> tuple[float, str]:
    """Return the two-sided p-value and how it came about."""
    first, second = is_right[one[0]], is_right[other[0]]
    if metric == ACCURACY and len(one) == len(other) == 1 and not (first is None or second is None):
        return mcnemar(int((first & ~second).sum()), int((second & ~first).sum())), _MCNEMAR
    uncertainty = of_difference(joint, one, other)
    difference = _mean_difference(joint, one, other)
    if (
        uncertainty.is_none
        and abs(difference) > _ROUNDING
        and _one_is_perfect(joint, one, other, metric)
    ):
        # Each example says that the perfect model is the better one.
        smallest = min(n for n in judged[one[0]].supports if n)
        return mcnemar(smallest, 0), "sign test of the smallest class, since nothing varies"
    kind = "unpaired test" if first is None or second is None else "paired test"
    return uncertainty.p_value(difference), f"{kind} with {joint.method}{_seeds(one, other)}"


def _one_is_perfect(joint: Joint, one: Rows, other: Rows, metric: str) -> bool:
    means = joint.values[list(one)].mean(), joint.values[list(other)].mean()
    best = metric_of(metric).best
    return any(math.isclose(mean, best, abs_tol=_ROUNDING) for mean in means)


def _seeds(one: Rows, other: Rows) -> str:
    """Say what is known of training, as the end of a clause."""
    n_single = (len(one) == 1) + (len(other) == 1)
    if n_single == 2:
        return ""
    return " and the variance of training" + (
        " of that model alone which has several seeds" if n_single else ""
    )


def mcnemar(n_first_only: int, n_second_only: int) -> float:
    """Return the p-value of the exact form of McNemar's test (1947, Psychometrika 12, 153).

    Of the examples that one model alone has right, each model has half if both are equally good.

    Args:
        n_first_only: Examples that the first model alone has right.
        n_second_only: Examples that the second model alone has right.
    """
    n = n_first_only + n_second_only
    return min(1.0, 2 * float(special.bdtr(min(n_first_only, n_second_only), n, 0.5)))


def _difference(joint: Joint, one: Rows, other: Rows, metric: str, level: float) -> Estimate:
    value = _mean_difference(joint, one, other)
    half = of_difference(joint, one, other).half_width(level)
    lowest, highest = metric_of(metric).limits
    return Estimate(
        name="difference",
        value=value,
        low=max(value - half, lowest - highest),
        high=min(value + half, highest - lowest),
        level=level,
        method=joint.method,
        n=joint.n,
    )


def _mean_difference(joint: Joint, one: Rows, other: Rows) -> float:
    return float(joint.values[list(one)].mean() - joint.values[list(other)].mean())
