"""The recipe `lensbench` on simulated lenses of Common Test I, from simulation to ensemble.

Usage: python benchmarks/common_test_1.py [--minutes 8] [--out FILE.json]
       python benchmarks/common_test_1.py --population demo --n-train 700 --n-val 300 --epochs 6
                                          --batch-size 32 --models ResNet18 MobileNetV3-Small

Simulates 30,000 + 7,500 images and trains one model after another from random weights, leaving out
those that would not be finished before the minutes are over, as measured beforehand. From the
second model on there is an ensemble. Writes JSON after each model: device, versions and date, and
of each model its AUC and accuracy with intervals, with and without test-time augmentation, its
speed and its time. The second command is what a CPU can do. On a lent machine, name a file with
`--out` that comes back.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import tyro

import lensbench
from lensbench.choices import choose_models
from lensbench.comparison.compare import Entry
from lensbench.config import DataSpec, MachineSpec, ModelSpec
from lensbench.data.pack import open_or_build_pack
from lensbench.recipes import recipe_for
from lensbench.runs.record import RunRecord
from lensbench.simulation import CLASSES
from lensbench.training.measure import Subject, fastest_execution, measure
from lensbench.whole_file import written_whole
from lensbench.zoo.build import ImageShape
from lensbench.zoo.names import resolve

MODELS = (
    "ResNet18",
    "c8_densenet=lensbench/c8_densenet",
    "EfficientNet-B0",
    "d4_resnet=lensbench/d4_resnet",
    "MobileNetV3-Large",
    "ResNet34",
    "EfficientNet-B3",
    "ConvNeXtV2-Nano-1k",
    "ViT-Tiny-P16",
)

SECONDS_TO_MEASURE = 15
"""About what it takes to measure the ways of computing a step of a model."""

SECONDS_BESIDES = 20
"""About what a run takes besides its epochs: its start, its test, its report and the ensemble."""


def main(
    minutes: float = 8,
    models: tuple[str, ...] = MODELS,
    population: str = "common-test-1",
    n_train: int = 10_000,
    n_val: int = 2_500,
    epochs: int = 50,
    batch_size: int | None = None,
    image_size: int | None = None,
    threads: int | None = None,
    folder: Path | None = None,
    out: Path = Path("benchmarks/results/common_test_1.json"),
) -> None:
    """Simulate, train, make an ensemble, and write the results after each model.

    Args:
        minutes: In which all has to be done.
        models: In this order.
        population: Of the lenses.
        n_train: Images of each class to train and validate on.
        n_val: Images of each class to test on.
        epochs: Of each model.
        batch_size: Of each model (default: the recipe's).
        image_size: Side in pixels to which images are resized (default: their own).
        threads: CPU threads.
        folder: For data and runs, kept (default: a temporary one).
        out: The JSON file.
    """
    clock = time.monotonic()
    place = folder or Path(tempfile.mkdtemp())
    lenses = lensbench.simulate(
        place / "lenses.h5", population=population, n_train=n_train, n_val=n_val
    )
    spec = DataSpec(path=lenses, cache=place / "cache")
    simulated = time.monotonic() - clock
    shape = open_or_build_pack(spec).image_shape
    runs = place / "runs"
    changes = {"epochs": epochs, "batch_size": batch_size, "image_size": image_size}
    for model in models:
        left = 60 * minutes - (time.monotonic() - clock)
        if left < SECONDS_TO_MEASURE + SECONDS_BESIDES:
            print(f"{model}: left out, there are {left:.0f} s left", flush=True)
            continue
        try:
            machine, wanted = plan(model, shape, 3 * n_train * epochs, changes, threads)
        except (RuntimeError, lensbench.LensbenchError) as error:  # out of memory, say
            print(f"{model}: left out, it cannot be measured: {error}", flush=True)
            continue
        left = 60 * minutes - (time.monotonic() - clock)
        if wanted > left:
            print(f"{model}: left out, it takes {wanted:.0f} s of {left:.0f} s left", flush=True)
            continue
        lensbench.run(
            spec,
            [model],
            recipe="lensbench",
            out=runs,
            pretrained=False,
            machine=machine,
            **changes,
        )
        write(out, runs, population, simulated)


def plan(
    model: str, shape: ImageShape, n_images: int, changes: dict[str, Any], threads: int | None
) -> tuple[MachineSpec, float]:
    """Choose how a fit is computed, and return that and how long the run will take.

    A fifth of the time of the steps is for validation and for what the loop itself takes.
    """
    name = str(resolve(choose_models([model], with_batch_sizes=False)[0].identifier))
    start = ModelSpec(identifier=name, pretrained=False)
    recipe = lensbench.choose_recipe(recipe_for("lensbench", start), **changes)
    subject = Subject(name, recipe, CLASSES, shape)
    machine = MachineSpec(threads=threads, compile="no")
    way = fastest_execution(subject, machine)
    cost = measure(subject, machine, way, n_repeats=2)
    found = {"precision": way.precision, "memory_format": way.memory_format}
    seconds = 1.2 * n_images / cost.training.median + SECONDS_BESIDES
    return machine.model_copy(update=found), seconds


def write(out: Path, runs: Path, population: str, simulated: float) -> None:
    """Make an ensemble of what is finished and write all that is known, whole or not at all."""
    comparison, _ = lensbench.compare([runs])
    if not comparison.entries:
        return
    if len(comparison.entries) > 1:
        try:
            lensbench.ensemble([runs])
        except lensbench.LensbenchError as error:
            print(f"no ensemble: {error}", flush=True)
        comparison, _ = lensbench.compare([runs])
    entries = list(comparison.entries)
    environment = next(
        entry.record.lensbench.environment
        for entry in entries
        if entry.record.lensbench and entry.record.lensbench.environment
    )
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": environment.device,
        "libraries": environment.libraries,
        "n_cores": os.cpu_count(),
        "torch": torch.__version__,
        "population": population,
        "n_test": comparison.n_test,
        "simulation_seconds": round(simulated, 1),
        "verdict": comparison.verdict,
        "models": [about(entry) for entry in entries],
    }
    with written_whole(out) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def about(entry: Entry) -> dict[str, Any]:
    """Return the results of one model."""
    record: RunRecord = entry.record
    ours = record.lensbench
    assert ours is not None
    found: dict[str, Any] = {
        "name": entry.name,
        "auc": str(entry.auc),
        "accuracy": str(entry.accuracy),
        "tied_with_the_best": entry.tied,
    }
    if ours.run is None or ours.split is None or ours.environment is None or ours.timing is None:
        return found | {"ensemble": ours.ensemble.model_dump() if ours.ensemble else None}
    # A network that all views look alike to has one alone.
    single = entry.path.parent / ours.files.get("test_single_view", ours.files["test"])
    alone = lensbench.evaluate([f"single={single}"]).entries[0]
    return found | {
        "model": record.model_identifier,
        "auc_single_view": str(alone.auc),
        "accuracy_single_view": str(alone.accuracy),
        "n_train": ours.split.n_train,
        "n_parameters": ours.cost.n_parameters if ours.cost else None,
        "epochs": len(record.val_aucs),
        "batch_size": ours.run.recipe.batch_size,
        "execution": ours.environment.arithmetic,
        "fit_seconds": round(ours.timing.fit_seconds, 1),
        "train_images_per_second": round(ours.timing.n_train_images_per_second, 1),
    }


if __name__ == "__main__":
    tyro.cli(main)
