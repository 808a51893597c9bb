import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.special import logit
from scipy.stats import norm

import lensbench
from lensbench.api import explain
from lensbench.comparison.compare import compare
from lensbench.errors import ConfigError, RecordError
from lensbench.reporting import plots
from lensbench.reporting.comparison_files import write_comparison
from lensbench.reporting.markdown import escaped
from lensbench.reporting.report import write_report
from lensbench.runs.layout import find_records
from lensbench.runs.record import RunRecord

from .builders import make_comparison, make_record
from .page_runs import QUICK_JUDGE, correlated, store_run


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    """Leave an empty file for each picture: the tests of plots draw them."""
    for name in ("confusion_matrix", "roc_curves"):
        monkeypatch.setattr(plots, f"draw_{name}", lambda *args: Figure().add_subplot())
    monkeypatch.setattr(plots, "draw_history", lambda *args: Figure())

    def save(figure: Figure, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    monkeypatch.setattr(plots, "save_figure", save)


def _links(page: Path) -> list[Path]:
    links = re.findall(r"\]\(([^)]*)\)", page.read_text())
    assert not any(link.startswith("/") for link in links)
    return [page.parent / unquote(link) for link in links]


@pytest.fixture
def page(comparison, tmp_path):
    return write_comparison(comparison, tmp_path / "report").markdown.read_text()


@pytest.mark.parametrize("together", [True, False])
def test_all_links_lead_to_pictures(comparison, tmp_path, together):
    folder = tmp_path / "report"
    report = write_comparison(
        comparison, folder, tmp_path / "all plots (here)" if together else None
    )
    links = _links(report.markdown)
    assert len(links) == 4 + 2 * 3
    assert all(link.is_file() for link in links)
    where = {link.resolve().parent for link in links[4:]}
    assert where == (
        {tmp_path / "all plots (here)"}
        if together
        else {entry.path.parent for entry in comparison.entries}
    )


def test_the_files_of_the_contract_lie_in_one_folder(comparison, tmp_path):
    report = write_comparison(
        comparison, tmp_path, tmp_path, "model_comparison_task1_results_final.csv"
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "comparison.md",
        "comparison_intervals.csv",
        "comparison_plot_auc_vs_time.png",
        "comparison_plot_test_accuracy.png",
        "comparison_plot_test_auc.png",
        "comparison_plot_training_time.png",
        "model_comparison_task1_results_final.csv",
        *(
            f"{kind}_{name}.png"
            for kind in ("confusion_matrix", "roc_curve", "training_history")
            for name in ("First", "Second")
        ),
    }
    assert report.notes == ()


def test_the_page_begins_with_the_verdict(comparison, page):
    assert page.startswith(f"# Comparison of 2 classifiers\n\n**{escaped(comparison.verdict)}**\n")


def test_the_ranking_shows_numbers_with_intervals_ties_and_p(page):
    rows = [line for line in page.splitlines() if re.match(r"\| \d", line)]
    assert rows == [
        r"| 1 | First | 0.9765 \[0.9665, 0.9865\] | 0.9000 \[0.8700, 0.9300\] | a | best |  |",
        r"| 2 | Second | 0.9500 \[0.9400, 0.9600\] | 0.9000 \[0.8700, 0.9300\] "
        "| b | worse | 0.012 |",
    ]


def test_the_page_says_how_each_model_was_trained(page):
    assert (
        "| First | torchvision/resnet18 | quick, 3 epochs, seed 42 | 1.5 min | A GPU "
        "| random initialisation "
        "| sealed | 0123456789ab | 3,000 / 300 / 300 |"
    ) in page
    assert "| A GPU | cuda | 32-true | 2 | Linux | 3.11 | numpy 2.0, torch 2.5 |" in page


def test_failures_warnings_and_problems_are_on_the_page(comparison, tmp_path):
    damaged = replace(comparison, problems=("x.json: not JSON",))
    page = write_comparison(damaged, tmp_path).markdown.read_text()
    assert "Failed: timm/broken, record.json\n\n    out of memory\n      at step 3 | 4\n" in page
    assert "- x.json: not JSON\n" in page
    assert "- one image occurs twice (First, Second)\n" in page


def test_what_is_missing_is_said(tmp_path):
    record = make_record("Old", lensbench=None, val_aucs=(), train_losses=(), val_losses=())
    report = write_comparison(make_comparison(tmp_path, record), tmp_path)
    page = report.markdown.read_text()
    assert report.notes == (
        "training_history_Old.png is not drawn: the record holds no training history",
    )
    assert "not recorded" in page
    assert r"- training\_history\_Old.png is not drawn" in page


def test_only_missing_plots_of_runs_are_made_anew_but_the_comparison_always(comparison, tmp_path):
    write_comparison(comparison, tmp_path)
    again = write_comparison(comparison, tmp_path, only_missing=True)
    assert [made.drawn for made in again.run_plots.values()] == [(), ()]
    assert len(again.comparison_plots.drawn) == 4
    assert len(_links(again.markdown)) == 10


def test_nothing_finished_is_a_page_that_says_so(tmp_path):
    report = write_comparison(compare([]), tmp_path)
    page = report.markdown.read_text()
    assert page.startswith("# Comparison of 0 classifiers\n\n**No finished runs")
    assert _links(report.markdown) == []
    assert len(report.notes) == 4


def test_a_name_is_nothing_but_a_name(tmp_path):
    name = "a|b [x](y) <i>*c*_d_ $z$"
    page = write_comparison(make_comparison(tmp_path, make_record(name)), tmp_path / "r").markdown
    text = page.read_text()
    assert name not in text
    assert r"a\|b \[x\](y) \<i\>\*c\*\_d\_ \$z\$" in text
    links = [link for link in _links(page) if link.name != "y"]
    assert len(links) == 7
    assert all(link.is_file() for link in links)


def test_every_figure_has_the_level_that_was_asked_for(tmp_path, monkeypatch):
    """Also where the runs were judged at another level when they were made."""
    levels: dict[str, list[float]] = {}
    axes: dict[str, str] = {}

    def watch(name, levels_of):
        real = getattr(plots, name)

        def draw(data, *args):
            levels[name] = levels_of(data)
            ax = real(data, *args)
            axes[name] = ax.get_ylabel()
            return ax

        monkeypatch.setattr(plots, name, draw)

    watch("draw_reliability", lambda d: [b.accuracy.level for r in d.values() for b in r.bins])
    watch("draw_risk_coverage", lambda d: [one.level for c in d.values() for one in c.at])
    watch("draw_recall_against", lambda d: [b.recall.level for bins in d.values() for b in bins])
    roc = []
    monkeypatch.setattr(
        plots, "draw_roc_curves", lambda *args: roc.append(args[-1]) or Figure().add_subplot()
    )
    run = store_run(tmp_path / "runs", "One", 2.0)
    spec = QUICK_JUDGE.model_copy(update={"level": 0.9})
    write_report(compare([run], spec), tmp_path / "report", spec)
    ids = correlated(120, 2.0, 1).ids
    table = tmp_path / "mass.csv"
    table.write_text("\n".join(["id,mass", *(f"{name},{i}" for i, name in enumerate(ids))]))
    explain(run, table, "mass", judge=spec)
    assert {name: set(found) for name, found in levels.items()} == {
        "draw_reliability": {0.9},
        "draw_risk_coverage": {0.9},
        "draw_recall_against": {0.9},
    }
    assert all("90% interval" in text for text in axes.values())
    recorded = RunRecord.read(run).lensbench.estimates
    for name in ("auc_ovr/vort", "auc_ovr_macro", "auc_ovr_micro"):
        widths = [np.diff(logit([one.low, one.high])) for one in (roc[0][name], recorded[name])]
        assert widths[0] / widths[1] == pytest.approx(norm.ppf(0.95) / norm.ppf(0.975))


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_record_costs_no_other_run_its_figures(tmp_path):
    runs = tmp_path / "runs"
    good = store_run(runs, "Good", 2.0)
    damaged = store_run(runs, "Damaged", 1.0)
    damaged.write_text("{")
    table = tmp_path / "mass.csv"
    ids = correlated(120, 2.0, 1).ids
    table.write_text("\n".join(["id,mass", *(f"{name},{i}" for i, name in enumerate(ids))]))
    for drawn, notes in (explain(runs, table, "mass"), lensbench.plots(runs)):
        assert drawn
        assert str(damaged) in notes[0]
    with pytest.raises(ConfigError, match=r"record\.json is one record: name the folder"):
        lensbench.plots(good)
    with pytest.raises(RecordError, match="not a result record"):
        explain(damaged, table, "mass")
    lost = store_run(runs, "Lost", 1.0).with_name("predictions_test.npz")
    lost.unlink()
    drawn, notes = explain(runs, table, "mass")
    assert len(drawn) == 1
    assert any(str(lost) in note for note in notes)


def test_levels_are_written_to_all_their_digits(tmp_path):
    spec = QUICK_JUDGE.model_copy(update={"level": 0.9973})
    for seed, name in enumerate(("One", "Other")):
        store_run(tmp_path / "runs", name, 2.0 - seed, seed=seed, judge=spec)
    comparison = compare(find_records(tmp_path / "runs"), spec)
    latex, markdown, *_ = write_report(comparison, tmp_path / "full", spec, figures=False).tables
    page = write_comparison(comparison, tmp_path / "short").markdown
    assert r"with 99.73\% intervals" in latex.read_text()
    for file, expected in (
        (latex, r"Holm-corrected, 99.73\%"),
        (markdown, "with 99.73% intervals"),
        (page, "AUC intervals: 99.73% DeLong"),
        (page, "| Class | AUC (99.73%) |"),
    ):
        assert expected in file.read_text()
        assert "100%" not in file.read_text()


def test_a_class_without_test_images_costs_the_plots_of_the_auc_alone(tmp_path):
    for seed, name in enumerate(("One", "Other")):
        store_run(tmp_path / "runs", name, 2.0 - seed, seed=seed, untested="vort")
    comparison = compare(find_records(tmp_path / "runs"), QUICK_JUDGE, "accuracy")
    short = write_comparison(comparison, tmp_path / "short")
    full = write_report(comparison, tmp_path / "full", QUICK_JUDGE)
    for notes, undrawn in (
        (short.notes, ("test_auc", "auc_vs_time")),
        (full.notes, ("test_auc", "auc_vs_time", "auc_vs_multiply-adds", "auc_vs_parameters")),
    ):
        found = [note for note in notes if "is not drawn" in note]
        assert [note.partition(".png")[0] for note in found] == [
            f"comparison_plot_{name}" for name in undrawn
        ]
        assert all("test on images of every class, or go by the accuracy" in note for note in found)
    assert set(short.comparison_plots.paths) == {"Test accuracy", "Training time"}
