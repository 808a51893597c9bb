"""A Comparison -> a Markdown page that stands beside its pictures."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from lensbench.comparison.compare import Comparison, Entry
from lensbench.comparison.judged import Judged
from lensbench.evaluation.estimate import Estimate, percent
from lensbench.figures.pairwise import p_text
from lensbench.figures.times import APART, minutes_text, trained_on
from lensbench.reporting.page.provenance import by_environment, warnings_of
from lensbench.reporting.plots import Plots
from lensbench.whole_file import write_whole

_UNKNOWN = "not recorded"


def write_markdown(
    comparison: Comparison, path: Path, comparison_plots: Plots, run_plots: Mapping[str, Plots]
) -> None:
    """Write the page.

    Args:
        comparison: What the page is about.
        path: The page; links are relative to its folder.
        comparison_plots: Plots of all runs together.
        run_plots: Plots of each run, by its name.
    """
    runs = [run for entry in comparison.entries for run in entry.runs]
    sections = (
        _head(comparison),
        _ranking(comparison),
        _ensembles(runs),
        _comparison_plots(comparison_plots, path.parent),
        _training(comparison.entries),
        _unfinished(comparison),
        _list("Files that could not be read", comparison.problems),
        _warnings(comparison.entries),
        _gallery(runs, run_plots, path.parent),
        _environments(runs),
    )
    lines = [line for section in sections for line in section]
    write_whole(path, "\n".join(lines).rstrip() + "\n")


def escaped(text: object) -> str:
    r"""Return text on one line without any meaning in Markdown.

    >>> print(escaped("a|b <i>_c_"))
    a\|b \<i\>\_c\_
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(str(text).split()))


def _head(comparison: Comparison) -> Iterator[str]:
    n = len(comparison.entries)
    yield from (f"# Comparison of {n} classifier{'s' if n != 1 else ''}", "")
    yield from (f"**{escaped(comparison.verdict)}**", "")
    if n:
        yield from (f"Ties: {escaped(comparison.test)}.", "")


def _ranking(comparison: Comparison) -> Iterator[str]:
    entries = comparison.entries
    if not entries:
        return
    yield from ("## Ranking", "")
    ranked_apart = comparison.is_ranked_apart
    columns: dict[str, Callable[[int, Entry], object]] = {
        "#": lambda place, _: place + 1,
        "Model": lambda _, entry: entry.name,
        **({comparison.quantity: lambda _, e: str(e.estimate)} if ranked_apart else {}),
        "Test AUC (one-vs-rest, macro)": lambda _, entry: str(entry.auc),
        "Test accuracy": lambda _, entry: str(entry.accuracy),
        "Tier": lambda _, entry: entry.letters,
        "Against the best": lambda _, entry: _standing(entry),
        "p (Holm-corrected)": lambda _, entry: p_text(entry.p_value),
    }
    if any(entry.training_deviation is not None for entry in entries):
        columns["Error from the test set"] = lambda _, entry: f"{entry.test_deviation:.4f}"
        columns["Error from training"] = lambda _, entry: _training_error(entry)
    yield from _table(
        list(columns),
        ([cell(place, entry) for cell in columns.values()] for place, entry in enumerate(entries)),
    )
    yield from ("Models that share a letter in the column Tier cannot be told apart.", "")
    if ranked_apart:
        yield from (_intervals(comparison.quantity, [entry.estimate for entry in entries]), "")
    yield from (_intervals("AUC", [entry.auc for entry in entries]), "")
    yield from (_intervals("Accuracy", [entry.accuracy for entry in entries]), "")


def _ensembles(runs: Sequence[Judged]) -> Iterator[str]:
    found = [(run.name, run.record.ensemble) for run in runs]
    yield from _list("Ensembles", [f"{name}: {one.text}." for name, one in found if one])


def _training_error(entry: Entry) -> str:
    if entry.training_deviation is None:
        return "unknown (one seed)"
    return f"{entry.training_deviation:.4f} ({len(entry.runs)} seeds)"


def _standing(entry: Entry) -> str:
    if entry.p_value is None:
        return "best"
    return "tied" if entry.tied else "worse"


def _intervals(quantity: str, estimates: Iterable[Estimate]) -> str:
    ways = dict.fromkeys(f"{percent(e.level)} {escaped(e.method)}, n = {e.n:,}" for e in estimates)
    return f"{quantity} intervals: {'; '.join(ways)}."


def _comparison_plots(plots: Plots, folder: Path) -> Iterator[str]:
    yield from ("## Plots", "")
    for kind, file in plots.paths.items():
        yield from (_image(kind, file, folder), "")
    yield from _bullets(plots.notes)


def _training(entries: Sequence[Entry]) -> Iterator[str]:
    if not entries:
        return
    yield from ("## Training", "")
    yield from _table(
        (
            *("Model", "Identifier", "Recipe", "Time", "Machine"),
            *("Weights", "Split", "Fingerprint", "Images"),
        ),
        ((entry.name, *_how_trained(entry)) for entry in entries),
    )
    if len(trained_on(entries)) > 1:
        yield from (APART, "")
    yield from ("Images are those of training / validation / test.", "")


