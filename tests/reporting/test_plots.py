import pytest

from lensbench.comparison.compare import compare
from lensbench.reporting.plots import plot_comparison, plot_run
from lensbench.runs.record import RunRecord

from .builders import CONFIG, make_record

RUN_FILES = {"confusion_matrix_A.png", "roc_curve_A.png", "training_history_A.png"}
COMPARISON_FILES = {
    "comparison_plot_test_auc.png",
    "comparison_plot_test_accuracy.png",
    "comparison_plot_training_time.png",
    "comparison_plot_auc_vs_time.png",
}


def _names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_run_leaves_exactly_the_files_of_the_contract(tmp_path):
    (tmp_path / "roc_curve_A.png").write_text("old")
    plots = plot_run(make_record("A"), tmp_path)
    assert _names(tmp_path) == RUN_FILES
    assert set(plots.paths.values()) == set(plots.drawn) == {tmp_path / name for name in RUN_FILES}
    assert plots.notes == ()
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots.drawn)


def test_a_comparison_leaves_exactly_the_files_of_the_contract(comparison, tmp_path):
    plots = plot_comparison(comparison, tmp_path)
    assert _names(tmp_path) == COMPARISON_FILES
    assert len(plots.paths) == 4
    assert plots.notes == ()


def test_only_missing_files_are_drawn_when_asked(tmp_path):
    record = make_record("A")
    kept = tmp_path / "roc_curve_A.png"
    kept.write_text("mine")
    plots = plot_run(record, tmp_path, only_missing=True)
    assert kept.read_text() == "mine"
    assert set(plots.drawn) == {tmp_path / name for name in RUN_FILES} - {kept}
    assert set(plots.paths.values()) == {tmp_path / name for name in RUN_FILES}
    assert plot_run(record, tmp_path, only_missing=True).drawn == ()


def test_a_published_record_has_no_confusion_matrix_and_says_so(published, tmp_path):
    plots = plot_run(RunRecord.read(published / "results_ResNet18.json"), tmp_path)
    assert _names(tmp_path) == {"roc_curve_ResNet18.png", "training_history_ResNet18.png"}
    assert set(plots.paths) == {"ROC curves", "Training history"}
    assert plots.notes == (
        "confusion_matrix_ResNet18.png is not drawn: the record holds no confusion matrix",
    )


def test_a_published_record_gives_its_class_names(published, tmp_path, monkeypatch):
    seen = {}

    def draw(curves, title, classes, estimates):
        seen["classes"] = classes
        return real(curves, title, classes, estimates)

    from lensbench.reporting import plots

    real = plots.draw_roc_curves
    monkeypatch.setattr(plots, "draw_roc_curves", draw)
    plot_run(RunRecord.read(published / "results_ResNet18.json"), tmp_path)
    assert seen["classes"] == ("no", "sphere", "vort")


def test_a_failed_run_is_drawn_as_far_as_it_came(tmp_path):
    record = make_record("A", status="Failed", test_results=None)
    plots = plot_run(record, tmp_path)
    assert _names(tmp_path) == {"training_history_A.png"}
    assert len(plots.notes) == 2
    assert all("not tested (failed)" in note for note in plots.notes)


def test_a_run_without_anything_says_so_three_times(tmp_path):
    record = RunRecord(model_desc="A", model_identifier="a", status="Failed", config=CONFIG)
    plots = plot_run(record, tmp_path)
    assert (dict(plots.paths), plots.drawn, len(plots.notes)) == ({}, (), 3)


def test_nothing_to_compare_is_said_for_every_plot(tmp_path):
    plots = plot_comparison(compare([]), tmp_path)
    assert plots.drawn == ()
    assert len(plots.notes) == 4


@pytest.mark.parametrize("name", ["a/b", "../up", "a\\b", "a:b"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "here"
    plots = plot_run(make_record(name, test_results=None), folder)
    assert {path.parent for path in plots.drawn} == {folder}
    assert _names(tmp_path) == {"here"}
    assert all(path.exists() for path in plots.drawn)
