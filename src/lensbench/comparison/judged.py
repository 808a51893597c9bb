"""One finished run, and what is known of its errors: from its predictions, or from its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lensbench.config import JudgeSpec
from lensbench.errors import ComparisonError, RecordError
from lensbench.evaluation.auc import hanley_mcneil_deviation
from lensbench.evaluation.estimate import ACCURACY, MACRO_AUC, Estimate, undefined_silenced
from lensbench.evaluation.estimates import estimate
from lensbench.evaluation.intervals import interval_within, normal_half_width
from lensbench.evaluation.joint import Joint, joint
from lensbench.evaluation.metrics import metric_of
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.outcome import Predictions
from lensbench.runs.record import RunRecord, TestResults
from lensbench.runs.store import load_predictions


@dataclass(frozen=True)
class Judged:
    """A finished run: its record, where that lies, and its test predictions in order of their ids.

    `supports` holds the number of test images of each class. A published record has no
    predictions.
    """

    record: RunRecord
    path: Path
    supports: tuple[int, ...]
    predictions: Predictions | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.model_desc

    @property
    def model(self) -> str:
        """The name that runs share which differ in their seed alone."""
        return self.record.model_name

    def in_order_of_classes(self, classes: Sequence[str]) -> Judged:
        """Return the same run with the classes of its predictions in another order."""
        if self.predictions is None or self.predictions.classes == tuple(classes):
            return self
        turned = self.predictions.in_order_of_classes(classes)
        return replace(self, predictions=turned, supports=_counts(turned))

    @property
    def test_fingerprint(self) -> str | None:
        """Of the names and contents of the test images, if the record knows it."""
        ours = self.record.lensbench
        if ours and ours.ensemble:
            return ours.ensemble.test_fingerprint
        return ours.split.test_fingerprint if ours and ours.split else None

    def estimate(self, metric: str, spec: JudgeSpec) -> Estimate:
        """Return one result with its interval.

        Raises:
            ConfigError: There is no such metric.
            ComparisonError: A published record does not tell it.
        """
        if self.predictions is not None:
            with undefined_silenced():
                return estimate(self.predictions, metric, spec)
        value, deviation, n = self.published(metric)
        if metric == ACCURACY:
            return proportion_estimate(metric, round(value * n), n, spec.level)
        if not 0 < value < 1:
            smallest = min(self.supports)
            return proportion_estimate(metric, round(value * smallest), smallest, spec.level)
        low, high = interval_within(value, normal_half_width(deviation, spec.level), (0, 1))
        return Estimate(
            name=metric,
            value=value,
            low=low,
            high=high,
            level=spec.level,
            method="Hanley-McNeil, classes taken as fully correlated (no predictions known)",
            n=n,
        )

    def published(self, metric: str) -> tuple[float, float, int]:
        """Return value, standard error and number of test images as the record tells them.

        Raises:
            ConfigError: There is no such metric.
            ComparisonError: The record does not tell this one.
        """
        metric_of(metric)
        results, n = self._results, sum(self.supports)
        if metric == ACCURACY:
            share = results.accuracy
            return share, math.sqrt(share * (1 - share) / n), n
        if metric == MACRO_AUC:
            return results.auc_ovr_macro, self._auc_deviation, n
        raise ComparisonError(
            f"{self.name} has no predictions, only numbers: such runs can be ranked by "
            f"{MACRO_AUC} or {ACCURACY}, not by {metric} ({self.path})"
        )

    @property
    def _results(self) -> TestResults:
        if self.record.test_results is None:
            raise RecordError(f"{self.path}: not a finished run")
        return self.record.test_results

    @cached_property
    def _auc_deviation(self) -> float:
        """A mean of AUCs is never less certain than they are on average."""
        curves, n = self._results.roc_curve_data, sum(self.supports)
        return float(
            np.mean(
                [
                    hanley_mcneil_deviation(curves[str(k)].auc, m, n - m)
                    for k, m in enumerate(self.supports)
                ]
            )
        )


def load_judged(record: RunRecord, path: Path) -> Judged:
    """Take up the predictions of a completed record, or its numbers where it has none.

    Raises:
        RecordError: Its predictions are missing, or its numbers do not tell how many test images
            there were.
    """
    results = record.test_results
    if results is None:
        raise RecordError(f"{path}: not a finished run")
    supports = _supports(results)
    predictions = load_predictions(record, path, "test")
    if predictions is None:
        areas = [results.roc_curve_data.get(str(k)) for k in range(len(supports))]
        if sum(supports) == 0 or None in areas:
            raise RecordError(
                f"{path}: not a result record: test_results.report and roc_curve_data do not tell "
                "the number of test images and the AUC of each class"
            )
    return Judged(record, path, supports, predictions and predictions.in_order_of_ids())


def judged_from(record: RunRecord, path: Path, predictions: Predictions) -> Judged:
    """Take up predictions that no file keeps yet, as `load_judged` takes those of one."""
    return Judged(record, path, _counts(predictions), predictions.in_order_of_ids())


def joint_of(runs: Sequence[Judged], metric: str, spec: JudgeSpec) -> Joint:
    """Return one result of all runs, and how their errors go together.

    Errors of published runs are taken as independent, although their models met the same images:
    that is conservative, and nothing better is known.

    Args:
        runs: All with predictions of the same images, or all published.
        metric: Name of the result.
        spec: How to judge.

    Raises:
        ConfigError: There is no such metric.
        ComparisonError: Published records do not tell it.
    """
    predictions = [run.predictions for run in runs if run.predictions is not None]
    if len(predictions) == len(runs):
        return joint(predictions, metric, spec)
    numbers = [run.published(metric) for run in runs]
    return Joint(
        values=np.array([value for value, _, _ in numbers]),
        covariance=np.diag([deviation**2 for _, deviation, _ in numbers]),
        method=(
            f"{'Hanley-McNeil' if metric == MACRO_AUC else 'binomial'} errors, since no "
            "predictions are known (conservative)"
        ),
        n=numbers[0][2],
    )


def _counts(predictions: Predictions) -> tuple[int, ...]:
    return tuple(np.bincount(predictions.labels, minlength=len(predictions.classes)).tolist())


def _supports(results: TestResults) -> tuple[int, ...]:
    """Return how many test images each class has; published records say it in a text table."""
    if results.confusion_matrix is not None:
        return tuple(sum(row) for row in results.confusion_matrix)
    return tuple(n for _, n in results.class_lines)
