"""Outcomes and rankings as tables in a terminal."""

from __future__ import annotations

from rich.table import Table

from lensbench.comparison.compare import Comparison


def ranking_table(comparison: Comparison) -> Table:
    """Return the ranking, best first, each number with its interval."""
    level = f"{comparison.entries[0].auc.level:.0%}" if comparison.entries else ""
    table = Table(title=f"Macro one-vs-rest AUC on {comparison.n_test:,} test images")
    table.add_column("")
    table.add_column("model")
    table.add_column(f"AUC [{level} interval]".replace("[", r"\["))
    table.add_column("accuracy")
    table.add_column("training", justify="right")
    table.add_column("machine")
    for rank, entry in enumerate(comparison.entries, start=1):
        minutes = "" if entry.minutes is None else f"{entry.minutes:.1f} min"
        table.add_row(
            "= best" if entry.tied else str(rank),
            entry.name,
            str(entry.auc).replace("[", r"\["),
            str(entry.accuracy).replace("[", r"\["),
            minutes,
            entry.machine,
        )
    return table
