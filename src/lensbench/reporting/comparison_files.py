"""A Comparison -> its tables and plots, and a Markdown page of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lensbench.comparison.compare import Comparison
from lensbench.reporting.csv_table import write_csv, write_intervals_csv
from lensbench.reporting.markdown import write_markdown
from lensbench.reporting.plots import Plots, plot_comparison, plot_run


@dataclass(frozen=True)
class ComparisonFiles:
    """What is written of a comparison."""

    markdown: Path
    csv: Path
    intervals: Path
    comparison_plots: Plots
    run_plots: Mapping[str, Plots]
    """By the name of the run."""

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each plot that could not be drawn."""
        return tuple(
            note
            for plots in (self.comparison_plots, *self.run_plots.values())
            for note in plots.notes
        )


def write_comparison(
    comparison: Comparison,
    folder: Path,
    run_figures: Path | None = None,
    csv_name: str = "comparison.csv",
    only_missing: bool = False,
) -> ComparisonFiles:
    """Write tables, plots and the Markdown page that shows them.

    Args:
        comparison: What to write.
        folder: Where the page, the tables and the comparison plots go.
        run_figures: Folder for the plots of all runs; by default, each beside its record.
        csv_name: File name of the contract's table.
        only_missing: Leave plots of runs alone that are there already; what depends on all runs
            is always made anew.
    """
    files = ComparisonFiles(
        markdown=folder / "comparison.md",
        csv=folder / csv_name,
        intervals=folder / "comparison_intervals.csv",
        comparison_plots=plot_comparison(comparison, folder),
        run_plots={
            run.name: plot_run(run.record, run_figures or run.path.parent, only_missing)
            for entry in comparison.entries
            for run in entry.runs
        },
    )
    write_csv(comparison, files.csv)
    write_intervals_csv(comparison, files.intervals)
    write_markdown(comparison, files.markdown, files.comparison_plots, files.run_plots)
    return files
