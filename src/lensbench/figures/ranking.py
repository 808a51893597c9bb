"""Models in order of merit, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from lensbench.comparison.compare import Comparison, Entry
from lensbench.errors import ComparisonError
from lensbench.evaluation.estimate import ACCURACY, MACRO_AUC, Estimate
from lensbench.figures.style import (
    BLUE,
    GREY,
    error_lengths,
    legend_below,
    levels_of,
    new_axes,
    styled,
    wrapped,
)

_FLOORS = (*(percent / 100 for percent in range(99, 89, -1)), 0.85, 0.8, 0.7, 0.6, 0.5, 0.0)
_TIED = "not distinguishable from the best on these test images"
_WORSE = "worse than the best"


@styled()
def draw_auc_ranking(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the test AUC of every model, best on top; ties are those of the ranking's metric.

    Raises:
        ComparisonError: No run has finished, or the AUC is undefined.
    """
    return _draw_ranking(
        comparison,
        [(entry, entry.auc) for entry in with_auc(comparison.entries)],
        "Test AUC (one-vs-rest, macro)",
        meanings_of(comparison, MACRO_AUC),
        ax,
    )


@styled()
def draw_accuracy_ranking(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of every model, best on top; ties are those of the ranking's metric.

    Raises:
        ComparisonError: No run has finished.
    """
    return _draw_ranking(
        comparison,
        [(entry, entry.accuracy) for entry in comparison.entries],
        "Test accuracy",
        meanings_of(comparison, ACCURACY),
        ax,
    )


def with_auc(entries: Sequence[Entry]) -> list[Entry]:
    """Return the models whose macro AUC exists.

    Raises:
        ComparisonError: There are models, but none has one: a class has no test image.
    """
    known = [entry for entry in entries if not math.isnan(entry.auc.value)]
    if entries and not known:
        raise ComparisonError(
            "the macro AUC is undefined on these test images: test on images of every class, or "
            "go by the accuracy"
        )
    return known


def without_auc(entries: Sequence[Entry]) -> list[str]:
    """Return a note of the models that a plot of the AUC cannot show; none if it shows all."""
    names = [entry.name for entry in entries if math.isnan(entry.auc.value)]
    return [f"AUC undefined: {', '.join(names)}."] if names else []


def meanings_of(comparison: Comparison, metric: str) -> tuple[str, str]:
    """Return what filled and empty marks mean where this metric is drawn, whatever ranks."""
    if comparison.metric == metric:
        return _TIED, _WORSE
    return f"in {comparison.quantity} {_TIED}", f"in {comparison.quantity} {_WORSE}"


def _draw_ranking(
    comparison: Comparison,
    scores: Sequence[tuple[Entry, Estimate]],
    quantity: str,
    meanings: tuple[str, str],
    ax: Axes | None,
) -> Axes:
    if not scores:
        raise ComparisonError("no run has finished: there is nothing to rank")
    scores = sorted(scores, key=lambda score: -score[1].value)
    names = [wrapped(entry.name, 34) for entry, _ in scores]
    row = 0.17 + 0.15 * max(name.count("\n") + 1 for name in names)
    ax = ax or new_axes(8, 1.9 + row * len(scores))

    for tied, meaning in zip((True, False), meanings, strict=True):
        rows = [y for y, (entry, _) in enumerate(scores) if entry.tied is tied]
        if rows:
            _draw_rows(ax, rows, [scores[y][1] for y in rows], tied, meaning)
    for y, (_, estimate) in enumerate(scores):
        ax.text(1.02, y, str(estimate), va="center", transform=ax.get_yaxis_transform())

    left, right = _limits([estimate for _, estimate in scores])
    ax.set_xlim(left, right)
    ax.set_ylim(len(scores) - 0.4, -0.6)
    ax.set_yticks(range(len(scores)), names)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    start = f"; the axis starts at {left:g}" if left else ""
    ax.set_xlabel(f"{quantity}{start}")
    ax.set_title(f"{quantity}, {comparison.n_test:,} images")
    legend_below(ax, title=_how(comparison, scores), labelspacing=0.3)
    return ax


def _draw_rows(
    ax: Axes, rows: Sequence[int], estimates: Sequence[Estimate], tied: bool, meaning: str
) -> None:
    values = [estimate.value for estimate in estimates]
    ax.errorbar(
        values,
        rows,
        xerr=error_lengths(estimates),
        fmt="o",
        color=BLUE if tied else GREY,
        markerfacecolor=BLUE if tied else "white",
        markersize=7,
        elinewidth=1.6,
        capsize=3,
        label=meaning,
    )


def _limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Return the range where the models differ, with every interval inside."""
    ends = [
        end
        for estimate in estimates
        for end in (estimate.low, estimate.value, estimate.high)
        if not math.isnan(end)
    ]
    left = next(floor for floor in _FLOORS if floor <= min(ends))
    return left, max(ends) + 0.04 * (max(ends) - left) or 1.0


def _how(comparison: Comparison, scores: Sequence[tuple[Entry, Estimate]]) -> str:
    levels = levels_of(estimate for _, estimate in scores if not math.isnan(estimate.low))
    intervals = f"{levels or 'No'} intervals."
    is_whole = len(scores) == len(comparison.entries)
    missing = [] if is_whole else without_auc(comparison.entries)
    return wrapped(" ".join([intervals, *missing, f"Ties: {comparison.test}"]), 76)
