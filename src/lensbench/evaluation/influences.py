"""The influence of each example on a metric, where a metric's error is a sum over examples.

Each function returns (K,) values, or (1,), and (N, K) influences, of which the products of two
columns add up to the covariance of the two values. K classes, N examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from lensbench.evaluation import auc
from lensbench.evaluation.metrics_of_probabilities import losses, squared_errors
from lensbench.evaluation.ranking import Floats
from lensbench.evaluation.scored import Scored

Influences: TypeAlias = Callable[[Scored], tuple[Floats, Floats]]


def auc_ovr(scored: Scored) -> tuple[Floats, Floats]:
    """DeLong's, of each class against the rest."""
    areas = auc.one_vs_rest(scored.labels, scored.scores)
    return areas.values, areas.influence


def auc_ovr_macro(scored: Scored) -> tuple[Floats, Floats]:
    """DeLong's, of the mean over classes."""
    values, influence = auc_ovr(scored)
    return values.mean(keepdims=True), influence.mean(axis=1, keepdims=True)


def auc_ovr_micro(scored: Scored) -> tuple[Floats, Floats]:
    """DeLong's, of all pairs of an example and a class."""
    value, influence = auc.micro_average(scored.labels, scored.scores)
    return np.array([value]), influence[:, np.newaxis]


def auc_ovo(scored: Scored) -> tuple[Floats, Floats]:
    """DeLong's, of the mean over pairs of classes."""
    value, influence = auc.one_vs_one(scored.labels, scored.scores)
    return np.array([value]), influence[:, np.newaxis]


def accuracy(scored: Scored) -> tuple[Floats, Floats]:
    """Of the share of right calls."""
    return _of_mean(scored, scored.is_right.astype(np.float64))


def recall(scored: Scored) -> tuple[Floats, Floats]:
    """Of the share of right calls in each class."""
    is_right = scored.is_right.astype(np.float64)
    of_class = [scored.labels == k for k in range(scored.n_classes)]
    values = np.array([is_right[rows].mean() if rows.any() else np.nan for rows in of_class])
    influence = _centred(scored, is_right)[:, np.newaxis] * np.column_stack(of_class)
    sizes = np.array([rows.sum() for rows in of_class])
    return values, np.where(np.isnan(values), np.nan, influence / np.maximum(sizes, 1))


def log_loss(scored: Scored) -> tuple[Floats, Floats]:
    """Of the mean loss."""
    return _of_mean(scored, losses(scored))


def brier_score(scored: Scored) -> tuple[Floats, Floats]:
    """Of the mean squared error."""
    return _of_mean(scored, squared_errors(scored))


def _of_mean(scored: Scored, values: Floats) -> tuple[Floats, Floats]:
    return values.mean(keepdims=True), (_centred(scored, values) / len(values))[:, np.newaxis]


def _centred(scored: Scored, values: Floats) -> Floats:
    """Return deviations from the mean of each class, of which the squares add up unbiasedly.

    How many examples a class has is taken as given, as the bootstrap's strata do.
    """
    centred = np.zeros(len(values))
    for k in range(scored.n_classes):
        rows = scored.labels == k
        n = int(rows.sum())
        if n > 1:
            centred[rows] = (values[rows] - values[rows].mean()) * np.sqrt(n / (n - 1))
    return centred
