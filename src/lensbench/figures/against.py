"""How often each class is recognised, against a number that is known of each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from lensbench.evaluation.against import Bin
from lensbench.figures.style import (
    CYCLE,
    error_lengths,
    legend_below,
    levels_of,
    new_axes,
    styled,
    wrapped,
)


@styled()
def draw_recall_against(
    bins: Mapping[str, Sequence[Bin]],
    quantity: str,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the recall of each class with its interval, at the median number of each bin.

    A class whose images all have the same number is a line across.

    Args:
        bins: For each class its bins, as `recall_against` returns them.
        quantity: What the number is, with its unit.
        title: Whose recall it is.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or new_axes(7, 4.4)
    drawn = [one for of_class in bins.values() if len(of_class) > 1 for one in of_class]
    for (name, of_class), colour in zip(bins.items(), CYCLE * len(bins), strict=False):
        if len(of_class) == 1:
            recall = of_class[0].recall
            ax.axhline(recall.value, color=colour, linestyle="--", label=f"{name} (all images)")
            ax.axhspan(recall.low, recall.high, color=colour, alpha=0.12, linewidth=0)
        elif of_class:
            middle = [one.middle for one in of_class]
            recalls = [one.recall for one in of_class]
            left = [one.middle - one.low for one in of_class]
            right = [one.high - one.middle for one in of_class]
            ax.errorbar(
                *(middle, [one.value for one in recalls], error_lengths(recalls), [left, right]),
                color=colour,
                marker="o",
                linestyle="",
                elinewidth=1.2,
                label=name,
            )
    lowest, highest = (
        min((b.low for b in drawn), default=0),
        max((b.high for b in drawn), default=0),
    )
    if lowest > 0 and highest > 30 * lowest:
        ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel(f"{quantity}; bars across: the range of a bin")
    levels = levels_of(one.recall for of_class in bins.values() for one in of_class)
    ax.set_ylabel(f"Recall with {levels} interval" if levels else "Recall")
    legend_below(ax, ncols=4)
    if title:
        ax.set_title(wrapped(title, 70))
    return ax
