"""Areas under ROC curves, and what each example contributes to their errors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from lensbench.evaluation.caveats import few_examples, size_of_smallest_class
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.intervals import interval_within, normal_half_width
from lensbench.evaluation.proportions import wilson_interval
from lensbench.evaluation.ranking import Booleans, Floats, Integers


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


def one_vs_rest(labels: Integers, scores: Floats) -> OneVsRest:
    """Compute every class's AUC with the influence of each example on it.

    The AUC of a class is the Mann-Whitney probability that an example of the class scores higher
    than another example, ties counting half. With placements V10 (of each member among the rest)
    and V01 (of each other example among the members), DeLong, DeLong & Clarke-Pearson (1988,
    Biometrics 44, 837) estimate its variance as s10/m + s01/n, where s10 and s01 are the
    sample variances of the placements and m and n the numbers of members and others. Here an
    example's influence is its centred placement divided by sqrt(m (m - 1)), or
    sqrt(n (n - 1)), so that the squares add up to that same variance; products of the influences
    of two AUCs add up to their covariance likewise. Placements come from midranks
    (Sun & Xu 2014, IEEE Signal Process. Lett. 21, 1389, sec. III), in O(N log N).

    Means over classes need nothing more. Write g_ik for the influence of example i on the AUC of
    class k, so that cov(A_k, A_l) = sum_i g_ik g_il. Then the mean M = (1/K) sum_k A_k has

        var M = (1/K^2) sum_kl cov(A_k, A_l) = sum_i ((1/K) sum_k g_ik)^2:

    the influence of an example on the mean is the mean of its influences. The members of class k
    are the rest of the other classes, so one example moves several AUCs at once, and the sum over
    examples, not over members and rest apart, keeps these covariances. The same holds for
    different classifiers on the same examples: with their influences on M as the rows of G, the
    covariance of their macro AUCs is G G^T.

    Args:
        labels: (N,) int64 in 0..K-1.
        scores: (N, K) of which higher means more likely that class.
    """
    compared = [_compare(scores[:, k], labels == k, labels != k) for k in range(scores.shape[1])]
    values, influences = zip(*compared, strict=True)
    return OneVsRest(np.array(values), np.column_stack(influences))


def one_vs_one(labels: Integers, scores: Floats) -> tuple[float, Floats]:
    """Compute the mean AUC of all ordered pairs of classes, and each example's influence on it.

    The M of Hand & Till (2001, Machine Learning 45, 171): the AUC of a pair (i, j) compares the
    score of class i among the examples of i and j alone, so no other example has an influence on
    it. The influence on the mean is the mean of the influences, as in `one_vs_rest`.

    Args:
        labels: (N,) int64 in 0..K-1.
        scores: (N, K) of which higher means more likely that class.

    Returns:
        The mean, NaN where a class is absent, and the (N,) influences.
    """
    pairs = list(permutations(range(scores.shape[1]), 2))
    value, influence = 0.0, np.zeros(len(labels))
    for i, j in pairs:
        area, of_area = _compare(scores[:, i], labels == i, labels == j)
        value += area / len(pairs)
        influence += of_area / len(pairs)
    return value, influence


def micro_average(labels: Integers, scores: Floats) -> tuple[float, Floats]:
    """Compute the AUC of all pairs of an example and a class, and each example's influence on it.

    The pairs of an example are not independent, so their influences are summed before anybody
    squares them (Obuchowski 1997, Biometrics 53, 567, treats such clusters so).

    Args:
        labels: (N,) int64 in 0..K-1.
        scores: (N, K) of which higher means more likely that class.

    Returns:
        The AUC and the (N,) influences.
    """
    is_right = np.eye(scores.shape[1], dtype=bool)[labels].ravel()
    value, influence = _compare(scores.ravel(), is_right, ~is_right)
    return value, influence.reshape(scores.shape).sum(axis=1)


def _compare(scores: Floats, is_member: Booleans, is_other: Booleans) -> tuple[float, Floats]:
    """Return the AUC of members against others, and the influence of each example on it."""
    m, n = int(is_member.sum()), int(is_other.sum())
    if m == 0 or n == 0:
        return np.nan, np.full(len(scores), np.nan)
    members, others = scores[is_member], scores[is_other]
    ranks = _midranks(np.concatenate([members, others]))
    of_members = (ranks[:m] - _midranks(members)) / n
    of_others = 1 - (ranks[m:] - _midranks(others)) / m
    value = float(of_members.mean())
    influence = np.zeros(len(scores))
    influence[is_member] = (of_members - value) / np.sqrt(m * max(m - 1, 1))
    influence[is_other] = (of_others - value) / np.sqrt(n * max(n - 1, 1))
    return value, influence


def auc_estimate(
    name: str, value: float, influence: Floats, labels: Integers, level: float
) -> Estimate:
    """Return an AUC, or a mean of AUCs, with its interval.

    Where the scores separate the classes perfectly, or are all equal, DeLong's error is zero
    although a finite sample proves nothing for certain; of a class of one example it has no
    variance to go by. The interval is then that of a proportion among as many examples as the
    smallest class has.

    Args:
        name: Of the estimate.
        value: The AUC.
        influence: (N,) of each example on it.
        labels: (N,) int64, the classes that are compared.
        level: Confidence level.
    """
    deviation = float(np.sqrt((influence**2).sum()))
    is_alone = size_of_smallest_class(labels) == 1
    if deviation > 0 and 0 < value < 1 and not is_alone:
        low, high = interval_within(value, normal_half_width(deviation, level), (0, 1))
        caveat = few_examples(labels)
        method = f"DeLong, logit scale; {caveat}" if caveat else "DeLong, logit scale"
    else:
        low, high = wilson_of_smallest_class(value, labels, level)
        why = "one example has no variance" if is_alone else "DeLong's error is zero"
        whose = (
            "the size of the smallest class"
            if len(np.unique(labels)) > 1
            else "the number of examples"
        )
        method = f"Wilson with {whose}, since {why}"
    return Estimate(
        name=name, value=value, low=low, high=high, level=level, method=method, n=len(labels)
    )


def wilson_of_smallest_class(value: float, labels: Integers, level: float) -> tuple[float, float]:
    """Return an interval of a value in [0, 1] that does not vary within these examples.

    That of a proportion among as many examples as the smallest class has, of those that occur.

    Args:
        value: Such as an AUC of 1.
        labels: (N,) int64.
        level: Confidence level.
    """
    smallest = size_of_smallest_class(labels)
    low, high = wilson_interval(round(value * smallest), smallest, level)
    return min(low, value), max(high, value)


def hanley_mcneil_deviation(auc: float, n_members: int, n_others: int) -> float:
    """Return the standard error of an AUC of which no predictions are known.

    Hanley & McNeil (1982, Radiology 143, 29), with the exponential approximation of their Q1 and
    Q2.
    """
    q1 = auc / (2 - auc)
    q2 = 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (n_members - 1) * (q1 - auc**2) + (n_others - 1) * (q2 - auc**2)
    ) / (n_members * n_others)
    return float(np.sqrt(variance))


def _midranks(values: Floats) -> Floats:
    """Return ranks from 1, ties sharing their mean rank."""
    # scipy.stats has this too, but takes a second to import.
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[inverse]
    return ranks
