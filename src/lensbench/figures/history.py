"""How a fit went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lensbench.figures.style import BLUE, GREEN, GREY, ORANGE, new_axes, styled, wrapped

_OVER_LINES: dict[str, Any] = {"frameon": True, "framealpha": 0.9, "edgecolor": "none"}


@styled()
def draw_losses(
    train_losses: Sequence[float],
    val_losses: Sequence[float],
    best_epoch: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the losses of training and validation; epochs count from 1."""
    ax = ax or new_axes(7, 3.2)
    _draw_epochs(ax, train_losses, "training", BLUE, "o")
    _draw_epochs(ax, val_losses, "validation", ORANGE, "s")
    _mark_kept(ax, best_epoch)
    _count_epochs(ax, max(len(train_losses), len(val_losses)))
    ax.set_ylim(0, 1.05 * ax.get_ylim()[1])
    ax.set_ylabel("Cross-entropy (nats)")
    ax.legend(**_OVER_LINES)
    return ax


@styled()
def draw_validation_auc(
    val_aucs: Sequence[float], best_epoch: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the macro one-vs-rest AUC on the validation images; epochs count from 1."""
    ax = ax or new_axes(7, 3.2)
    _draw_epochs(ax, val_aucs, "validation", GREEN, "D")
    _mark_kept(ax, best_epoch, val_aucs)
    _count_epochs(ax, len(val_aucs))
    ax.set_ylabel("Macro AUC")
    ax.legend(**_OVER_LINES)
    return ax


@styled()
def draw_history(
    train_losses: Sequence[float],
    val_losses: Sequence[float],
    val_aucs: Sequence[float],
    best_epoch: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw losses above and validation AUC below, with the epoch marked whose weights were kept."""
    figure = Figure(figsize=(7, 6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    draw_losses(train_losses, val_losses, best_epoch, upper)
    draw_validation_auc(val_aucs, best_epoch, lower)
    upper.set_xlabel("")
    if title:
        upper.set_title(wrapped(title, 60))
    return figure


def _draw_epochs(ax: Axes, values: Sequence[float], label: str, colour: str, marker: str) -> None:
    crowded = len(values) > 40
    ax.plot(
        range(1, len(values) + 1),
        values,
        label=label,
        color=colour,
        marker="" if crowded else marker,
        markersize=4.5,
    )


def _mark_kept(ax: Axes, epoch: int | None, values: Sequence[float] = ()) -> None:
    if epoch is None:
        return
    value = f", {values[epoch - 1]:.4f}" if epoch <= len(values) else ""
    ax.axvline(
        epoch,
        color=GREY,
        linestyle="--",
        linewidth=1.2,
        zorder=1,
        label=f"epoch {epoch}{value} (kept)",
    )


def _count_epochs(ax: Axes, n_epochs: int) -> None:
    ax.set_xlim(0.5, max(n_epochs, 1) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("Epoch")
