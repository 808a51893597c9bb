"""Predictions -> Evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import auc as area
from sklearn.metrics import classification_report, roc_curve

from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.estimate import Evaluation, RocCurve
from lensbench.evaluation.estimates import estimates_of, scored_of
from lensbench.evaluation.metrics import METRICS
from lensbench.evaluation.metrics_of_calls import confusion
from lensbench.evaluation.ranking import Floats
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions

_MACRO, _MICRO = "macro", "micro"


def evaluate(predictions: Predictions, spec: JudgeSpec) -> Evaluation:
    """Judge one set of predictions by every metric, all examples at once.

    A metric that does not exist on these examples, such as the recall of a class without any, is
    NaN, with an `UndefinedMetricWarning` that says why.

    Raises:
        RecordError: There are no predictions, or a class has the name of a mean of curves.
    """
    require_class_names(predictions.classes)
    scored, classes = scored_of(predictions), predictions.classes
    estimates = {one.name: one for one in estimates_of(METRICS.values(), scored, classes, spec)}
    cells = confusion(scored, np.ones((len(scored.labels), 1)))[..., 0]
    return Evaluation(
        classes=classes,
        estimates=estimates,
        roc_curves=_roc_curves(scored, classes),
        confusion_matrix=tuple(tuple(int(n) for n in row) for row in cells),
        report=classification_report(
            scored.labels,
            scored.called,
            labels=range(len(classes)),
            target_names=classes,
            zero_division=0,
        ),
    )


def require_class_names(classes: Sequence[str]) -> None:
    """Refuse names of classes that mean something else in a record.

    Raises:
        RecordError: A class has the name of a mean of curves.
    """
    taken = [name for name in classes if name in (_MACRO, _MICRO)]
    if taken:
        raise RecordError(
            f"a class is called {taken[0]!r}, as is a mean of ROC curves over classes: rename it"
        )


def _roc_curves(scored: Scored, classes: tuple[str, ...]) -> dict[str, RocCurve]:
    """Return the curves of the classes that have examples and a rest, and their means."""
    curves = {
        name: _curve(*roc_curve(ranking.is_member, ranking.scores)[:2])
        for name, ranking in zip(classes, scored.rankings, strict=True)
        if ranking.is_member.any() and ranking.is_other.any()
    }
    means = {}
    if len(curves) == len(classes):
        means[_MACRO] = _mean_curve(list(curves.values()))
    hits = np.eye(scored.n_classes)[scored.labels]
    means[_MICRO] = _curve(*roc_curve(hits.ravel(), scored.scores.ravel())[:2])
    return curves | means


def _mean_curve(curves: Sequence[RocCurve]) -> RocCurve:
    """Return the mean of the true positive rates at every false positive rate.

    Curves jump where examples tie with none of the rest, so each rate is taken from both sides;
    the area is then exactly the mean of the areas.
    """
    grid = np.unique(np.concatenate([curve.fpr for curve in curves]))
    sides = np.mean([_both_sides(grid, curve) for curve in curves], axis=0)
    return _curve(np.repeat(grid, 2), sides.ravel())


def _both_sides(grid: Floats, curve: RocCurve) -> Floats:
    """Return the limits of a curve from the left and from the right, (len(grid), 2)."""
    fpr, tpr = np.asarray(curve.fpr), np.asarray(curve.tpr)
    first = np.searchsorted(fpr, grid, side="left")
    last = np.searchsorted(fpr, grid, side="right") - 1
    run = np.where(first > last, fpr[first] - fpr[last], 1)
    inside = tpr[last] + (tpr[first] - tpr[last]) * (grid - fpr[last]) / run
    left = np.where(first > last, inside, tpr[first])
    right = np.where(first > last, inside, tpr[last])
    return np.column_stack([left, right])


def _curve(fpr: Floats, tpr: Floats) -> RocCurve:
    return RocCurve(fpr=tuple(fpr.tolist()), tpr=tuple(tpr.tolist()), auc=float(area(fpr, tpr)))
