"""The verbs that judge: what they print, what they leave, what they refuse."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import lensbench
from lensbench import cli
from lensbench.comparison.compare import compare
from lensbench.config import JudgeSpec
from lensbench.errors import ComparisonError, ConfigError, RecordError
from lensbench.outcome import Predictions
from lensbench.runs.record import RunRecord

CLASSES = ("no", "sphere", "vort")
N = 120
FEW = JudgeSpec(n_resamples=100)


def predictions(separation: float, seed: int, prefix: str = "") -> Predictions:
    labels = np.arange(N) % 3
    logits = np.random.default_rng(seed).normal(size=(N, 3)) + separation * np.eye(3)[labels]
    return Predictions.of([f"{prefix}{i}.npy" for i in range(N)], labels, logits, CLASSES)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for name, separation in (("strong", 2.5), ("weak", 0.5)):
        predictions(separation, len(name)).save(tmp_path / f"{name}.npz")
        made.append(tmp_path / f"{name}.npz")
    return made


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_predictions_of_other_programs_are_ranked_like_runs(files, capsys):
    assert status("evaluate", *files, "--judge.n-resamples", 100) == 0
    out = capsys.readouterr().out
    assert "strong is better than every other model" in out
    assert re.search(r"tpr_at_10_fp/vort\s*│ 0\.\d{4} \[", out)
    assert "ece_debiased" in out


def test_nothing_is_written_unless_it_is_asked_for(files, tmp_path):
    before = set(tmp_path.rglob("*"))
    lensbench.evaluate(files, judge=FEW)
    assert set(tmp_path.rglob("*")) == before


def test_predictions_in_memory_are_judged_like_those_in_files(files, tmp_path):
    models = {file.stem: Predictions.load(file) for file in files}
    found = lensbench.evaluate(models, tmp_path / "judged", judge=FEW)
    wanted = lensbench.evaluate(files, judge=FEW)
    assert [(one.name, one.auc) for one in found.entries] == [
        (one.name, one.auc) for one in wanted.entries
    ]
    assert found.verdict == wanted.verdict
    assert RunRecord.read(tmp_path / "judged/weak/record.json").is_foreign
    with pytest.raises(ConfigError, match="labels and scores are for files"):
        lensbench.evaluate(models, scores="logits")
    with pytest.raises(ConfigError, match=r"'a/b' becomes part of file names.*another key"):
        lensbench.evaluate({"a/b": models["weak"]})
    with pytest.raises(ConfigError, match="no predictions to judge"):
        lensbench.evaluate({})
    for wrong in ({"weak": str(files[1])}, {1: models["weak"]}):
        with pytest.raises(ConfigError, match="give Predictions by the names of models, or files"):
            lensbench.evaluate(wrong)
    for wrong in (models["weak"], [models["weak"]]):
        with pytest.raises(ConfigError, match=r"Predictions .*names? of (a model|models)"):
            lensbench.evaluate(wrong)


def test_what_models_are_ranked_by_has_its_intervals_explained(files, tmp_path):
    lensbench.evaluate(files, tmp_path / "judged", judge=FEW)
    _, written = lensbench.compare(
        tmp_path / "judged", tmp_path / "tables", metric="f1_macro", judge=FEW
    )
    text = written.markdown.read_text()
    for what in ("macro F1", "AUC", "Accuracy"):
        assert f"{what} intervals: 95%" in text


def test_names_of_files_are_printed_as_they_are(files, tmp_path, capsys):
    """Also where a part of them is the code of an emoji."""
    lensbench.evaluate([f"one={files[0]}"], tmp_path / "judged", judge=FEW)
    damaged = tmp_path / "judged" / ":a:" / "record.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    assert status("compare", tmp_path / "judged") == 1
    assert f"left out: {damaged}" in capsys.readouterr().out


def test_judged_predictions_become_runs_that_compare_with_others(files, tmp_path):
    out = tmp_path / "judged"
    first = lensbench.evaluate([f"mine={files[0]}", files[1]], out, judge=FEW)
    records = sorted(out.glob("*/record.json"))
    assert [path.parent.name for path in records] == ["mine", "weak"]
    assert RunRecord.read(records[0]).is_foreign
    again = compare(records, FEW)
    assert [entry.auc for entry in again.entries] == [entry.auc for entry in first.entries]
    assert again.entries[0].machine == "unknown (trained elsewhere)"
    comparison, report = lensbench.compare([out], tmp_path / "tables", judge=FEW)
    assert report is not None
    assert "trained elsewhere" in report.markdown.read_text()
    assert comparison.entries[0].name == "mine"


def test_a_run_is_never_overwritten_by_predictions(files, tmp_path):
    out = tmp_path / "judged"
    lensbench.evaluate([f"a={files[0]}"], out, judge=FEW)
    lensbench.evaluate([f"a={files[1]}"], out, judge=FEW)  # judged before: may be judged anew
    (out / "a" / "unfinished").mkdir()
    with pytest.raises(RecordError, match="holds a run: choose another name or folder"):
        lensbench.evaluate([f"b={files[1]}", f"a={files[0]}"], out, judge=FEW)
    assert not (out / "b").exists()


@pytest.mark.parametrize("name", ["../escaped", "a/b", "", "a[/b]"])
def test_names_that_no_file_can_have_are_refused(files, tmp_path, name):
    with pytest.raises(ConfigError, match="becomes part of file names"):
        lensbench.evaluate([f"{name}={files[0]}"], tmp_path / "out", judge=FEW)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", [None, "judged"])
def test_errors_name_the_files_that_were_given(files, tmp_path, out):
    out = out and tmp_path / out
    predictions(1.0, 9, prefix="other/").save(tmp_path / "other.npz")
    with pytest.raises(ComparisonError, match=str(tmp_path / "other.npz")):
        lensbench.evaluate([files[0], tmp_path / "other.npz"], out, judge=FEW)


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_nothing_named_is_an_error_and_leaves_nothing(verb, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(verb) == 2
    assert "no runs are named" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_one_name_stands_for_itself(files, tmp_path):
    """Not for its letters."""
    judged = tmp_path / "judged"
    assert len(lensbench.evaluate(files[0], judged, judge=FEW).entries) == 1
    for place in (judged, str(judged)):
        comparison, _ = lensbench.compare(place, judge=FEW)
        assert len(comparison.entries) == 1
    with pytest.raises(lensbench.LensbenchError, match=f"no result records in {tmp_path}/no"):
        lensbench.report(f"{tmp_path}/none")


def test_measuring_nothing_is_refused(files, tmp_path):
    lensbench.evaluate(files, tmp_path / "judged", judge=FEW)
    for settings in ({"n_repeats": 0}, {"n_rounds": 0}, {"batch_size": 1}):
        with pytest.raises(ConfigError, match="one round and one repeat at least"):
            lensbench.time(tmp_path / "judged", **settings)
    said: list[str] = []
    with pytest.raises(RecordError, match="no model could be measured"):
        lensbench.time(tmp_path / "judged", say=said.append)
    assert said[0] == "strong: nothing to measure, its predictions were made elsewhere"


def test_predictions_of_different_examples_are_refused(files, tmp_path):
    predictions(1.0, 9, prefix="other/").save(tmp_path / "other.npz")
    with pytest.raises(ComparisonError, match="only 0 of 120 and 120 test images are the same"):
        lensbench.evaluate([files[0], tmp_path / "other.npz"], judge=FEW)


def test_two_files_of_one_name_are_refused(files, tmp_path):
    (tmp_path / "more").mkdir()
    predictions(1.0, 3).save(tmp_path / "more" / "weak.npz")
    with pytest.raises(ConfigError, match="2 models would be called 'weak'"):
        lensbench.evaluate([files[1], tmp_path / "more" / "weak.npz"], judge=FEW)
    with pytest.raises(ConfigError, match="no predictions"):
        lensbench.evaluate([], judge=FEW)


def test_folds_of_one_name_are_judged_as_one(tmp_path):
    """As one file of all examples would be, whatever the order of files and classes."""
    whole = predictions(1.0, 3)
    whole.save(tmp_path / "whole.npz")
    folds = []
    for fold in range(3):
        rows = np.arange(fold, len(whole.ids), 3)
        part = Predictions(
            whole.ids[rows], whole.labels[rows], whole.logits[rows], whole.classes
        ).in_order_of_classes(CLASSES[fold:] + CLASSES[:fold])
        folds.append(tmp_path / f"fold{fold}" / "predictions_test.npz")
        folds[-1].parent.mkdir()
        part.save(folds[-1])

    joined = lensbench.evaluate([f"folded={fold}" for fold in folds], tmp_path / "out", judge=FEW)
    alone = lensbench.evaluate([tmp_path / "whole.npz"], judge=FEW)
    assert joined.entries[0].auc == alone.entries[0].auc
    assert joined.entries[0].accuracy == alone.entries[0].accuracy
    record = RunRecord.read(tmp_path / "out" / "folded" / "record.json")
    assert record.model_identifier == "3 files predictions_test.npz"
    assert len(Predictions.load(tmp_path / "out" / "folded" / "predictions_test.npz").ids) == N

    together = lensbench.evaluate(
        [*(f"folded={fold}" for fold in reversed(folds)), f"whole={tmp_path / 'whole.npz'}"],
        judge=FEW,
    )
    assert together.pairs[0].difference.value == 0

    with pytest.raises(
        RecordError, match=r"'\S+' is in more than one of them\. Two models need two"
    ):
        lensbench.evaluate([f"folded={fold}" for fold in [*folds, folds[1]]], judge=FEW)
    with pytest.raises(ConfigError, match="3 models would be called 'predictions_test'"):
        lensbench.evaluate(folds, judge=FEW)
    with pytest.raises(ConfigError, match="2 models would be called 'predictions_test'"):
        lensbench.evaluate([folds[0], f"predictions_test={folds[1]}"], judge=FEW)


def test_the_scale_of_margins_changes_no_ranking(tmp_path):
    """Not where the probabilities of a float64 are 1."""
    rng = np.random.default_rng(5)
    labels = np.arange(400) % 2
    margins = rng.normal(size=400) + labels
    for scale in (1, 60):
        np.savez(tmp_path / f"by{scale}.npz", labels=labels, logits=scale * margins)
    comparison = lensbench.evaluate([tmp_path / "by1.npz", tmp_path / "by60.npz"], judge=FEW)
    expected = roc_auc_score(labels, margins)
    assert [one.auc.value for one in comparison.entries] == pytest.approx([expected] * 2)
    assert comparison.pairs[0].difference.value == pytest.approx(0)


def test_folders_may_be_called_as_settings_are(files, tmp_path, monkeypatch):
    (tmp_path / "lr=0.1").mkdir()
    files[0].rename(tmp_path / "lr=0.1" / "test.npz")
    monkeypatch.chdir(tmp_path)
    for given in ("lr=0.1/test.npz", "test=lr=0.1/test.npz"):
        assert lensbench.evaluate(given, judge=FEW).entries[0].name == "test"


def test_folds_without_ids_are_asked_for_them(tmp_path):
    for fold in range(2):
        rows = predictions(1.0, fold)
        np.savez(tmp_path / f"{fold}.npz", labels=rows.labels, logits=rows.logits)
    with pytest.raises(RecordError, match="files without ids, whose examples are numbered, need"):
        lensbench.evaluate([f"m={tmp_path / '0.npz'}", f"m={tmp_path / '1.npz'}"], judge=FEW)


def test_figures_are_those_of_the_record(files, tmp_path):
    out = tmp_path / "judged"
    lensbench.evaluate([f"m={files[0]}"], out, judge=FEW)
    first, _ = lensbench.plots(out)
    assert lensbench.plots(out)[0] == []
    shown = {path: path.read_bytes() for path in first}
    lensbench.evaluate([f"m={files[1]}"], out, judge=FEW)
    again, _ = lensbench.plots(out)
    assert set(again) == set(first)
    assert all(path.read_bytes() != shown[path] for path in again if "time" not in path.name)


def test_folds_of_other_classes_are_no_folds(tmp_path):
    predictions(1.0, 3).save(tmp_path / "one.npz")
    other = predictions(1.0, 3, prefix="other/")
    replace(other, classes=("no", "sphere", "axion")).save(tmp_path / "two.npz")
    with pytest.raises(
        RecordError, match=r"no, sphere, vort are not no, sphere, axion\. Two models"
    ):
        lensbench.evaluate([f"m={tmp_path / 'one.npz'}", f"m={tmp_path / 'two.npz'}"], judge=FEW)


def test_a_class_without_examples_is_undefined_and_said_so(tmp_path):
    rows = predictions(1.0, 4)
    kept = rows.labels < 2
    np.savez(
        tmp_path / "p.npz",
        labels=rows.labels[kept],
        logits=rows.logits[kept],
        classes=np.array(CLASSES),
    )
    reason = (
        r"auc_ovr_macro of p is undefined: it needs examples of every class \(.*vort 0\); rank by"
    )
    with pytest.raises(ComparisonError, match=reason):
        lensbench.evaluate([tmp_path / "p.npz"], judge=FEW)
    comparison = lensbench.evaluate(
        [tmp_path / "p.npz"], tmp_path / "out", judge=FEW, metric="accuracy"
    )
    assert comparison.entries[0].auc.value != comparison.entries[0].auc.value
    record = RunRecord.read(tmp_path / "out" / "p" / "record.json")
    assert record.lensbench is not None
    assert any(line.startswith("auc_ovr_macro, ") for line in record.lensbench.warnings)
    written = json.loads((tmp_path / "out" / "p" / "record.json").read_text())
    assert written["lensbench"]["estimates"]["recall/vort"]["value"] is None


@pytest.mark.usefixtures("undrawn")
def test_the_report_has_a_page_tables_and_every_figure_twice(files, tmp_path):
    out = tmp_path / "judged"
    lensbench.evaluate(files, out, judge=FEW)
    table = tmp_path / "parameters.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "einstein_radius_arcsec"])
        writer.writerows([f"{i}.npy", 1 + i / N] for i in range(N))
    report = tmp_path / "report"
    code = status(
        "report", out, "--out", report, "--judge.n-resamples", 100,
        "--table", table, "--by", "einstein_radius_arcsec",
    )  # fmt: skip
    assert code == 0
    assert {path.name for path in report.iterdir()} == {
        "comparison.csv",
        "comparison_intervals.csv",
        "comparison_pairs.csv",
        "figures",
        "report.html",
        "table.md",
        "table.tex",
    }
    figures = {path.name for path in (report / "figures").iterdir()}
    assert {name for name in figures if name.endswith(".png")} == {
        name.replace(".svg", ".png") for name in figures if name.endswith(".svg")
    }
    assert {"comparison_plot_all_pairs.png", "reliability_strong.png"} <= figures
    with (report / "comparison_pairs.csv").open() as file:
        (pair,) = csv.DictReader(file)
    assert (pair["first"], pair["second"]) == ("strong", "weak")
    assert float(pair["low"]) < float(pair["difference"]) < float(pair["high"])
    page = (report / "report.html").read_text()
    assert "strong is better than every other model" in page
    assert "einstein_radius_arcsec" in page


def test_a_table_without_columns_is_refused(files, tmp_path):
    lensbench.evaluate(files, tmp_path / "judged", judge=FEW)
    with pytest.raises(ConfigError, match="both a table and its columns"):
        lensbench.report([tmp_path / "judged"], tmp_path / "report", by=["x"])


def test_a_metric_is_ranked_by_on_the_command_line(files, capsys):
    assert status("evaluate", *files, "--metric", "log_loss", "--judge.n-resamples", 100) == 0
    assert "log loss" in capsys.readouterr().out
    assert status("evaluate", *files, "--metric", "logloss") == 2
    assert "no metric is called 'logloss'; there are log_loss" in capsys.readouterr().err
