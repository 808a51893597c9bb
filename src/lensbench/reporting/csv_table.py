"""A Comparison -> tables for other programs."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lensbench.comparison.compare import Comparison, Entry
from lensbench.evaluation.estimate import Estimate
from lensbench.runs.record import RunRecord
from lensbench.runs.store import write_whole

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
    "p_value",
    "machine",
    "minutes",
)

_Row = Mapping[str, object]


def write_csv(comparison: Comparison, path: Path) -> None:
    """Write the contract's table: finished runs by merit, then the others without numbers."""
    rows = [_contract_row(entry.record, entry.path, path.parent) for entry in comparison.entries]
    rows += [_contract_row(record, file, path.parent) for record, file in comparison.unfinished]
    _write(path, CONTRACT_COLUMNS, rows)


def write_intervals_csv(comparison: Comparison, path: Path) -> None:
    """Write every estimate of every finished run with its interval, one in each line.

    `tied` and `p_value` belong to the test of the macro AUC and are empty for other metrics; so
    are the bounds of an estimate without an interval.
    """
    rows = [
        _interval_row(entry, estimate)
        for entry in comparison.entries
        for estimate in _estimates(entry)
    ]
    _write(path, INTERVAL_COLUMNS, rows)


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
    return None if value is None else round(value, 4)


def _estimates(entry: Entry) -> Sequence[Estimate]:
    others = entry.record.lensbench.estimates.values() if entry.record.lensbench else ()
    ranked = (entry.auc, entry.accuracy)
    return [*ranked, *(e for e in others if e.name not in {r.name for r in ranked})]


def _interval_row(entry: Entry, estimate: Estimate) -> _Row:
    tested = estimate is entry.auc
    return {
        "name": entry.name,
        "identifier": entry.record.model_identifier,
        "metric": estimate.name,
        "value": estimate.value,
        "low": None if math.isnan(estimate.low) else estimate.low,
        "high": None if math.isnan(estimate.high) else estimate.high,
        "level": estimate.level,
        "method": estimate.method,
        "n": estimate.n,
        "tied": str(entry.tied).lower() if tested else None,
        "p_value": entry.p_value if tested else None,
        "machine": entry.machine,
        "minutes": entry.minutes,
    }


def _write(path: Path, columns: Sequence[str], rows: Iterable[_Row]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(path, text.getvalue())
