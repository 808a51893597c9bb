"""The ranking and the pairwise tests, as the cells of two tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lensbench.comparison.compare import Comparison, Entry, Pair
from lensbench.evaluation.estimate import Estimate
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
    return "; ".join(dict.fromkeys(f"{one.level:.0%}, {one.method}" for one in estimates))


def _kind(tied: bool, kind: str, mark: str) -> tuple[str, str]:
    return ("tied", "·") if tied else (kind, mark)


def _pair_text(pair: Pair) -> str:
    difference, p_value = pair.difference, p_text(pair.p_holm)
    sign = "" if p_value.startswith("<") else "= "
    # The exact test of accuracies has no interval: that of the difference is another method's.
    own = difference.method in pair.method
    other = "" if own else f" (a normal one, with {difference.method}; not that of the test)"
    return (
        f"{pair.first} - {pair.second}: {difference.value:+.4f}, {difference.level:.0%} interval "
        f"of this pair alone [{difference.low:+.4f}, {difference.high:+.4f}]{other}; "
        f"Holm-corrected p {sign}{p_value} ({pair.method})"
    )


def _parts(entry: Entry) -> str:
    if entry.training_deviation is None:
        return ""
    return (
        f"standard error: {entry.test_deviation:.4f} of the test set, "
        f"{entry.training_deviation:.4f} of training ({len(entry.runs)} seeds)"
    )
