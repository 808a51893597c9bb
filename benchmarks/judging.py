"""What judging costs: the bootstrap of every metric, and DeLong's errors, against scikit-learn.

Usage: python benchmarks/judging.py [--n-models 23] [--n-examples 7500] [--n-resamples 10000]
                                    [--out FILE]

Makes up predictions of as many models for as many test images as the Common Test has, of macro AUC
0.97 or so. The baseline is a loop over resamples that calls scikit-learn, one model, measured on a
few resamples and extrapolated to all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import sklearn
import tyro
from rich.console import Console
from rich.table import Table
from sklearn import metrics as sk

from lensbench.config import JudgeSpec
from lensbench.evaluation.bootstrap import CHUNK, bootstrap, resample
from lensbench.evaluation.evaluate import evaluate
from lensbench.evaluation.joint import joint
from lensbench.evaluation.metrics import METRICS
from lensbench.evaluation.ranking import Floats, Integers
from lensbench.evaluation.scored import Scored, WeightedMetric
from lensbench.outcome import Predictions
from lensbench.runs.environment import describe_environment

CLASSES = ("no", "sphere", "vort")


@dataclass(frozen=True)
class Line:
    """One measurement, beside what it is measured against."""

    what: str
    value: str
    baseline: str = ""
    ratio: str = ""


def best_tpr(rate: float) -> Callable[[Integers, Floats], list[float]]:
    """Return scikit-learn's highest true positive rate of each class at a false positive rate."""

    def of_each(labels: Integers, scores: Floats) -> list[float]:
        curves = [sk.roc_curve(labels == k, scores[:, k]) for k in range(len(CLASSES))]
        return [float(tpr[fpr <= rate].max()) for fpr, tpr, _ in curves]

    return of_each


def average_precisions(labels: Integers, scores: Floats) -> list[float]:
    """Return scikit-learn's average precision of each class."""
    return [sk.average_precision_score(labels == k, scores[:, k]) for k in range(len(CLASSES))]


LOOPS: dict[str, Callable[[Integers, Floats], object]] = {
    "f1": lambda labels, scores: sk.f1_score(labels, scores.argmax(axis=1), average=None),
    "mcc": lambda labels, scores: sk.matthews_corrcoef(labels, scores.argmax(axis=1)),
    "average_precision": average_precisions,
    "tpr_at_fpr_0.001": best_tpr(0.001),
    "tpr_at_fpr_0.01": best_tpr(0.01),
    "tpr_at_0_fp": best_tpr(0),
    "tpr_at_10_fp": best_tpr(10 / 5000),
    "log_loss": sk.log_loss,
    "brier": lambda labels, scores: ((scores - np.eye(3)[labels]) ** 2).sum(axis=1).mean(),
}
"""The metrics whose bootstrap scikit-learn can be looped for."""


def main(
    n_models: int = 23,
    n_examples: int = 7500,
    n_resamples: int = 10_000,
    n_looped: int = 20,
    out: Path | None = None,
) -> None:
    """Measure, print a table and write it.

    Args:
        n_models: Models that are judged together.
        n_examples: Test images.
        n_resamples: Bootstrap resamples.
        n_looped: Resamples of the scikit-learn loop.
        out: Markdown file for the table.
    """
    models = made_up(n_models, n_examples)
    scored = [Scored.of(model) for model in models]
    bootstrapped = {
        name: metric.weighted
        for name, metric in METRICS.items()
        if metric.interval == "bootstrap" and metric.mean_of is None
    }
    report(
        [
            *each_metric(scored[0], bootstrapped, n_resamples, n_looped),
            together(scored, bootstrapped, n_resamples),
            *delong(models, n_resamples, n_looped),
            Line(
                "`evaluate` of one model, everything, 2,000 resamples",
                f"{timed(lambda: evaluate(models[0], JudgeSpec())):.1f} s",
            ),
        ],
        f"{n_examples:,} test images, {n_models} models, {n_resamples:,} resamples",
        out,
    )


