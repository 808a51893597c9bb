from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lensbench.comparison.compare import Comparison, Entry, compare
from lensbench.comparison.judged import Judged
from lensbench.evaluation.estimate import Estimate
from lensbench.runs.record import ContractConfig, RunRecord, TestResults

FAMILIES = ("ResNet", "EfficientNet-B", "ConvNeXtV2-Atto-", "ViT-Small-patch16-", "swin_tiny_")
MakeComparison = Callable[..., Comparison]


def _estimate(name: str, value: float, half_width: float) -> Estimate:
    return Estimate(
        name=name,
        value=value,
        low=value - half_width,
        high=value + half_width / 2,  # lopsided, as intervals near 1 are
        level=0.95,
        method="made up",
        n=3750,
    )


def _entry(name: str, auc: float, accuracy: float, minutes: float | None, machine: str) -> Entry:
    config = ContractConfig(
        batch_size=64,
        epochs=15,
        learning_rate=3e-4,
        weight_decay=0.01,
        img_size=224,
        seed=42,
        device=machine,
    )
    record = RunRecord(
        model_desc=name,
        model_identifier=name.lower(),
        status="Completed",
        config=config,
        test_results=TestResults(
            accuracy=accuracy, auc_ovr_macro=auc, report="", roc_curve_data={}
        ),
        training_time_s=None if minutes is None else 60 * minutes,
    )
    return Entry(
        name=name,
        runs=(Judged(record, Path(f"results_{name}.json"), (1250, 1250, 1250)),),
        estimate=_estimate("auc_ovr_macro", auc, 0.002),
        auc=_estimate("auc_ovr_macro", auc, 0.002),
        accuracy=_estimate("accuracy", accuracy, 0.008),
        test_deviation=0.001,
        training_deviation=None,
        p_value=None,
        letters="a" if auc > 0.993 else "b",
        tied=auc > 0.993,
    )


@pytest.fixture
def make_comparison() -> MakeComparison:
    """Make up a ranking of n models, crowded as real ones are."""

    def make(
        n: int, machines: Sequence[str] = ("one GPU",), untimed: int = 0, suffix: str = ""
    ) -> Comparison:
        draw = random.Random(n)  # noqa: S311
        aucs = sorted((0.995 - abs(draw.gauss(0, 0.006)) for _ in range(n)), reverse=True)
        entries = [
            _entry(
                f"{FAMILIES[i % len(FAMILIES)]}{i}{suffix}",
                auc,
                0.95 - 6 * (0.995 - auc) * draw.uniform(0.5, 1.5),
                None if i < untimed else 10 ** draw.uniform(0.3, 2.6),
                machines[i % len(machines)],
            )
            for i, auc in enumerate(aucs)
        ]
        return replace(
            compare([]), entries=tuple(entries), n_test=3750, test="a made-up paired test"
        )

    return make


@pytest.fixture
def without_intervals(make_comparison: MakeComparison) -> Comparison:
    comparison = make_comparison(4)
    unknown = {"low": math.nan, "high": math.nan}
    entries = tuple(
        replace(
            entry,
            estimate=entry.estimate.model_copy(update=unknown),
            auc=entry.auc.model_copy(update=unknown),
            accuracy=entry.accuracy.model_copy(update=unknown),
        )
        for entry in comparison.entries
    )
    return replace(comparison, entries=entries)


@pytest.fixture
def partly_without_auc(make_comparison: MakeComparison) -> Comparison:
    """Four models; the AUC of the second is undefined."""
    comparison = make_comparison(4)
    first, second, *others = comparison.entries
    undefined = second.auc.model_copy(update=dict.fromkeys(("value", "low", "high"), math.nan))
    return replace(comparison, entries=(first, replace(second, auc=undefined), *others))
