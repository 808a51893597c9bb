"""Every model against every other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from lensbench.comparison.compare import Comparison
from lensbench.errors import ComparisonError
from lensbench.evaluation.estimate import percent
from lensbench.figures.style import BLUE, FAINT, INK, new_axes, part_cells, styled, wrapped

_SMALLEST_P = 0.0001


@styled()
def draw_pairwise(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the matrix of paired tests: differences below the diagonal, corrected p-values above.

    Raises:
        ComparisonError: There are not two finished runs.
    """
    if not comparison.pairs:
        raise ComparisonError("there are no two finished runs: there is nothing to test")
    names = [entry.name for entry in comparison.entries]
    n = len(names)
    level = comparison.pairs[0].difference.level
    differ = np.zeros((n, n))
    note = wrapped(
        f"Above the diagonal Holm-corrected p-values, below it differences. Blue: told apart at "
        f"{percent(level)}. Models that share a letter are not. {comparison.test[0].upper()}"
        f"{comparison.test[1:]}.",
        72,
    )
    labels = [wrapped(name, 24) for name in names]
    # Names of several lines, turned by 45 degrees, stand beside each other.
    side = max(0.52, 0.26 * max(label.count("\n") + 1 for label in labels))
    width = max(7.0, 3 + side * n)
    ax = ax or new_axes(width, 2.6 + side * n + 0.17 * note.count("\n"))
    small: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "color": INK}
    for (i, j), pair in zip(itertools.combinations(range(n), 2), comparison.pairs, strict=True):
        differ[i, j] = differ[j, i] = pair.p_holm <= 1 - level
        colour = "white" if differ[i, j] else INK
        ax.text(j, i, p_text(pair.p_holm), **small | {"color": colour})
        ax.text(i, j, f"{pair.difference.value:.4f}", **small | {"color": colour})
    ax.imshow(differ, cmap=ListedColormap([FAINT, BLUE]), vmin=0, vmax=1)
    ax.set_xticks(range(n), labels, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(
        range(n),
        [f"{label}  {e.letters}" for label, e in zip(labels, comparison.entries, strict=True)],
    )
    part_cells(ax, n)
    figure = ax.figure
    figure.suptitle(f"Every model against every other: {comparison.quantity}", x=0.02, ha="left")
    figure.supxlabel(note, x=0.02, ha="left", fontsize=9)
    return ax


def p_text(p_value: float | None) -> str:
    """Return a p-value to two digits; empty for the best, which is tested against nothing.

    >>> p_text(0.01234), p_text(0.00001)
    ('0.012', '< 0.0001')
    """
    if p_value is None:
        return ""
    return f"{p_value:.2g}" if p_value >= _SMALLEST_P else f"< {_SMALLEST_P}"
