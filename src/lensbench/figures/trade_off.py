"""What accuracy costs in time, machine by machine."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from lensbench.comparison.compare import Comparison, Entry
from lensbench.errors import ComparisonError
from lensbench.figures.labels import place_labels
from lensbench.figures.ranking import TIED, WORSE
from lensbench.figures.style import INK, legend_below, machine_colours, styled, wrapped
from lensbench.figures.times import APART


@styled()
def draw_auc_vs_time(comparison: Comparison) -> Figure:
    """Draw test AUC against training time, in one panel for each machine.

    Raises:
        ComparisonError: No run states its training time.
    """
    timed = [entry for entry in comparison.entries if entry.minutes is not None]
    if not timed:
        raise ComparisonError("no run states its training time: there is nothing to draw")
    colours = machine_colours(entry.machine for entry in timed)
    panels = {m: [entry for entry in timed if entry.machine == m] for m in colours}
    n_lines = [sum(_label(e).count("\n") + 1 for e in panel) for panel in panels.values()]
    heights = [2.6 + 0.1 * n for n in n_lines]

    figure = Figure(figsize=(8, sum(heights) + 1.2), layout="constrained")
    axes = figure.subplots(len(panels), sharey=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (machine, entries) in zip(axes, panels.items(), strict=True):
        _draw_panel(ax, entries, colours[machine])
        ax.set_title(wrapped(machine, 80), fontsize=10)
    lows, highs = zip(*(_interval(entry) for entry in timed), strict=True)
    margin = 0.08 * (max(highs) - min(lows)) or 0.01
    axes[0].set_ylim(min(lows) - margin, max(highs) + margin)

    untimed = [entry.name for entry in comparison.entries if entry.minutes is None]
    notes = [APART] if len(panels) > 1 else []
    notes += [f"No time recorded: {', '.join(untimed)}."] if untimed else []
    notes = [wrapped(note, 80) for note in notes]
    axes[-1].set_xlabel("\n".join(["Training time (min)", *notes]))
    _explain_markers(axes[-1], {entry.tied for entry in timed}, 0.55 + 0.17 * len(notes))
    title = figure.suptitle("Test AUC against training time", x=0.01, ha="left")

    figure.draw_without_rendering()  # the layout must be final before labels are placed
    title.set_x(axes[0].get_position().x0)
    for ax, entries in zip(axes, panels.values(), strict=True):
        points, bars = list(map(_point, entries)), list(map(_interval, entries))
        place_labels(ax, points, list(map(_label, entries)), bars)
    return figure


def _draw_panel(ax: Axes, entries: Sequence[Entry], colour: str) -> None:
    minutes = [_point(entry)[0] for entry in entries]
    for entry in entries:
        ax.plot(
            *_point(entry),
            marker="o",
            color=colour,
            markerfacecolor=colour if entry.tied else "white",
            markersize=8,
        )
    lows, highs = zip(*map(_interval, entries), strict=True)
    ax.vlines(minutes, lows, highs, colour, alpha=0.35, zorder=1.2)
    ax.set_ylabel("Test AUC (macro)")
    shortest, longest = min(minutes), max(minutes)
    if longest > 10 * shortest > 0:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        margin = (longest / shortest) ** 0.12
        ax.set_xlim(shortest / margin, longest * margin)
    else:
        margin = 0.12 * (longest - shortest) or 0.5 * longest or 1
        ax.set_xlim(max(0, shortest - margin), longest + margin)


def _point(entry: Entry) -> tuple[float, float]:
    return entry.minutes or 0.0, entry.auc.value


def _label(entry: Entry) -> str:
    return wrapped(entry.name, 24)


def _interval(entry: Entry) -> tuple[float, float]:
    if math.isnan(entry.auc.low):
        return entry.auc.value, entry.auc.value
    return entry.auc.low, entry.auc.high


def _explain_markers(ax: Axes, ties: Set[bool], inches: float) -> None:
    meanings = {True: (TIED, INK), False: (WORSE, "white")}
    handles = [
        Line2D([], [], linestyle="", marker="o", color=INK, markerfacecolor=fill, label=meaning)
        for tied, (meaning, fill) in meanings.items()
        if tied in ties
    ]
    legend_below(ax, inches, handles=handles)
