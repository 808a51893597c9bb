"""Metrics that read the probabilities themselves: proper scores.

Counts are (N, B), float64; see `WeightedMetric`.
"""

from __future__ import annotations

import numpy as np

from lensbench.evaluation.proportions import share
from lensbench.evaluation.ranking import Floats
from lensbench.evaluation.scored import Scored

LARGEST_LOSS = 1e150
"""The squares of larger ones, of which variances are made, are beyond the largest float."""


def losses(scored: Scored) -> Floats:
    """(N,) minus the log of the label's probability, in nats; NaN above `LARGEST_LOSS`."""
    picked = -scored.log_probabilities[np.arange(len(scored.labels)), scored.labels]
    return np.where(picked <= LARGEST_LOSS, picked, np.nan)


def squared_errors(scored: Scored) -> Floats:
    """(N,) squared distance of the probabilities from the one-hot label, between 0 and 2."""
    hits = np.eye(scored.n_classes)[scored.labels]
    squared: Floats = ((scored.probabilities - hits) ** 2).sum(axis=1)
    return squared


def log_loss(scored: Scored, counts: Floats) -> Floats:
    """(B,) mean of `losses`, NaN if one of them is."""
    return share(losses(scored) @ counts, counts.sum(axis=0))


def brier_score(scored: Scored, counts: Floats) -> Floats:
    """(B,) mean of `squared_errors`, summed over classes as Brier (1950) has it."""
    return share(squared_errors(scored) @ counts, counts.sum(axis=0))
