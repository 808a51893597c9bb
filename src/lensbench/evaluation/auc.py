"""Areas under ROC curves: each class against the rest, their mean, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.proportions import wilson_interval

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class OneVsRest:
    """The one-vs-rest AUCs of a classifier, and what each example contributes to their error.

    Attributes:
        values: (K,) the AUC of each class; NaN where a class or its rest is absent.
        influence: (N, K) influence of each example on each AUC. The covariance of the AUCs is
            the sum over examples of the outer products of its rows (see `one_vs_rest`), so that
            of any mean of them, or of any difference between classifiers, follows by summing.
    """

    values: Floats
    influence: Floats

    @property
    def macro(self) -> float:
        """The mean over classes."""
        return float(self.values.mean())

    @property
    def macro_influence(self) -> Floats:
        """(N,) the influence of each example on the mean over classes."""
        mean: Floats = self.influence.mean(axis=1)
        return mean


def one_vs_rest(labels: Integers, scores: Floats) -> OneVsRest:
    """Compute every class's AUC with the influence of each example on it.

    The AUC of a class is the Mann-Whitney probability that an example of the class scores higher
    than another example, ties counting half. With placements V10 (of each member among the rest)
    and V01 (of each other example among the members), DeLong, DeLong & Clarke-Pearson (1988,
    Biometrics 44, 837, eq. 3-5) estimate its variance as s10/m + s01/n, where s10 and s01 are the
    sample variances of the placements and m and n the numbers of members and others. Here an
    example's influence is its centred placement divided by sqrt(m (m - 1)), or
    sqrt(n (n - 1)), so that the squares add up to that same variance; products of the influences
    of two AUCs add up to their covariance likewise. Placements come from midranks
    (Sun & Xu 2014, IEEE Signal Process. Lett. 21, 1389, sec. III), in O(N log N).

    The members of class k are the negatives of the other classes, so one example moves several
    AUCs at once; summing the products over examples, not over positives and negatives apart,
    keeps exactly these covariances.

    Args:
        labels: (N,) int64 in 0..K-1.
        scores: (N, K) of which higher means more likely that class.
    """
    n_examples, n_classes = scores.shape
    values = np.full(n_classes, np.nan)
    influence = np.full((n_examples, n_classes), np.nan)
    for k in range(n_classes):
        members = labels == k
        m, n = int(members.sum()), int((~members).sum())
        if m == 0 or n == 0:
            continue
        ranks = _midranks(scores[:, k])
        placement = np.empty(n_examples)
        placement[members] = (ranks[members] - _midranks(scores[members, k])) / n
        placement[~members] = 1 - (ranks[~members] - _midranks(scores[~members, k])) / m
        values[k] = placement[members].mean()
        influence[:, k] = placement - values[k]
        influence[members, k] /= np.sqrt(m * max(m - 1, 1))
        influence[~members, k] /= np.sqrt(n * max(n - 1, 1))
    return OneVsRest(values, influence)


def auc_estimate(
    name: str, value: float, influence: Floats, labels: Integers, level: float
) -> Estimate:
    """Return an AUC, or a mean of AUCs, with its interval.

    Where the scores separate the classes perfectly, or are all equal, DeLong's error is zero
    although a finite sample proves nothing for certain; the interval is then that of a proportion
    among as many examples as the smallest class has.

    Args:
        name: Of the estimate.
        value: The AUC.
        influence: (N,) of each example on it.
        labels: (N,) int64.
        level: Confidence level.
    """
    deviation = float(np.sqrt((influence**2).sum()))
    if deviation > 0 and 0 < value < 1:
        low, high = logit_interval(value, deviation, level)
        method = "DeLong, logit scale"
    else:
        smallest = int(np.bincount(labels).min())
        low, high = wilson_interval(round(value * smallest), smallest, level)
        method = "Wilson with the size of the smallest class, since DeLong's error is zero"
    return Estimate(
        name=name, value=value, low=low, high=high, level=level, method=method, n=len(labels)
    )


def hanley_mcneil_deviation(auc: float, n_members: int, n_others: int) -> float:
    """Return the standard error of an AUC of which no predictions are known.

    Hanley & McNeil (1982, Radiology 143, 29), eq. 1 with the exponential approximation of their
    Q1 and Q2.
    """
    q1 = auc / (2 - auc)
    q2 = 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (n_members - 1) * (q1 - auc**2) + (n_others - 1) * (q2 - auc**2)
    ) / (n_members * n_others)
    return float(np.sqrt(variance))


def logit_interval(auc: float, deviation: float, level: float) -> tuple[float, float]:
    """Return a confidence interval of an AUC that never leaves [0, 1].

    It is symmetric on the logit scale (Pepe 2003, The Statistical Evaluation of Medical Tests,
    sec. 5.2): logit(auc) +- z deviation / (auc (1 - auc)).

    Args:
        auc: Above 0 and below 1.
        deviation: Its standard error.
        level: Confidence level.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = np.log(auc / (1 - auc))
    half = z * deviation / (auc * (1 - auc))
    low, high = 1 / (1 + np.exp(-(centre - half))), 1 / (1 + np.exp(-(centre + half)))
    return float(low), float(high)


def _midranks(values: Floats) -> Floats:
    """Return ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[inverse]
    return ranks
