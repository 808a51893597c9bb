"""Accuracy against confidence."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes

from lensbench.evaluation.calibration import Reliability
from lensbench.figures.style import (
    CYCLE,
    error_lengths,
    legend_below,
    levels_of,
    new_axes,
    styled,
    wrapped,
)

_MARKERS = "osD^v"


@styled()
def draw_reliability(
    reliabilities: Mapping[str, Reliability], title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the accuracy in each bin of confidence with its interval; on the diagonal is right.

    Args:
        reliabilities: Keyed by what they are of, as the same test examples before and after
            temperature scaling.
        title: Whose reliability it is.
        ax: Where to draw; a new figure otherwise.
    """
    title = wrapped(title or "", 46)
    n_lines = title.count("\n") + sum(wrapped(name, 30).count("\n") + 1 for name in reliabilities)
    ax = ax or new_axes(5.4, 5.9 + 0.24 * n_lines)
    lowest = 1.0
    for i, (name, reliability) in enumerate(reliabilities.items()):
        confidence = [one.confidence for one in reliability.bins]
        accuracy = [one.accuracy for one in reliability.bins]
        ax.errorbar(
            *(confidence, [one.value for one in accuracy], error_lengths(accuracy)),
            color=CYCLE[i % len(CYCLE)],
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=4.5,
            linewidth=1.2,
            elinewidth=1,
            label=f"{wrapped(name, 30)}  {reliability.error:.4f} "
            f"({reliability.error_by_chance:.4f} by chance)",
        )
        lowest = min(lowest, confidence[0], *(one.low for one in accuracy))
    ax.plot((0, 1), (0, 1), color="#bbbbbb", linewidth=1, zorder=1)
    margin = (1 - lowest) / 50
    ax.set(xlim=(lowest - margin, 1 + margin), ylim=(lowest - margin, 1 + margin))
    ax.set_aspect("equal", anchor="N")
    levels = levels_of(one.accuracy for r in reliabilities.values() for one in r.bins)
    ax.set_xlabel("Confidence, mean of a bin")
    ax.set_ylabel(f"Accuracy with {levels} interval")
    legend_below(ax, title="Expected calibration error")
    if title:
        ax.set_title(title)
    return ax
