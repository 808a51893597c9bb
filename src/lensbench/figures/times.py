"""What training took, machine by machine."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from matplotlib.axes import Axes

from lensbench.comparison.compare import Comparison, Entry
from lensbench.errors import ComparisonError
from lensbench.figures.style import machine_colours, new_axes, styled, wrapped

APART = "Times on different machines must not be compared."


@styled()
def draw_training_times(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw training times as bars from zero, fastest first within each machine.

    Raises:
        ComparisonError: No run states its training time.
    """
    timed = [(e.machine, e.minutes, e.name) for e in comparison.entries if e.minutes is not None]
    if not timed:
        raise ComparisonError("no run states its training time: there is nothing to draw")
    untimed = [entry.name for entry in comparison.entries if entry.minutes is None]
    machines = {machine for machine, _, _ in timed}
    colours = machine_colours(machines)

    n_rows = len(timed) + len(machines)
    n_lines = max(wrapped(name, 34).count("\n") + 1 for _, _, name in timed)
    ax = ax or new_axes(8, 1.5 + (0.17 + 0.15 * n_lines) * n_rows)
    y = 0
    ticks = {}
    for machine, runs in groupby(sorted(timed), key=lambda run: run[0]):
        ax.text(
            0.005, y + 0.1, machine, va="center", weight="bold", transform=ax.get_yaxis_transform()
        )
        for _, minutes, name in runs:
            y += 1
            ticks[y] = wrapped(name, 34)
            ax.barh(y, minutes, color=colours[machine], height=0.7)
            ax.annotate(
                minutes_text(minutes),
                (minutes, y),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        y += 1

    ax.set_xlim(0, 1.15 * max(minutes for _, minutes, _ in timed) or 1)
    ax.set_ylim(y - 0.4, -0.6)
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    notes = [APART] if len(machines) > 1 else []
    notes += [f"No time recorded: {', '.join(untimed)}."] if untimed else []
    ax.set_xlabel("\n".join(["Training time (min)", *(wrapped(note, 80) for note in notes)]))
    ax.set_title("Training time")
    return ax


def trained_on(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the machines that models were trained on; an ensemble was trained on none."""
    return tuple(dict.fromkeys(entry.machine for entry in entries if entry.record.ensemble is None))


def minutes_text(minutes: float) -> str:
    """Return minutes to about three digits.

    >>> minutes_text(0.25), minutes_text(46.64), minutes_text(1125.7)
    ('0.25 min', '46.6 min', '1,126 min')
    """
    decimals = 2 if minutes < 1 else 1 if minutes < 100 else 0
    return f"{minutes:,.{decimals}f} min"
