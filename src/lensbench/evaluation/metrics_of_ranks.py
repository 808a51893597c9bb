"""Metrics that read the order of the scores alone.

Each takes N examples and (N, B) counts, float64, and returns (B,) values or (K, B), one row a
class; NaN where there is nothing to compare. See `WeightedMetric`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np

from lensbench.evaluation.proportions import share
from lensbench.evaluation.ranking import Floats, Ranking, cumulate
from lensbench.evaluation.scored import Scored, WeightedMetric


def auc_ovr(scored: Scored, counts: Floats) -> Floats:
    """(K, B) probability that an example of a class scores higher than another, ties a half."""
    return np.stack([_auc(ranking, counts) for ranking in scored.rankings])


def auc_ovr_macro(scored: Scored, counts: Floats) -> Floats:
    """(B,) mean of `auc_ovr` over classes."""
    mean: Floats = auc_ovr(scored, counts).mean(axis=0)
    return mean


def auc_ovr_micro(scored: Scored, counts: Floats) -> Floats:
    """(B,) AUC of all pairs of an example and a class, the right ones against the wrong ones."""
    is_right = np.eye(scored.n_classes, dtype=bool)[scored.labels].ravel()
    pairs = Ranking(scored.scores.ravel(), is_right, ~is_right)
    return _auc(pairs, np.repeat(counts, scored.n_classes, axis=0))


def auc_ovo(scored: Scored, counts: Floats) -> Floats:
    """(B,) mean over ordered pairs of classes of the AUC of the first class's score among both.

    The M of Hand & Till (2001, Machine Learning 45, 171), sec. 2.
    """
    areas = [
        _auc(Ranking(scored.scores[:, i], scored.labels == i, scored.labels == j), counts)
        for i, j in permutations(range(scored.n_classes), 2)
    ]
    mean: Floats = np.mean(areas, axis=0)
    return mean


def average_precision(scored: Scored, counts: Floats) -> Floats:
    """(K, B) mean precision at the members of a class, each called with all that score as high.

    The sum over thresholds of precision times the rise in recall, without interpolation.
    """
    return np.stack([_average_precision(ranking, counts) for ranking in scored.rankings])


def average_precision_macro(scored: Scored, counts: Floats) -> Floats:
    """(B,) mean of `average_precision` over classes."""
    mean: Floats = average_precision(scored, counts).mean(axis=0)
    return mean


def tpr_at_fpr(rate: float) -> WeightedMetric:
    """Return the metric: (K, B) highest true positive rate at that false positive rate or less.

    A threshold calls all examples with its score or a higher one, so tied ones come together.
    """
    return _tpr(share_of_others(rate))


def tpr_at_false_positives(n_allowed: int) -> WeightedMetric:
    """Return the metric: (K, B) highest true positive rate with so many false positives or fewer.

    With 0 and 10 these are TPR0 and TPR10 of the strong lens finding challenge (Metcalf et al.
    2019, A&A 625, A119), ten being the most that are allowed. NaN where there are no more others
    than that: any classifier would be perfect.
    """
    return _tpr(number_of_others(n_allowed))


def share_of_others(rate: float) -> Callable[[Floats], Floats]:
    """Return the function from (B,) numbers of others to (B,) false positives at a rate of them."""
    # 0.29 * 100 is below 29 in binary.
    return lambda n_others: np.floor(rate * n_others + 1e-9)


def number_of_others(n_allowed: int) -> Callable[[Floats], Floats]:
    """Return the function from (B,) numbers of others to always as many false positives, (B,)."""
    return lambda n_others: np.full_like(n_others, n_allowed)


def _auc(ranking: Ranking, counts: Floats) -> Floats:
    members, others = (sums @ counts for sums in ranking.by_score)
    lower = np.cumsum(others, axis=0) - others / 2
    return share(np.einsum("gb,gb->b", members, lower), members.sum(axis=0) * others.sum(axis=0))


def _average_precision(ranking: Ranking, counts: Floats) -> Floats:
    members, examples = (sums @ counts for sums in ranking.by_member_score)
    if not len(members):
        return np.full(counts.shape[1], np.nan)
    hits, called = cumulate(members.copy()), cumulate(examples)
    # Where nothing is called yet there is no hit either, and 0 is what such a threshold adds.
    np.maximum(called, np.finfo(np.float64).tiny, out=called)
    precision = np.divide(hits, called, out=called)
    return share(np.einsum("gb,gb->b", members, precision), hits[-1])


def _tpr(allowed_of: Callable[[Floats], Floats]) -> WeightedMetric:
    """Return the metric; `allowed_of` gives the (B,) false positives allowed of (B,) others."""

    def weighted(scored: Scored, counts: Floats) -> Floats:
        n_members = scored.by_class @ counts
        n_others = n_members.sum(axis=0) - n_members
        rates = [
            share(_most_found(ranking, counts, allowed_of(n_others[k])), n_members[k])
            if ranking.is_other.any()
            else np.full(counts.shape[1], np.nan)
            for k, ranking in enumerate(scored.rankings)
        ]
        is_defined = n_others > np.stack([allowed_of(n) for n in n_others])
        return np.where(is_defined, rates, np.nan)

    return weighted


def _most_found(ranking: Ranking, counts: Floats, allowed: Floats) -> Floats:
    """Return the most members (B,) above a threshold with no more others than (B,) allowed.

    The best threshold lies just above the first other example that is one too many; what is
    returned where there is none means nothing.
    """
    others, members = ranking.by_other_score
    # Few false positives are reached within the highest few scores, so that the others, which
    # are most of the examples, need not be summed.
    n_levels = int(2 * allowed.max()) + 32
    while True:
        is_too_many = np.cumsum(others[:n_levels] @ counts, axis=0) > allowed
        if is_too_many[-1].all() or n_levels >= others.shape[0]:
            break
        n_levels *= 2
    found = np.cumsum(members[:n_levels] @ counts, axis=0)
    first = is_too_many.argmax(axis=0)
    most: Floats = np.take_along_axis(found, first[np.newaxis], axis=0)[0]
    return most
