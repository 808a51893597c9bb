"""The share of wrong calls, when only the most confident are made."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from lensbench.evaluation.selective import RiskCoverage
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
def draw_risk_coverage(
    curves: Mapping[str, RiskCoverage], title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw risk-coverage curves, with the intervals at the coverages of common use.

    Args:
        curves: Keyed by classifier.
        title: What the curves belong to.
        ax: Where to draw; a new figure otherwise.
    """
    ax = ax or new_axes(6.4, 4.4 + 0.19 * len(curves))
    highest = 0.0
    for i, (name, curve) in enumerate(curves.items()):
        colour = CYCLE[i % len(CYCLE)]
        label = f"{wrapped(name, 36)}  {curve.aurc:.4f}"
        # A threshold between two confidences accepts what the upper one does.
        ax.plot(curve.coverage, curve.risk, drawstyle="steps-post", color=colour, label=label)
        ax.errorbar(
            [one.n / curve.n for one in curve.at],
            [one.value for one in curve.at],
            error_lengths(curve.at),
            color=colour,
            linestyle="",
            marker="o",
            markersize=4,
            elinewidth=1.2,
        )
        # Among the first few images one wrong call is a risk of half or all: no scale for the rest.
        highest = max(highest, curve.risk[-1], *(one.high for one in curve.at))
    ax.set(xlim=(0, 1.01), ylim=(-0.02 * highest, 1.05 * highest))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    levels = levels_of(one for curve in curves.values() for one in curve.at)
    ax.set_xlabel("Coverage: share of images that is called, the most confident first")
    ax.set_ylabel(f"Wrong calls among them, {levels} interval")
    legend_below(ax, title="Area under the curve")
    if title:
        ax.set_title(wrapped(title, 60))
    return ax
