"""Predictions as metrics read them: labels, probabilities, and what follows from both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from scipy.special import log_softmax

from lensbench.evaluation.ranking import (
    Booleans,
    Floats,
    Integers,
    Ranking,
    Sums,
    group_sums,
)
from lensbench.outcome import Predictions, ranking_scores


@dataclass(frozen=True, eq=False)
class Scored:
    """The labels and probabilities of N examples.

    Attributes:
        labels: (N,) int64 in 0..K-1.
        probabilities: (N, K) float64, each row of sum 1.
        log_probabilities: (N, K) float64, finite where a probability underflows to 0, unless
            logits lie further apart than the largest float.
        scores: (N, K) float64, which rank examples as probabilities do that have no last digit.
    """

    labels: Integers
    probabilities: Floats
    log_probabilities: Floats
    scores: Floats

    @classmethod
    def of(cls, predictions: Predictions) -> Scored:
        """Convert predictions, sorted by id, so that the order of a file cannot change a result.

        Resampling draws positions: these are then the same for every model of the same examples.
        """
        order = np.argsort(predictions.ids, kind="stable")
        logits = predictions.logits
        with np.errstate(over="ignore"):
            probabilities, logs = predictions.probabilities, log_softmax(logits, axis=1)
        scores = ranking_scores(logits)
        return cls(predictions.labels[order], probabilities[order], logs[order], scores[order])

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.probabilities.shape[1])

    @cached_property
    def called(self) -> Integers:
        """(N,) the class of the highest probability, the first of equal ones."""
        called: Integers = self.probabilities.argmax(axis=1)
        return called

    @cached_property
    def is_right(self) -> Booleans:
        """(N,) whether that is the label."""
        is_right: Booleans = self.called == self.labels
        return is_right

    @cached_property
    def by_class(self) -> Sums:
        """(K, N) sums by label."""
        return group_sums(self.labels, self.n_classes)

    @cached_property
    def cells(self) -> Sums:
        """(K K, N) sums by cell of the confusion matrix, its rows one after the other."""
        return group_sums(self.labels * self.n_classes + self.called, self.n_classes**2)

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """For each class the examples by its probability, its own against all others."""
        return tuple(
            Ranking(self.scores[:, k], self.labels == k, self.labels != k)
            for k in range(self.n_classes)
        )

    @cached_property
    def confidence(self) -> Floats:
        """(N,) the highest probability."""
        confidence: Floats = self.probabilities.max(axis=1)
        return confidence

    @cached_property
    def errors_by_confidence(self) -> tuple[Sums, Sums]:
        """Sums of examples, and of wrong ones, along falling confidence.

        With G confidences at which an example is wrong, the first has 2 G + 1 rows: for each of
        them the examples since the one before, and then those at it; in the end the rest. The
        second has G rows, the wrong examples at each.
        """
        levels = np.unique(-self.confidence[~self.is_right])
        place = np.searchsorted(levels, -self.confidence, side="left")
        is_at = np.isin(-self.confidence, levels)
        return (
            group_sums(2 * place + is_at, 2 * len(levels) + 1),
            group_sums(np.where(self.is_right, -1, place), len(levels)),
        )


WeightedMetric: TypeAlias = Callable[[Scored, Floats], Floats]
"""From N examples and (N, B) counts, how often each resample holds each example, to (B,) values,
or (K, B) of a metric that each class has. A column of ones gives the value on the examples
themselves, so that a metric is written once for its value and for its bootstrap."""
