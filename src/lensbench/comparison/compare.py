"""Many runs on the same test images -> one ranking that says what is within the noise."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from lensbench.comparison.judged import Judged, joint_of, load_judged
from lensbench.comparison.paired import POWER, Pair, all_pairs, images_to_separate
from lensbench.comparison.ties import compact_letters
from lensbench.comparison.variance import of_mean
from lensbench.config import JudgeSpec
from lensbench.errors import ComparisonError, RecordError
from lensbench.evaluation.estimate import ACCURACY, MACRO_AUC, Estimate, percent
from lensbench.evaluation.matching import difference
from lensbench.evaluation.metrics import metric_of
from lensbench.runs.identity import differ_in_seed_alone
from lensbench.runs.record import RunRecord

__all__ = ["Comparison", "Entry", "Pair", "compare", "rank"]


@dataclass(frozen=True)
class Entry:
    """A model in a ranking: a finished run, or several that differ in their seed alone."""

    name: str

    runs: tuple[Judged, ...]
    """At least one."""

    estimate: Estimate
    """What the ranking goes by; over several runs their mean."""

    auc: Estimate
    """Macro one-vs-rest AUC on the test images."""

    accuracy: Estimate

    test_deviation: float
    """Standard error of `estimate` that the finite test set gives it."""

    training_deviation: float | None
    """And the seeds of training; None if there is one run alone, which cannot tell."""

    p_value: float | None
    """Of the test against the best one, Holm-corrected; None for the best."""

    letters: str
    """Models that share a letter cannot be told apart."""

    tied: bool
    """Cannot be told apart from the best one on these test images (the best ties itself)."""

    @property
    def record(self) -> RunRecord:
        """That of the first run."""
        return self.runs[0].record

    @property
    def path(self) -> Path:
        """Where that record lies."""
        return self.runs[0].path

    @property
    def minutes(self) -> float | None:
        """Mean training time of a run without the test pass, if all records state it."""
        seconds = [run.record.training_time_s for run in self.runs]
        known = [one for one in seconds if one is not None]
        return fmean(known) / 60 if len(known) == len(seconds) else None

    @property
    def machine(self) -> str:
        """Where it was trained; times are comparable between equal machines only."""
        return " and ".join(dict.fromkeys(run.record.machine for run in self.runs))


@dataclass(frozen=True)
class Comparison:
    """A ranking, best first, and what could not be ranked."""

    entries: tuple[Entry, ...]

    pairs: tuple[Pair, ...]
    """Of every two entries."""

    metric: str
    """What the ranking goes by, as estimates are named."""

    n_test: int

    test: str
    """How ties were decided."""

    n_to_separate: int | None
    """Test images that would tell the best two apart with a power of 80 %, if they are tied now and
    differ by as much as they seem to; None if they are not tied, or if no number would tell."""

    unfinished: tuple[tuple[RunRecord, Path], ...]
    """Failed and interrupted runs."""

    problems: tuple[str, ...]
    """One line for each file that is no record."""

    @property
    def quantity(self) -> str:
        """What the ranking goes by, in words."""
        return metric_of(self.metric).title_of(self.metric)

    @property
    def is_ranked_apart(self) -> bool:
        """Whether it goes by neither AUC nor accuracy, which tables show in any case."""
        return self.metric not in (MACRO_AUC, ACCURACY)

    @property
    def verdict(self) -> str:
        """The result in a sentence or two."""
        if not self.entries:
            return "No finished runs to compare."
        best, *others = self.entries
        tied = [entry.name for entry in others if entry.tied]
        result = f"{self.quantity} {best.estimate} on {self.n_test:,} test images"
        if not others:
            return f"{best.name} is the only model compared: {result}.{self._unseen}"
        if not tied:
            return (
                f"{best.name} is better than every other model here beyond {self._noise}: "
                f"{result}.{self._unseen}"
            )
        n_others = "1 other" if len(tied) == 1 else f"{len(tied)} others"
        difference = "difference is" if len(tied) == 1 else "differences are"
        return (
            f"{best.name} and {n_others} are best; their {difference} within {self._noise}. "
            f"{best.name} has {result} and cannot be told apart from {', '.join(tied)}."
            f"{self._what_would_tell}{self._unseen}"
        )

    @property
    def _noise(self) -> str:
        """What differences were held against."""
        several = any(len(entry.runs) > 1 for entry in self.entries)
        return "the noise of this test set" + (" and of training" if several else "")

    @property
    def _unseen(self) -> str:
        """What none of the tests could see."""
        unseen = ""
        if all(len(entry.runs) == 1 for entry in self.entries):
            unseen = (
                " Only one run of each model is known, and not how much another seed of training "
                "would change."
            )
        n_train = {
            run.record.lensbench.split.n_train
            for entry in self.entries
            for run in entry.runs
            if run.record.lensbench is not None and run.record.lensbench.split is not None
        }
        if len(n_train) > 1:
            unseen += f" They were trained on {min(n_train):,} to {max(n_train):,} images."
        return unseen

    @property
    def _what_would_tell(self) -> str:
        best, second, *_ = self.entries
        if self.n_to_separate is None:
            if second.tied and (best.training_deviation or second.training_deviation):
                return (
                    " More test images alone would not tell the top two apart, but more seeds may."
                )
            return ""
        n = float(f"{self.n_to_separate:.2g}")
        return (
            " If the difference seen here is the true one, about "
            f"{n:,.0f} test images would tell the top two apart (with a power of {POWER:.0%})."
        )


def compare(
    paths: Sequence[Path], spec: JudgeSpec = JudgeSpec(), metric: str = MACRO_AUC
) -> Comparison:
    """Read records and rank the finished runs.

    Every model is tested against every other: AUCs by DeLong's covariance, the accuracies of single
    runs by McNemar's exact test, what else is a mean over examples (recall, log loss, Brier score,
    accuracies of several seeds) by the covariance of the examples' influences, and the rest by the
    paired bootstrap. Where only published numbers are known, the test is unpaired, which is less
    sharp because it cannot see that both models met the same images. The p-values are
    Holm-corrected over all pairs.

    Args:
        paths: Record files, ours or the contract's.
        spec: Models are tied unless the test rejects at 1 - level.
        metric: What to rank by, as estimates are named.

    Raises:
        ConfigError: There is no such metric.
        ComparisonError: Two runs were tested on different images, labels or classes, runs of one
            model differ in more than their seed, or published records do not tell the metric.
    """
    judged, unfinished, problems = _read(paths)
    return rank(judged, spec, metric, tuple(unfinished), tuple(problems))


def rank(
    judged: Sequence[Judged],
    spec: JudgeSpec,
    metric: str,
    unfinished: tuple[tuple[RunRecord, Path], ...] = (),
    problems: tuple[str, ...] = (),
) -> Comparison:
    """Rank finished runs; see `compare`."""
    kind = metric_of(metric)
    judged = _with_classes_in_one_order(judged)
    _require_names_apart(judged)
    _require_same_test(judged)
    if not judged:
        return Comparison((), (), metric, 0, "", None, unfinished, problems)
    joint = joint_of(judged, metric, spec)
    undefined = [run for run, lost in zip(judged, np.isnan(joint.values), strict=True) if lost]
    if undefined:
        raise ComparisonError(
            f"{metric} of {', '.join(run.name for run in undefined)} is "
            f"{undefined[0].estimate(metric, spec).method}; rank by another metric, such as "
            f"{ACCURACY}"
        )
    sign = -1 if kind.greater_is_better else 1
    models = sorted(
        _models(judged), key=lambda rows: (sign * joint.values[rows].mean(), judged[rows[0]].model)
    )
    pairs = all_pairs(judged, models, joint, metric, spec.level)
    differ = np.zeros((len(models), len(models)), dtype=bool)
    differ[np.triu_indices(len(models), 1)] = [pair.p_holm <= 1 - spec.level for pair in pairs]
    letters = compact_letters(differ | differ.T)
    n_to_separate = None
    if len(models) > 1 and not differ[0, 1]:
        n_to_separate = images_to_separate(joint, models[0], models[1], spec.level, len(pairs))
    return Comparison(
        entries=tuple(
            Entry(
                name=judged[rows[0]].model,
                runs=tuple(judged[row] for row in rows),
                estimate=_estimate([judged[row] for row in rows], metric, spec),
                auc=_estimate([judged[row] for row in rows], MACRO_AUC, spec),
                accuracy=_estimate([judged[row] for row in rows], ACCURACY, spec),
                test_deviation=math.sqrt(of_mean(joint, rows).test),
                training_deviation=(
                    math.sqrt(of_mean(joint, rows).training) if len(rows) > 1 else None
                ),
                p_value=pairs[place - 1].p_holm if place else None,
                letters=letters[place],
                tied=not differ[0, place],
            )
            for place, rows in enumerate(models)
        ),
        pairs=pairs,
        metric=metric,
        n_test=joint.n,
        test=_test(pairs, spec.level),
        n_to_separate=n_to_separate,
        unfinished=unfinished,
        problems=problems,
    )


def _read(
    paths: Sequence[Path],
) -> tuple[list[Judged], list[tuple[RunRecord, Path]], list[str]]:
    """Read what can be read; a damaged file is a problem of its own, not of the others."""
    judged, unfinished, problems = [], [], []
    for path in paths:
        try:
            record = RunRecord.read(path)
            if record.is_completed:
                judged.append(load_judged(record, path))
            else:
                unfinished.append((record, path))
        except RecordError as error:
            problems.append(str(error))
    return judged, unfinished, problems


def _require_names_apart(runs: Sequence[Judged]) -> None:
    for name, n in Counter(one.name for one in runs).items():
        if n > 1:
            where = ", ".join(str(one.path) for one in runs if one.name == name)
            raise ComparisonError(f"{n} runs are called {name!r}: {where}; leave out all but one")


def _with_classes_in_one_order(runs: Sequence[Judged]) -> list[Judged]:
    """Bring the classes of predictions into the order of the first ones, if they are the same."""
    if not runs or runs[0].predictions is None:
        return list(runs)
    classes = runs[0].predictions.classes
    return [
        run.in_order_of_classes(classes)
        if run.predictions and set(run.predictions.classes) == set(classes)
        else run
        for run in runs
    ]


def _require_same_test(runs: Sequence[Judged]) -> None:
    known = [run for run in runs if run.test_fingerprint is not None]
    for one, other in (*itertools.pairwise(runs), *itertools.pairwise(known)):
        found = _difference(one, other)
        if found:
            raise ComparisonError(
                f"{one.name} and {other.name} cannot be compared: {found}. Compare only "
                f"runs on the same test images ({one.path}, {other.path})."
            )


def _difference(one: Judged, other: Judged) -> str | None:
    mine, theirs = one.predictions, other.predictions
    if (mine is None or theirs is None) and one.supports != other.supports:
        return f"their test sets hold {one.supports} and {other.supports} images per class"
    if mine is None and theirs is None:
        return None
    if mine is None or theirs is None:
        return "one of them has no predictions, so nobody can know if its test images are the same"
    found = difference(mine, theirs)
    fingerprints = {one.test_fingerprint, other.test_fingerprint} - {None}
    if found is None and len(fingerprints) > 1:
        return "their test images have the same names but not the same contents"
    return found


def _models(runs: Sequence[Judged]) -> list[list[int]]:
    """Return the rows of each model's runs."""
    rows: dict[str, list[int]] = {}
    for row, run in enumerate(runs):
        rows.setdefault(run.model, []).append(row)
    for model, mine in rows.items():
        first, *others = (runs[row] for row in mine)
        for other in others:
            if not differ_in_seed_alone(first.record, other.record):
                raise ComparisonError(
                    f"{first.name} and {other.name} count as runs of {model} with different seeds, "
                    "but they differ in other settings or images, or not in their seed: compare "
                    f"them under different names ({first.path}, {other.path})"
                )
    return list(rows.values())


