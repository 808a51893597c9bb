"""What accuracy costs: in time, machine by machine, and in what is fair between machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from lensbench.comparison.compare import Comparison, Entry
from lensbench.cost import SPEEDS, Cost, Quantity, amount, throughput
from lensbench.errors import ComparisonError
from lensbench.evaluation.estimate import MACRO_AUC
from lensbench.evaluation.pareto import pareto_front
from lensbench.figures.labels import place_labels
from lensbench.figures.ranking import meanings_of, with_auc, without_auc
from lensbench.figures.style import (
    BLUE,
    GREY,
    INK,
    figure_of,
    legend_below,
    machine_colours,
    new_axes,
    styled,
    wrapped,
)
from lensbench.figures.times import APART

_AXES: dict[Quantity, tuple[str, float]] = {
    "multiply-adds": ("Multiply-adds per image (10⁹)", 1e9),
    "parameters": ("Parameters (10⁶)", 1e6),
    "training images/s": ("Images per second in training (more is cheaper)", 1),
    "inference images/s": ("Images per second in inference (more is cheaper)", 1),
}
"""What the axis says, and its unit."""


@styled()
def draw_auc_vs_time(comparison: Comparison) -> Figure:
    """Draw test AUC against training time, in one panel for each machine.

    Raises:
        ComparisonError: No run states its training time, or the AUC is undefined.
    """
    timed = [entry for entry in with_auc(comparison.entries) if entry.minutes is not None]
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
    _hold_intervals(axes[0], timed)

    untimed = [entry.name for entry in comparison.entries if entry.minutes is None]
    notes = [APART] if len(panels) > 1 else []
    notes += [f"No time recorded: {', '.join(untimed)}."] if untimed else []
    notes += without_auc(comparison.entries)
    _explain(axes[-1], "Training time (min)", notes, comparison, timed)
    title = figure.suptitle("Test AUC against training time", x=0.01, ha="left")

    figure.draw_without_rendering()  # the layout must be final before labels are placed
    title.set_x(axes[0].get_position().x0)
    for ax, entries in zip(axes, panels.values(), strict=True):
        points, bars = list(map(_point, entries)), list(map(_interval, entries))
        place_labels(ax, points, list(map(_label, entries)), bars)
    return figure


@styled()
def draw_auc_vs_cost(
    comparison: Comparison,
    costs: Mapping[str, Cost],
    quantity: Quantity,
    machine: str | None = None,
) -> Figure:
    """Draw test AUC against a cost that does not depend on where each model was trained.

    A stair joins the Pareto front of the points; a speed has the quartiles of its repeats.

    Args:
        comparison: The ranking.
        costs: By the name of the run; speeds need measured ones.
        quantity: Which cost.
        machine: Where all speeds were measured; needed for them.

    Raises:
        ComparisonError: No run's cost is known, nobody says where the speeds were measured, or the
            AUC is undefined.
    """
    if quantity in SPEEDS and not machine:
        raise ComparisonError(f"{quantity} differ between machines: say where they were measured")
    label, unit = _AXES[quantity]
    amounts = {name: amount(cost, quantity) for name, cost in costs.items()}
    ranked = with_auc(comparison.entries)
    known = [(e, x / unit) for e in ranked if (x := amounts.get(e.name)) is not None]
    if not known:
        raise ComparisonError(f"no run's {quantity} are known: measure them with `lensbench time`")
    entries = [entry for entry, _ in known]
    points = [(x, entry.auc.value) for entry, x in known]
    sign = -1 if quantity in SPEEDS else 1
    front = pareto_front([sign * x for x, _ in points], [auc for _, auc in points])
    speeds = [throughput(costs[entry.name], quantity) for entry in entries]
    quartiles = [(auc, s.low, s.high) for (_, auc), s in zip(points, speeds, strict=True) if s]

    ax = new_axes(8, 4 + 0.1 * sum(_label(entry).count("\n") + 1 for entry in entries))
    _draw_points(ax, entries, points, [BLUE if i in front else GREY for i in range(len(points))])
    for auc, low, high in quartiles:
        ax.hlines(auc, low, high, GREY, zorder=1.2)
    stair = ax.plot(
        *zip(*(points[i] for i in front), strict=True),
        drawstyle="steps-post",
        color=BLUE,
        linewidth=1,
        zorder=1.1,
        label="Pareto front: everything cheaper is worse",
    )
    _hold_intervals(ax, entries)
    _scale_logarithmically(ax, [*(x for x, _ in points), *(x for q in quartiles for x in q[1:])])

    unknown = [entry.name for entry in comparison.entries if amounts.get(entry.name) is None]
    notes = [f"Measured on {machine}."] if quantity in SPEEDS else []
    notes += [f"Not known: {', '.join(unknown)}."] if unknown else []
    notes += without_auc(comparison.entries)
    _explain(ax, label, notes, comparison, entries, stair)
    ax.set_ylabel("Test AUC (macro)")
    ax.set_title(f"Test AUC against {quantity}")

    figure = figure_of(ax)
    figure.draw_without_rendering()  # the layout must be final before labels are placed
    place_labels(ax, points, list(map(_label, entries)), list(map(_interval, entries)))
    return figure


def _draw_panel(ax: Axes, entries: Sequence[Entry], colour: str) -> None:
    points = list(map(_point, entries))
    _draw_points(ax, entries, points, [colour] * len(entries))
    ax.set_ylabel("Test AUC (macro)")
    minutes = [x for x, _ in points]
    shortest, longest = min(minutes), max(minutes)
    if longest > 10 * shortest > 0:
        _scale_logarithmically(ax, minutes)
    else:
        margin = 0.12 * (longest - shortest) or 0.5 * longest or 1
        ax.set_xlim(max(0, shortest - margin), longest + margin)


def _draw_points(
    ax: Axes,
    entries: Sequence[Entry],
    points: Sequence[tuple[float, float]],
    colours: Sequence[str],
) -> None:
    for entry, point, colour in zip(entries, points, colours, strict=True):
        ax.plot(
            *point,
            marker="o",
            color=colour,
            markerfacecolor=colour if entry.tied else "white",
            markersize=8,
        )
        ax.vlines(point[0], *_interval(entry), colour, alpha=0.35, zorder=1.2)


def _scale_logarithmically(ax: Axes, values: Iterable[float]) -> None:
    low, high = min(values), max(values)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    # A factor of 2.5 in all, so that an axis around a single value has a tick too.
    margin = max((high / low) ** 0.12, math.sqrt(2.5))
    ax.set_xlim(low / margin, high * margin)


def _hold_intervals(ax: Axes, entries: Sequence[Entry]) -> None:
    lows, highs = zip(*map(_interval, entries), strict=True)
    margin = 0.08 * (max(highs) - min(lows)) or 0.01
    ax.set_ylim(min(lows) - margin, max(highs) + margin)


def _point(entry: Entry) -> tuple[float, float]:
    return entry.minutes or 0.0, entry.auc.value


def _label(entry: Entry) -> str:
    return wrapped(entry.name, 24)


def _interval(entry: Entry) -> tuple[float, float]:
    if math.isnan(entry.auc.low):
        return entry.auc.value, entry.auc.value
    return entry.auc.low, entry.auc.high


def _explain(
    ax: Axes,
    label: str,
    notes: Sequence[str],
    comparison: Comparison,
    entries: Sequence[Entry],
    lines: Sequence[Line2D] = (),
) -> None:
    """Write below the axis what it shows, what is to be known of it, and what marks mean."""
    ax.set_xlabel("\n".join([label, *(wrapped(note, 80) for note in notes)]))
    meanings = meanings_of(comparison, MACRO_AUC)
    ties = {entry.tied for entry in entries}
    handles = [
        Line2D([], [], linestyle="", marker="o", color=INK, markerfacecolor=fill, label=meaning)
        for tied, meaning, fill in zip((True, False), meanings, (INK, "white"), strict=True)
        if tied in ties
    ]
    legend_below(ax, 0.55 + 0.17 * ax.get_xlabel().count("\n"), handles=[*handles, *lines])
