"""Records and comparisons -> picture files under the contract's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from lensbench.comparison.compare import Comparison
from lensbench.comparison.judged import Judged
from lensbench.config import JudgeSpec
from lensbench.cost import Cost, Quantity
from lensbench.errors import LensbenchError, RecordError
from lensbench.evaluation.against import recall_against
from lensbench.evaluation.selective import risk_coverage
from lensbench.figures import (
    draw_accuracy_ranking,
    draw_auc_ranking,
    draw_auc_vs_cost,
    draw_auc_vs_time,
    draw_confusion_matrix,
    draw_history,
    draw_pairwise,
    draw_recall_against,
    draw_reliability,
    draw_risk_coverage,
    draw_roc_curves,
    draw_training_times,
    save_figure,
)
from lensbench.figures.style import figure_of
from lensbench.outcome import Predictions
from lensbench.reporting.calibrated import calibrated
from lensbench.runs.layout import RECALL_FIGURE, file_name, run_figure_names
from lensbench.runs.record import RunRecord, TestResults
from lensbench.runs.store import load_predictions

_Data = TypeVar("_Data", RunRecord, Comparison, Predictions)

PNG = (".png",)


@dataclass(frozen=True)
class Plots:
    """Picture files of a run or of a comparison."""

    paths: Mapping[str, Path]
    """Every file that is there now, keyed by what it shows."""

    drawn: tuple[Path, ...]
    """Those that were drawn just now."""

    notes: tuple[str, ...]
    """One line for each plot that could not be drawn, with the reason."""


def plot_run(
    record: RunRecord,
    folder: Path,
    only_missing: bool = False,
    suffixes: Sequence[str] = PNG,
) -> Plots:
    """Draw confusion matrix, ROC curves and training history of a run, as far as recorded.

    Args:
        record: A record of ours or one of the contract's.
        folder: Where the files go.
        only_missing: Leave files alone that are there already.
        suffixes: Formats, as `save_figure` takes them.
    """
    names = run_figure_names(record.model_desc)
    drawings: dict[str, tuple[str, Callable[[RunRecord], Figure]]] = {
        "Confusion matrix": (names["confusion_matrix"], _confusion_matrix),
        "ROC curves": (names["roc_curve"], _roc_curves),
        "Training history": (names["training_history"], _history),
    }
    return _save(drawings, record, folder, Path.exists if only_missing else _never, suffixes)


def plot_trust(run: Judged, folder: Path, spec: JudgeSpec, suffixes: Sequence[str]) -> Plots:
    """Draw how far a run's probabilities can be trusted: reliability, and risk against coverage.

    Reliability is drawn after temperature scaling too, where validation predictions are kept.

    Args:
        run: A finished run with predictions; without them nothing is drawn.
        folder: Where the files go.
        spec: Level of the intervals.
        suffixes: Formats, as `save_figure` takes them.
    """
    if run.predictions is None:
        return Plots({}, (), (f"{run.name}: no reliability without predictions",))
    validation = load_predictions(run.record, run.path, "validation")

    def draw_both(test: Predictions) -> Figure:
        diagrams, unscaled = calibrated(validation, test, spec.level)
        if unscaled:
            diagrams = {f"{name} ({unscaled})": diagram for name, diagram in diagrams.items()}
        return figure_of(draw_reliability(diagrams, f"{run.name}\nReliability, test images"))

    def draw_risk(test: Predictions) -> Figure:
        title = f"{run.name}\nRisk against coverage, test images"
        return figure_of(draw_risk_coverage({run.name: risk_coverage(test, spec.level)}, title))

    drawings: dict[str, tuple[str, Callable[[Predictions], Figure]]] = {
        "Reliability": (file_name("reliability", run.name), draw_both),
        "Risk against coverage": (file_name("risk_coverage", run.name), draw_risk),
    }
    return _save(drawings, run.predictions, folder, _never, suffixes)


def plot_comparison(
    comparison: Comparison,
    folder: Path,
    outdated_at: float | None = None,
    suffixes: Sequence[str] = PNG,
) -> Plots:
    """Draw the rankings by AUC and accuracy, the training times, and AUC against time.

    Args:
        comparison: What to draw.
        folder: Where the files go.
        outdated_at: Leave files alone that were written after this time, in seconds since 1970.
        suffixes: Formats, as `save_figure` takes them.
    """
    drawings: dict[str, tuple[str, Callable[[Comparison], Figure]]] = {
        "Test AUC": ("comparison_plot_test_auc.png", lambda c: figure_of(draw_auc_ranking(c))),
        "Test accuracy": (
            "comparison_plot_test_accuracy.png",
            lambda c: figure_of(draw_accuracy_ranking(c)),
        ),
        "Training time": (
            "comparison_plot_training_time.png",
            lambda c: figure_of(draw_training_times(c)),
        ),
        "AUC against training time": ("comparison_plot_auc_vs_time.png", draw_auc_vs_time),
    }

    def is_kept(path: Path) -> bool:
        return outdated_at is not None and path.exists() and path.stat().st_mtime > outdated_at

    return _save(drawings, comparison, folder, is_kept, suffixes)


def plot_pairs_and_costs(
    comparison: Comparison,
    folder: Path,
    costs: Mapping[str, Cost],
    quantities: Sequence[Quantity],
    machine: str | None,
    suffixes: Sequence[str],
) -> Plots:
    """Draw the tests of all pairs, and AUC against costs that no trained machine has a part in.

    Args:
        comparison: What to draw.
        folder: Where the files go.
        costs: By the name of the model.
        quantities: Which costs.
        machine: Where speeds were measured.
        suffixes: Formats, as `save_figure` takes them.
    """
    drawings: dict[str, tuple[str, Callable[[Comparison], Figure]]] = {
        "All pairs": ("comparison_plot_all_pairs.png", lambda c: figure_of(draw_pairwise(c)))
    }
    drawings |= {
        f"AUC against {quantity}": (
            file_name("comparison_plot_auc_vs", quantity.replace("/", " per ").replace(" ", "_")),
            partial(draw_auc_vs_cost, costs=costs, quantity=quantity, machine=machine),
        )
        for quantity in quantities
    }
    return _save(drawings, comparison, folder, _never, suffixes)


def plot_recall_against(
    record: RunRecord,
    predictions: Predictions,
    numbers: Mapping[str, float],
    quantity: str,
    folder: Path,
    spec: JudgeSpec,
) -> Path:
    """Draw how often the test images of each class are recognised, against a number known of them.

    Args:
        record: The run.
        predictions: Its predictions.
        numbers: The number of each image, by its id; NaN where it has none.
        quantity: What the number is; part of the file's name.
        folder: Where the file goes.
        spec: Level of the intervals.

    Raises:
        RecordError: An image has no number.
    """
    title = f"{record.model_desc}\nRecall, {len(predictions.ids):,} test images"
    bins = recall_against(predictions, numbers, spec=spec)
    figure = figure_of(draw_recall_against(bins, quantity, title))
    name = file_name(RECALL_FIGURE, quantity, record.model_desc)
    return save_figure(figure, folder / name)


def _never(_: Path) -> bool:
    return False


def _save(
    drawings: Mapping[str, tuple[str, Callable[[_Data], Figure]]],
    data: _Data,
    folder: Path,
    is_kept: Callable[[Path], bool],
    suffixes: Sequence[str],
) -> Plots:
    paths, drawn, notes = {}, [], []
    for kind, (file, draw) in drawings.items():
        files = [folder / f"{file.removesuffix('.png')}{suffix}" for suffix in suffixes]
        missing = [path for path in files if not is_kept(path)]
        if missing:
            try:
                figure = draw(data)
            except LensbenchError as error:
                notes.append(f"{file} is not drawn: {error}")
                continue
            drawn += [save_figure(figure, path) for path in missing]
        paths[kind] = files[0]
    return Plots(paths, tuple(drawn), tuple(notes))


def _confusion_matrix(record: RunRecord) -> Figure:
    results = _tested(record)
    if results.confusion_matrix is None:
        raise RecordError("the record holds no confusion matrix")
    n_test = sum(map(sum, results.confusion_matrix))
    title = f"{record.model_desc}\nConfusion matrix, {n_test:,} test images"
    return figure_of(draw_confusion_matrix(results.confusion_matrix, record.classes, title))


def _roc_curves(record: RunRecord) -> Figure:
    curves = _tested(record).roc_curve_data
    if not curves:
        raise RecordError("the record holds no ROC curves")
    estimates = record.lensbench.estimates if record.lensbench else None
    title = f"{record.model_desc}\nROC curves, one-vs-rest, test images"
    return figure_of(draw_roc_curves(curves, title, record.classes, estimates))


def _history(record: RunRecord) -> Figure:
    if not (record.train_losses or record.val_losses or record.val_aucs):
        raise RecordError("the record holds no training history")
    return draw_history(
        record.train_losses,
        record.val_losses,
        record.val_aucs,
        record.best_epoch,
        f"{record.model_desc}\nTraining history",
    )


def _tested(record: RunRecord) -> TestResults:
    if record.test_results is None:
        raise RecordError(f"the run is not tested ({record.status.lower()})")
    return record.test_results
