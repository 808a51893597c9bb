"""Receiver operating characteristics, with a closer look at the corner that matters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lensbench.evaluation.estimate import Estimate, RocCurve, percent
from lensbench.figures.style import CYCLE, GREY, INK, legend_below, new_axes, styled, wrapped

_AVERAGES: dict[str, dict[str, Any]] = {
    "micro": {"color": GREY, "linestyle": ":", "linewidth": 2},
    "macro": {"color": INK, "linestyle": "--", "linewidth": 2},
}
_DASHES = ("-", (0, (6, 1.5)), "-.")
_INSET = (0.42, 0.09, 0.55, 0.55)
# With the tick labels of the inset.
_INSET_LEFT, _INSET_TOP = 0.3, 0.66
_WINDOWS = (0.02, 0.05, 0.1, 0.2, 0.3)


@styled()
def draw_roc_curves(
    curves: Mapping[str, RocCurve],
    title: str | None = None,
    classes: Sequence[str] = (),
    estimates: Mapping[str, Estimate] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one-vs-rest ROC curves, with an inset of the upper-left corner if there is room.

    Args:
        curves: Keyed by class name, or by class index as a string, and `micro` and `macro`.
        title: What the curves belong to.
        classes: Names for keys that are class indices.
        estimates: Areas with their intervals for the legend, keyed as in `Evaluation`.
        ax: Where to draw; a new figure otherwise.
    """
    estimates = estimates or {}
    ax = ax or new_axes(5.8, 6.35 + 0.19 * len(curves))
    ordered = [key for key in curves if key not in _AVERAGES]
    ordered += [key for key in _AVERAGES if key in curves]
    lines = []
    for i, key in enumerate(ordered):
        curve = curves[key]
        name = classes[int(key)] if classes and key.isdecimal() else key
        look = _AVERAGES.get(key) or {
            "color": CYCLE[i % len(CYCLE)],
            "linestyle": _DASHES[i // len(CYCLE) % len(_DASHES)],
        }
        estimate = estimates.get(f"auc_ovr_{key}" if key in _AVERAGES else f"auc_ovr/{name}")
        label = f"{wrapped(name, 36)}  {_area(curve, estimate)}"
        lines += ax.plot(curve.fpr, curve.tpr, label=label, **look)

    ax.plot((0, 1), (0, 1), color="#bbbbbb", linewidth=1, zorder=1)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.set_xlabel("False positive rate")
    ax.set_ylabel("True positive rate")
    levels = {percent(estimate.level) for estimate in estimates.values()}
    interval = f" with {levels.pop()} interval" if len(levels) == 1 else ""
    legend_below(ax, title=f"Area under the curve{interval}", handlelength=2.6)
    if title:
        ax.set_title(wrapped(title, 48))
    if _corner_is_free(curves):
        _draw_zoom(ax, lines, _window(curves))
    return ax


def _area(curve: RocCurve, estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.low):
        return f"{curve.auc:.4f}"
    return str(estimate)


def _corner_is_free(curves: Mapping[str, RocCurve]) -> bool:
    """Whether every curve runs above and left of where the inset goes."""
    return all(np.interp(_INSET_LEFT, c.fpr, c.tpr) > _INSET_TOP for c in curves.values())


def _window(curves: Mapping[str, RocCurve]) -> float:
    """Return the side of a corner square with every curve's point of equal errors well inside."""
    equal_errors = [
        float(np.max(np.minimum(np.asarray(c.fpr), 1 - np.asarray(c.tpr)))) for c in curves.values()
    ]
    wanted = 2.2 * max(equal_errors)
    return next((side for side in _WINDOWS if side >= wanted), _WINDOWS[-1])


def _draw_zoom(ax: Axes, lines: Sequence[Any], side: float) -> None:
    inset = ax.inset_axes(_INSET)
    for line in lines:
        inset.plot(
            *line.get_data(),
            color=line.get_color(),
            linestyle=line.get_linestyle(),
            linewidth=line.get_linewidth(),
        )
    margin = side / 50
    inset.set(xlim=(-margin, side), ylim=(1 - side, 1 + margin))
    inset.set_xticks(np.linspace(0, side, 3))
    inset.set_yticks(np.linspace(1 - side, 1, 3))
    inset.tick_params(labelsize=8)
    inset.spines[:].set_visible(True)
    ax.indicate_inset_zoom(inset, edgecolor=GREY, alpha=0.8)
