"""A Comparison -> the table of a paper, in LaTeX and in Markdown, from one set of cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lensbench.comparison.compare import Comparison, Entry
from lensbench.cost import Cost
from lensbench.evaluation.estimate import percent
from lensbench.reporting.markdown import escaped
from lensbench.whole_file import write_whole

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write_paper_tables(
    comparison: Comparison, folder: Path, costs: Mapping[str, Cost]
) -> tuple[Path, Path]:
    """Write `table.tex`, which needs the package booktabs, and `table.md`; return both.

    Args:
        comparison: What to show.
        folder: Where they go.
        costs: What each model costs, by its name; for those of which it is known.
    """
    header, rows = _cells(comparison, costs)
    caption = _caption(comparison)
    latex, markdown = folder / "table.tex", folder / "table.md"
    write_whole(latex, _as_latex(header, rows, caption))
    write_whole(markdown, _as_markdown(header, rows, caption))
    return latex, markdown


def _cells(comparison: Comparison, costs: Mapping[str, Cost]) -> tuple[list[str], list[list[str]]]:
    ranked_apart = comparison.is_ranked_apart
    header = ["Model", *([comparison.quantity] if ranked_apart else []), "Macro AUC", "Accuracy"]
    header += ["Tier", *(["Parameters (M)", "Multiply-adds (G)"] if costs else [])]
    rows = []
    for entry in comparison.entries:
        row = [entry.name, *([str(entry.estimate)] if ranked_apart else [])]
        row += [str(entry.auc), str(entry.accuracy), entry.letters]
        rows.append(row + (_cost(costs.get(entry.name)) if costs else []))
    return header, rows


def _cost(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["", ""]
    return [f"{cost.n_parameters / 1e6:.1f}", f"{cost.multiply_adds / 1e9:.3g}"]


def _caption(comparison: Comparison) -> str:
    if not comparison.entries:
        return comparison.verdict
    level = percent(comparison.entries[0].estimate.level)
    seeds = {len(entry.runs) for entry in comparison.entries}
    trained = (
        "Each model was trained once, so that no interval holds the variance of training. "
        if seeds == {1}
        else f"{_seeds(comparison.entries)} "
    )
    return (
        f"Results on {comparison.n_test:,} test images with {level} intervals. {trained}Models "
        f"that share a letter in the column Tier cannot be told apart in {comparison.quantity} "
        f"({comparison.test}); those that share one with the first are best."
    )


def _seeds(entries: Sequence[Entry]) -> str:
    counts = {entry.name: len(entry.runs) for entry in entries}
    if len(set(counts.values())) == 1:
        return (
            f"Means of {next(iter(counts.values()))} seeds; intervals hold the variance of the "
            "test set and of training."
        )
    listed = ", ".join(f"{name} {n}" for name, n in counts.items())
    return (
        f"Means over seeds ({listed}), whose variance is part of the intervals where there are "
        "several."
    )


def _as_latex(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [
        r"\begin{table}",
        rf"\caption{{{latex_escaped(caption)}}}",
        rf"\begin{{tabular}}{{l{'c' * (len(header) - 1)}}}",
        r"\toprule",
        *_latex_rows([header]),
        r"\midrule",
        *_latex_rows(rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    return [" & ".join(map(latex_escaped, row)) + r" \\" for row in rows]


def latex_escaped(text: str) -> str:
    r"""Return text without any meaning in LaTeX.

    >>> print(latex_escaped("50 % of a_b"))
    50 \% of a\_b
    """
    return re.sub(r"[\\~^&%$#_{}]", lambda match: _LATEX[match.group()], text)


def _as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [
        f"| {' | '.join(map(escaped, header))} |",
        f"| --- |{' :---: |' * (len(header) - 1)}",
        *(f"| {' | '.join(map(escaped, row))} |" for row in rows),
        "",
        escaped(caption),
    ]
    return "\n".join(lines) + "\n"
