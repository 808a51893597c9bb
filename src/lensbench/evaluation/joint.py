"""One metric of several models on the same examples, and how their errors go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lensbench.config import JudgeSpec
from lensbench.evaluation.bootstrap import bootstrap
from lensbench.evaluation.caveats import few_examples, size_of_smallest_class
from lensbench.evaluation.metrics import metric_of
from lensbench.evaluation.ranking import Floats
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions


@dataclass(frozen=True)
class Joint:
    """A metric of R models on the same examples.

    Attributes:
        values: (R,) NaN where the metric is undefined.
        covariance: (R, R) of the errors that these test examples give the values, with NaN in
            the rows and columns of undefined ones. The variance of a difference follows from it.
        method: How the covariance was computed, as a clause, and what it does not see.
        n: The number of examples.
    """

    values: Floats
    covariance: Floats
    method: str
    n: int


def joint(predictions: Sequence[Predictions], key: str, spec: JudgeSpec) -> Joint:
    """Compute a metric of several models, and the covariance of its errors.

    Where a metric's error is a sum over examples (the AUCs, accuracy, recall, log loss, Brier
    score), the covariance is G G^T, G being the (R, N) influences of the examples; their numbers
    in each class are taken as given. Of other metrics it is that of the paired stratified
    bootstrap. Variances are infinite where a class has one example, which tells nothing of how
    much another would differ: two equal models were called different in 24 % of 300 pairs when
    it was taken not to vary.

    Args:
        predictions: Of R models for the same examples, in any order of each.
        key: Of an estimate, such as `auc_ovr_macro` or `recall/vort`.
        spec: How many resamples the bootstrap takes.

    Raises:
        ConfigError: No estimate has that key.
        ValueError: There are no predictions, or their classes, ids or labels differ.
    """
    models, classes = _aligned(predictions), predictions[0].classes
    metric = metric_of(key, classes)
    row = metric.keys(classes).index(key)
    labels = models[0].labels
    n, compared = len(labels), metric.compared(labels, row)
    if metric.caveat is few_examples and size_of_smallest_class(compared) == 1:
        return Joint(
            values=np.array([metric.on_examples(model)[row] for model in models]),
            covariance=np.diag(np.full(len(models), np.inf)),
            method="a variance that one example of a class leaves unknown",
            n=n,
        )
    n_wrong = min(int((~model.is_right).sum()) for model in models)
    caveat = metric.caveat(compared, n_wrong)
    unseen = f"; {caveat}" if caveat else ""
    if metric.influences is not None:
        values, influences = zip(*(metric.influences(model) for model in models), strict=True)
        errors = np.stack([one[:, row] for one in influences])
        return Joint(
            values=np.array([value[row] for value in values]),
            covariance=errors @ errors.T,
            method=(
                "DeLong's influences of the common examples"
                if metric.interval == "delong"
                else "influences of the common examples, stratified by class"
            )
            + unseen,
            n=n,
        )
    resampled = bootstrap(models, {key: metric.weighted}, spec.n_resamples)[key]
    values_of_models = np.array([metric.on_examples(model)[row] for model in models])
    return Joint(
        values=values_of_models,
        covariance=_covariance(
            values_of_models, resampled[:, row] if metric.per_class else resampled
        ),
        method=f"paired bootstrap stratified by class, {spec.n_resamples:,} resamples{unseen}",
        n=n,
    )


def _aligned(predictions: Sequence[Predictions]) -> list[Scored]:
    """Take the examples of all models in the same order."""
    if not predictions:
        raise ValueError("no predictions to judge together")
    first = predictions[0]
    for other in predictions[1:]:
        if other.classes != first.classes or not np.array_equal(
            np.sort(other.ids), np.sort(first.ids)
        ):
            raise ValueError("models are judged together on the same classes and ids only")
    models = [Scored.of(one) for one in predictions]
    if any(not np.array_equal(model.labels, models[0].labels) for model in models):
        raise ValueError("models are judged together on the same labels only")
    return models


def _covariance(values: Floats, resampled: Floats) -> Floats:
    """Return the covariance of (R, B) resampled values, over the resamples that define all."""
    covariance = np.full((len(values), len(values)), np.nan)
    defined = np.isfinite(values)
    if defined.any():
        kept = resampled[defined]
        kept = kept[:, np.isfinite(kept).all(axis=0)]
        covariance[np.ix_(defined, defined)] = np.cov(kept)
    return covariance
