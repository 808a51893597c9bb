"""The look that all figures share."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from lensbench.evaluation.estimate import Estimate, percent

# Okabe and Ito's palette: eight colours that stay apart for every kind of colour vision.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)

INK = "#222222"
GREY = "#7a7a7a"
FAINT = "#d9d9d9"

_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same page on every machine
    "font.size": 10,
    "grid.color": "#ebebeb",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.title_fontsize": 9,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,  # text in a PDF stays text
    "svg.hashsalt": "lensbench",  # the same figure gives the same file
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the look inside a block, or to a whole function as a decorator."""
    with mpl.rc_context(_RC):
        yield


def new_axes(width: float, height: float) -> Axes:
    """Return the only axes of a new figure of that size in inches."""
    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def legend_below(ax: Axes, inches: float = 0.55, **options: Any) -> None:
    """Put the legend under the axis label, where no data can be."""
    below = ax.transAxes + ScaledTranslation(0, -inches, ax.figure.dpi_scale_trans)
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=below,
        borderaxespad=0,
        alignment="left",
        **({"borderpad": 0} | options),
    )


def error_lengths(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Return how far intervals reach below and above their values, as `Axes.errorbar` takes it."""
    return (
        [estimate.value - estimate.low for estimate in estimates],
        [estimate.high - estimate.value for estimate in estimates],
    )


def levels_of(estimates: Iterable[Estimate]) -> str:
    """Return the levels of intervals in words, several only if they differ."""
    return " or ".join(sorted({percent(estimate.level) for estimate in estimates}))


def part_cells(ax: Axes, n: int) -> None:
    """Part the cells of an image of n x n by white lines, and do without any other line."""
    edges = [cell - 0.5 for cell in range(n + 1)]
    ax.set_xticks(edges, minor=True)
    ax.set_yticks(edges, minor=True)
    ax.grid(visible=False)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that axes are in.

    Raises:
        TypeError: They are in none.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise TypeError("these axes belong to no figure")
    return figure


def wrapped(text: str, width: int) -> str:
    """Break the lines of a text that are longer than `width` characters."""
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def machine_colours(machines: Iterable[str]) -> dict[str, str]:
    """Give each machine the same colour in all figures of a comparison."""
    distinct = sorted(set(machines))
    return {machine: CYCLE[i % len(CYCLE)] for i, machine in enumerate(distinct)}