def made_up(n_models: int, n_examples: int) -> list[Predictions]:
    """Make predictions of models that share half of their noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(n_examples) % len(CLASSES)
    common = rng.normal(size=(n_examples, len(CLASSES)))
    ids = [f"val/{CLASSES[label]}/{row}.npy" for row, label in enumerate(labels)]
    made = []
    for _ in range(n_models):
        logits = common + rng.normal(size=common.shape)
        logits[np.arange(n_examples), labels] += 3
        made.append(Predictions.of(ids, labels, logits, CLASSES))
    return made


def each_metric(
    scored: Scored, metrics: Mapping[str, WeightedMetric], n_resamples: int, n_looped: int
) -> list[Line]:
    """Time each metric of one model on one thread, and the loop that does the same."""
    drawn = resample(scored.labels, CHUNK, np.random.default_rng(0))
    n_chunks = n_resamples / CHUNK
    drawing = n_chunks * timed(lambda: resample(scored.labels, CHUNK, np.random.default_rng(0)))
    looped_drawing = n_resamples * per_resample(scored, n_looped, lambda *_: None)
    lines = [against("drawing the resamples, one thread", drawing, looped_drawing)]
    ours_of_all = loop_of_all = 0.0
    for name, weighted in metrics.items():
        weighted(scored, drawn)  # what is sorted once is kept
        seconds = [timed(lambda weighted=weighted: weighted(scored, drawn)) for _ in range(2)]
        ours = n_chunks * min(seconds)
        if name in LOOPS:
            loop = n_resamples * per_resample(scored, n_looped, LOOPS[name]) - looped_drawing
            lines.append(against(f"`{name}`, one model, one thread", ours, loop))
            ours_of_all, loop_of_all = ours_of_all + ours, loop_of_all + loop
        else:
            lines.append(Line(f"`{name}`, one model, one thread", f"{ours:.2f} s"))
    return [*lines, against("sum of those with a loop", ours_of_all, loop_of_all)]


def per_resample(
    scored: Scored, n_looped: int, function: Callable[[Integers, Floats], object]
) -> float:
    """Return the seconds a resample takes that is drawn row by row and given to a function."""
    strata = [np.flatnonzero(scored.labels == k) for k in range(len(CLASSES))]
    rng = np.random.default_rng(0)
    clock = time.perf_counter()
    for _ in range(n_looped):
        rows = np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata])
        function(scored.labels[rows], scored.probabilities[rows])
    return (time.perf_counter() - clock) / n_looped


def together(models: list[Scored], metrics: Mapping[str, WeightedMetric], n_resamples: int) -> Line:
    """Time the paired bootstrap of all models by the metrics with a loop."""
    chosen = {name: weighted for name, weighted in metrics.items() if name in LOOPS}
    seconds = timed(lambda: bootstrap(models, chosen, n_resamples))
    threads = joblib.cpu_count()
    return Line(f"these {len(chosen)} together, all models, {threads} threads", f"{seconds:.1f} s")


def delong(models: list[Predictions], n_resamples: int, n_looped: int) -> list[Line]:
    """Time DeLong's covariance of macro AUCs against a bootstrap of scikit-learn's."""
    spec = JudgeSpec()
    scored = Scored.of(models[0])
    loops = {"auc_ovr_macro": "ovr", "auc_ovo": "ovo"}
    return [
        against(
            f"covariance of `{key}` of all models, DeLong",
            min(timed(lambda key=key: joint(models, key, spec)) for _ in range(3)),
            len(models)
            * n_resamples
            * per_resample(
                scored,
                n_looped,
                lambda labels, scores, way=way: sk.roc_auc_score(labels, scores, multi_class=way),
            ),
        )
        for key, way in loops.items()
    ]


def against(what: str, ours: float, loop: float) -> Line:
    """Compare seconds of ours with those of a loop, extrapolated."""
    return Line(what, f"{ours:.2f} s", f"loop, extrapolated: {loop:,.0f} s", f"{loop / ours:,.0f}")


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds something takes."""
    clock = time.perf_counter()
    work()
    return time.perf_counter() - clock


def report(lines: list[Line], task: str, out: Path | None) -> None:
    """Print the table, and write it as Markdown."""
    machine = describe_environment("cpu", None, "float64", joblib.cpu_count()).machine
    where = f"{machine}; numpy {np.__version__}, scikit-learn {sklearn.__version__}. {task}."
    table = Table("what", "measured", "beside", "ratio", title=where)
    for line in lines:
        table.add_row(line.what, line.value, line.baseline, line.ratio)
    Console(width=140).print(table)
    if out is not None:
        rows = [
            f"| {line.what} | {line.value} | {line.baseline} | {line.ratio} |" for line in lines
        ]
        head = ["| what | measured | scikit-learn | ratio |", "|" + " --- |" * 4]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join([where, "", *head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
