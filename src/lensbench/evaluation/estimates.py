"""Predictions -> estimates of metrics: values with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.auc import auc_estimate, wilson_of_smallest_class
from lensbench.evaluation.bootstrap import bootstrap, deviation_interval, percentile_interval
from lensbench.evaluation.estimate import Estimate, undefined_estimate
from lensbench.evaluation.metric import Metric
from lensbench.evaluation.metrics import METRICS, metric_of
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.evaluation.ranking import Floats, Integers
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions


def estimate(predictions: Predictions, key: str, spec: JudgeSpec) -> Estimate:
    """Return one of the estimates of `evaluate`, without the work of the others.

    Raises:
        ConfigError: No estimate has that key.
        RecordError: There are no predictions.
    """
    scored, classes = scored_of(predictions), predictions.classes
    metric = metric_of(key, classes)
    row = metric.keys(classes).index(key)
    return next(islice(estimates_of([metric], scored, classes, spec), row, None))


def scored_of(predictions: Predictions) -> Scored:
    """Take predictions as metrics read them.

    Raises:
        RecordError: There are none.
    """
    if not len(predictions.ids):
        raise RecordError("no predictions: nothing can be said of a test without examples")
    return Scored.of(predictions)


def estimates_of(
    metrics: Iterable[Metric], scored: Scored, classes: tuple[str, ...], spec: JudgeSpec
) -> Iterator[Estimate]:
    """Yield the estimates of metrics, of each one or one for each class."""
    metrics = list(metrics)
    resampled = _resampled([one for one in metrics if one.is_resampled], scored, spec)
    for metric in metrics:
        yield from _of_metric(metric, scored, classes, resampled.get(metric.name), spec)


def _resampled(metrics: list[Metric], scored: Scored, spec: JudgeSpec) -> dict[str, Floats]:
    """Return the values of each metric on resamples, (K, B) or (1, B)."""
    names = {one.mean_of or one.name for one in metrics}
    resampled = bootstrap(
        [scored], {name: METRICS[name].weighted for name in names}, spec.n_resamples
    )
    return {
        one.name: resampled[one.mean_of].mean(axis=1)
        if one.mean_of
        else resampled[one.name].reshape(-1, spec.n_resamples)
        for one in metrics
    }


def _of_metric(
    metric: Metric,
    scored: Scored,
    classes: tuple[str, ...],
    resampled: Floats | None,
    spec: JudgeSpec,
) -> Iterator[Estimate]:
    values, n = metric.on_examples(scored), len(scored.labels)
    sizes = ", ".join(
        f"{name} {size}"
        for name, size in zip(
            classes, np.bincount(scored.labels, minlength=len(classes)), strict=True
        )
    )
    for row, key in enumerate(metric.keys(classes)):
        value, labels = float(values[row]), metric.compared(scored.labels, row)
        if np.isnan(value):
            reason = f"it needs {metric.needs} (examples of each class: {sizes})"
            yield undefined_estimate(key, spec.level, n, reason)
        elif metric.counted is not None:
            hits, of = metric.counted(scored, np.ones((n, 1)))
            yield proportion_estimate(
                key, int(np.atleast_2d(hits)[row, 0]), int(np.atleast_2d(of)[row, 0]), spec.level
            )
        elif metric.interval == "delong" and metric.influences is not None:
            influence = metric.influences(scored)[1][:, row]
            yield auc_estimate(key, value, influence, labels, spec.level)
        elif resampled is not None:
            n_wrong = int((~scored.is_right).sum())
            caveat = metric.caveat(labels, n_wrong)
            yield _bootstrapped(metric, key, value, resampled[row], labels, caveat, spec)


def _bootstrapped(
    metric: Metric,
    key: str,
    value: float,
    resampled: Floats,
    labels: Integers,
    caveat: str,
    spec: JudgeSpec,
) -> Estimate:
    """Return a value with its interval from resamples.

    If every prediction is right, or every one wrong, all resamples agree and the bootstrap interval
    has no width; that of a proportion among the examples of the smallest class is given instead, as
    for an AUC.
    """
    method = f"stratified bootstrap, {spec.n_resamples} resamples, "
    if metric.interval == "percentiles":
        low, high = percentile_interval(value, resampled, spec.level, metric.limits)
        method += "centred percentiles"
    else:
        low, high = deviation_interval(value, resampled, spec.level, metric.limits)
        method += f"{'log' if np.isinf(metric.limits[1]) else 'logit'} scale"
    if not np.isnan(low):
        method += f"; {caveat}" if caveat else ""
    elif metric.reads != "probabilities" and metric.limits == (0, 1) and value in (0, 1):
        low, high = wilson_of_smallest_class(value, labels, spec.level)
        method = "Wilson with the size of the smallest class, since resamples do not vary"
    else:
        method = "no interval: resamples do not vary"
    return Estimate(
        name=key, value=value, low=low, high=high, level=spec.level, method=method, n=len(labels)
    )
