"""Rankings as tables in a terminal."""

from __future__ import annotations

from rich.table import Table

from lensbench.comparison.compare import Comparison
from lensbench.evaluation.estimate import Estimate


def ranking_table(comparison: Comparison) -> Table:
    """Return the ranking, best first, each number with its interval; it fits 80 columns.

    Training times stand beside each other only if they were all measured on one machine.
    """
    machines = {entry.machine for entry in comparison.entries}
    table = Table(
        title=f"Ranking on {comparison.n_test:,} test images",
        caption=f"Times on {machines.pop()}" if len(machines) == 1 else None,
    )
    level = f"{comparison.entries[0].auc.level:.0%}" if comparison.entries else ""
    table.add_column("")
    table.add_column("model", overflow="fold")
    for metric in ("macro AUC", "accuracy"):
        table.add_column(f"{metric} ({level})", no_wrap=True)
    if not machines:
        table.add_column("minutes", justify="right")
    for rank, entry in enumerate(comparison.entries, start=1):
        cells = ["best" if entry.tied else str(rank), entry.name]
        cells += [_short(entry.auc), _short(entry.accuracy)]
        if not machines:
            cells.append("" if entry.minutes is None else f"{entry.minutes:.1f}")
        table.add_row(*cells)
    return table


def _short(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} {estimate.low:.3f}-{estimate.high:.3f}"
