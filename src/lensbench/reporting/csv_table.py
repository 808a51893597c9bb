"""A Comparison -> tables for other programs."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensbench.comparison.compare import Comparison, Entry
from lensbench.evaluation.estimate import Estimate
from lensbench.runs.record import RunRecord
from lensbench.whole_file import write_whole

CONTRACT_COLUMNS = (
    "Model",
    "Status",
    "Best Epoch",
    "Best Val AUC",
    "Test Accuracy",
    "Test AUC (OVR Macro)",
    "Training Time (min)",
    "Result File",
)
INTERVAL_COLUMNS = (
    "name",
    "identifier",
    "metric",
    "value",
    "low",
    "high",
    "level",
    "method",
    "n",
    "tied",
    "letters",
    "p_value",
    "n_seeds",
    "test_error",
    "training_error",
    "machine",
    "minutes",
)

PAIR_COLUMNS = (
    "first",
    "second",
    "metric",
    "difference",
    "low",
    "high",
    "level",
    "p_value",
    "p_holm",
    "method",
)

_Row = Mapping[str, object]


def write_csv(comparison: Comparison, path: Path) -> None:
    """Write the contract's table: finished runs by merit, then the others without numbers."""
    rows = [
        _contract_row(run.record, run.path, path.parent)
        for entry in comparison.entries
        for run in entry.runs
    ]
    rows += [_contract_row(record, file, path.parent) for record, file in comparison.unfinished]
    _write(path, CONTRACT_COLUMNS, rows)


def write_intervals_csv(comparison: Comparison, path: Path) -> None:
    """Write every estimate of every model with its interval, one in each line.

    `tied`, `letters`, `p_value` and the two standard errors belong to the metric of the ranking
    and are empty for others; so are the bounds of an estimate without an interval. Of a model with
    several seeds only the ranking's metric, the AUC and the accuracy are given, as means.
    """
    rows = [
        _interval_row(entry, estimate)
        for entry in comparison.entries
        for estimate in _estimates(entry)
    ]
    _write(path, INTERVAL_COLUMNS, rows)


def write_pairs_csv(comparison: Comparison, path: Path) -> None:
    """Write the test of every two models, one in each line, the better model first.

    `method` tells the test and `p_holm` is corrected over all pairs; `low` and `high` bound a
    normal interval of the difference of the two alone.
    """
    rows = [
        {
            "first": pair.first,
            "second": pair.second,
            "metric": comparison.metric,
            "difference": pair.difference.value,
            "low": pair.difference.low,
            "high": pair.difference.high,
            "level": pair.difference.level,
            "p_value": pair.p_value,
            "p_holm": pair.p_holm,
            "method": pair.method,
        }
        for pair in comparison.pairs
    ]
    _write(path, PAIR_COLUMNS, rows)


def _contract_row(record: RunRecord, file: Path, folder: Path) -> _Row:
    row: dict[str, object] = {
        "Model": record.model_desc,
        "Status": record.status,
        "Result File": Path(os.path.relpath(file, folder)).as_posix(),
    }
    results = record.test_results
    if not record.is_completed or results is None:
        return row
    seconds = record.training_time_s
    return row | {
        "Best Epoch": record.best_epoch,
        "Best Val AUC": _four_decimals(record.best_val_auc),
        "Test Accuracy": _four_decimals(results.accuracy),
        "Test AUC (OVR Macro)": _four_decimals(results.auc_ovr_macro),
        "Training Time (min)": _four_decimals(None if seconds is None else seconds / 60),
    }


def _four_decimals(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)


def _estimates(entry: Entry) -> Sequence[Estimate]:
    ours = entry.record.lensbench if len(entry.runs) == 1 else None
    ranked = {one.name: one for one in (entry.estimate, entry.auc, entry.accuracy)}
    return list(((ours.estimates if ours else {}) | ranked).values())


def _interval_row(entry: Entry, estimate: Estimate) -> _Row:
    tested = estimate.name == entry.estimate.name
    return {
        "name": entry.name,
        "identifier": entry.record.model_identifier,
        "metric": estimate.name,
        "value": None if math.isnan(estimate.value) else estimate.value,
        "low": None if math.isnan(estimate.low) else estimate.low,
        "high": None if math.isnan(estimate.high) else estimate.high,
        "level": estimate.level,
        "method": estimate.method,
        "n": estimate.n,
        "tied": str(entry.tied).lower() if tested else None,
        "letters": entry.letters if tested else None,
        "p_value": entry.p_value if tested else None,
        "n_seeds": len(entry.runs),
        "test_error": entry.test_deviation if tested else None,
        "training_error": entry.training_deviation if tested else None,
        "machine": entry.machine,
        "minutes": entry.minutes,
    }


def write_probabilities_csv(
    classes: Sequence[str],
    probabilities: Mapping[str, NDArray[np.float64]],
    labels: Mapping[str, str] | None,
    path: Path,
) -> None:
    """Write the probabilities of images, a row each in order of their ids.

    Args:
        classes: K names, the last columns.
        probabilities: By id, (K,).
        labels: By id, the name of the class, for a column `label`; None leaves it out.
        path: The file, which appears whole or not at all.
    """
    rows = [
        {"id": name}
        | ({"label": labels[name]} if labels is not None else {})
        | dict(zip(classes, row.tolist(), strict=True))
        for name, row in sorted(probabilities.items())
    ]
    _write(path, ("id", *(() if labels is None else ("label",)), *classes), rows)


def _write(path: Path, columns: Sequence[str], rows: Iterable[_Row]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, text.getvalue())
