"""Rankings as tables in a terminal."""

from __future__ import annotations

import math

from rich.markup import escape
from rich.table import Table

from lensbench.comparison.compare import Comparison, Entry
from lensbench.cost import Throughput
from lensbench.evaluation.estimate import Estimate, percent
from lensbench.runs.cost import Costs
from lensbench.runs.record import EnsembleSummary


def ranking_table(comparison: Comparison) -> Table:
    """Return the ranking, best first, each number with its interval; it fits 80 columns.

    Models that share a letter in the column `tier` cannot be told apart. Training times stand
    beside each other only if they were all measured on one machine.
    """
    machines = {entry.machine for entry in comparison.entries if entry.minutes is not None}
    is_one_machine = len(machines) == 1
    table = Table(
        title=f"Ranking on {comparison.n_test:,} test images",
        caption=f"Times on {escape(machines.pop())}" if is_one_machine else None,
        show_edge=False,  # of 80 columns it would take the four that the longest names need
        pad_edge=False,
    )
    level = percent(comparison.entries[0].auc.level) if comparison.entries else ""
    table.add_column("tier")
    table.add_column("model", overflow="fold")
    ranked_apart = comparison.is_ranked_apart
    first = comparison.quantity if ranked_apart else "macro AUC"
    for metric in (first, "accuracy"):
        table.add_column(f"{metric} ({level})", no_wrap=True)
    if is_one_machine:
        table.add_column("minutes", justify="right")
    for entry in comparison.entries:
        cells = [entry.letters, escape(entry.name)]
        cells += [_short(entry.estimate if ranked_apart else entry.auc), _short(entry.accuracy)]
        if is_one_machine:
            cells.append("" if entry.minutes is None else f"{entry.minutes:.1f}")
        table.add_row(*cells)
    return table


def _short(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return str(estimate)
    value, low, high = estimate.shown()
    return f"{value} {low}-{high}"


def estimates_table(entry: Entry) -> Table:
    """Return every estimate of a single run, with its interval and how that was computed."""
    ours = entry.record.lensbench
    table = Table("metric", "value and interval", "interval by", title=escape(entry.name))
    for estimate in (ours.estimates if ours else {}).values():
        table.add_row(escape(estimate.name), str(estimate), estimate.method)
    return table


def members_table(summary: EnsembleSummary) -> Table:
    """Return what an ensemble consists of, the largest weight first; it fits 80 columns."""
    table = Table(
        title=f"Fitted to {summary.n_validation:,} validation images",
        caption=f"Log loss of the mean: {summary.validation_log_loss:.4f}",
    )
    table.add_column("run", overflow="fold")
    for column in ("weight", "temperature", "log loss alone"):
        table.add_column(column, justify="right", no_wrap=True)
    passed_over = sorted(
        (one for one in summary.candidates if not one.weight),
        key=lambda one: one.validation_log_loss,
    )
    for one in (*summary.members, *passed_over):
        table.add_row(
            escape(one.name),
            f"{one.weight:.3f}" if one.weight else "",
            f"{one.temperature:.3f}",
            f"{one.validation_log_loss:.4f}",
        )
    return table


def costs_table(costs: Costs) -> Table:
    """Return what models cost: medians with quartiles, on one machine; it fits 80 columns."""
    table = Table(
        title="Images per second in training and inference: median (quartiles)",
        caption=f"Measured on {costs.machine}",
    )
    table.add_column("model", overflow="fold")
    for column in ("M params", "G mult-adds", "training", "inference", "GiB"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, cost in costs.runs.items():
        peak = cost.training_peak_bytes
        table.add_row(
            escape(name),
            f"{cost.n_parameters / 1e6:.2f}",
            f"{cost.multiply_adds / 1e9:.3g}",
            _speed(cost.training),
            _speed(cost.inference),
            "unknown" if peak is None else f"{peak / 2**30:.2f}",
        )
    return table


def _speed(speed: Throughput) -> str:
    return f"{speed.median:,.0f} ({speed.low:,.0f}-{speed.high:,.0f})"
