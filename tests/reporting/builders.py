"""Made-up runs for the tests of tables, plots and pages."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from lensbench.comparison.compare import Comparison, Entry, Pair
from lensbench.comparison.judged import Judged
from lensbench.config import DataSpec, ModelSpec, RunConfig
from lensbench.evaluation.estimate import Estimate, RocCurve
from lensbench.recipes import QUICK
from lensbench.runs.record import (
    ContractConfig,
    Environment,
    Provenance,
    RunRecord,
    SplitSummary,
    TestResults,
)

CLASSES = ("no", "sphere", "vort")
CONFIG = ContractConfig(
    batch_size=32, epochs=3, learning_rate=1e-3, weight_decay=0.01, img_size=64, seed=42
)


def estimate(name: str, value: float, half_width: float) -> Estimate:
    return Estimate(
        name=name,
        value=value,
        low=value - half_width,
        high=value + half_width,
        level=0.95,
        method="made up",
        n=300,
    )


def make_record(
    name: str, auc: float = 0.95, accuracy: float = 0.9, **changes: object
) -> RunRecord:
    """Make a finished run of ours."""
    grid = np.linspace(0, 1, 51)
    curve = RocCurve(fpr=tuple(grid), tpr=tuple(grid**0.04), auc=auc)
    estimates = [
        estimate("auc_ovr_macro", auc, 0.01),
        estimate("accuracy", accuracy, 0.03),
        *(estimate(f"auc_ovr/{one}", auc, 0.02) for one in CLASSES),
    ]
    ours = Provenance(
        lensbench_version="0.1.0",
        run=RunConfig(
            name="any",
            data=DataSpec(path=Path("data")),
            model=ModelSpec(identifier="torchvision/resnet18"),
            recipe=QUICK,
        ),
        environment=Environment(
            device="A GPU",
            accelerator="cuda",
            precision="32-true",
            threads=2,
            platform="Linux",
            python="3.11",
            libraries={"numpy": "2.0", "torch": "2.5"},
        ),
        classes=CLASSES,
        split=SplitSummary(
            convention="sealed",
            fingerprint="0123456789abcdef",
            n_train=3000,
            n_validation=300,
            n_test=300,
            test_fingerprint="fedcba9876543210",
        ),
        weights_used="random initialisation",
        warnings=("one image occurs twice",),
        estimates={one.name: one for one in estimates},
    )
    return RunRecord(
        model_desc=name,
        model_identifier="torchvision/resnet18",
        status="Completed",
        config=CONFIG,
        best_epoch=2,
        best_val_auc=0.94321,
        train_losses=(0.9, 0.5, 0.4),
        val_losses=(0.8, 0.6, 0.7),
        val_aucs=(0.9, 0.94321, 0.93),
        test_results=TestResults(
            accuracy=accuracy,
            auc_ovr_macro=auc,
            report="",
            roc_curve_data=dict.fromkeys(("0", "1", "2", "micro", "macro"), curve),
            confusion_matrix=((90, 5, 5), (10, 80, 10), (0, 0, 100)),
        ),
        training_time_s=90,
        lensbench=ours,
    ).model_copy(update=changes)


def make_comparison(folder: Path, *records: RunRecord) -> Comparison:
    """Rank finished runs by AUC; only the best ties itself."""
    finished = [r for r in records if r.is_completed and r.test_results is not None]
    finished.sort(key=lambda r: -r.test_results.auc_ovr_macro)  # type: ignore[union-attr]

    def place(record: RunRecord) -> Path:
        return folder / "runs" / record.model_desc / "record.json"

    entries = [
        Entry(
            name=record.model_desc,
            runs=(Judged(record, place(record), (100, 100, 100)),),
            estimate=estimate("auc_ovr_macro", record.test_results.auc_ovr_macro, 0.01),
            auc=estimate("auc_ovr_macro", record.test_results.auc_ovr_macro, 0.01),
            accuracy=estimate("accuracy", record.test_results.accuracy, 0.03),
            test_deviation=0.005,
            training_deviation=None,
            p_value=0.0123 if rank else None,
            letters="b" if rank else "a",
            tied=not rank,
        )
        for rank, record in enumerate(finished)
        if record.test_results is not None
    ]
    return Comparison(
        entries=tuple(entries),
        pairs=tuple(
            Pair(
                first=one.name,
                second=other.name,
                difference=estimate("difference", one.auc.value - other.auc.value, 0.01),
                p_value=0.01,
                p_holm=0.0123,
                method="a made-up test",
            )
            for one, other in itertools.combinations(entries, 2)
        ),
        metric="auc_ovr_macro",
        n_test=300,
        test="a made-up test",
        n_to_separate=None,
        unfinished=tuple((record, place(record)) for record in records if not record.is_completed),
        problems=(),
    )
