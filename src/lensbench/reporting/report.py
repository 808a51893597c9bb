"""A Comparison -> one folder to show: a page, its pictures, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lensbench.comparison.compare import Comparison
from lensbench.comparison.costs import known_costs
from lensbench.comparison.judged import Judged
from lensbench.config import JudgeSpec
from lensbench.cost import SPEEDS, Cost, Quantity
from lensbench.reporting.csv_table import write_csv, write_intervals_csv, write_pairs_csv
from lensbench.reporting.markdown import write_markdown
from lensbench.reporting.page.page import write_page
from lensbench.reporting.paper_table import write_paper_tables
from lensbench.reporting.plots import (
    Plots,
    plot_comparison,
    plot_pairs_and_costs,
    plot_run,
    plot_trust,
)
from lensbench.runs.cost import Costs
from lensbench.runs.record import RunRecord


@dataclass(frozen=True)
class Report:
    """The files of a report."""

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


def write_report(
    comparison: Comparison,
    folder: Path,
    run_figures: Path | None = None,
    csv_name: str = "comparison.csv",
    only_missing: bool = False,
) -> Report:
    """Write tables, plots and the page that shows them.

    Args:
        comparison: What to report.
        folder: Where the page, the tables and the comparison plots go.
        run_figures: Folder for the plots of all runs; by default, each beside its record.
        csv_name: File name of the contract's table.
        only_missing: Leave plots of runs alone that are there already; what depends on all runs
            is always made anew.
    """
    report = Report(
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
    write_csv(comparison, report.csv)
    write_intervals_csv(comparison, report.intervals)
    write_markdown(comparison, report.markdown, report.comparison_plots, report.run_plots)
    return report


@dataclass(frozen=True)
class FullReport:
    """The files of a full report, and a line for everything that could not be shown."""

    page: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    notes: tuple[str, ...]


def write_full_report(
    comparison: Comparison,
    folder: Path,
    spec: JudgeSpec,
    *,
    costs: Costs | None = None,
    recalls: Mapping[str, Mapping[str, float]] | None = None,
    figures: bool = True,
) -> FullReport:
    """Write `report.html`, which needs no other file, and what a paper needs beside it.

    Args:
        comparison: What to report.
        folder: Where everything goes; figures into `figures/`, as PNG and SVG.
        spec: Level and resamples of intervals that are computed here.
        costs: What `lensbench time` has measured.
        recalls: For each quantity the number of each test image, as `write_page` takes them.
        figures: Whether to write the static figures, which take longer than the page.
    """
    page = write_page(comparison, folder / "report.html", spec, costs=costs, recalls=recalls or {})
    known = known_costs(comparison.entries, costs)
    ranking, intervals, pairs = (
        folder / f"comparison{suffix}.csv" for suffix in ("", "_intervals", "_pairs")
    )
    write_csv(comparison, ranking)
    write_intervals_csv(comparison, intervals)
    write_pairs_csv(comparison, pairs)
    drawn = _static(comparison, folder / "figures", spec, known, costs) if figures else []
    return FullReport(
        page=page.path,
        tables=(*write_paper_tables(comparison, folder, known), ranking, intervals, pairs),
        figures=tuple(path for plots in drawn for path in plots.drawn),
        notes=(*page.notes, *(note for plots in drawn for note in plots.notes)),
    )


def _static(
    comparison: Comparison,
    folder: Path,
    spec: JudgeSpec,
    known: Mapping[str, Cost],
    costs: Costs | None,
) -> list[Plots]:
    formats = (".png", ".svg")
    quantities = [q for q in get_args(Quantity) if costs is not None or q not in SPEEDS]
    return [
        plot_comparison(comparison, folder, suffixes=formats),
        plot_pairs_and_costs(
            comparison, folder, known, quantities, costs.machine if costs else None, formats
        ),
        *(
            plots
            for entry in comparison.entries
            for run in entry.runs
            for plots in (
                plot_run(_with_areas(run, spec), folder, suffixes=formats),
                plot_trust(run, folder, spec, formats),
            )
        ),
    ]


def _with_areas(run: Judged, spec: JudgeSpec) -> RunRecord:
    """Return a record with the areas under its ROC curves, at the level that is asked for."""
    ours = run.record.lensbench
    if ours is None or run.predictions is None:
        return run.record
    areas = {
        name: known if known.level == spec.level else run.estimate(name, spec)
        for name, known in ours.estimates.items()
        if name.startswith("auc_ovr")
    }
    judged = ours.model_copy(update={"estimates": areas})
    return run.record.model_copy(update={"lensbench": judged})
