"""Which class was called which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from lensbench.figures.style import new_axes, part_cells, styled, wrapped


@styled()
def draw_confusion_matrix(
    matrix: Sequence[Sequence[int]],
    classes: Sequence[str],
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the counts of a confusion matrix, and their share of each true class.

    Args:
        matrix: `matrix[i][j]` examples of class i were called class j.
        classes: The K class names.
        title: What the numbers belong to; of the whole figure if it is a new one.
        ax: Where to draw; a new figure otherwise.
    """
    counts = np.asarray(matrix)
    k = len(classes)
    if counts.shape != (k, k):
        raise ValueError(f"{k} classes need a {k} x {k} matrix, not one of shape {counts.shape}")
    n_of_class = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(n_of_class, 1)

    side = max(4.4, 1.6 + 0.8 * k)
    is_new = ax is None
    ax = ax or new_axes(side, side)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in range(k):
        for j in range(k):
            share = f"{shares[i, j]:.1%}" if n_of_class[i, 0] else "-"
            ax.text(
                j,
                i,
                f"{counts[i, j]:,}\n{share}",
                ha="center",
                va="center",
                fontsize=max(8, 12.5 - 0.4 * k),
                color=_readable_on(image.to_rgba(shares[i, j])),
            )

    labels = [wrapped(name, 20) for name in classes]
    slanted = 0.09 * max(map(len, classes)) > (side - 1.4) / k
    ax.set_xticks(
        range(k),
        labels,
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )
    ax.set_yticks(range(k), labels)
    part_cells(ax, k)
    ax.set_xlabel("Predicted class")
    ax.set_ylabel("True class (each row is 100%)")
    if title:
        lines = wrapped(title, max(36, 8 * k))
        if is_new:  # long class names leave the axes too narrow for a title of their own
            ax.figure.suptitle(lines, x=0.02, ha="left")
        else:
            ax.set_title(lines)
    return ax


def _readable_on(background: ArrayLike) -> str:
    """Return black or white, whichever has more contrast as WCAG 2 defines it."""
    rgb = np.asarray(background)[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "white" if luminance < 0.179 else "black"
