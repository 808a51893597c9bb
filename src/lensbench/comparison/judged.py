"""One finished run, with what is needed to compare it: intervals and influences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lensbench.errors import RecordError
from lensbench.evaluation.auc import Floats, hanley_mcneil_deviation, logit_interval, one_vs_rest
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.proportions import wilson_interval
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


def judge(record: RunRecord, path: Path, level: float) -> Judged:
    """Take the intervals of a completed record, or derive them from published numbers.

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
    estimates = record.lensbench.estimates
    if not {"auc_ovr_macro", "accuracy"} <= estimates.keys():
        raise RecordError(f"{path}: not a result record: lensbench.estimates lacks AUC or accuracy")
    influence = one_vs_rest(predictions.labels, predictions.probabilities).macro_influence
    return Judged(
        record=record,
        path=path,
        auc=estimates["auc_ovr_macro"],
        accuracy=estimates["accuracy"],
        supports=supports,
        deviation=float(np.sqrt((influence**2).sum())),
        predictions=predictions,
        influence=influence,
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
    auc = _estimate(
        "auc_ovr_macro",
        results.auc_ovr_macro,
        logit_interval(results.auc_ovr_macro, deviation, level),
        level,
        "Hanley-McNeil, classes taken as fully correlated (no predictions known)",
        n,
    )
    accuracy = _estimate(
        "accuracy",
        results.accuracy,
        wilson_interval(round(results.accuracy * n), n, level),
        level,
        "Wilson",
        n,
    )
    return Judged(record, path, auc, accuracy, supports, deviation)


def _estimate(
    name: str, value: float, bounds: tuple[float, float], level: float, method: str, n: int
) -> Estimate:
    low, high = bounds
    return Estimate(name=name, value=value, low=low, high=high, level=level, method=method, n=n)


def _supports(results: TestResults) -> tuple[int, ...]:
    """Return how many test images each class has.

    The published records say it nowhere but in their text table, which has a line for each class,
    name and four numbers, down to the accuracy.
    """
    if results.confusion_matrix is not None:
        return tuple(sum(row) for row in results.confusion_matrix)
    lines: Sequence[list[str]] = [
        line.split() for line in results.report.split("accuracy")[0].splitlines()
    ]
    return tuple(int(words[-1]) for words in lines if len(words) >= 5 and words[-1].isdigit())