def _how_trained(entry: Entry) -> tuple[str, ...]:
    ours = entry.record.lensbench
    split = ours.split if ours else None
    return (
        entry.record.model_identifier,
        _recipe(entry),
        _UNKNOWN if entry.minutes is None else minutes_text(entry.minutes),
        entry.machine,
        (ours.weights_used if ours else None) or _UNKNOWN,
        split.convention if split else _UNKNOWN,
        split.fingerprint[:12] if split else _UNKNOWN,
        f"{split.n_train:,} / {split.n_validation:,} / {split.n_test:,}"
        if split
        else f"- / - / {entry.auc.n:,}",
    )


def _recipe(entry: Entry) -> str:
    ours, config = entry.record.lensbench, entry.record.config
    if config is None:
        return "trained elsewhere" if entry.record.ensemble is None else "an ensemble"
    recipe = ours.run.recipe.name if ours and ours.run else _UNKNOWN
    configs = [run.record.config for run in entry.runs]
    seeds = ", ".join(str(one.seed) for one in configs if one is not None)
    return f"{recipe}, {config.epochs} epochs, seed{'s' if len(configs) > 1 else ''} {seeds}"


def _unfinished(comparison: Comparison) -> Iterator[str]:
    if not comparison.unfinished:
        return
    yield from ("## Runs without a result", "")
    for record, file in comparison.unfinished:
        yield from (f"### {escaped(record.model_desc)}", "")
        yield from (escaped(f"{record.status}: {record.model_identifier}, {file.name}"), "")
        if record.error:
            yield from (textwrap.indent(record.error.strip(), "    "), "")


def _warnings(entries: Sequence[Entry]) -> Iterator[str]:
    told = [f"{one.text} ({', '.join(one.runs)})" for one in warnings_of(entries)]
    yield from _list("Warnings", told)


def _gallery(runs: Sequence[Judged], run_plots: Mapping[str, Plots], folder: Path) -> Iterator[str]:
    if not run_plots:
        return
    yield from ("## Models", "")
    for run in runs:
        plots = run_plots.get(run.name)
        if plots is None:
            continue
        yield from (f"### {escaped(run.name)}", "")
        if plots.paths:
            images = [_image(kind, file, folder) for kind, file in plots.paths.items()]
            yield f"| {' | '.join(plots.paths)} |"
            yield f"|{' --- |' * len(images)}"
            yield from (f"| {' | '.join(images)} |", "")
        yield from _bullets(plots.notes)
        yield from _classes(run)


def _classes(run: Judged) -> Iterator[str]:
    """Yield the results of each class, where the record has them with their intervals."""
    ours = run.record.lensbench
    if ours is None:
        return
    metrics = {"auc_ovr": "AUC", "precision": "Precision", "recall": "Recall", "f1": "F1"}
    levels = " or ".join({percent(one.level): None for one in ours.estimates.values()})
    yield from _table(
        ("Class", *(f"{title} ({levels})" for title in metrics.values())),
        (
            (name, *(str(ours.estimates[f"{metric}/{name}"]) for metric in metrics))
            for name in ours.classes
            if all(f"{metric}/{name}" in ours.estimates for metric in metrics)
        ),
    )


def _environments(runs: Sequence[Judged]) -> Iterator[str]:
    groups = by_environment(runs)
    if not groups:
        return
    yield from ("## Environments", "")
    for environment, names in groups:
        listed = escaped(", ".join(names))
        if environment is None:
            yield f"### {_UNKNOWN.capitalize()}"
            yield from (
                "",
                f"Published records, or predictions of other programs: {listed}. Published times "
                "may include the test pass.",
                "",
            )
            continue
        yield from (f"### {escaped(environment.machine)}", "", f"Runs: {listed}", "")
        libraries = ", ".join(f"{k} {v}" for k, v in environment.libraries.items())
        yield from _table(
            ("Device", "Accelerator", "Precision", "Threads", "Platform", "Python", "Libraries"),
            [
                (
                    environment.device,
                    environment.accelerator,
                    environment.arithmetic,
                    environment.threads or _UNKNOWN,
                    environment.platform,
                    environment.python,
                    libraries,
                )
            ],
        )


def _list(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield from (f"## {title}", "")
        yield from _bullets(texts)


def _bullets(texts: Sequence[str]) -> Iterator[str]:
    yield from (f"- {escaped(text)}" for text in texts)
    if texts:
        yield ""


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(map(escaped, header))} |"
    yield f"|{' --- |' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"
    yield ""


def _image(kind: str, file: Path, folder: Path) -> str:
    link = Path(os.path.relpath(file, folder)).as_posix()
    return f"![{escaped(kind)}]({quote(link)})"
