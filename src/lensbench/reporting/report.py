"""A Comparison -> one page that needs no other file, and what a paper needs beside it."""

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
    """The files of a report, and a line for everything that could not be shown."""

    page: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    notes: tuple[str, ...]


def write_report(
    comparison: Comparison,
    folder: Path,
    spec: JudgeSpec,
    *,
    costs: Costs | None = None,
    recalls: Mapping[str, Mapping[str, float]] | None = None,
    figures: bool = True,
) -> Report:
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
    return Report(
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
