"""The ranking and the pairwise tests, as the cells of two tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lensbench.comparison.compare import Comparison, Entry, Pair
from lensbench.evaluation.estimate import Estimate, percent
from lensbench.figures.pairwise import p_text
from lensbench.reporting.page.errorbars import Scale, error_bar


@dataclass(frozen=True)
class Row:
    """A line of the ranking."""

    rank: int
    entry: Entry
    bar: Markup
    parts: str
    """How much of the interval is due to the test set, and how much to the seeds of training."""


@dataclass(frozen=True)
class Cell:
    """What the test of the model of a row against that of a column says.

    `kind` is `better`, `worse`, `tied`, or `self` on the diagonal.
    """

    kind: str
    mark: str
    text: str


def ranking_rows(entries: Sequence[Entry]) -> list[Row]:
    """Return the lines of the ranking, with the same scale for all of their error bars."""
    scale = Scale.of([entry.estimate for entry in entries])
    return [
        Row(rank, entry, error_bar(entry, scale), _parts(entry))
        for rank, entry in enumerate(entries, start=1)
    ]


def pair_matrix(comparison: Comparison, level: float) -> list[list[Cell]]:
    """Return a square of cells in the order of the ranking; two models differ if p <= 1 - level."""
    names = [entry.name for entry in comparison.entries]
    cells = {(name, name): Cell("self", "", name) for name in names}
    for pair in comparison.pairs:
        text = _pair_text(pair)
        tied = pair.p_holm > 1 - level
        cells[pair.first, pair.second] = Cell(*_kind(tied, "better", "+"), text)
        cells[pair.second, pair.first] = Cell(*_kind(tied, "worse", "−"), text)  # noqa: RUF001
    grid = itertools.product(names, names)
    return [[cells[next(grid)] for _ in names] for _ in names]


def methods(estimates: Sequence[Estimate]) -> str:
    """Say at what level, and how, intervals were computed."""
    return "; ".join(dict.fromkeys(f"{percent(one.level)}, {one.method}" for one in estimates))


def interval_notes(pairs: Sequence[Pair]) -> str:
    """Say of each kind of test whose the intervals are, if not its own."""
    notes = (
        f"Where the test is {pair.method}, the interval is {other}."
        for pair in pairs
        if (other := _other_method(pair))
    )
    return " ".join(dict.fromkeys(notes))


def _kind(tied: bool, kind: str, mark: str) -> tuple[str, str]:
    return ("tied", "·") if tied else (kind, mark)


def _pair_text(pair: Pair) -> str:
    value, low, high = pair.difference.shown("+")
    p_value, other = p_text(pair.p_holm), _other_method(pair)
    sign = "" if p_value.startswith("<") else "= "
    return (
        f"{pair.first} - {pair.second}: {value}, {percent(pair.difference.level)} interval "
        f"of this pair alone [{low}, {high}]{f' ({other})' if other else ''}; "
        f"Holm-corrected p {sign}{p_value} ({pair.method})"
    )


def _other_method(pair: Pair) -> str:
    """Say whose the interval is, if not the test's: the exact one of accuracies has none."""
    method = pair.difference.method
    return "" if method in pair.method else f"a normal one, with {method}; not that of the test"


def _parts(entry: Entry) -> str:
    if entry.training_deviation is None:
        return ""
    return (
        f"standard error: {entry.test_deviation:.4f} of the test set, "
        f"{entry.training_deviation:.4f} of training ({len(entry.runs)} seeds)"
    )
