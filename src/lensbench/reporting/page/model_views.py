"""All that the page says of one model: its tables, and its plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lensbench.comparison.compare import Entry
from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.against import recall_against
from lensbench.evaluation.calibration import Reliability
from lensbench.evaluation.conformal import ConformalResult, conformal
from lensbench.evaluation.estimate import Estimate, percent, undefined_silenced
from lensbench.evaluation.evaluate import evaluate
from lensbench.evaluation.metrics import METRICS
from lensbench.evaluation.selective import risk_coverage
from lensbench.outcome import Predictions
from lensbench.reporting.calibrated import calibrated
from lensbench.reporting.page.charts import MACRO_MEAN, Figure, roc_curves, roc_figure
from lensbench.reporting.page.model_charts import (
    history_figure,
    recall_figure,
    reliability_figure,
    risk_figure,
)
from lensbench.reporting.page.thinning import ThinCurve
from lensbench.runs.record import RunRecord
from lensbench.runs.store import load_predictions


@dataclass(frozen=True)
class ModelView:
    """One model of a ranking; of several runs, what concerns a single one is of the first.

    Attributes:
        entry: The model.
        classes: Its class names.
        confusion: Counts and shares of each true class, None of one without test images; empty if
            they are not known.
        estimates: Every result on the test images, by name.
        curves: ROC curves, by what they are of.
        calibration: Reliability before and after temperature scaling, by what was done.
        sets: Conformal ones.
        scatter: How far the coverage of sets goes with the validation images, at each level.
        figures: By the name of their chart.
        notes: One line for each thing that could not be shown.
    """

    entry: Entry
    classes: tuple[str, ...]
    confusion: tuple[tuple[tuple[int, float | None], ...], ...] = ()
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    curves: Mapping[str, ThinCurve] = field(default_factory=dict)
    calibration: Mapping[str, Reliability] = field(default_factory=dict)
    sets: tuple[ConformalResult, ...] = ()
    scatter: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@undefined_silenced()
def model_view(
    entry: Entry, spec: JudgeSpec, recalls: Mapping[str, Mapping[str, float]]
) -> ModelView:
    """Work out what there is to say of a model.

    Args:
        entry: The model.
        spec: How it is judged.
        recalls: For each quantity the number of each test image, by its id.

    Raises:
        RecordError: A file of predictions that the record names is missing or damaged, or a test
            image lacks a number.
    """
    run = entry.runs[0]
    record, test, classes = run.record, run.predictions, run.record.classes
    figures, curves = {}, roc_curves(record)
    if curves:
        figures["curves"] = roc_figure(curves, mean=MACRO_MEAN)
    if record.train_losses:
        figures["history"] = history_figure(record)
    matrix = record.test_results.confusion_matrix if record.test_results else None
    confusion = tuple(
        tuple((n, n / sum(row) if any(row) else None) for n in row) for row in matrix or ()
    )
    if test is None:
        published = {one.name: one for one in (entry.auc, entry.accuracy)}
        notes = ("known by published numbers alone: nothing that needs predictions can be shown",)
        return ModelView(entry, classes, confusion, published, curves, figures=figures, notes=notes)

    sets: tuple[ConformalResult, ...] = ()
    validation = load_predictions(record, run.path, "validation")
    diagrams, unscaled = calibrated(validation, test, spec.level)
    lacking = [unscaled] if unscaled else []
    if validation is None:
        lacking.append("no conformal sets: no validation predictions are kept")
    else:
        try:
            sets = conformal(validation, test, level=spec.level)
        except RecordError as error:
            lacking.append(f"no conformal sets: {error}")
    figures["reliability"] = reliability_figure(diagrams)
    figures["risk"] = risk_figure(risk_coverage(test, spec.level))
    figures |= _recalls(test, spec, recalls)
    return ModelView(
        entry=entry,
        classes=classes,
        confusion=confusion,
        estimates=_estimates(run.record, test, spec),
        curves=curves,
        calibration=diagrams,
        sets=sets,
        scatter=_scatter(sets, len(validation.ids)) if validation is not None else "",
        figures=figures,
        notes=tuple(lacking),
    )


def _scatter(sets: Sequence[ConformalResult], n_validation: int) -> str:
    """Return the standard deviation of coverage over validation sets; see `conformal`."""
    return ", ".join(
        f"{math.sqrt(nominal * (1 - nominal) / n_validation):.4f} at {percent(nominal)}"
        for nominal in dict.fromkeys(one.nominal for one in sets)
    )


def lowest_class(sets: ConformalResult) -> tuple[str, Estimate]:
    """Return the class whose examples the sets hold least often, and how often that is."""
    known = [one for one in sets.class_coverage.items() if not math.isnan(one[1].value)]
    return min(known, key=lambda one: one[1].value)


def _estimates(record: RunRecord, test: Predictions, spec: JudgeSpec) -> Mapping[str, Estimate]:
    """Take the recorded estimates if they are what judging again would give: it takes seconds."""
    ours = record.lensbench
    if ours is not None and ours.run is not None and ours.run.judge == spec:
        wanted = {key for metric in METRICS.values() for key in metric.keys(test.classes)}
        if wanted <= ours.estimates.keys():
            return ours.estimates
    return evaluate(test, spec).estimates


def recall_chart_name(place: int) -> str:
    """Return the name of the chart of a quantity by its place among all."""
    return f"recall-{place}"


def _recalls(
    test: Predictions, spec: JudgeSpec, recalls: Mapping[str, Mapping[str, float]]
) -> dict[str, Figure]:
    figures = {}
    for place, (quantity, numbers) in enumerate(recalls.items()):
        bins = recall_against(test, numbers, spec=spec)
        if any(bins.values()):
            figures[recall_chart_name(place)] = recall_figure(bins, quantity)
    return figures
