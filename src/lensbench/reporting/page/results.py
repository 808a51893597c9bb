"""Every result of every model, as the columns of wide tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.metrics import METRICS
from lensbench.reporting.page.model_views import ModelView


@dataclass(frozen=True)
class Column:
    """One metric; `keys` are those of its estimates, by class where each class has one."""

    title: str
    about: str
    keys: tuple[str, ...]
    greater_is_better: bool


def result_columns(models: Sequence[ModelView]) -> list[Column]:
    """Return the metrics that are one number for all classes, as far as any model has them."""
    known = {key for model in models for key in model.estimates}
    return [
        Column(metric.title, metric.about, (name,), metric.greater_is_better)
        for name, metric in METRICS.items()
        if not metric.per_class and name in known
    ]


def class_columns(models: Sequence[ModelView]) -> list[Column]:
    """Return the metrics that each class has, as far as any model has them."""
    known = {key.partition("/")[0] for model in models for key in model.estimates if "/" in key}
    classes = next((model.classes for model in models), ())
    return [
        Column(metric.title, metric.about, metric.keys(classes), metric.greater_is_better)
        for name, metric in METRICS.items()
        if metric.per_class and name in known
    ]


def number(estimate: Estimate | None) -> str:
    """Return a value as tables show it; a dash where it is not known."""
    if estimate is None:
        return "–"  # noqa: RUF001
    return "undefined" if math.isnan(estimate.value) else estimate.shown()[0]


def interval(estimate: Estimate | None) -> str:
    """Return the bounds of an estimate; empty where there are none."""
    if estimate is None or math.isnan(estimate.low):
        return ""
    _, low, high = estimate.shown()
    return f"[{low}, {high}]"
