"""Metrics that read only which class each example is called, the one of highest probability.

Counts are (N, B), float64; see `WeightedMetric`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from lensbench.evaluation.proportions import share
from lensbench.evaluation.ranking import Floats
from lensbench.evaluation.scored import Scored

Counted: TypeAlias = tuple[Floats, Floats]
"""How many were right of how many, (B,) or (K, B) each."""


def confusion(scored: Scored, counts: Floats) -> Floats:
    """(K, K, B) counts by true class and the class that was called."""
    n_classes = scored.n_classes
    return (scored.cells @ counts).reshape(n_classes, n_classes, counts.shape[1])


def right_of_all(scored: Scored, counts: Floats) -> Counted:
    """(B,) right calls, of all: the accuracy."""
    return scored.is_right.astype(np.float64) @ counts, counts.sum(axis=0)


def right_of_class(scored: Scored, counts: Floats) -> Counted:
    """(K, B) right calls, of the examples of a class: its recall."""
    cells = confusion(scored, counts)
    return _diagonal(cells), cells.sum(axis=1)


def right_of_called(scored: Scored, counts: Floats) -> Counted:
    """(K, B) right calls, of the examples that are called a class: its precision."""
    cells = confusion(scored, counts)
    return _diagonal(cells), cells.sum(axis=0)


def f1(scored: Scored, counts: Floats) -> Floats:
    """(K, B) harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).

    NaN for a class without examples, whose recall does not exist; 0 for one that has some and is
    never called.
    """
    cells = confusion(scored, counts)
    of_class, called = cells.sum(axis=1), cells.sum(axis=0)
    return np.where(of_class > 0, share(2 * _diagonal(cells), of_class + called), np.nan)


def f1_macro(scored: Scored, counts: Floats) -> Floats:
    """(B,) mean of `f1` over classes."""
    mean: Floats = f1(scored, counts).mean(axis=0)
    return mean


def matthews_correlation(scored: Scored, counts: Floats) -> Floats:
    """(B,) correlation of true and called class, between -1 and 1.

    R_K of Gorodkin (2004, Comput. Biol. Chem. 28, 367). NaN where all examples are of one class,
    or are called one, since a constant correlates with nothing.
    """
    cells = confusion(scored, counts)
    of_class, called, n = cells.sum(axis=1), cells.sum(axis=0), cells.sum(axis=(0, 1))
    covariance = _diagonal(cells).sum(axis=0) * n - (of_class * called).sum(axis=0)
    spread = (n**2 - (of_class**2).sum(axis=0)) * (n**2 - (called**2).sum(axis=0))
    return share(covariance, np.sqrt(spread))


def _diagonal(cells: Floats) -> Floats:
    diagonal: Floats = np.einsum("kkb->kb", cells)
    return diagonal
