import csv
import math
import os
import shutil

import pytest

from lensbench.comparison.compare import compare
from lensbench.reporting.csv_table import (
    CONTRACT_COLUMNS,
    INTERVAL_COLUMNS,
    write_csv,
    write_intervals_csv,
)
from lensbench.runs.record import RunRecord

from .builders import make_comparison, make_record


def _read(path):
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        return tuple(table.fieldnames or ()), list(table)


def test_the_published_records_give_the_published_table(published, tmp_path):
    records = tmp_path / "model_results_task1_comparison"
    shutil.copytree(published, records)
    path = tmp_path / "table.csv"
    write_csv(compare(sorted(records.glob("*.json"))), path)
    columns, rows = _read(path)
    theirs = _read(published / "model_comparison_task1_results_final.csv")
    assert columns == theirs[0] == CONTRACT_COLUMNS
    assert {row["Model"]: row for row in rows} == {row["Model"]: row for row in theirs[1]}
    assert len(rows) == 13
    merits = [float(row["Test AUC (OVR Macro)"]) for row in rows]
    assert merits == sorted(merits, reverse=True)


def test_finished_runs_come_by_merit_and_the_others_without_numbers(comparison, tmp_path):
    path = tmp_path / "tables" / "table.csv"
    write_csv(comparison, path)
    _, (first, second, failed) = _read(path)
    assert list(first.values()) == [
        "First", "Completed", "2", "0.9432", "0.9", "0.9765", "1.5", "../runs/First/record.json"
    ]  # fmt: skip
    assert second["Model"] == "Second"
    assert list(failed.values()) == [
        "Broken", "Failed", "", "", "", "", "", "../runs/Broken/record.json"
    ]  # fmt: skip


def test_an_interrupted_run_shows_no_numbers_even_if_it_has_some(tmp_path):
    interrupted = make_record("Half", status="Interrupted", test_results=None)
    write_csv(make_comparison(tmp_path, interrupted), tmp_path / "table.csv")
    _, (row,) = _read(tmp_path / "table.csv")
    assert [row[column] for column in CONTRACT_COLUMNS[2:7]] == [""] * 5


def test_names_survive_whatever_they_hold(tmp_path):
    name = 'with, comma; "quotes"'
    write_csv(make_comparison(tmp_path, make_record(name)), tmp_path / "table.csv")
    assert _read(tmp_path / "table.csv")[1][0]["Model"] == name


def test_every_estimate_has_a_line_with_its_interval(comparison, tmp_path):
    path = tmp_path / "intervals.csv"
    write_intervals_csv(comparison, path)
    columns, rows = _read(path)
    assert columns == INTERVAL_COLUMNS
    assert [row["metric"] for row in rows if row["name"] == "First"] == [
        "auc_ovr_macro", "accuracy", "auc_ovr/no", "auc_ovr/sphere", "auc_ovr/vort"
    ]  # fmt: skip
    best = rows[0]
    estimate = comparison.entries[0].auc
    assert (float(best["value"]), float(best["low"]), float(best["high"])) == (
        estimate.value, estimate.low, estimate.high
    )  # fmt: skip
    assert (best["level"], best["method"], best["n"]) == ("0.95", "made up", "300")
    assert (best["machine"], best["minutes"]) == ("A GPU", "1.5")


def test_the_test_belongs_to_the_auc_alone(comparison, tmp_path):
    write_intervals_csv(comparison, tmp_path / "intervals.csv")
    _, rows = _read(tmp_path / "intervals.csv")
    tested = {row["name"]: (row["tied"], row["p_value"]) for row in rows if row["tied"]}
    assert tested == {"First": ("true", ""), "Second": ("false", "0.0123")}
    assert {row["metric"] for row in rows if row["tied"]} == {"auc_ovr_macro"}


def test_bounds_that_are_not_known_are_empty(tmp_path):
    record = make_record("A")
    comparison = make_comparison(tmp_path, record)
    auc = comparison.entries[0].auc
    unknown = auc.model_copy(update={"low": math.nan, "high": math.nan})
    object.__setattr__(comparison.entries[0], "auc", unknown)
    write_intervals_csv(comparison, tmp_path / "intervals.csv")
    _, rows = _read(tmp_path / "intervals.csv")
    assert (rows[0]["low"], rows[0]["high"]) == ("", "")


@pytest.mark.parametrize("write", [write_csv, write_intervals_csv])
def test_a_table_appears_whole_or_not_at_all(comparison, tmp_path, monkeypatch, write):
    path = tmp_path / "table.csv"
    path.write_text("old")
    monkeypatch.setattr(RunRecord, "is_completed", property(lambda _: 1 / 0))
    monkeypatch.setattr("lensbench.reporting.csv_table._estimates", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(comparison, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]  # noqa: PTH208
