"""Many runs on the same test images -> one ranking that says what is within the noise."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from lensbench.comparison.judged import Judged, judge
from lensbench.errors import ComparisonError, RecordError
from lensbench.evaluation.estimate import Estimate
from lensbench.runs.record import RunRecord


@dataclass(frozen=True)
class Entry:
    """A finished run in a ranking."""

    record: RunRecord
    path: Path
    """Of the record."""

    auc: Estimate
    """Macro one-vs-rest AUC on the test images."""

    accuracy: Estimate

    p_value: float | None
    """Of the paired test of its AUC against the best one's, Holm-corrected; None for the best."""

    tied: bool
    """Cannot be told apart from the best one on these test images (the best ties itself)."""

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.model_desc

    @property
    def minutes(self) -> float | None:
        """Training time without the test pass, if the record states it."""
        seconds = self.record.training_time_s
        return None if seconds is None else seconds / 60

    @property
    def machine(self) -> str:
        """Where it was trained; times are comparable between equal machines only."""
        ours = self.record.lensbench
        if ours is not None:
            return ours.environment.machine
        device = self.record.config.device or "cpu"
        return f"{device} (as published)"


@dataclass(frozen=True)
class Comparison:
    """A ranking by AUC, best first, and what could not be ranked."""

    entries: tuple[Entry, ...]
    unfinished: tuple[tuple[RunRecord, Path], ...]
    """Failed and interrupted runs."""

    problems: tuple[str, ...]
    """One line for each file that is no record."""

    n_test: int
    test: str
    """How ties were decided."""

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        if not self.entries:
            return "No finished runs to compare."
        best, *others = self.entries
        tied = [entry.name for entry in others if entry.tied]
        first = f"{best.name} has the highest AUC, {best.auc} on {self.n_test:,} test images"
        if not others:
            return f"{first}; it is the only finished run."
        if not tied:
            return f"{first}, and is better than every other model here beyond the noise."
        listed = ", ".join(tied)
        return f"{first}, but it cannot be told apart from {listed}: a tie within the noise."


def compare(paths: Sequence[Path], level: float = 0.95) -> Comparison:
    """Read records and rank the finished runs by their test AUC.

    Where predictions are kept, a run is compared with the best one by the paired test of DeLong
    on the macro AUC; where only published numbers are known, by an unpaired one with the standard
    errors of Hanley & McNeil, which is less sharp because it cannot see that both models met the
    same images. The p-values are Holm-corrected over the models.

    Args:
        paths: Record files, ours or the contract's.
        level: A model is tied with the best unless the test rejects at 1 - level.

    Raises:
        ComparisonError: Two runs were tested on different images, labels or classes.
    """
    judged, unfinished, problems = _read(paths, level)
    _require_names_apart(judged)
    _require_same_test(judged)
    judged.sort(key=lambda one: (-one.auc.value, one.name))
    p_values = _holm([_p_value(judged[0], other) for other in judged[1:]])
    entries = tuple(
        Entry(
            record=one.record,
            path=one.path,
            auc=one.auc,
            accuracy=one.accuracy,
            p_value=p_value,
            tied=p_value is None or p_value > 1 - level,
        )
        for one, p_value in zip(judged, [None, *p_values], strict=False)
    )
    paired = all(one.influence is not None for one in judged)
    return Comparison(
        entries=entries,
        unfinished=tuple(unfinished),
        problems=tuple(problems),
        n_test=judged[0].auc.n if judged else 0,
        test=(
            "paired DeLong test of the macro AUC against the best, Holm-corrected"
            if paired
            else "unpaired test with Hanley-McNeil errors where no predictions are known "
            "(conservative), Holm-corrected"
        ),
    )


def _read(
    paths: Sequence[Path], level: float
) -> tuple[list[Judged], list[tuple[RunRecord, Path]], list[str]]:
    """Read what can be read; a damaged file is a problem of its own, not of the others."""
    judged, unfinished, problems = [], [], []
    for path in paths:
        try:
            record = RunRecord.read(path)
            if record.is_completed:
                judged.append(judge(record, path, level))
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


def _require_same_test(runs: Sequence[Judged]) -> None:
    for one, other in itertools.pairwise(runs):
        difference = _difference(one, other)
        if difference:
            raise ComparisonError(
                f"{one.name} and {other.name} cannot be compared: {difference}. Compare only "
                f"runs on the same test images ({one.path}, {other.path})."
            )


def _difference(one: Judged, other: Judged) -> str | None:
    if one.supports != other.supports:
        return f"their test sets hold {one.supports} and {other.supports} images per class"
    mine, theirs = one.predictions, other.predictions
    if mine is None and theirs is None:
        return None
    if mine is None or theirs is None:
        return "one of them has no predictions, so nobody can know if its test images are the same"
    if mine.classes != theirs.classes:
        return f"their classes are {mine.classes} and {theirs.classes}"
    if not np.array_equal(mine.ids, theirs.ids):
        n_common = len(np.intersect1d(mine.ids, theirs.ids))
        return f"only {n_common} of {len(mine.ids)} and {len(theirs.ids)} test images are the same"
    if one.test_fingerprint != other.test_fingerprint:
        return "their test images have the same names but not the same contents"
    if not np.array_equal(mine.labels, theirs.labels):
        return f"{int((mine.labels != theirs.labels).sum())} test images have different labels"
    return None


def _p_value(best: Judged, other: Judged) -> float:
    """Return the two-sided p-value of the difference between two macro AUCs."""
    difference = best.auc.value - other.auc.value
    if best.influence is not None and other.influence is not None:
        deviation = float(np.sqrt(((best.influence - other.influence) ** 2).sum()))
    else:
        deviation = math.hypot(best.deviation, other.deviation)
    if deviation == 0:
        return 1.0 if difference == 0 else 0.0
    return 2 * (1 - NormalDist().cdf(abs(difference) / deviation))


def _holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm (1979, Scand. J. Statist. 6, 65)."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected
