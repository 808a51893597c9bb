"""One finished run, with what is needed to compare it: intervals and influences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lensbench.errors import RecordError
from lensbench.evaluation.auc import (
    Floats,
    auc_estimate,
    hanley_mcneil_deviation,
    logit_interval,
    one_vs_rest,
)
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.outcome import Predictions
from lensbench.runs.record import RunRecord, TestResults
from lensbench.runs.store import load_predictions


@dataclass(frozen=True)
class Judged:
    """A finished run.

    `deviation` is the standard error of its macro AUC; `influence` (N,) holds that of each test
    image on it, and `supports` the number of test images in each class. A published record has
    neither predictions nor influence.
    """

    record: RunRecord
    path: Path
    auc: Estimate
    accuracy: Estimate
    supports: tuple[int, ...]
    deviation: float
    predictions: Predictions | None = None
    influence: Floats | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.model_desc

    @property
    def test_fingerprint(self) -> str | None:
        """Of the names and contents of the test images, if the record knows it."""
        ours = self.record.lensbench
        return ours.split.test_fingerprint if ours and ours.split else None


def judge(record: RunRecord, path: Path, level: float) -> Judged:
    """Judge the predictions of a completed record, or the published numbers where it has none.

    Raises:
        RecordError: Its predictions are missing, or its numbers do not tell how many test images
            there were.
    """
    results = record.test_results
    if results is None:
        raise RecordError(f"{path}: not a finished run")
    supports = _supports(results)
    predictions = load_predictions(record, path, "test")
    if record.lensbench is None or predictions is None:
        return _judge_published(record, path, results, supports, level)
    areas = one_vs_rest(predictions.labels, predictions.probabilities)
    hits = predictions.logits.argmax(axis=1) == predictions.labels
    return Judged(
        record=record,
        path=path,
        auc=auc_estimate(
            "auc_ovr_macro", areas.macro, areas.macro_influence, predictions.labels, level
        ),
        accuracy=proportion_estimate("accuracy", int(hits.sum()), len(hits), level),
        supports=supports,
        deviation=float(np.sqrt((areas.macro_influence**2).sum())),
        predictions=predictions,
        influence=areas.macro_influence,
    )


def _judge_published(
    record: RunRecord, path: Path, results: TestResults, supports: tuple[int, ...], level: float
) -> Judged:
    n = sum(supports)
    areas = [results.roc_curve_data.get(str(k)) for k in range(len(supports))]
    if n == 0 or None in areas:
        raise RecordError(
            f"{path}: not a result record: test_results.report and roc_curve_data do not tell the "
            "number of test images and the AUC of each class"
        )
    # A mean of AUCs is never less certain than they are on average.
    deviation = float(
        np.mean(
            [
                hanley_mcneil_deviation(curve.auc, m, n - m)
                for curve, m in zip(areas, supports, strict=True)
                if curve is not None
            ]
        )
    )
    low, high = logit_interval(results.auc_ovr_macro, deviation, level)
    auc = Estimate(
        name="auc_ovr_macro",
        value=results.auc_ovr_macro,
        low=low,
        high=high,
        level=level,
        method="Hanley-McNeil, classes taken as fully correlated (no predictions known)",
        n=n,
    )
    accuracy = proportion_estimate("accuracy", round(results.accuracy * n), n, level)
    return Judged(record, path, auc, accuracy, supports, deviation)


def _supports(results: TestResults) -> tuple[int, ...]:
    """Return how many test images each class has; published records say it in a text table."""
    if results.confusion_matrix is not None:
        return tuple(sum(row) for row in results.confusion_matrix)
    return tuple(n for _, n in results.class_lines)
