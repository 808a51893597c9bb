"""Records and comparisons -> picture files under the contract's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lensbench.comparison.compare import Comparison
from lensbench.errors import LensbenchError, RecordError
from lensbench.evaluation.against import recall_against
from lensbench.figures import (
    draw_accuracy_ranking,
    draw_auc_ranking,
    draw_auc_vs_time,
    draw_confusion_matrix,
    draw_history,
    draw_recall_against,
    draw_roc_curves,
    draw_training_times,
    save_figure,
)
from lensbench.outcome import Predictions
from lensbench.runs.record import RunRecord, TestResults
from lensbench.runs.store import file_name, run_figure_names

_Data = TypeVar("_Data", RunRecord, Comparison)


@dataclass(frozen=True)
class Plots:
    """Picture files of a run or of a comparison."""

    paths: Mapping[str, Path]
    """Every file that is there now, keyed by what it shows."""

    drawn: tuple[Path, ...]
    """Those that were drawn just now."""

    notes: tuple[str, ...]
    """One line for each plot that could not be drawn, with the reason."""


def plot_run(record: RunRecord, folder: Path, only_missing: bool = False) -> Plots:
    """Draw confusion matrix, ROC curves and training history of a run, as far as recorded.

    Args:
        record: A record of ours or one of the contract's.
        folder: Where the files go.
        only_missing: Leave files alone that are there already.
    """
    names = run_figure_names(record.model_desc)
    drawings: dict[str, tuple[str, Callable[[RunRecord], Figure]]] = {
        "Confusion matrix": (names["confusion_matrix"], _confusion_matrix),
        "ROC curves": (names["roc_curve"], _roc_curves),
        "Training history": (names["training_history"], _history),
    }
    return _save(drawings, record, folder, only_missing)


def plot_comparison(comparison: Comparison, folder: Path, only_missing: bool = False) -> Plots:
    """Draw the rankings by AUC and accuracy, the training times, and AUC against time.

    Args:
        comparison: What to draw.
        folder: Where the files go.
        only_missing: Leave files alone that are there already, whatever they show.
    """
    drawings: dict[str, tuple[str, Callable[[Comparison], Figure]]] = {
        "Test AUC": ("comparison_plot_test_auc.png", lambda c: _whole(draw_auc_ranking(c))),
        "Test accuracy": (
            "comparison_plot_test_accuracy.png",
            lambda c: _whole(draw_accuracy_ranking(c)),
        ),
        "Training time": (
            "comparison_plot_training_time.png",
            lambda c: _whole(draw_training_times(c)),
        ),
        "AUC against training time": ("comparison_plot_auc_vs_time.png", draw_auc_vs_time),
    }
    return _save(drawings, comparison, folder, only_missing)


def plot_recall_against(
    record: RunRecord,
    predictions: Predictions,
    numbers: Mapping[str, float],
    quantity: str,
    folder: Path,
) -> Path:
    """Draw how often the test images of each class are recognised, against a number known of them.

    Args:
        record: The run.
        predictions: Its predictions.
        numbers: The number of each image, by its id; NaN where it has none.
        quantity: What the number is; part of the file's name.
        folder: Where the file goes.

    Raises:
        RecordError: An image has no number.
    """
    title = f"{record.model_desc}\nRecall, {len(predictions.ids):,} test images"
    figure = _whole(draw_recall_against(recall_against(predictions, numbers), quantity, title))
    name = file_name("recall_against", quantity, record.model_desc)
    return save_figure(figure, folder / name)


def _save(
    drawings: Mapping[str, tuple[str, Callable[[_Data], Figure]]],
    data: _Data,
    folder: Path,
    only_missing: bool,
) -> Plots:
    paths, drawn, notes = {}, [], []
    for kind, (file, draw) in drawings.items():
        path = folder / file
        if not (only_missing and path.exists()):
            try:
                save_figure(draw(data), path)
            except LensbenchError as error:
                notes.append(f"{file} is not drawn: {error}")
                continue
            drawn.append(path)
        paths[kind] = path
    return Plots(paths, tuple(drawn), tuple(notes))


def _confusion_matrix(record: RunRecord) -> Figure:
    results = _tested(record)
    if results.confusion_matrix is None:
        raise RecordError("the record holds no confusion matrix")
    n_test = sum(map(sum, results.confusion_matrix))
    title = f"{record.model_desc}\nConfusion matrix, {n_test:,} test images"
    return _whole(draw_confusion_matrix(results.confusion_matrix, _classes(record), title))


def _roc_curves(record: RunRecord) -> Figure:
    curves = _tested(record).roc_curve_data
    if not curves:
        raise RecordError("the record holds no ROC curves")
    estimates = record.lensbench.estimates if record.lensbench else None
    title = f"{record.model_desc}\nROC curves, one-vs-rest, test images"
    return _whole(draw_roc_curves(curves, title, _classes(record), estimates))


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


def _classes(record: RunRecord) -> tuple[str, ...]:
    """Return the class names, or their indices where the record does not tell.

    The published records have the names in their text table only.
    """
    if record.lensbench is not None and record.lensbench.classes:
        return record.lensbench.classes
    results = _tested(record)
    names = tuple(name for name, _ in results.class_lines)
    indices = tuple(key for key in results.roc_curve_data if key.isdecimal())
    return names if len(names) == len(indices) else indices


def _whole(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    if figure is None:
        raise TypeError("these axes belong to no figure")
    return figure