def _estimate(runs: Sequence[Judged], metric: str, spec: JudgeSpec) -> Estimate:
    """Return the result of a model: that of its run, or the mean over its runs."""
    if len(runs) == 1:
        return runs[0].estimate(metric, spec)
    joint = joint_of(runs, metric, spec)
    uncertainty = of_mean(joint, range(len(runs)))
    value = float(joint.values.mean())
    if math.isnan(value) or uncertainty.is_none:
        # Nothing varies, or nothing is defined: what holds for one run holds for all.
        return runs[0].estimate(metric, spec)
    low, high = uncertainty.interval(value, spec.level, metric_of(metric).limits)
    return Estimate(
        name=metric,
        value=value,
        low=low,
        high=high,
        level=spec.level,
        method=f"mean of {len(runs)} seeds, test-set and training variance "
        f"(Obuchowski-Rockette; {joint.method})",
        n=joint.n,
    )


def _test(pairs: Sequence[Pair], level: float) -> str:
    if not pairs:
        return "nothing to test: there is one model"
    ways = " or ".join(dict.fromkeys(pair.method for pair in pairs))
    n_pairs = f"{len(pairs)} pairs" if len(pairs) > 1 else "one pair"
    return f"{ways}, for {n_pairs}, Holm-corrected, {percent(level)}"
