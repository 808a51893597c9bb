"""Predictions that no run has made, of other programs and ensembles, judged like those of runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lensbench.comparison.candidates import find_candidates
from lensbench.comparison.compare import Comparison, rank
from lensbench.comparison.judged import judged_from
from lensbench.config import JudgeSpec, Selection
from lensbench.errors import RecordError
from lensbench.evaluation.ensemble import fit_ensemble
from lensbench.evaluation.estimate import undefined_silenced
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Predictions
from lensbench.runs.compose import ensemble_record, ensemble_summary, foreign_record
from lensbench.runs.foreign import Scores, read_predictions
from lensbench.runs.record import EnsembleSummary
from lensbench.runs.store import RunStore


class Given(NamedTuple):
    """Predictions that another program has made of the test examples."""

    name: str
    """Of the model."""
    predictions: Predictions
    source: str
    """Where they come from, for the record."""
    path: Path
    """The same, for messages."""


def read_given(
    files: Mapping[str, Sequence[Path]], *, labels: Path | None, scores: Scores
) -> list[Given]:
    """Read the predictions of some models.

    Args:
        files: Those of each model by its name. Several are of different examples, such as the test
            images of the folds of a data set, and become one.
        labels: The labels of `.npy` files.
        scores: What the scores are.

    Raises:
        RecordError: A file does not hold predictions, or those of one model have examples in
            common.
    """
    return [
        Given(name, _read_as_one(paths, labels, scores), _source(paths), paths[0])
        for name, paths in files.items()
    ]


def judge_given(
    given: Sequence[Given], out: Path | None, *, metric: str, judge: JudgeSpec
) -> Comparison:
    """Judge predictions, and keep a record of each if `out` is given.

    Nothing is written before all of them are judged and ranked.

    Args:
        given: Of models with different names.
        out: Folder for the records.
        metric: What to rank by.
        judge: Level of the intervals and of the ties, and resamples of the bootstrap.

    Raises:
        RecordError: `out` holds another run of a name.
        ConfigError: There is no such metric.
        ComparisonError: They are of different examples.
    """
    made = []
    for one in given:
        store = RunStore(out or one.path.parent, one.name)
        with undefined_silenced():
            evaluation = evaluate(one.predictions, judge)
        record = foreign_record(
            one.name,
            source=one.source,
            evaluation=evaluation,
            file=os.path.relpath(store.predictions("test"), store.record.parent),
        )
        made.append((one, store, record))
    comparison = rank(
        [judged_from(record, one.path, one.predictions) for one, _, record in made], judge, metric
    )
    if out is not None:
        for _, store, _ in made:
            store.require_foreign()
        for one, store, record in made:
            store.drop_figures()
            one.predictions.save(store.predictions("test"))
            store.finish(record)
    return comparison


def _read_as_one(paths: Sequence[Path], labels: Path | None, scores: Scores) -> Predictions:
    parts = [read_predictions(path, labels, scores) for path in paths]
    try:
        return Predictions.joined(parts)
    except RecordError as error:
        raise RecordError(
            f"{', '.join(map(str, paths))} are not parts of one model's predictions: {error}. Two "
            "models need two names; files without ids, whose examples are numbered, need an array "
            "or column ids"
        ) from error


def _source(paths: Sequence[Path]) -> str:
    count = "file" if len(paths) == 1 else f"{len(paths)} files"
    return f"{count} {', '.join(dict.fromkeys(path.name for path in paths))}"


def make_ensemble(
    records: Sequence[Path],
    store: RunStore,
    *,
    members: Sequence[str],
    select: Selection,
    metric: str,
    judge: JudgeSpec,
) -> tuple[EnsembleSummary, Comparison]:
    """Fit an ensemble to validation predictions, put its test predictions together and rank it.

    Args:
        records: Of the runs that may be members.
        store: Of the ensemble.
        members: Names of those that shall be (none: all that may).
        select: How they are weighted.
        metric: What to rank by.
        judge: Level of the intervals and of the ties, and resamples of the bootstrap.

    Returns:
        What it consists of, and its comparison with all candidates.

    Raises:
        RecordError: Fewer than two runs may be members, one that was named may not, or something
            else lies where the ensemble would.
        ConfigError: There is no such run or metric, or the name is taken.
        ComparisonError: Members are of different validation or test images.
    """
    store.require_room_for_ensemble()
    candidates, left_out = find_candidates(records, store, members)
    validation = {one.run.name: one.validation for one in candidates}
    temperatures = {one.run.name: one.temperature for one in candidates}
    fitted = fit_ensemble(validation, temperatures, select)

    judged = [one.run for one in candidates]
    test = fitted.predict({run.name: run.predictions for run in judged if run.predictions})
    with undefined_silenced():
        evaluation = evaluate(test, judge)
    made = {"validation": fitted.predict(validation, "validation images"), "test": test}
    chosen = [run for run in judged if fitted.weights[run.name]]
    summary = ensemble_summary(
        fitted,
        select,
        {
            # Resolved, since `..` leads elsewhere from the target of a link.
            run.name: os.path.relpath(run.path.resolve(), store.record.parent.resolve())
            for run in judged
        },
        {one.run.name for one in candidates if not one.is_calibrated},
        left_out,
        {one.test_fingerprint for one in chosen if one.test_fingerprint is not None},
    )
    record = ensemble_record(
        store.name,
        summary,
        [run.record for run in chosen],
        evaluation,
        {part: store.predictions(part).name for part in made},
    )
    comparison = rank([*judged, judged_from(record, store.record, test)], judge, metric)
    store.put_ensemble(record, made)
    return summary, comparison
