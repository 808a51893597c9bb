"""Predictions -> Evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import auc as area
from sklearn.metrics import classification_report, confusion_matrix, roc_curve

from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.auc import Floats, Integers, auc_estimate, one_vs_rest
from lensbench.evaluation.estimate import Estimate, Evaluation, RocCurve
from lensbench.evaluation.proportions import f1_intervals, f1_scores, proportion_estimate
from lensbench.outcome import Predictions

_BOOTSTRAP_SEED = 0


def evaluate(predictions: Predictions, spec: JudgeSpec) -> Evaluation:
    """Judge one set of predictions, all examples at once.

    Raises:
        RecordError: A class has no example, so that its AUC does not exist.
    """
    labels, scores, classes = predictions.labels, predictions.probabilities, predictions.classes
    counts = np.bincount(labels, minlength=len(classes))
    if (counts == 0).any():
        absent = ", ".join(classes[k] for k in np.flatnonzero(counts == 0))
        raise RecordError(f"no example of {absent}: AUC and recall of a missing class do not exist")
    called = scores.argmax(axis=1)
    confusion = confusion_matrix(labels, called, labels=range(len(classes)))
    return Evaluation(
        classes=classes,
        estimates={
            estimate.name: estimate
            for estimate in (
                *_areas(predictions, spec),
                *_proportions(confusion, classes, spec),
            )
        },
        roc_curves=_roc_curves(predictions),
        confusion_matrix=tuple(tuple(int(n) for n in row) for row in confusion),
        report=classification_report(
            labels, called, labels=range(len(classes)), target_names=classes, zero_division=0
        ),
    )


def _areas(predictions: Predictions, spec: JudgeSpec) -> list[Estimate]:
    classwise = one_vs_rest(predictions.labels, predictions.probabilities)
    # Every (example, class) pair is one decision; pairs of an example are not independent, so
    # the influences of an example are summed before they are squared.
    hits, scores = _one_hot(predictions), predictions.probabilities
    micro = one_vs_rest(hits.ravel(), np.column_stack([-scores.ravel(), scores.ravel()]))
    micro_influence = micro.influence[:, 1].reshape(scores.shape).sum(axis=1)
    areas = {
        "auc_ovr_macro": (classwise.macro, classwise.macro_influence),
        "auc_ovr_micro": (float(micro.values[1]), micro_influence),
    } | {
        f"auc_ovr/{name}": (float(classwise.values[k]), classwise.influence[:, k])
        for k, name in enumerate(predictions.classes)
    }
    return [
        auc_estimate(name, value, influence, predictions.labels, spec.level)
        for name, (value, influence) in areas.items()
    ]


def _proportions(confusion: Integers, classes: tuple[str, ...], spec: JudgeSpec) -> list[Estimate]:
    hits, of_class, called = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    counted = {"accuracy": (int(hits.sum()), int(confusion.sum()))}
    for k, name in enumerate(classes):
        counted[f"precision/{name}"] = (int(hits[k]), int(called[k]))
        counted[f"recall/{name}"] = (int(hits[k]), int(of_class[k]))
    estimates = [
        proportion_estimate(name, n_hits, n, spec.level) for name, (n_hits, n) in counted.items()
    ]
    lows, highs = f1_intervals(
        confusion, spec.level, spec.n_resamples, np.random.default_rng(_BOOTSTRAP_SEED)
    )
    for k, value in enumerate(f1_scores(confusion)):
        estimates.append(
            Estimate(
                name=f"f1/{classes[k]}",
                value=value,
                low=min(lows[k], value),
                high=max(highs[k], value),
                level=spec.level,
                method=f"stratified bootstrap, {spec.n_resamples} resamples, percentile",
                n=int(confusion.sum()),
            )
        )
    return estimates


def _roc_curves(predictions: Predictions) -> dict[str, RocCurve]:
    hits, scores = _one_hot(predictions), predictions.probabilities
    curves = {
        name: _curve(*roc_curve(hits[:, k], scores[:, k])[:2])
        for k, name in enumerate(predictions.classes)
    }
    curves["micro"] = _curve(*roc_curve(hits.ravel(), scores.ravel())[:2])
    curves["macro"] = _mean_curve([curves[name] for name in predictions.classes])
    return curves


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


def _one_hot(predictions: Predictions) -> Integers:
    hits: Integers = np.eye(len(predictions.classes), dtype=np.int64)[predictions.labels]
    return hits
